/**
 * Which pages of a sequential stream have come: one bit for each. A page that never came is zero in the loaded guest, which is
 * right only where the source left it out on purpose.
 * @module
 */
import type { RamBlock } from "../guest/memory.ts";

/** Bits of all blocks, by index in the block list. */
export class Arrivals {
  readonly #blocks: readonly { readonly idstr: string; readonly pages: number; readonly came: Uint8Array }[];

  /**
   * Nothing came yet.
   * @param pageSize target page size, bytes
   */
  constructor(blocks: readonly RamBlock[], pageSize: number) {
    this.#blocks = blocks.map(({ idstr, usedLength }) => {
      const pages = Math.ceil(usedLength / pageSize);
      return { idstr, pages, came: new Uint8Array(Math.ceil(pages / 8)) };
    });
  }

  /** A page came. */
  mark(block: number, page: number): void {
    this.#blocks[block].came[page >> 3] |= 1 << (page & 7);
  }

  /** Pages in a row came. */
  markRow(block: number, first: number, count: number): void {
    const { came } = this.#blocks[block];
    const end = first + count;
    for (; first < end && first & 7; first++) came[first >> 3] |= 1 << (first & 7);
    const bytes = Math.max(0, (end - first) >> 3);
    came.fill(0xff, first >> 3, (first >> 3) + bytes);
    for (first += bytes * 8; first < end; first++) came[first >> 3] |= 1 << (first & 7);
  }

  /** Pages are as if they had never come (POSTCOPY_RAM_DISCARD). */
  forget(block: number, first: number, count: number): void {
    const { came, pages } = this.#blocks[block];
    const end = Math.min(pages, first + count);
    for (let page = first; page < end; page++) came[page >> 3] &= ~(1 << (page & 7));
  }

  /** Blocks of which pages did not come, and how many. */
  missing(): { readonly idstr: string; readonly pages: number }[] {
    return this.#blocks
      .map(({ idstr, pages, came }) => ({ idstr, pages: pages - bitsSet(came) }))
      .filter(({ pages }) => pages > 0);
  }
}

function bitsSet(bytes: Uint8Array): number {
  let count = 0;
  for (let byte of bytes) {
    if (byte === 0xff) count += 8;
    else for (; byte; byte &= byte - 1) count++;
  }
  return count;
}
