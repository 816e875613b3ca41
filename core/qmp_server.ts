/**
 * A session behind a QMP socket, for any QMP client. Several may be connected at once, each negotiates for itself; names
 * given with `getfd` belong to one connection. Descriptors cannot be received: `add-fd` and `getfd` say there was none.
 * @module
 */
import { CommandError } from "../stream/errors.ts";
import { transportOf } from "./address.ts";
import { QmpConnection } from "./qmp.ts";
import { parseQmpAddress } from "./qmp_wire.ts";
import type { Session } from "./session.ts";
import type { Channel, Listener, MigrateAddress } from "./transport.ts";

/** Bytes of answers and events a client may leave unread before it is dropped. */
const MAX_UNREAD = 16 << 20;

/** A socket that answers QMP. */
export interface QmpServer extends AsyncDisposable {
  /** Where it listens: "unix:/run/vm.qmp", "tcp:127.0.0.1:4444"; port 0 has become a number. */
  readonly address: string;
  /** Clients connected now. */
  readonly clients: number;
  /** Resolves when the session was told to quit, or the server was closed; what clients asked is answered by then. */
  readonly ended: Promise<void>;
  /** Stop listening and hang up. */
  close(): Promise<void>;
}

/**
 * Listen for QMP clients. A Unix socket is its owner's alone.
 * @param address unix:PATH, a path, or tcp:HOST:PORT
 * @throws {CommandError} {TransportError} when nothing can listen there
 */
export function serveQmp(session: Session, address: string): QmpServer {
  const where = parseQmpAddress(address);
  const place: MigrateAddress = "path" in where
    ? { transport: "socket", type: "unix", path: where.path }
    : { transport: "socket", type: "inet", host: where.host, port: String(where.port) };
  const transport = transportOf(place, session.transports);
  const nothing = { takeNamedFd: () => undefined, fdset: () => undefined, warn: () => {}, report: () => {} };
  const listener = transport.listen(place, nothing);
  return new Server(session, listener, nameOf(listener.addresses?.[0] ?? place));
}

/** An address a client takes. */
function nameOf(address: MigrateAddress): string {
  if ("type" in address && address.type === "unix") return `unix:${address.path}`;
  const { host, port } = address as { host: string; port: string };
  return `tcp:${host.includes(":") ? `[${host}]` : host}:${port}`;
}

class Server implements QmpServer {
  readonly #connections = new Set<ServedClient>();
  readonly #end = Promise.withResolvers<void>();
  #closing: Promise<void> | undefined;

  constructor(private readonly session: Session, private readonly listener: Listener, readonly address: string) {
    this.#accept();
  }

  get clients(): number {
    return this.#connections.size;
  }

  get ended(): Promise<void> {
    return this.#end.promise;
  }

  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    this.listener.close();
    await Promise.all([...this.#connections].map((one) => one.close()));
    this.#end.resolve();
  }

  async #accept(): Promise<void> {
    while (!this.#closing) {
      let channel: Channel;
      try {
        channel = await this.listener.accept();
      } catch {
        return void this.close(); // closed, or nothing can be accepted any more
      }
      const client = new ServedClient(this.session, channel);
      this.#connections.add(client);
      client.run().finally(() => {
        this.#connections.delete(client);
        if (this.session.exitStatus !== undefined) this.close();
      });
    }
  }
}

/** One client. */
class ServedClient {
  readonly #channel: Channel;
  readonly #session: Session;
  readonly #qmp: QmpConnection;
  #unread = 0;
  #writes: Promise<void> = Promise.resolve();

  constructor(session: Session, channel: Channel) {
    this.#session = session;
    this.#channel = channel;
    this.#qmp = new QmpConnection(session, (line) => this.#send(line));
  }

  /** Answer until either side hangs up. */
  async run(): Promise<void> {
    const decoder = new TextDecoder();
    const buffer = new Uint8Array(64 << 10);
    try {
      while (this.#session.exitStatus === undefined) {
        const got = await this.#channel.read!(buffer);
        if (got === 0) break;
        this.#qmp.feed(decoder.decode(buffer.subarray(0, got), { stream: true }));
        // no further question before the answers are out
        await this.#qmp.idle;
        await this.#writes;
      }
    } catch (error) {
      if (error instanceof CommandError) throw error;
      // the client is gone
    } finally {
      await this.close();
    }
  }

  async close(): Promise<void> {
    this.#qmp.close();
    await this.#writes;
    await this.#channel.close();
  }

  #send(line: string): void {
    const bytes = new TextEncoder().encode(line);
    this.#unread += bytes.length;
    if (this.#unread > MAX_UNREAD) return this.#channel.abort();
    this.#writes = this.#writes.then(async () => {
      await this.#channel.write!(bytes);
      this.#unread -= bytes.length;
    }).catch(() => {}); // reading notices it too
  }
}
