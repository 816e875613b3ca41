/**
 * Guest-physical memory as a file holds it: one block, "memory", whose offsets are addresses.
 *
 * What no segment covers is not there: it reads as zero and counts as missing. A page counts as data where the file holds any
 * byte of it.
 * @module
 */
import type { ByteSource } from "../stream/channel.ts";
import { hex, MemoryFaultError, TruncatedStreamError } from "../stream/errors.ts";
import type { MemorySegment } from "./elf_core.ts";
import { type ImageBlock, type ImageRam, MEMORY_BLOCK } from "./image_ram.ts";

const PAGE = 4096;

/** Pages of one kind: [from, to), in bytes. */
interface Run {
  readonly from: number;
  readonly to: number;
  readonly kind: "data" | "zero";
}

/** Memory of an ELF core or a raw image. */
export class FlatRam implements ImageRam {
  /** Bytes of a page; files of this kind do not say the guest's. */
  readonly pageBytes = PAGE;
  /** Bytes that are memory, holes left out. */
  readonly totalBytes: number;
  /** The one block. */
  readonly blocks: readonly [ImageBlock];
  /** Always. */
  readonly readable = true;
  readonly #source: ByteSource;
  readonly #segments: readonly MemorySegment[];
  readonly #runs: readonly Run[];

  /**
   * Memory in a file.
   * @param source   with `readAt`
   * @param segments by address, not overlapping, at least one
   */
  constructor(source: ByteSource, segments: readonly MemorySegment[]) {
    this.#source = source;
    this.#segments = segments;
    this.#runs = pageRuns(segments);
    this.totalBytes = segments.reduce((sum, { length }) => sum + length, 0);
    const last = segments[segments.length - 1];
    const bytes = last.address + last.length;
    const pages = Math.ceil(bytes / PAGE);
    const count = (kind: Run["kind"]) => {
      return this.#runs.reduce((sum, run) => sum + (run.kind === kind ? (run.to - run.from) / PAGE : 0), 0);
    };
    const normalPages = count("data");
    this.blocks = [{
      id: MEMORY_BLOCK,
      bytes,
      pageBytes: PAGE,
      normalPages,
      zeroPages: pages - normalPages,
      missingPages: pages - normalPages - count("zero"),
    }];
  }

  /** The one block, by its name. */
  block(id: string): ImageBlock | undefined {
    return id === MEMORY_BLOCK ? this.blocks[0] : undefined;
  }

  /** Nothing to do. */
  prepare(): Promise<void> {
    return Promise.resolve();
  }

  /** Nothing to give back. */
  close(): void {}

