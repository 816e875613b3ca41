/**
 * Reading and writing at the same time: a ring of buffers between whoever fills them and a Worker that writes them to the
 * file through a handle of its own, each piece at its own position.
 *
 *     filler   fills buffer k, lists its pieces --FULL--> Worker writes them --FREE--> filler fills it again
 *     control  Int32 a buffer: state, number of pieces
 *     pieces   Float64 a piece: begin in the buffer, length, position in the file
 *
 * Copying 1 GiB takes 0.3 s of reading and 0.4 s of writing; together no more than the longer.
 * @module
 */
import { TransportError } from "../stream/errors.ts";

/** States of a buffer. */
export const FREE = 0, FULL = 1, FAILED = 2, STOP = 3;
const BUFFERS = 4;
/** Pieces of one buffer at most: runs of pages between holes. */
export const PIECES = 512;

/** What the Worker is told. */
export interface WriteBehindStart {
  readonly path: string;
  readonly control: SharedArrayBuffer;
  readonly pieces: SharedArrayBuffer;
  readonly staging: SharedArrayBuffer;
  /** Bytes of one buffer. */
  readonly size: number;
}

/** A buffer to fill, and the list of what is to be written of it. */
export interface PieceWriter extends Disposable {
  /** The buffer to fill. Another one after `next`. */
  readonly buffer: Uint8Array<ArrayBuffer>;
  /** A piece of the buffer is to be written; it must stay as it is until `next`. At most {@link PIECES} of one buffer. */
  list(begin: number, length: number, position: number): void;
  /**
   * Hand over what is listed and go on with another buffer.
   * @returns something to await where all are full
   * @throws {TransportError} when writing failed
   */
  next(): void | Promise<void>;
  /** Wait until everything listed is in the file. @throws {TransportError} when writing failed */
  drain(): Promise<void>;
}

/** Pieces written by a Worker. */
export class WriteBehind implements PieceWriter {
  readonly #worker: Worker;
  readonly #control: Int32Array<SharedArrayBuffer>;
  readonly #pieces: Float64Array<SharedArrayBuffer>;
  readonly #buffers: Uint8Array<ArrayBuffer>[];
  #current = 0;
  #listed = 0;
  #failure?: Error;

  /**
   * @param path  of a file that exists and may be written
   * @param shown its name in errors
   * @param size  bytes of a buffer
   */
  constructor(path: string, private readonly shown: string, size: number) {
    const control = new SharedArrayBuffer(BUFFERS * 8);
    const pieces = new SharedArrayBuffer(BUFFERS * PIECES * 24);
    const staging = new SharedArrayBuffer(BUFFERS * size);
    this.#control = new Int32Array(control);
    this.#pieces = new Float64Array(pieces);
    this.#buffers = Array.from(
      { length: BUFFERS },
      (_, i) => new Uint8Array(staging as unknown as ArrayBuffer, i * size, size),
    );
    this.#worker = new Worker(new URL("./write_behind_worker.ts", import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data }) => this.#failure ??= this.#failed(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#failure ??= this.#failed(event.message);
      for (let i = 0; i < BUFFERS; i++) this.#set(i, FAILED);
    };
    this.#worker.postMessage({ path, control, pieces, staging, size } satisfies WriteBehindStart);
  }

  get buffer(): Uint8Array<ArrayBuffer> {
    return this.#buffers[this.#current];
  }

  list(begin: number, length: number, position: number): void {
    const at = (this.#current * PIECES + this.#listed++) * 3;
    this.#pieces[at] = begin;
    this.#pieces[at + 1] = length;
    this.#pieces[at + 2] = position;
  }

  next(): void | Promise<void> {
    if (this.#listed > 0) {
      this.#control[this.#current * 2 + 1] = this.#listed;
      this.#listed = 0;
      this.#set(this.#current, FULL);
      this.#current = (this.#current + 1) % BUFFERS;
    }
    if (Atomics.load(this.#control, this.#current * 2) !== FREE) return this.#free(this.#current);
  }

  async drain(): Promise<void> {
    await this.next();
    for (let i = 0; i < BUFFERS; i++) await this.#free(i);
  }

  /** End the Worker. */
  [Symbol.dispose](): void {
    for (let i = 0; i < BUFFERS; i++) this.#set(i, STOP);
    this.#worker.terminate();
  }

  #set(index: number, state: number): void {
    Atomics.store(this.#control, index * 2, state);
    Atomics.notify(this.#control, index * 2);
  }

  #failed(reason: string): Error {
    return new TransportError(`Could not write '${this.shown}': ${reason}`);
  }

  async #free(index: number): Promise<void> {
    for (;;) {
      const state = Atomics.load(this.#control, index * 2);
      if (state === FREE) return;
      if (state === FAILED) {
        // the reason comes by message, right behind the flag
        while (!this.#failure) await new Promise((resolve) => setTimeout(resolve, 1));
        throw this.#failure;
      }
      const wait = Atomics.waitAsync(this.#control, index * 2, state);
      if (wait.async) await wait.value;
    }
  }
}

/** Pieces written at once, by whoever lists them. */
export class WriteAtOnce implements PieceWriter {
  readonly buffer: Uint8Array<ArrayBuffer>;
  readonly #pieces = new Float64Array(PIECES * 3);
  #listed = 0;

  constructor(private readonly write: (view: Uint8Array, position: number) => void, size: number) {
    this.buffer = new Uint8Array(size);
  }

  list(begin: number, length: number, position: number): void {
    this.#pieces.set([begin, length, position], this.#listed++ * 3);
  }

  next(): void {
    for (let i = 0; i < this.#listed; i++) {
      const begin = this.#pieces[i * 3], length = this.#pieces[i * 3 + 1];
      const whole = length === this.buffer.length;
      this.write(whole ? this.buffer : this.buffer.subarray(begin, begin + length), this.#pieces[i * 3 + 2]);
    }
    this.#listed = 0;
  }

  drain(): Promise<void> {
    this.next();
    return Promise.resolve();
  }

  [Symbol.dispose](): void {}
}
