/**
 * System calls that move bytes between descriptors without showing them to this program, for the Workers of a recording. They
 * need `--allow-ffi` without a path. A failed call gives the errno as a negative number, as in the kernel.
 * @module
 */

/** `poll(2)` events. */
export const POLLIN = 1;
export const POLLOUT = 4;

export const EIO = 5;
export const EAGAIN = 11;
export const EMFILE = 24;
export const ENOSPC = 28;

const EINTR = 4;
const F_SETFL = 4;
const O_RDWR = 2;
const O_NONBLOCK = 0o4000;
const F_SETPIPE_SZ = 1031;
const O_CLOEXEC = 0o2000000;
const SPLICE_F_NONBLOCK = 2;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const SHUT_RDWR = 2;

const SYMBOLS = {
  pipe2: { parameters: ["buffer", "i32"], result: "i32" },
  fcntl: { parameters: ["i32", "i32", "i32"], result: "i32" },
  poll: { parameters: ["buffer", "usize", "i32"], result: "i32" },
  splice: { parameters: ["i32", "pointer", "i32", "pointer", "usize", "u32"], result: "isize" },
  tee: { parameters: ["i32", "i32", "usize", "u32"], result: "isize" },
  recv: { parameters: ["i32", "buffer", "usize", "i32"], result: "isize" },
  send: { parameters: ["i32", "buffer", "usize", "i32"], result: "isize" },
  read: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  shutdown: { parameters: ["i32", "i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  __errno_location: { parameters: [], result: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

type View = Uint8Array<ArrayBuffer>;

let library: Deno.DynamicLibrary<typeof SYMBOLS>["symbols"] | undefined;

function libc(): Deno.DynamicLibrary<typeof SYMBOLS>["symbols"] {
  return library ??= Deno.dlopen("libc.so.6", SYMBOLS).symbols;
}

/** Repeat a call that a signal interrupted. @returns its result, or -errno */
function ask(call: () => number | bigint): number {
  for (;;) {
    const result = Number(call());
    if (result >= 0) return result;
    const errno = new Deno.UnsafePointerView(libc().__errno_location()!).getInt32();
    if (errno !== EINTR) return -errno;
  }
}

/** A pipe. @param sizes to try, in bytes: not everybody may have large ones @throws when there are no descriptors left */
export function pipe(...sizes: readonly number[]): { readonly read: number; readonly write: number } {
  const ends = new Int32Array(2);
  const result = ask(() => libc().pipe2(new Uint8Array(ends.buffer), O_CLOEXEC));
  if (result < 0) throw new Error(`Cannot make a pipe: errno ${-result}`);
  sizes.some((bytes) => libc().fcntl(ends[1], F_SETPIPE_SZ, bytes) >= 0);
  return { read: ends[0], write: ends[1] };
}

/** Calls on this socket wait for nothing from now on. */
export function neverWait(fd: number): void {
  libc().fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK);
}

/** Move bytes, one side being a pipe; does not wait for the pipe. @returns 0 at the end, or -errno */
export function splice(from: number, to: number, count: number): number {
  return ask(() => libc().splice(from, null, to, null, BigInt(count), SPLICE_F_NONBLOCK));
}

/** Tell a pipe's bytes to another pipe; they stay in the first. @returns -errno when it fails */
export function tee(from: number, to: number, count: number): number {
  return ask(() => libc().tee(from, to, BigInt(count), SPLICE_F_NONBLOCK));
}

/** Receive what is there. @returns 0 at the end, or -errno */
export function receive(fd: number, view: View): number {
  return ask(() => libc().recv(fd, view, BigInt(view.length), MSG_DONTWAIT));
}

/** Send what there is room for. @returns -errno when it fails */
export function send(fd: number, view: View): number {
  return ask(() => libc().send(fd, view, BigInt(view.length), MSG_DONTWAIT | MSG_NOSIGNAL));
}

/** Read from a pipe. @returns 0 at the end, or -errno */
export function read(fd: number, view: View): number {
  return ask(() => libc().read(fd, view, BigInt(view.length)));
}

/** Write to a file or pipe. @returns -errno when it fails */
export function write(fd: number, view: View): number {
  return ask(() => libc().write(fd, view, BigInt(view.length)));
}

/** Whoever waits on this socket wakes up. */
export function shut(fd: number): void {
  libc().shutdown(fd, SHUT_RDWR);
}

/** Give a descriptor back. */
export function close(fd: number): void {
  libc().close(fd);
}

/** Descriptors that are waited for, in the layout of `struct pollfd`; it grows as needed. */
export class PollSet {
  #records = new Int32Array(2 * 16);
  #count = 0;

  /** Ask for nothing. */
  clear(): void {
    this.#count = 0;
  }

  /** Wait for these events of a descriptor too. @returns what to ask {@link PollSet.happened} for */
  add(fd: number, events: number): number {
    if (2 * this.#count === this.#records.length) {
      const larger = new Int32Array(2 * this.#records.length);
      larger.set(this.#records);
      this.#records = larger;
    }
    this.#records[2 * this.#count] = fd;
    this.#records[2 * this.#count + 1] = events;
    return this.#count++;
  }

  /** Whether one of the events happened, or its end, or an error. */
  happened(index: number): boolean {
    return this.#records[2 * index + 1] >>> 16 !== 0;
  }

  /** Wait until one of them happens. */
  wait(): void {
    const records = new Uint8Array(this.#records.buffer);
    ask(() => libc().poll(records, BigInt(this.#count), -1));
  }
}
