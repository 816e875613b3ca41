/**
 * `unix:PATH`: a Unix stream socket. All behind the colon is the path, commas and `@` too.
 *
 * Listening removes what stood at the path, lets only the owner in, and removes its socket again at the end.
 * QEMU takes paths of 108 bytes (no terminating zero is needed); the system's call here takes 107, so the longest is
 * reached through its directory. Source: QEMU util/qemu-sockets.c (unix_listen_saddr, unix_connect_saddr).
 * @module
 */
import fs from "node:fs";
import { basename, dirname } from "node:path";
import { connectName, listenName, removerOf } from "../core/fd_sockets.ts";
import { errnoName, errnoText, strerror } from "../core/errno.ts";
import type { Channel, Listener, MigrateAddress, Transport } from "../core/transport.ts";
import { CommandError, TransportError } from "../stream/errors.ts";
import { canNumber, numberedChannel, unixName, wantsNumbers } from "./numbered.ts";
import { type Accepting, denoListener, numberedListener, socketChannel, SocketListener } from "./socket.ts";

type UnixAddress = Extract<MigrateAddress, { transport: "socket"; type: "unix" }>;

/** Bytes of `sun_path`. */
const LONGEST = 108;
/** Permission bits a new socket does not get. */
const OWNER_ONLY = 0o177;

/** The `unix:` transport. */
export const unixTransport: Transport = Object.freeze<Transport>({
  scheme: "unix",
  help: "unix:PATH  a Unix socket",
  kind: "socket",
  owns: (address) => address.transport === "socket" && address.type === "unix",

  parse(rest) {
    if (rest === "") throw new CommandError("invalid Unix socket address");
    return { transport: "socket", type: "unix", path: rest };
  },

  format: (address) => `unix:${(address as UnixAddress).path}`,

  connect: (address) => connect(address, false),

  connectExtra: (address) => connect(address, true),

  listen(address, context): Listener {
    const path = checked(address).path || Deno.makeTempFileSync({ prefix: "qemu-socket-" });
    unlink(path);
    let listener: Accepting;
    let remove: () => void;
    try {
      const name = wantsNumbers(context) && unixName(path);
      listener = name ? numberedListener(listenName(name, path)) : denoListener(listenUnder(path));
      remove = removerOf(path);
    } catch (error) {
      throw new TransportError(`Failed to bind socket to ${path}: ${errnoText(error)}`, { cause: error });
    }
    return new SocketListener(listener, [{ transport: "socket", type: "unix", path }], () => {
      try {
        remove();
      } catch {
        // the directory is gone, or no longer ours
      }
    });
  },
});

async function connect(address: MigrateAddress, numbered: boolean): Promise<Channel> {
  const { path } = checked(address);
  const name = numbered && canNumber() && unixName(path);
  try {
    if (name) return numberedChannel(await connectName(name));
    return socketChannel(await throughDirectory(path, (short) => Deno.connect({ transport: "unix", path: short })));
  } catch (error) {
    throw new TransportError(`Failed to connect to '${path}': ${errnoText(error)}`, { cause: error });
  }
}

function checked(address: MigrateAddress): UnixAddress {
  const unix = address as UnixAddress;
  if (unix.abstract) throw new CommandError("Abstract Unix socket addresses are not available here");
  if (new TextEncoder().encode(unix.path).length > LONGEST) {
    throw new CommandError(`UNIX socket path '${unix.path}' is too long`, [`Path must be less than ${LONGEST} bytes`]);
  }
  return unix;
}

function unlink(path: string): void {
  try {
    // unlink(2) refuses a directory; Deno's unlinkSync removes an empty one
    if (fs.lstatSync(path).isDirectory()) throw new Error(strerror("EISDIR"));
    fs.unlinkSync(path);
  } catch (error) {
    if (errnoName(error) === "ENOENT") return;
    throw new TransportError(`Failed to unlink socket ${path}: ${errnoText(error)}`, { cause: error });
  }
}

/**
 * Bind under another name and rename: Deno removes the name it bound some time after it closed a listener that somebody
 * waited on, and would take away the socket that has come in its place.
 */
function listenUnder(path: string): Deno.Listener {
  const bound = `${dirname(path)}/.${crypto.randomUUID().slice(0, 8)}`;
  const listener = throughDirectory(bound, ownerOnly);
  try {
    fs.renameSync(bound, path);
    return listener;
  } catch (error) {
    listener.close();
    throw error;
  }
}

/**
 * Bind with the umask that leaves nothing to others: there is no moment at which they could connect. A program that
 * was not allowed to set the umask (`--allow-sys`) takes the bits away right after.
 */
function ownerOnly(path: string): Deno.Listener {
  const umask = { name: "sys", kind: "umask" } as unknown as Deno.SysPermissionDescriptor;
  if (Deno.permissions.querySync(umask).state !== "granted") {
    const listener = Deno.listen({ transport: "unix", path });
    fs.chmodSync(path, 0o666 & ~OWNER_ONLY);
    return listener;
  }
  const before = Deno.umask(OWNER_ONLY);
  try {
    return Deno.listen({ transport: "unix", path });
  } finally {
    Deno.umask(before);
  }
}

/** Call with the path, or with a short name of it where it is one byte too long for the system's call. */
function throughDirectory<T>(path: string, call: (path: string) => T): T {
  if (new TextEncoder().encode(path).length < LONGEST) return call(path);
  const directory = fs.openSync(dirname(path), fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
  const close = () => fs.closeSync(directory);
  try {
    const result = call(`/proc/self/fd/${directory}/${basename(path)}`);
    if (result instanceof Promise) return result.finally(close) as T;
    close();
    return result;
  } catch (error) {
    close();
    throw error;
  }
}
