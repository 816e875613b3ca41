/**
 * What is kept of bytes on their way: tee(2) tells what waits in one pipe to another (references, not bytes), and from there they
 * move into a file. One pipe serves all connections of a thread, as it is emptied before the next is looked at.
 * @module
 */
import * as sys from "./splice_calls.ts";

/** Bytes told at once: the first that this user's pipes may hold. */
const PIPE_BYTES = [1 << 20, 256 << 10];

/** Where bytes are told. */
export class TellPipe {
  #pipe?: ReturnType<typeof sys.pipe>;

  /** Tell it what waits in a pipe. @returns how many of the bytes, at least one; or -errno */
  take(from: number, count: number): number {
    try {
      this.#pipe ??= sys.pipe(...PIPE_BYTES);
    } catch {
      return -sys.EMFILE;
    }
    return sys.tee(from, this.#pipe.write, count);
  }

  /** Move bytes it was told into a file. @returns how many, or -errno */
  move(file: number, count: number): number {
    return sys.splice(this.#pipe!.read, file, count);
  }

  /** Forget what it was told. */
  close(): void {
    if (!this.#pipe) return;
    sys.close(this.#pipe.read);
    sys.close(this.#pipe.write);
    this.#pipe = undefined;
  }
}

/** The file of one direction. Whatever becomes of it, bytes may pass. */
export class SpliceCopy {
  /** In the file. */
  bytes = 0;
  /** Why not all that passed is in it; 0 when it is. */
  errno = 0;
  #told = 0;

  /** @param file open for writing, -1: nothing is kept @param pipe of this thread */
  constructor(private readonly file: number, private readonly pipe: TellPipe) {}

  /** Hear of the bytes at the head of a pipe. @returns how many may pass now; {@link SpliceCopy.drain} comes before anything else is told */
  hear(from: number, count: number): number {
    if (this.file < 0 || this.errno !== 0) return count;
    const told = this.pipe.take(from, count);
    if (told <= 0) {
      this.#stop(told < 0 ? -told : sys.EIO);
      return count;
    }
    return this.#told = told;
  }

  /** Move what was heard of into the file. */
  drain(): void {
    while (this.#told > 0) {
      const moved = this.pipe.move(this.file, this.#told);
      if (moved <= 0) return this.#stop(moved < 0 ? -moved : sys.ENOSPC); // a full file may take nothing without a word
      this.#told -= moved;
      this.bytes += moved;
    }
  }

  #stop(errno: number): void {
    this.errno = errno;
    this.#told = 0;
    this.pipe.close();
  }
}
