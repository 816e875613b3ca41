/**
 * Writing a file while its bytes are still being made: buffers to fill, each with a list of the pieces of it that belong
 * into the file, written by a Worker through a handle of its own, each piece at its own position.
 *
 *     pieces   Float64, three a piece: begin in the buffer, length, position in the file
 *
 * Making 1 GiB takes 0.3 s, writing it to memory 0.4 s; together no more than the longer.
 * @module
 */
import type { ByteSink } from "../stream/channel.ts";
import { FREE, FULL, Ring, type RingMemory } from "./ring.ts";

const BUFFERS = 4;
/** Pieces of one buffer at most: runs of pages between holes. */
export const PIECES = 512;

/** What the Worker is told. */
export interface WriteBehindStart extends RingMemory {
  readonly path: string;
  readonly pieces: SharedArrayBuffer;
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
   * @throws or rejects when writing failed
   */
  next(): void | Promise<void>;
  /** Wait until everything listed is in the file. Rejects when writing failed. */
  drain(): Promise<void>;
}

/** Pieces written by a Worker. */
export class WriteBehind implements PieceWriter {
  readonly #ring: Ring;
  readonly #pieces: Float64Array<SharedArrayBuffer>;
  #current = 0;
  #listed = 0;

  /**
   * Begin to write.
   * @param path   of a file that exists and may be written
   * @param size   bytes of a buffer
   * @param failed makes the error to throw of the system's, which carries its `code`
   * @throws where Workers are not allowed
   */
  constructor(path: string, size: number, failed: (error: Error) => Error) {
    const pieces = new SharedArrayBuffer(BUFFERS * PIECES * 24);
    this.#pieces = new Float64Array(pieces);
    this.#ring = new Ring(BUFFERS, size, failed);
    const worker = new Worker(new URL("./write_behind_worker.ts", import.meta.url), { type: "module" });
    this.#ring.begin(worker, { ...this.#ring.memory, path, pieces } satisfies WriteBehindStart);
  }

  get buffer(): Uint8Array<ArrayBuffer> {
    return this.#ring.buffers[this.#current];
  }

  list(begin: number, length: number, position: number): void {
    const at = (this.#current * PIECES + this.#listed++) * 3;
    this.#pieces[at] = begin;
    this.#pieces[at + 1] = length;
    this.#pieces[at + 2] = position;
  }

  next(): void | Promise<void> {
    if (this.#listed > 0) {
      this.#ring.give(this.#current, FULL, this.#listed);
      this.#listed = 0;
      this.#current = (this.#current + 1) % BUFFERS;
    }
    return this.#ring.until(this.#current, FREE);
  }

  async drain(): Promise<void> {
    await this.next();
    for (let i = 0; i < BUFFERS; i++) await this.#ring.until(i, FREE);
  }

  /** End the Worker. */
  [Symbol.dispose](): void {
    this.#ring[Symbol.dispose]();
  }
}

/** Pieces written at once, by whoever lists them. */
export class WriteAtOnce implements PieceWriter {
  readonly buffer: Uint8Array<ArrayBuffer>;
  readonly #pieces = new Float64Array(PIECES * 3);
  #listed = 0;

  /** @param size bytes of the buffer */
  constructor(private readonly write: (view: Uint8Array, position: number) => void, size: number) {
    this.buffer = new Uint8Array(size);
  }

  list(begin: number, length: number, position: number): void {
    const at = this.#listed++ * 3;
    this.#pieces[at] = begin;
    this.#pieces[at + 1] = length;
    this.#pieces[at + 2] = position;
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

/**
 * What a stream's writer wants of its sink: full buffers in exchange for empty ones, written one behind the other.
 * @param start position in the file of the first byte
 */
export function exchangeInto(pieces: PieceWriter, start: number): NonNullable<ByteSink["exchange"]> {
  let position = start;
  return (filled, length) => {
    if (filled) pieces.list(0, length, position);
    position += length;
    const full = pieces.next();
    return full ? full.then(() => pieces.buffer) : pieces.buffer;
  };
}
