/**
 * Copying RAM out of an image: data in steps of 1 MiB, zero pages as holes.
 * @module
 */
import { Buffer } from "node:buffer";
import type { Breath } from "../containers/breath.ts";
import type { ImageBlock, StoredRam } from "../containers/image.ts";
import type { OutputFile } from "../containers/output_file.ts";

/** Bytes read at once. */
const STEP = 1 << 20;
/** Unit in which zeros are looked for. */
const UNIT = 4096;
const ZEROS = Buffer.alloc(UNIT);

/** Copies pieces of blocks into one file. */
export class RamCopy {
  readonly #buffer = Buffer.alloc(STEP);
  /** Bytes of data written so far. */
  written = 0;

  constructor(readonly ram: StoredRam, readonly out: OutputFile, readonly breath: Breath) {}

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
        const view = n === STEP ? this.#buffer : this.#buffer.subarray(0, n);
        ram.readRange(block, at, view);
        this.#put(n, position + at - offset);
        at += n;
        const pause = breath.taken(n);
        if (pause) await pause;
      }
    }
  }

  /** Write what is in the buffer, but for its zero pages. */
  #put(length: number, position: number): void {
    const buffer = this.#buffer;
    for (let at = 0; at < length;) {
      if (isZero(buffer, at, length)) {
        at += UNIT;
        continue;
      }
      let end = at + UNIT;
      while (end < length && !isZero(buffer, end, length)) end += UNIT;
      end = Math.min(end, length);
      this.out.writeAt(at === 0 && end === STEP ? buffer : buffer.subarray(at, end), position + at);
      this.written += end - at;
      at = end;
    }
  }
}

function isZero(buffer: Buffer, at: number, length: number): boolean {
  const n = Math.min(UNIT, length - at);
  return buffer.compare(ZEROS, 0, n, at, at + n) === 0;
}
