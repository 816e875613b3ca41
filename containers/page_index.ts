/**
 * Where each page of a block lies in a stream: its last copy wins.
 *
 *     code of a page   > 0   offset in the file of a whole page
 *                      < 0   -(k + 1): delta k on top of what the page was before
 *                        0   zero, or never sent; a bit tells them apart
 *
 * Codes are 8 bytes a page and come in chunks; a chunk that has only zero pages keeps 512 bytes of bits, one that nobody sent
 * keeps nothing. A 16 GiB guest full of data takes 32 MiB.
 * @module
 */
import { lastBit } from "../stream/mapped_ram.ts";

/** Pages of one chunk. */
const CHUNK = 4096;

interface IndexChunk {
  codes: Float64Array | undefined;
  /** Bit per page: 1 = sent. */
  readonly sent: Uint8Array;
}

/** All deltas of a stream, each with the code its page had before. */
export class DeltaList {
  #count = 0;
  #position = new Float64Array(256);
  #previous = new Float64Array(256);

  /** Deltas so far. */
  get count(): number {
    return this.#count;
  }

  /**
   * @param position offset in the file of the delta; its be16 length stands right before
   * @param previous code of the page until now
   * @returns the page's new code
   */
  add(position: number, previous: number): number {
    if (this.#count === this.#position.length) {
      this.#position = doubled(this.#position);
      this.#previous = doubled(this.#previous);
    }
    this.#position[this.#count] = position;
    this.#previous[this.#count] = previous;
    return -++this.#count;
  }

  /** Offset of the delta behind a negative code. */
  position(code: number): number {
    return this.#position[-code - 1];
  }

  /** What the page was before the delta behind a negative code. */
  previous(code: number): number {
    return this.#previous[-code - 1];
  }
}

/** The pages of one block. */
export class PageIndex {
  /** Pages whose last copy was data. */
  normalPages = 0;
  /** Pages that were sent at all. */
  sentPages = 0;
  /** Pages of the block. */
  readonly pages: number;
  readonly #deltas: DeltaList;
  readonly #chunks = new Map<number, IndexChunk>();
  #sorted: Float64Array | undefined;
  #number = -1;
  #chunk!: IndexChunk;

  constructor(pages: number, deltas: DeltaList) {
    this.pages = pages;
    this.#deltas = deltas;
  }

  /** A whole page came. @param position offset in the file of its bytes, never 0 */
  place(page: number, position: number): void {
    const chunk = this.#at(page);
    const i = page % CHUNK;
    const codes = chunk.codes ??= new Float64Array(CHUNK);
    if (codes[i] === 0) this.normalPages++;
    codes[i] = position;
    this.#mark(chunk, i);
  }

  /** Whole pages came in a row. @param step bytes in the file from one to the next */
  placeRow(first: number, count: number, position: number, step: number): void {
    for (let done = 0; done < count;) {
      const from = (first + done) % CHUNK, n = Math.min(count - done, CHUNK - from);
      const chunk = this.#at(first + done);
      const codes = chunk.codes ??= new Float64Array(CHUNK);
      for (let i = 0; i < n; i++) {
        if (codes[from + i] === 0) this.normalPages++;
        codes[from + i] = position + (done + i) * step;
      }
      this.#markRow(chunk, from, from + n);
      done += n;
    }
  }

  /** Zero pages came in a row. */
  zeroRow(first: number, count: number): void {
    for (let done = 0; done < count;) {
      const from = (first + done) % CHUNK, n = Math.min(count - done, CHUNK - from);
      const chunk = this.#at(first + done);
      const { codes } = chunk;
      for (let i = from; codes && i < from + n; i++) {
        if (codes[i] === 0) continue;
        codes[i] = 0;
        this.normalPages--;
      }
      this.#markRow(chunk, from, from + n);
      done += n;
    }
  }

  /** A zero page came. */
  zero(page: number): void {
    const chunk = this.#at(page);
    const i = page % CHUNK;
    if (chunk.codes && chunk.codes[i] !== 0) {
      chunk.codes[i] = 0;
      this.normalPages--;
    }
    this.#mark(chunk, i);
  }

  /** A delta came. @param position offset in the file, its be16 length stands right before */
  delta(page: number, position: number): void {
    const chunk = this.#at(page);
    const i = page % CHUNK;
    const codes = chunk.codes ??= new Float64Array(CHUNK);
    if (codes[i] === 0) this.normalPages++;
    codes[i] = this.#deltas.add(position, codes[i]);
    this.#mark(chunk, i);
  }

