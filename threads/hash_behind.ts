/**
 * SHA-256 of a content while it is still being read: the caller fills buffers, a Worker hashes them.
 *
 *     word of a buffer   n > 0: its first n bytes    -n: so many zeros, and the buffer does not matter
 *                        0: that was all; the digest is to be put into the buffer
 *
 * Hashing runs at 1.4 GiB/s, reading at several times that: a Worker a content is worth it, more are not.
 * @module
 */
import { createHash } from "node:crypto";
import { FREE, FULL, Ring } from "./ring.ts";

const BUFFERS = 4;
const DIGEST = 32;
/** Most zeros handed over at once. */
const MOST_ZEROS = 16 << 20;

/** Takes contents piece by piece, one after the other. */
export interface Hasher extends Disposable {
  /** True when a piece can be given at once. */
  readonly ready: boolean;
  /** The buffer to fill; another one after each piece. Only when `ready`. */
  readonly buffer: Uint8Array<ArrayBuffer>;
  /** Wait until it is ready. @throws or rejects when the Worker failed */
  wait(): void | Promise<void>;
  /** So many bytes of the buffer come next. */
  put(length: number): void;
  /** Zeros come next. @returns how many of them were taken */
  zeros(length: number): number;
  /** The content is complete. @returns its SHA-256 in hex; what is put now begins another */
  digest(): Promise<string>;
}

/** Hashed by a Worker. */
export class HashBehind implements Hasher {
  readonly #ring: Ring;
  #current = 0;

  /** @param size bytes of a buffer @throws where Workers are not allowed */
  constructor(size: number) {
    this.#ring = new Ring(BUFFERS, size, (error) => error);
    const worker = new Worker(new URL("./hash_worker.ts", import.meta.url), { type: "module" });
    this.#ring.begin(worker, this.#ring.memory);
  }

  get ready(): boolean {
    return this.#ring.is(this.#current, FREE);
  }

  get buffer(): Uint8Array<ArrayBuffer> {
    return this.#ring.buffers[this.#current];
  }

  wait(): void | Promise<void> {
    return this.#ring.until(this.#current, FREE);
  }

  put(length: number): void {
    this.#give(length);
  }

  zeros(length: number): number {
    const taken = Math.min(length, MOST_ZEROS);
    this.#give(-taken);
    return taken;
  }

  async digest(): Promise<string> {
    await this.wait();
    const index = this.#current;
    this.#give(0);
    await this.#ring.until(index, FREE);
    return this.#ring.buffers[index].slice(0, DIGEST).toHex();
  }

  [Symbol.dispose](): void {
    this.#ring[Symbol.dispose]();
  }

  #give(word: number): void {
    this.#ring.give(this.#current, FULL, word);
    this.#current = (this.#current + 1) % BUFFERS;
  }
}

/** Hashed by whoever gives it. */
export class HashAtOnce implements Hasher {
  readonly ready = true;
  readonly buffer: Uint8Array<ArrayBuffer>;
  readonly #zeros: Uint8Array<ArrayBuffer>;
  #hash = createHash("sha256");

  /** @param size bytes of the buffer */
  constructor(size: number) {
    this.buffer = new Uint8Array(size);
    this.#zeros = new Uint8Array(size);
  }

  wait(): void {}

  put(length: number): void {
    this.#hash.update(this.buffer.subarray(0, length));
  }

  zeros(length: number): number {
    const taken = Math.min(length, this.#zeros.length);
    this.#hash.update(this.#zeros.subarray(0, taken));
    return taken;
  }

  digest(): Promise<string> {
    const digest = this.#hash.digest("hex");
    this.#hash = createHash("sha256");
    return Promise.resolve(digest);
  }

  [Symbol.dispose](): void {}
}
