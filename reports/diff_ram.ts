/**
 * RAM of two images, block by block and page by page.
 * @module
 */
import { Buffer } from "node:buffer";
import { Breath, type LongWork } from "../containers/breath.ts";
import type { Image, ImageBlock, ImageRam } from "../containers/image.ts";
import type { Ignore } from "./field_pattern.ts";

/** Bytes read at once. */
const STEP = 1 << 20;
const ZEROS = Buffer.alloc(65536);
/** Most ranges listed of one block; pages beyond are counted. */
const RANGE_LIMIT = 1 << 16;

/** A block that is not the same in both. Pages are counted in the smaller page of the two. */
export interface BlockDifference {
  /** QEMU's name. */
  readonly block: string;
  /** "added": only in the second; "removed": only in the first. */
  readonly change: "added" | "removed" | "length" | "pages";
  /** Pages whose content differs, where both have one. */
  readonly changedPages: number;
  /** Runs of them: first page, number of pages. */
  readonly ranges: readonly (readonly [first: number, count: number])[];
  /** Runs that are not listed: there are too many. */
  readonly unlistedRanges?: number;
  /** Changed pages that are zero in the first. */
  readonly filled: number;
  /** Changed pages that are zero in the second. */
  readonly emptied: number;
  /** Changed pages with data in both. */
  readonly rewritten: number;
  /** Used lengths, where they differ. */
  readonly bytes?: readonly [a: number, b: number];
  /** Bytes of a page. */
  readonly pageBytes: number;
  /** Guest-physical memory: runs of pages only the first has. They are not among those that changed. */
  readonly onlyA?: readonly (readonly [first: number, count: number])[];
  /** As `onlyA`, of the second. */
  readonly onlyB?: readonly (readonly [first: number, count: number])[];
}

/** Compare all blocks. RAM of both must be readable. */
export async function diffRam(a: Image, b: Image, ignore: Ignore, work: LongWork): Promise<BlockDifference[]> {
  const pairs: [ImageBlock, ImageBlock][] = [];
  const differences: BlockDifference[] = [];
  const nothing = { changedPages: 0, ranges: [], filled: 0, emptied: 0, rewritten: 0 };
  const counts = (id: string) => !ignore({ device: "ram", field: id });
  for (const block of a.ram.blocks) {
    const other = b.ram.block(block.id);
    if (!counts(block.id)) continue;
    if (other) pairs.push([block, other]);
    else differences.push({ block: block.id, change: "removed", ...nothing, pageBytes: block.pageBytes });
  }
  for (const { id, pageBytes } of b.ram.blocks) {
    if (counts(id) && !a.ram.block(id)) differences.push({ block: id, change: "added", ...nothing, pageBytes });
  }
  const total = pairs.reduce((sum, [one, two]) => sum + Math.min(one.bytes, two.bytes), 0);
  const pages = new PageComparison(a.ram, b.ram, new Breath(total, work));
  for (const [one, two] of pairs) {
    const difference = await pages.compare(one, two);
    if (difference) differences.push(difference);
  }
  return differences;
}

/** Compares blocks of two images page by page. */
export class PageComparison {
  readonly #left = Buffer.alloc(STEP);
  readonly #right = Buffer.alloc(STEP);
  #ranges: [number, number][] = [];
  #unlisted = 0;
  #last = -1;
  #changed = 0;
  #filled = 0;
  #emptied = 0;

  constructor(readonly a: ImageRam, readonly b: ImageRam, readonly breath: Breath) {}

  /**
   * Compare two blocks up to the end of the shorter one.
   * @param ranges to look at, [from, to) in bytes, on bounds of pages. Default: all
   * @returns undefined when nothing differs
   */
  async compare(
    one: ImageBlock,
    two: ImageBlock,
    ranges: readonly (readonly [from: number, to: number])[] = [[0, Math.min(one.bytes, two.bytes)]],
  ): Promise<BlockDifference | undefined> {
    const pageBytes = Math.min(one.pageBytes, two.pageBytes);
    this.#ranges = [];
    this.#last = -1;
    this.#unlisted =
      this.#changed =
      this.#filled =
      this.#emptied =
        0;
    for (const [from, to] of ranges) await this.#range(one, two, from, to, pageBytes);
    if (this.#changed === 0 && one.bytes === two.bytes) return undefined;
    return {
      block: one.id,
      change: one.bytes === two.bytes ? "pages" : "length",
      changedPages: this.#changed,
      ranges: this.#ranges,
      ...(this.#unlisted ? { unlistedRanges: this.#unlisted } : {}),
      filled: this.#filled,
      emptied: this.#emptied,
      rewritten: this.#changed - this.#filled - this.#emptied,
      ...(one.bytes === two.bytes ? {} : { bytes: [one.bytes, two.bytes] as const }),
      pageBytes,
    };
  }

  async #range(one: ImageBlock, two: ImageBlock, from: number, to: number, pageBytes: number): Promise<void> {
    for (let at = from; at < to;) {
      const runA = this.a.run(one, at), runB = this.b.run(two, at);
      const end = Math.min(at + Math.abs(runA), at + Math.abs(runB), to);
      if (runA < 0 && runB < 0) {
        const pause = this.breath.taken(end - at);
        at = end;
        if (pause) await pause;
      }
      while (at < end) {
        const n = Math.min(STEP, end - at);
        const left = this.#bytes(this.a, one, runA, at, this.#left, n);
        const right = this.#bytes(this.b, two, runB, at, this.#right, n);
        if (left.compare(right, 0, n, 0, n) !== 0) this.#pages(at, n, pageBytes);
        at += n;
        const pause = this.breath.taken(n);
        if (pause) await pause;
      }
    }
  }

  #bytes(ram: ImageRam, block: ImageBlock, run: number, at: number, buffer: Buffer, n: number): Buffer {
    if (run < 0) buffer.fill(0, 0, n);
    else ram.readRange(block, at, n === STEP ? buffer : buffer.subarray(0, n));
    return buffer;
  }

  /** The buffers differ somewhere: page by page. */
  #pages(offset: number, length: number, pageBytes: number): void {
    const left = this.#left, right = this.#right;
    for (let at = 0; at < length; at += pageBytes) {
      const end = Math.min(at + pageBytes, length);
      if (left.compare(right, at, end, at, end) === 0) continue;
      if (left.compare(ZEROS, 0, end - at, at, end) === 0) this.#filled++;
      else if (right.compare(ZEROS, 0, end - at, at, end) === 0) this.#emptied++;
      this.#note((offset + at) / pageBytes);
    }
  }

  #note(page: number): void {
    this.#changed++;
    if (page !== this.#last + 1 || this.#changed === 1) {
      if (this.#ranges.length < RANGE_LIMIT) this.#ranges.push([page, 1]);
      else this.#unlisted++;
    } else if (this.#unlisted === 0) this.#ranges[this.#ranges.length - 1][1]++;
    this.#last = page;
  }
}
