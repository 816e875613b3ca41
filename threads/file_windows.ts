/**
 * The bytes of a file to look at, a window at a time.
 *
 *     mapped   the pages of the kernel's cache themselves; MADV_POPULATE_READ (Linux 5.14) makes them present
 *     read     a copy, where mapping is not to be had
 *
 * To touch a mapped page that its file has lost ends the process (SIGBUS). So a window is mapped and looked at only while this
 * process holds a lease on the file (fcntl(2), F_SETLEASE): whoever opens the file for writing or cuts it waits until the lease
 * is given back, some milliseconds later. The kernel refuses one while the file is open for writing anywhere, where the file is
 * somebody else's, and on file systems without leases; windows are read then. An error of the disk is told by madvise(2), not
 * by the touch. Nothing else runs in this thread during a look, so it cannot wait for itself.
 *
 * Needs FFI and is left out where that is not allowed; no permission is ever asked for.
 * @module
 */
import fs from "node:fs";

/** Most bytes of one window. */
export const WINDOW_BYTES = 8 << 20;
/** Mappings begin at multiples of the largest page any kernel uses. */
const ALIGNMENT = 1 << 16;
const ROOM = BigInt(WINDOW_BYTES + ALIGNMENT);

const PROT_NONE = 0, PROT_READ = 1, MAP_SHARED = 1, MAP_PRIVATE = 2, MAP_FIXED = 0x10, MAP_ANONYMOUS = 0x20;
const MADV_POPULATE_READ = 22;
const F_SETSIG = 10, F_SETLEASE = 1024, F_RDLCK = 0n, F_UNLCK = 2n;
/** Told to this process when somebody waits for the lease; without F_SETSIG it were SIGIO, which ends it. */
const SIGURG = 23n;

const SYMBOLS = {
  fcntl: { parameters: ["i32", "i32", "i64"], result: "i32" },
  mmap: { parameters: ["usize", "usize", "i32", "i32", "i32", "i64"], result: "isize" },
  munmap: { parameters: ["usize", "usize"], result: "i32" },
  madvise: { parameters: ["usize", "usize", "i32"], result: "i32" },
} as const;
type Calls = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

/** Sees the bytes of a window from `at` of the view on, `length` of them. The view must not be kept. */
export type Look<T> = (view: DataView, at: number, length: number) => T;

/** Windows of one open file, which stays open as long as this is used. */
export class FileWindows implements Disposable {
  readonly #fd: number;
  readonly #calls: Calls;
  /** False once a lease was refused, or a mapping. */
  #mapping: boolean;
  /** Where windows are mapped, one after the other: V8 takes what a view is over for its own load, so there is one view. */
  #address = 0n;
  #mapped: DataView<ArrayBuffer> | undefined;
  #copy: DataView<ArrayBuffer> | undefined;

  private constructor(fd: number, calls: Calls) {
    this.#fd = fd;
    this.#calls = calls;
    this.#mapping = calls.fcntl(fd, F_SETSIG, SIGURG) === 0;
  }

  /** Over an open file; undefined where FFI may not be used. */
  static over(fd: number): FileWindows | undefined {
    try {
      if (Deno.permissions.querySync({ name: "ffi" }).state !== "granted") return undefined;
      return new FileWindows(fd, Deno.dlopen("libc.so.6", SYMBOLS).symbols);
    } catch {
      return undefined;
    }
  }

  /**
   * Look at what the file has from `position` on.
   * @param length at most {@link WINDOW_BYTES}; less is seen where the file ends, nothing where it cannot be read
   */
  look<T>(position: number, length: number, see: Look<T>): T {
    if (this.#mapping) this.#mapping = this.#calls.fcntl(this.#fd, F_SETLEASE, F_RDLCK) === 0;
    if (!this.#mapping) return this.#lookAtCopy(position, length, see);
    try {
      const there = Math.min(length, fs.fstatSync(this.#fd).size - position);
      const before = position % ALIGNMENT;
      if (there <= 0) return see(this.#room(), 0, 0);
      this.#mapping = this.#map(position - before, before + there);
      if (this.#mapping) return see(this.#mapped!, before, there);
    } finally {
      this.#calls.fcntl(this.#fd, F_SETLEASE, F_UNLCK);
    }
    return this.#lookAtCopy(position, length, see);
  }

  /** Give everything back but the file. */
  [Symbol.dispose](): void {
    if (this.#mapped) this.#calls.munmap(this.#address, ROOM);
    this.#mapped = undefined;
    this.#mapping = false;
  }

  #map(begin: number, bytes: number): boolean {
    const { mmap, madvise } = this.#calls;
    if (!this.#mapped) {
      this.#address = BigInt(mmap(0n, ROOM, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0n));
      if (this.#address === -1n) return false;
      const room = Deno.UnsafePointerView.getArrayBuffer(Deno.UnsafePointer.create(this.#address)!, Number(ROOM));
      this.#mapped = new DataView(room);
    }
    const length = BigInt(bytes);
    const address = mmap(this.#address, length, PROT_READ, MAP_SHARED | MAP_FIXED, this.#fd, BigInt(begin));
    if (BigInt(address) === this.#address) return madvise(this.#address, length, MADV_POPULATE_READ) === 0;
    this.#mapped = undefined; // what is there now may be anybody's
    return false;
  }

  #lookAtCopy<T>(position: number, length: number, see: Look<T>): T {
    const copy = this.#room();
    let got = 0;
    try {
      got = fs.readSync(this.#fd, copy, 0, length, position);
    } catch {
      // whoever reads it in order will say what is wrong there
    }
    return see(copy, 0, got);
  }

  #room(): DataView<ArrayBuffer> {
    return this.#copy ??= new DataView(new ArrayBuffer(WINDOW_BYTES));
  }
}
