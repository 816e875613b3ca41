/**
 * Unix sockets that carry descriptors: the only door is libc, so this needs `--allow-ffi` without a path.
 *
 *     msghdr   56 bytes: iov pointer at 16, count u64 at 24, control pointer at 32, control length u64 at 40
 *     iovec    pointer, u64
 *     cmsghdr  u64 length (16 + 4n), i32 level SOL_SOCKET, i32 type SCM_RIGHTS, i32 descriptors, padded to 8
 *
 * Layouts are those of 64-bit Linux. A socket made here shows its number, so that node:net can read and write it while
 * `sendmsg` sends on it too; sockets of Deno.connect do not show theirs.
 * @module
 */
import { CommandError, TransportError } from "../stream/errors.ts";
import { lazyLibc } from "./libc.ts";

const AF_UNIX = 1;
const SOCK_STREAM_NONBLOCK_CLOEXEC = 1 | 0o4000 | 0o2000000;
const MSG_NOSIGNAL = 0x4000;
const EAGAIN = 11;
const RETRY_MS = 5;

/** Longest path a socket address holds, its NUL included. */
const PATH_BYTES = 108;

const library = lazyLibc({
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  connect: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  sendmsg: { parameters: ["i32", "buffer", "i32"], result: "isize" },
  close: { parameters: ["i32"], result: "i32" },
});

const libc = () => library.calls;
const errno = () => library.errno();

/** Whether this program may send descriptors: nothing is asked. */
export function canPassDescriptors(): boolean {
  return Deno.build.os === "linux" && Deno.permissions.querySync({ name: "ffi" }).state === "granted";
}

/**
 * Connect to a Unix socket.
 * @param until `performance.now()` at which to give up while the other side has no room for a further client
 * @returns the descriptor, close-on-exec and non-blocking
 * @throws {SystemError} with the errno
 */
export async function connectUnix(path: string, until: number): Promise<number> {
  const name = new TextEncoder().encode(path);
  if (name.length >= PATH_BYTES) throw new CommandError(`UNIX socket path '${path}' is too long`);
  const address = new Uint8Array(2 + PATH_BYTES);
  new DataView(address.buffer).setUint16(0, AF_UNIX, true);
  address.set(name, 2);
  const fd = libc().socket(AF_UNIX, SOCK_STREAM_NONBLOCK_CLOEXEC, 0);
  if (fd < 0) throw new SystemError(errno());
  while (libc().connect(fd, address, address.length) < 0) {
    const code = errno();
    if (code !== EAGAIN || performance.now() > until) {
      libc().close(fd);
      throw new SystemError(code);
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
  return fd;
}

/** A call failed. */
export class SystemError extends Error {
  /** Name of the class. */
  override name = "SystemError";
  /** @param errno its number on Linux */
  constructor(readonly errno: number) {
    super(`errno ${errno}`);
  }
}

/**
 * Send bytes with descriptors; the first byte carries them.
 * @param socket a number of {@link connectUnix}
 * @param fds    numbers of this process; they stay open here
 * @param closed asked after each wait: the number may be somebody else's by then
 * @throws {SystemError} with the errno
 * @throws {TransportError} when it was closed meanwhile
 */
export async function sendWithDescriptors(
  socket: number,
  bytes: Uint8Array,
  fds: readonly number[],
  closed: () => boolean = () => false,
): Promise<void> {
  for (let sent = 0; sent < bytes.length;) {
    const n = sendOnce(socket, bytes.subarray(sent), sent === 0 ? fds : []);
    if (n >= 0) {
      sent += n;
      continue;
    }
    const code = errno();
    if (code !== EAGAIN) throw new SystemError(code);
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    if (closed()) throw new TransportError("the connection is closed");
  }
}

function sendOnce(socket: number, bytes: Uint8Array, fds: readonly number[]): number {
  const address = (view: Uint8Array) =>
    Deno.UnsafePointer.value(Deno.UnsafePointer.of(view as Uint8Array<ArrayBuffer>));
  const data = new Uint8Array(bytes); // a copy: its memory is ours until the call returns
  const vector = new Uint8Array(16);
  const vectorView = new DataView(vector.buffer);
  vectorView.setBigUint64(0, BigInt(address(data)), true);
  vectorView.setBigUint64(8, BigInt(data.length), true);
  const control = new Uint8Array(16 + Math.ceil(fds.length * 4 / 8) * 8);
  const controlView = new DataView(control.buffer);
  controlView.setBigUint64(0, BigInt(16 + fds.length * 4), true);
  controlView.setInt32(8, 1, true);
  controlView.setInt32(12, 1, true);
  fds.forEach((fd, index) => controlView.setInt32(16 + index * 4, fd, true));
  const header = new Uint8Array(56);
  const headerView = new DataView(header.buffer);
  headerView.setBigUint64(16, BigInt(address(vector)), true);
  headerView.setBigUint64(24, 1n, true);
  if (fds.length > 0) {
    headerView.setBigUint64(32, BigInt(address(control)), true);
    headerView.setBigUint64(40, BigInt(control.length), true);
  }
  const sent = Number(libc().sendmsg(socket, header, MSG_NOSIGNAL));
  // the three buffers are referenced up to here, so the collector leaves them where they are
  return data.length + vector.length + control.length > 0 ? sent : -1;
}