  /** Pages are gone, as if never sent (POSTCOPY_RAM_DISCARD). Costs no more than what was sent. */
  discard(first: number, count: number): void {
    const end = first + count;
    const from = Math.floor(first / CHUNK), to = Math.ceil(end / CHUNK);
    if (to - from > this.#chunks.size) {
      for (const [number, chunk] of this.#chunks) this.#forget(chunk, first - number * CHUNK, end - number * CHUNK);
      return;
    }
    for (let number = from; number < to; number++) {
      const chunk = this.#chunks.get(number);
      if (chunk) this.#forget(chunk, first - number * CHUNK, end - number * CHUNK);
    }
  }

  /** Code of a page. */
  code(page: number): number {
    return this.#chunks.get(Math.floor(page / CHUNK))?.codes?.[page % CHUNK] ?? 0;
  }

  /** Behind the last page that was sent; 0 when none was. */
  get sentEnd(): number {
    let end = 0;
    for (const [number, { sent }] of this.#chunks) {
      const last = lastBit(sent);
      if (last >= 0) end = Math.max(end, number * CHUNK + last + 1);
    }
    return end;
  }

  /** Whether a page was sent. */
  isSent(page: number): boolean {
    const i = page % CHUNK;
    const chunk = this.#chunks.get(Math.floor(page / CHUNK));
    return chunk !== undefined && (chunk.sent[i >> 3] & 1 << (i & 7)) !== 0;
  }

  /**
   * Pages from `page` on that are data, or are not, as `page` is.
   * @returns their number: positive for data, negative for the rest
   */
  run(page: number): number {
    const data = this.code(page) !== 0;
    let end = page + 1;
    while (end < this.pages) {
      const number = Math.floor(end / CHUNK);
      const chunk = this.#chunks.get(number);
      if (!chunk?.codes) {
        if (data) break;
        end = (chunk ? number + 1 : this.#nextChunk(number)) * CHUNK;
        continue;
      }
      const { codes } = chunk;
      const stop = Math.min(CHUNK, this.pages - number * CHUNK);
      let i = end % CHUNK;
      while (i < stop && (codes[i] !== 0) === data) i++;
      end = number * CHUNK + i;
      if (i < stop) break;
    }
    const count = Math.min(end, this.pages) - page;
    return data ? count : -count;
  }

  /** Number of the first chunk behind one that is not there: a stream can claim a block of any length. */
  #nextChunk(number: number): number {
    const sorted = this.#sorted ??= Float64Array.from(this.#chunks.keys()).sort();
    let low = 0, high = sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sorted[middle] > number) high = middle;
      else low = middle + 1;
    }
    return low < sorted.length ? sorted[low] : Infinity;
  }

  #at(page: number): IndexChunk {
    const number = Math.floor(page / CHUNK);
    if (number === this.#number) return this.#chunk;
    let chunk = this.#chunks.get(number);
    if (!chunk) {
      this.#chunks.set(number, chunk = { codes: undefined, sent: new Uint8Array(CHUNK / 8) });
      this.#sorted = undefined;
    }
    this.#number = number;
    return this.#chunk = chunk;
  }

  #forget(chunk: IndexChunk, from: number, to: number): void {
    for (let i = Math.max(0, from); i < Math.min(CHUNK, to); i++) {
      const bit = 1 << (i & 7);
      if (!(chunk.sent[i >> 3] & bit)) continue;
      chunk.sent[i >> 3] &= ~bit;
      this.sentPages--;
      if (!chunk.codes || chunk.codes[i] === 0) continue;
      chunk.codes[i] = 0;
      this.normalPages--;
    }
  }

  #markRow(chunk: IndexChunk, from: number, to: number): void {
    for (let i = from; i < to;) {
      if (i % 8 === 0 && to - i >= 8 && chunk.sent[i >> 3] === 0) {
        chunk.sent[i >> 3] = 0xff;
        this.sentPages += 8;
        i += 8;
      } else this.#mark(chunk, i++);
    }
  }

  #mark(chunk: IndexChunk, i: number): void {
    const bit = 1 << (i & 7);
    if (chunk.sent[i >> 3] & bit) return;
    chunk.sent[i >> 3] |= bit;
    this.sentPages++;
  }
}

function doubled(array: Float64Array): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(array.length * 2);
  larger.set(array);
  return larger;
}