  /** See {@link ImageRam.readPage}. */
  readPage(block: string | ImageBlock, offset: number): Promise<Uint8Array<ArrayBuffer>> {
    try {
      this.#check(block, offset, 1);
      const begin = offset - offset % PAGE;
      const page = new Uint8Array(Math.min(PAGE, this.blocks[0].bytes - begin));
      this.readRange(block, begin, page);
      return Promise.resolve(page);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** See {@link ImageRam.readRange}. */
  readRange(block: string | ImageBlock, offset: number, target: Uint8Array): void {
    this.#check(block, offset, target.length);
    const end = offset + target.length;
    let done = offset;
    for (let i = firstBeyond(this.#segments, offset, ({ address, length }) => address + length); done < end; i++) {
      const segment = this.#segments[i];
      if (!segment || segment.address >= end) break;
      const { address, offset: at, fileBytes } = segment;
      const from = Math.max(offset, address), to = Math.min(end, address + fileBytes);
      if (to <= from) continue;
      target.fill(0, done - offset, from - offset);
      this.#read(target.subarray(from - offset, to - offset), at + from - address, from);
      done = to;
    }
    target.fill(0, done - offset);
  }

  /** See {@link ImageRam.run}. */
  run(block: string | ImageBlock, offset: number): number {
    this.#check(block, offset, 1);
    const { bytes } = this.blocks[0];
    const run = this.#runs[firstBeyond(this.#runs, offset, ({ to }) => to)];
    if (!run) return offset - bytes;
    if (offset < run.from) return offset - run.from;
    const end = Math.min(run.to, bytes);
    return run.kind === "data" ? this.#held(offset, end) : offset - end;
  }

  /** Whether there is memory. */
  isSent(block: string | ImageBlock, offset: number): boolean {
    this.#check(block, offset, 1);
    const run = this.#runs[firstBeyond(this.#runs, offset, ({ to }) => to)];
    return run !== undefined && offset >= run.from;
  }

  /** How far data goes that the file has, or a hole in it: positive or negative bytes up to `end` at most, whole pages. */
  #held(offset: number, end: number): number {
    const extent = this.#source.extent;
    const segment = this.#segments[firstBeyond(this.#segments, offset, ({ address, length }) => address + length)];
    const { address, offset: at, fileBytes } = segment;
    // a page that several segments share is read
    if (!extent || offset < address || offset >= address + fileBytes) return end - offset;
    const length = extent.call(this.#source, at + offset - address);
    const stop = Math.min(offset + Math.abs(length), address + fileBytes);
    const hole = Math.min(stop === this.blocks[0].bytes ? stop : stop - stop % PAGE, end);
    if (length < 0 && hole > offset) return offset - hole;
    return Math.min(Math.ceil(Math.max(stop, offset + 1) / PAGE) * PAGE, end) - offset;
  }

  #read(target: Uint8Array, position: number, address: number): void {
    const got = this.#source.readAt!(target, position);
    if (got === target.length) return;
    throw new TruncatedStreamError(`Cannot read memory at guest-physical ${hex(address)}`, {
      channel: this.#source.name,
      offset: position,
      found: `${got} bytes before the end`,
      expected: String(target.length),
    });
  }

  #check(block: string | ImageBlock, offset: number, length: number): void {
    const id = typeof block === "string" ? block : block.id;
    if (id !== MEMORY_BLOCK) {
      throw new MemoryFaultError(`Cannot read RAM: no block is named ${JSON.stringify(id)}`, id, offset);
    }
    const { bytes } = this.blocks[0];
    if (Number.isInteger(offset) && offset >= 0 && offset + length <= bytes) return;
    throw new MemoryFaultError(
      `Cannot read ${length} bytes at ${hex(offset)} of ${id}: it has ${hex(bytes)}`,
      id,
      offset,
    );
  }
}

/** Index of the first element that ends beyond a place; the length where none does. */
function firstBeyond<T>(sorted: readonly T[], place: number, endOf: (element: T) => number): number {
  let low = 0, high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (endOf(sorted[middle]) > place) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Whole pages by kind, in order; a page is data where any byte of it is. */
function pageRuns(segments: readonly MemorySegment[]): Run[] {
  const data = wholePages(segments.map(({ address, fileBytes }) => [address, address + fileBytes]));
  const covered = wholePages(segments.map(({ address, length }) => [address, address + length]));
  const runs: Run[] = [];
  let i = 0;
  for (const [from, to] of covered) {
    let at = from;
    for (; i < data.length && data[i][0] < to; i++) {
      if (at < data[i][0]) runs.push({ from: at, to: data[i][0], kind: "zero" });
      runs.push({ from: data[i][0], to: data[i][1], kind: "data" });
      at = data[i][1];
    }
    if (at < to) runs.push({ from: at, to, kind: "zero" });
  }
  return runs;
}

/** Pages that ranges touch, neighbours together. */
function wholePages(ranges: readonly (readonly [from: number, to: number])[]): [from: number, to: number][] {
  const pages: [number, number][] = [];
  for (const [begin, end] of ranges) {
    if (begin >= end) continue;
    const from = Math.floor(begin / PAGE) * PAGE, to = Math.ceil(end / PAGE) * PAGE;
    const last = pages[pages.length - 1];
    if (last && from <= last[1]) last[1] = Math.max(last[1], to);
    else pages.push([from, to]);
  }
  return pages;
}
