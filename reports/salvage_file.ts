/**
 * A recovered block's file, and what is known of each page in it.
 * @module
 */
import { createOutput, type OutputFile } from "../containers/output_file.ts";

/** Most ranges listed of one block. */
const RANGE_LIMIT = 1 << 16;

/** What became of a block. Pages are counted in `pageBytes`. */
export interface SalvagedBlock {
  /** QEMU's name. */
  readonly block: string;
  /** Raw content, in the directory; what is lost reads as zero. */
  readonly file: string;
  /** Used length. */
  readonly bytes: number;
  /** False: the list of blocks is damaged, and this is as far as pages were found. */
  readonly lengthKnown: boolean;
  /** Bytes of a page. */
  readonly pageBytes: number;
  /** Pages that are as the file has them last, zero ones among them. */
  readonly recoveredPages: number;
  /** Of those, the ones with data. */
  readonly dataPages: number;
  /** Of those, the ones that may belong elsewhere, or lack an earlier change. */
  readonly uncertainPages: number;
  /** Of those, the ones whose block follows from what stands around them: the record that named it is damaged. */
  readonly inferredPages: number;
  /** Pages that the file does not hold. */
  readonly lostPages: number;
  /** Runs of lost pages. */
  readonly lost: readonly (readonly [first: number, count: number])[];
}

/** A block's file and what is in it. */
export class BlockFile {
  readonly #out: OutputFile;
  readonly #sent: Uint8Array;
  readonly #data: Uint8Array;
  readonly #uncertain: Uint8Array;
  readonly #inferred: Uint8Array;
  readonly pages: number;

  constructor(
    readonly block: string,
    readonly file: string,
    path: string,
    readonly bytes: number,
    readonly lengthKnown: boolean,
    readonly pageBytes: number,
  ) {
    this.#out = createOutput(path);
    this.pages = Math.ceil(bytes / pageBytes);
    this.#sent = new Uint8Array(Math.ceil(this.pages / 8));
    this.#data = new Uint8Array(this.#sent.length);
    this.#uncertain = new Uint8Array(this.#sent.length);
    this.#inferred = new Uint8Array(this.#sent.length);
  }

  /** Whole pages of data. */
  data(view: Uint8Array, offset: number, uncertain: (page: number) => boolean, inferred = false): void {
    this.#out.writeAt(view, offset);
    for (let at = 0; at < view.length; at += this.pageBytes) {
      const page = (offset + at) / this.pageBytes, bit = 1 << (page & 7);
      this.#sent[page >> 3] |= bit;
      this.#data[page >> 3] |= bit;
      this.#mark(page, uncertain(page), inferred);
    }
  }

  /** A page that is known to be zero. */
  zero(page: number, uncertain = false, inferred = false): void {
    const bit = 1 << (page & 7);
    this.#sent[page >> 3] |= bit;
    this.#mark(page, uncertain, inferred);
    if (!(this.#data[page >> 3] & bit)) return;
    this.#data[page >> 3] &= ~bit;
    const at = page * this.pageBytes;
    this.#out.writeAt(new Uint8Array(Math.min(this.pageBytes, this.bytes - at)), at);
  }

  /** A page whose content is not to be relied on. */
  doubt(page: number): void {
    if (page < this.pages) this.#uncertain[page >> 3] |= 1 << (page & 7);
  }

  /** What is known of a page's last copy. */
  #mark(page: number, uncertain: boolean, inferred: boolean): void {
    const at = page >> 3, bit = 1 << (page & 7);
    this.#uncertain[at] = uncertain ? this.#uncertain[at] | bit : this.#uncertain[at] & ~bit;
    this.#inferred[at] = inferred ? this.#inferred[at] | bit : this.#inferred[at] & ~bit;
  }

  /** Name the file and tell what is in it. @param absent pages that never came are no loss */
  finish(absent: boolean): SalvagedBlock {
    this.#out.finish(this.bytes);
    const lost: [number, number][] = [];
    let recoveredPages = 0, dataPages = 0, uncertainPages = 0, inferredPages = 0, lostPages = 0, last = -2;
    for (let page = 0; page < this.pages; page++) {
      const bit = 1 << (page & 7), at = page >> 3;
      if (this.#sent[at] & bit) {
        recoveredPages++;
        if (this.#data[at] & bit) dataPages++;
        if (this.#uncertain[at] & bit) uncertainPages++;
        if (this.#inferred[at] & bit) inferredPages++;
        continue;
      }
      if (absent) continue;
      lostPages++;
      if (page === last + 1 && lost.length) lost[lost.length - 1][1]++;
      else if (lost.length < RANGE_LIMIT) lost.push([page, 1]);
      last = page;
    }
    const { block, file, bytes, lengthKnown, pageBytes } = this;
    return {
      block,
      file,
      bytes,
      lengthKnown,
      pageBytes,
      recoveredPages,
      dataPages,
      uncertainPages,
      inferredPages,
      lostPages,
      lost,
    };
  }

  [Symbol.dispose](): void {
    this.#out[Symbol.dispose]();
  }
}
