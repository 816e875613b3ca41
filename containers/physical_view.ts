/**
 * A stream's blocks seen as guest-physical memory: one block, "memory", whose offsets are addresses. What memory alone is
 * compared with.
 * @module
 */
import type { PhysicalRange } from "../guest/guest.ts";
import { hex, MemoryFaultError } from "../stream/errors.ts";
import { type ImageBlock, type ImageRam, MEMORY_BLOCK } from "./image_ram.ts";

/** RAM of an image by guest-physical address. */
export class PhysicalRam implements ImageRam {
  /** Bytes of a target page. */
  readonly pageBytes: number;
  /** Bytes that are memory, holes left out. */
  readonly totalBytes: number;
  /** The one block; `normalPages` counts what ranges hold of data. */
  readonly blocks: readonly [ImageBlock];
  readonly #ram: ImageRam;
  readonly #ranges: readonly PhysicalRange[];

  /**
   * A view; RAM stays the image's.
   * @param ranges by address, not overlapping, at least one, on bounds of pages
   */
  constructor(ram: ImageRam, ranges: readonly PhysicalRange[]) {
    this.#ram = ram;
    this.#ranges = ranges;
    this.pageBytes = ram.pageBytes;
    this.totalBytes = ranges.reduce((sum, { length }) => sum + length, 0);
    const last = ranges[ranges.length - 1];
    const bytes = last.base + last.length;
    const id = MEMORY_BLOCK, pageBytes = ram.pageBytes, pages = Math.ceil(bytes / pageBytes);
    const block = { id, bytes, pageBytes, normalPages: 0, zeroPages: 0, missingPages: 0 };
    this.blocks = [block];
    let data = 0;
    for (const { base, length } of ranges) {
      for (let at = base; at < base + length;) {
        const run = this.run(block, at);
        if (run > 0) data += run;
        at += Math.abs(run);
      }
    }
    const normalPages = Math.ceil(data / pageBytes);
    const missingPages = pages - Math.ceil(this.totalBytes / pageBytes);
    this.blocks = [{ ...block, normalPages, zeroPages: pages - normalPages, missingPages }];
  }

  /** As of the image. */
  get readable(): boolean {
    return this.#ram.readable;
  }

  /** The one block, by its name. */
  block(id: string): ImageBlock | undefined {
    return id === MEMORY_BLOCK ? this.blocks[0] : undefined;
  }

  /** As of the image. */
  prepare(): Promise<void> {
    return this.#ram.prepare();
  }

  /** Nothing to give back: RAM is the image's. */
  close(): void {}

  /** See {@link ImageRam.readPage}. */
  async readPage(block: string | ImageBlock, offset: number): Promise<Uint8Array<ArrayBuffer>> {
    this.#check(block, offset, 1);
    const begin = offset - offset % this.pageBytes;
    const page = new Uint8Array(Math.min(this.pageBytes, this.blocks[0].bytes - begin));
    await this.prepare();
    this.readRange(block, begin, page);
    return page;
  }

  /** See {@link ImageRam.readRange}. What is no memory reads as zero. */
  readRange(block: string | ImageBlock, offset: number, target: Uint8Array): void {
    this.#check(block, offset, target.length);
    const end = offset + target.length;
    let done = offset;
    for (let i = this.#find(offset); done < end; i++) {
      const range = this.#ranges[i];
      if (!range || range.base >= end) break;
      const from = Math.max(done, range.base), to = Math.min(end, range.base + range.length);
      target.fill(0, done - offset, from - offset);
      const piece = target.subarray(from - offset, to - offset);
      this.#ram.readRange(range.idstr, range.blockOffset + from - range.base, piece);
      done = to;
    }
    target.fill(0, done - offset);
  }

  /** See {@link ImageRam.run}. */
  run(block: string | ImageBlock, offset: number): number {
    this.#check(block, offset, 1);
    const range = this.#ranges[this.#find(offset)];
    if (offset < range.base) return offset - range.base;
    const left = range.base + range.length - offset;
    const run = this.#ram.run(range.idstr, range.blockOffset + offset - range.base);
    return run > 0 ? Math.min(run, left) : Math.max(run, -left);
  }

  /** See {@link ImageRam.isSent}. */
  isSent(block: string | ImageBlock, offset: number): boolean {
    this.#check(block, offset, 1);
    const range = this.#ranges[this.#find(offset)];
    return offset >= range.base && this.#ram.isSent(range.idstr, range.blockOffset + offset - range.base);
  }

  /** Index of the first range that ends beyond an address. There are a few dozen at most. */
  #find(address: number): number {
    return this.#ranges.findIndex(({ base, length }) => base + length > address);
  }

  #check(block: string | ImageBlock, offset: number, length: number): void {
    const id = typeof block === "string" ? block : block.id;
    const { bytes } = this.blocks[0];
    if (id === MEMORY_BLOCK && Number.isInteger(offset) && offset >= 0 && offset + length <= bytes) return;
    throw new MemoryFaultError(`Cannot read ${length} bytes at ${hex(offset)} of ${id}`, id, offset);
  }
}
