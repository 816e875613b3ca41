/**
 * Sockets whose number is known, for calls Deno has no name for (splice): Unix sockets, and TCP over IPv4. They come from libc,
 * so this needs `--allow-ffi` without a path; sockets of Deno do not show their number.
 * @module
 */
import dns from "node:dns/promises";
import fs from "node:fs";
import { TransportError } from "../stream/errors.ts";
import { errnoText } from "./errno.ts";
import { lazyLibc } from "./libc.ts";
import { SystemError } from "./scm_rights.ts";
import type { MigrateAddress } from "./transport.ts";

const AF_UNIX = 1;
const AF_INET = 2;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_SNDBUF = 7;
const SO_KEEPALIVE = 9;
const IPPROTO_TCP = 6;
const TCP_CONGESTION = 13;
const UNPACED = new TextEncoder().encode("reno");
const SHUT_RDWR = 2;
const EBADF = 9;
const EAGAIN = 11;
const MSG_NOSIGNAL = 0x4000;
const PATH_BYTES = 108;
const BACKLOG = 256;
const MSG_DONTWAIT = 0x40;
const POLLIN = 1, POLLOUT = 4;
const CLOSED = new TransportError("The recording was closed");

const library = lazyLibc({
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  listen: { parameters: ["i32", "i32"], result: "i32" },
  accept4: { parameters: ["i32", "pointer", "pointer", "i32"], result: "i32" },
  connect: { parameters: ["i32", "buffer", "u32"], result: "i32", nonblocking: true },
  connectNow: { name: "connect", parameters: ["i32", "buffer", "u32"], result: "i32" },
  setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
  poll: { parameters: ["buffer", "usize", "i32"], result: "i32", nonblocking: true },
  getsockname: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  shutdown: { parameters: ["i32", "i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  recv: { parameters: ["i32", "buffer", "usize", "i32"], result: "isize", nonblocking: true },
  send: { parameters: ["i32", "buffer", "usize", "i32"], result: "isize", nonblocking: true },
  recvNow: { name: "recv", parameters: ["i32", "buffer", "usize", "i32"], result: "isize" },
  sendNow: { name: "send", parameters: ["i32", "buffer", "usize", "i32"], result: "isize" },
});

const libc = () => library.calls;
const errno = () => library.errno();

function fail(): never {
  throw new SystemError(errno());
}

/** struct pollfd for one question. */
function pollfd(fd: number, events: number): Uint8Array<ArrayBuffer> {
  const asked = new Uint8Array(8);
  const view = new DataView(asked.buffer);
  view.setInt32(0, fd, true);
  view.setInt16(4, events, true);
  return asked;
}

const check = (result: number): number => result < 0 ? fail() : result;

/** A connected socket. */
export interface FdSocket {
  /**
   * Let another thread work on the number: it stays open, whatever happens here, until the end of that. {@link FdSocket.shut}
   * wakes whoever waits there. @returns call it once the thread is done; undefined when the socket is closed
   */
  lend(): (() => void) | undefined;
  /** Its number. */
  readonly fd: number;
  /** Wait for bytes. @returns 0 at the end, and when it was reset or shut */
  read(view: Uint8Array<ArrayBuffer>): Promise<number>;
  /** Send all of them. @returns false when the other side is gone */
  write(view: Uint8Array<ArrayBuffer>): Promise<boolean>;
  /** As {@link FdSocket.read}, but a reset is an error. @throws {SystemError} */
  pull(view: Uint8Array<ArrayBuffer>): Promise<number>;
  /** As {@link FdSocket.write}, but with the reason. @throws {SystemError} */
  push(view: Uint8Array<ArrayBuffer>): Promise<void>;
  /** Whoever waits on it wakes up; bytes that are under way are dropped. */
  shut(): void;
  /** Give the number back. Afterwards reading gives 0, writing false, and shutting does nothing. */
  close(): void;
}

/** A listening one. */
export interface FdListener {
  /** Port of a TCP socket; 0 has become a number. */
  readonly port: number | undefined;
  /** @throws {TransportError} once it is closed */
  accept(): Promise<FdSocket>;
  close(): void;
}

/** Bytes of a socket address; undefined for one this module does not reach. */
async function encode(address: MigrateAddress): Promise<Uint8Array<ArrayBuffer> | undefined> {
  if (!("type" in address)) return undefined;
  if (address.type === "unix") {
    const path = new TextEncoder().encode(String(address.path));
    if (address.abstract || path.length >= PATH_BYTES) return undefined;
    const bytes = new Uint8Array(2 + PATH_BYTES);
    bytes[0] = AF_UNIX;
    bytes.set(path, 2);
    return bytes;
  }
  if (address.type !== "inet" || address.ipv6 || !/^\d+$/.test(address.port)) return undefined;
  const found = await dns.lookup(address.host, { family: 4 }).catch(() => undefined);
  if (!found) return undefined;
  const bytes = new Uint8Array(16);
  bytes[0] = AF_INET;
  new DataView(bytes.buffer).setUint16(2, Number(address.port));
  bytes.set(found.address.split(".").map(Number), 4);
  return bytes;
}

/** Keep-alive probes on a TCP socket. */
export function keepAlive({ fd }: FdSocket): void {
  libc().setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, Uint8Array.of(1, 0, 0, 0), 4);
}

/** Let up to so many bytes wait in a socket for its other side; the system may allow less. */
export function roomToSend({ fd }: FdSocket, bytes: number): void {
  libc().setsockopt(fd, SOL_SOCKET, SO_SNDBUF, new Uint8Array(Int32Array.of(bytes).buffer), 4);
}

/**
 * Once closed its number may be somebody else's at once: nothing is asked of it any more. A call that is under way keeps it
 * open until it has come back.
 */
class OpenSocket implements FdSocket {
  #closed = false;
  #busy = 0;

  constructor(readonly fd: number) {}

  async read(view: Uint8Array<ArrayBuffer>): Promise<number> {
    const got = await this.#call(() => libc().recv(this.fd, view, BigInt(view.length), 0));
    return Math.max(0, got);
  }

  async write(view: Uint8Array<ArrayBuffer>): Promise<boolean> {
    for (let done = 0; done < view.length;) {
      const rest = view.subarray(done);
      const sent = await this.#call(() => libc().send(this.fd, rest, BigInt(rest.length), MSG_NOSIGNAL));
      if (sent <= 0) return false;
      done += sent;
    }
    return true;
  }

  async pull(view: Uint8Array<ArrayBuffer>): Promise<number> {
    for (;;) {
      if (this.#closed) throw new SystemError(EBADF);
      const got = Number(libc().recvNow(this.fd, view, BigInt(view.length), MSG_DONTWAIT));
      if (got >= 0) return got;
      await this.#again(POLLIN);
    }
  }

  async push(view: Uint8Array<ArrayBuffer>): Promise<void> {
    for (let done = 0; done < view.length;) {
      if (this.#closed) throw new SystemError(EBADF);
      const rest = done ? view.subarray(done) : view;
      const sent = Number(libc().sendNow(this.fd, rest, BigInt(rest.length), MSG_NOSIGNAL | MSG_DONTWAIT));
      if (sent < 0) await this.#again(POLLOUT);
      else done += sent;
    }
  }

  /** A call would have had to wait: wait in its place. @throws {SystemError} when it was something else */
  async #again(events: number): Promise<void> {
    const code = errno();
    if (code !== EAGAIN) throw new SystemError(code);
    await this.#call(() => libc().poll(pollfd(this.fd, events), 1n, -1));
  }

  lend(): (() => void) | undefined {
    if (this.#closed) return undefined;
    this.#busy++;
    let lent = true;
    return () => {
      if (!lent) return;
      lent = false;
      if (--this.#busy === 0 && this.#closed) libc().close(this.fd);
    };
  }

  /** @returns -1 when the socket is closed */
  async #call(call: () => Promise<number | bigint>): Promise<number> {
    const done = this.lend();
    if (!done) return -1;
    try {
      return Number(await call());
    } finally {
      done();
    }
  }

  shut(): void {
    if (!this.#closed) libc().shutdown(this.fd, SHUT_RDWR);
  }

  close(): void {
    if (this.#closed) return;
    if (this.#busy > 0) this.shut(); // whoever waits comes back
    this.#closed = true;
    if (this.#busy === 0) libc().close(this.fd);
  }
}

/** Whether this module can connect there. */
export async function reaches(address: MigrateAddress): Promise<boolean> {
  return await encode(address) !== undefined;
}

/** Connect. @throws {TransportError} with the transports' words */
export async function connectFd(address: MigrateAddress): Promise<FdSocket> {
  const name = await encode(address);
  if (!name) throw new TypeError("an address this module does not reach");
  try {
    return await connectName(name);
  } catch (error) {
    const { path, host, port } = address as { path?: string; host?: string; port?: string };
    throw new TransportError(`Failed to connect to '${path ?? `${host}:${port}`}': ${errnoText(error)}`, {
      cause: error,
    });
  }
}

/**
 * A socket for a connection to a name. Within this machine TCP is not paced: a congestion control that works by timers, as BBR does,
 * takes about twice as long there, and there is no network to spare. It is said before connecting, as timers once begun go on. To
 * other machines everything stays as the system has it.
 */
function socketTo(name: Uint8Array<ArrayBuffer>): number {
  const fd = check(libc().socket(name[0], SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (name[0] === AF_INET && name[4] === 127) {
    libc().setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, UNPACED, UNPACED.length);
  }
  return fd;
}

/** Connect to a name as the kernel has it: struct sockaddr, of whichever family. @throws {SystemError} */
export async function connectName(name: Uint8Array<ArrayBuffer>): Promise<FdSocket> {
  const fd = socketTo(name);
  if (await libc().connect(fd, name, name.length) === 0) return new OpenSocket(fd);
  // errno belonged to the thread that called; on this one the refusal comes again, and at once
  libc().close(fd);
  const again = socketTo(name);
  try {
    if (libc().connectNow(again, name, name.length) === 0) return new OpenSocket(again);
    fail();
  } catch (error) {
    libc().close(again);
    throw error;
  }
}

/** Listen; a Unix socket is its owner's alone. @returns undefined where this module does not reach @throws {TransportError} */
export async function listenFd(address: MigrateAddress): Promise<FdListener | undefined> {
  const name = await encode(address);
  if (!name) return undefined;
  const path = name[0] === AF_UNIX ? (address as { path: string }).path : undefined;
  try {
    if (path !== undefined && fs.lstatSync(path, { throwIfNoEntry: false })?.isSocket()) fs.unlinkSync(path);
    return listenName(name, path);
  } catch (error) {
    const where = path ?? `${(address as { host: string }).host}:${(address as { port: string }).port}`;
    throw new TransportError(`Failed to bind socket to ${where}: ${errnoText(error)}`, { cause: error });
  }
}

/**
 * Listen at a name as the kernel has it: struct sockaddr, of whichever family.
 * @param path of a Unix socket: only its owner may connect, and closing removes it
 * @throws {SystemError}
 */
export function listenName(name: Uint8Array<ArrayBuffer>, path?: string): FdListener {
  const fd = check(libc().socket(name[0], SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  try {
    const yes = Uint8Array.of(1, 0, 0, 0);
    if (path === undefined) check(libc().setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, yes, 4));
    check(libc().bind(fd, name, name.length));
    if (path !== undefined) fs.chmodSync(path, 0o600); // before anybody can connect
    check(libc().listen(fd, BACKLOG));
  } catch (error) {
    libc().close(fd);
    throw error;
  }
  return new WaitingListener(fd, path);
}

/**
 * What takes a path away that stands there now, and leaves alone what somebody else has put in its place since: a second
 * listener at the same path.
 */
export function removerOf(path: string): () => void {
  const ours = fs.lstatSync(path, { bigint: true });
  return () => {
    const there = fs.lstatSync(path, { bigint: true, throwIfNoEntry: false });
    if (there?.ino === ours.ino && there.dev === ours.dev) fs.rmSync(path, { force: true });
  };
}

class WaitingListener implements FdListener {
  readonly port: number | undefined;
  readonly #remove: (() => void) | undefined;
  #open = true;
  #waiting = 0;

  constructor(private readonly fd: number, path: string | undefined) {
    this.#remove = path === undefined ? undefined : removerOf(path);
    if (path !== undefined) return;
    const name = new Uint8Array(28); // an IPv6 one; the port stands at the same place in both
    check(libc().getsockname(fd, name, Uint8Array.of(name.length, 0, 0, 0)));
    this.port = new DataView(name.buffer).getUint16(2);
  }

  async accept(): Promise<FdSocket> {
    while (this.#open) {
      const fd = libc().accept4(this.fd, null, null, SOCK_CLOEXEC);
      if (fd >= 0) return new OpenSocket(fd);
      const error = errno();
      if (error !== EAGAIN) {
        throw new TransportError(`Unable to accept connection: ${errnoText(new SystemError(error))}`);
      }
      await this.#wait();
    }
    throw CLOSED;
  }

  /** Until somebody connects, or this is closed. */
  async #wait(): Promise<void> {
    this.#waiting++;
    await libc().poll(pollfd(this.fd, POLLIN), 1n, -1);
    if (--this.#waiting === 0 && !this.#open) libc().close(this.fd);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#remove?.();
    if (this.#waiting > 0) libc().shutdown(this.fd, SHUT_RDWR); // whoever waits comes back, and gives the number back
    else libc().close(this.fd);
  }
}
