/**
 * The line to a QMP server: text both ways, and descriptors where the socket and our permissions allow.
 *
 *     PATH, unix:PATH   a Unix socket; with `--allow-ffi` descriptors can be sent over it
 *     tcp:HOST:PORT     no descriptors
 *
 * @module
 */
import fs from "node:fs";
import { CommandError, TransportError } from "../stream/errors.ts";
import { errnoText } from "./errno.ts";
import { canPassDescriptors, connectUnix, sendWithDescriptors } from "./scm_rights.ts";

/** One connection. */
export interface QmpWire {
  /** Descriptors can be sent. */
  readonly passesFds: boolean;
  /**
   * Send text, with descriptors that stay open here.
   * @throws {TransportError} when the other side is gone
   */
  send(text: string, fds?: readonly number[]): Promise<void>;
  /** Text as it comes, in pieces of any size; ends when the other side does. */
  readonly input: AsyncIterable<string>;
  /** Hang up. */
  close(): void;
}

/** Take an address apart. @throws {CommandError} when it is none */
export function parseQmpAddress(text: string): { readonly path: string } | { readonly host: string; port: number } {
  if (text.startsWith("tcp:")) {
    const match = /^tcp:(\[[^\]]+\]|[^:,]*):(\d{1,5})$/.exec(text);
    if (!match || Number(match[2]) > 65535) throw new CommandError(`Cannot read QMP address '${text}': tcp:HOST:PORT`);
    return { host: match[1].replace(/^\[|\]$/g, "") || "127.0.0.1", port: Number(match[2]) };
  }
  const path = text.replace(/^unix:/, "");
  if (path === "") throw new CommandError(`Cannot read QMP address '${text}': a path, unix:PATH or tcp:HOST:PORT`);
  return { path };
}

/**
 * Connect.
 * @param until `performance.now()` at which to give up
 * @throws {TransportError} when nobody is there
 */
export async function openQmpWire(address: string, until: number): Promise<QmpWire> {
  const where = parseQmpAddress(address);
  try {
    if (!("path" in where)) return connWire(await connectTcp(where.host, where.port, until));
    if (!canPassDescriptors()) return connWire(await Deno.connect({ transport: "unix", path: where.path }));
    return await fdWire(await connectUnix(where.path, until));
  } catch (error) {
    if (error instanceof CommandError || error instanceof TransportError) throw error;
    const reason = "path" in where && isNoSocket(where.path) ? "it is not a socket" : errnoText(error);
    throw new TransportError(`Failed to connect to '${address}': ${reason}`, { cause: error });
  }
}

/** Something else is there: the system's words for that are those for a socket nobody listens at. */
function isNoSocket(path: string): boolean {
  try {
    return !fs.statSync(path).isSocket();
  } catch {
    return false;
  }
}

async function connectTcp(hostname: string, port: number, until: number): Promise<Deno.Conn> {
  const connecting = Deno.connect({ hostname, port });
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), Math.max(1, until - performance.now()));
  });
  try {
    const conn = await Promise.race([connecting, late]);
    if (conn) return conn;
  } finally {
    clearTimeout(timer);
  }
  connecting.then((conn) => conn.close(), () => {});
  throw new TransportError(`Failed to connect to 'tcp:${hostname}:${port}': nothing answers there`);
}

/** A wire over a connection of Deno's: it carries no descriptors. */
export function connWire(conn: Deno.Conn): QmpWire {
  const writer = conn.writable.getWriter();
  const encoder = new TextEncoder();
  return {
    passesFds: false,
    async send(text) {
      try {
        await writer.write(encoder.encode(text));
      } catch (error) {
        throw new TransportError(errnoText(error), { cause: error });
      }
    },
    input: pieces(conn),
    close() {
      try {
        conn.close();
      } catch {
        // it went first
      }
    },
  };
}

async function* pieces(conn: Deno.Conn): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  const buffer = new Uint8Array(64 << 10);
  for (;;) {
    let got: number | null;
    try {
      got = await conn.read(buffer);
    } catch {
      return; // reset, or closed here
    }
    if (got === null) return;
    yield decoder.decode(buffer.subarray(0, got), { stream: true });
  }
}

/** A wire over a Unix socket whose number is known: node:net reads and writes, libc sends descriptors. */
async function fdWire(fd: number): Promise<QmpWire> {
  const { Socket } = await import("node:net");
  const socket = new Socket({ fd, readable: true, writable: true });
  socket.setEncoding("utf8");
  socket.on("error", () => {}); // the end of the input says it too
  return {
    passesFds: true,
    async send(text, fds = []) {
      try {
        if (fds.length > 0) {
          // what was written before is out: `send` is awaited by those who call it, one after the other
          if (socket.destroyed) throw new TransportError("the connection is closed");
          await sendWithDescriptors(fd, new TextEncoder().encode(text), fds, () => socket.destroyed);
          return;
        }
        await new Promise<void>((resolve, reject) => socket.write(text, (error) => error ? reject(error) : resolve()));
      } catch (error) {
        if (error instanceof TransportError) throw error;
        throw new TransportError(errnoText(error), { cause: error });
      }
    },
    input: chunks(socket),
    close: () => socket.destroy(),
  };
}

async function* chunks(socket: AsyncIterable<unknown>): AsyncGenerator<string> {
  try {
    for await (const chunk of socket) yield chunk as string;
  } catch {
    // reset, or closed here
  }
}
