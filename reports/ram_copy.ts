/**
 * Copying RAM out of an image: data in steps of 1 MiB, zero pages as holes.
 * @module
 */
import { Buffer } from "node:buffer";
import type { Breath } from "../containers/breath.ts";
import type { ImageBlock, ImageRam } from "../containers/image.ts";
import type { OutputFile } from "../containers/output_file.ts";
import type { PieceWriter } from "../threads/write_behind.ts";

/** Bytes read at once. */
const STEP = 1 << 20;
/** Unit in which zeros are looked for. */
const UNIT = 4096;
const ZEROS = Buffer.alloc(UNIT);

/** Bytes of data in blocks, as far as is known without looking. */
export function dataBytes(blocks: readonly ImageBlock[]): number {
  return blocks.reduce((sum, { normalPages, pageBytes }) => sum + normalPages * pageBytes, 0);
}

/** Copies pieces of blocks into one file. */
export class RamCopy implements Disposable {
  readonly #pieces: PieceWriter;
  /** Bytes of data written so far. */
  written = 0;

  constructor(readonly ram: ImageRam, out: OutputFile, readonly breath: Breath) {
    this.#pieces = out.pieces(STEP, dataBytes(ram.blocks));
  }

  /** Copy `length` bytes of a block from `offset` on to `position` of the file, which reads as zero there. */
  async copy(block: ImageBlock, offset: number, length: number, position: number): Promise<void> {
    const { ram, breath } = this;
    const stop = offset + length;
    for (let at = offset; at < stop;) {
      const run = ram.run(block, at);
      const end = Math.min(at + Math.abs(run), stop);
      if (run < 0) {
        const pause = breath.taken(end - at);
        at = end;
        if (pause) await pause;
      }
      while (at < end) {
        const n = Math.min(STEP, end - at);
        const { buffer } = this.#pieces;
        ram.readRange(block, at, n === STEP ? buffer : buffer.subarray(0, n));
        this.#list(buffer, n, position + at - offset);
        const full = this.#pieces.next();
        if (full) await full;
        at += n;
        const pause = breath.taken(n);
        if (pause) await pause;
      }
    }
  }

  /** Everything copied is in the file. */
  drain(): Promise<void> {
    return this.#pieces.drain();
  }

  [Symbol.dispose](): void {
    this.#pieces[Symbol.dispose]();
  }

  /** What is in the buffer, but for its zero pages. */
  #list(bytes: Uint8Array<ArrayBuffer>, length: number, position: number): void {
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, length);
    for (let at = 0; at < length;) {
      if (isZero(buffer, at, length)) {
        at += UNIT;
        continue;
      }
      let end = at + UNIT;
      while (end < length && !isZero(buffer, end, length)) end += UNIT;
      end = Math.min(end, length);
      this.#pieces.list(at, end - at, position + at);
      this.written += end - at;
      at = end;
    }
  }
}

function isZero(buffer: Buffer, at: number, length: number): boolean {
  const n = Math.min(UNIT, length - at);
  return buffer.compare(ZEROS, 0, n, at, at + n) === 0;
}
