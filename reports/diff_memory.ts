/**
 * `diff` where one of the two is memory alone: an ELF core, or a raw image.
 *
 *     core  | core, raw      guest-physical memory of both, notes of both
 *     core  | stream         the stream's blocks laid out as its machine has them; registers of its processors
 *     raw   | stream         one block: the one that was named, else the one of the raw image's size; else all of memory
 *
 * What memory alone cannot say, configuration and devices, is no difference.
 * @module
 */
import { Breath, type LongWork } from "../containers/breath.ts";
import { type Image, type ImageBlock, type ImageRam, MEMORY_BLOCK } from "../containers/image.ts";
import { isMemoryAlone } from "../containers/memory_image.ts";
import { physicalRanges } from "../containers/physical_ram.ts";
import { PhysicalRam } from "../containers/physical_view.ts";
import { diffNotes } from "./diff_notes.ts";
import type { DeviceDifference } from "./diff_devices.ts";
import { type BlockDifference, PageComparison } from "./diff_ram.ts";
import type { Ignore } from "./field_pattern.ts";
import { mapProblems } from "./elf.ts";
import { RefusedError } from "./readable.ts";

type Range = readonly [from: number, to: number];

/** Memory of one side, under one name for both. */
interface Side {
  readonly ram: ImageRam;
  readonly block: ImageBlock;
  /** Where there is memory: bytes from the block's begin, in order. */
  readonly there: readonly Range[];
  /** Of that, what the file holds; the rest reads as zero, whatever the guest had. */
  readonly held: readonly Range[];
}

/**
 * Compare what both have.
 * @param block of the stream that a raw image is compared with
 * @throws {RefusedError} when it cannot be told what is to be compared with what
 */
export async function diffMemory(
  a: Image,
  b: Image,
  ignore: Ignore,
  work: LongWork & { readonly block?: string; readonly withoutRam?: boolean },
): Promise<{ readonly devices: readonly DeviceDifference[]; readonly ram: readonly BlockDifference[] }> {
  const { left, right, name } = sides(a, b, work.block);
  const devices = a.format === "raw" || b.format === "raw" ? [] : diffNotes(a, b, ignore);
  if (ignore({ device: "ram", field: name })) return { devices, ram: [] };
  const pageBytes = Math.min(left.block.pageBytes, right.block.pageBytes);
  // a raw image has zeros where there is no memory: up to where it ends the other has them too
  const end = Math.min(left.block.bytes, right.block.bytes);
  const flat = a.format === "raw" || b.format === "raw" ? [[0, end] as const] : undefined;
  const both = flat ?? common(left.held, right.held);
  const [onlyA, onlyB] = [[left, right], [right, left]]
    .map(([one, other]) => without(one.there, flat ?? other.there).map(([from, to]) => pages(from, to, pageBytes)));
  let found: BlockDifference | undefined;
  if (!work.withoutRam) {
    const breath = new Breath(both.reduce((sum, [from, to]) => sum + to - from, 0), work);
    const pages = new PageComparison(left.ram, right.ram, breath);
    found = await pages.compare(left.block, right.block, both);
    // what one of them left out may be zero in the other, too
    for (const [side, other, only] of [[left, right, onlyB], [right, left, onlyA]] as const) {
      const leftOut = flat ? [] : common(without(side.there, side.held), other.held);
      const data = leftOut.length ? await pages.compare(left.block, right.block, leftOut) : undefined;
      only.push(...data?.ranges.map(([first, count]): [number, number] => [first, count]) ?? []);
      only.sort((a, b) => a[0] - b[0]);
    }
  }
  const { changedPages = 0, ranges = [], unlistedRanges, filled = 0, emptied = 0, rewritten = 0 } = found ?? {};
  if (!changedPages && !onlyA.length && !onlyB.length) return { devices, ram: [] };
  const difference: BlockDifference = {
    block: name,
    changedPages,
    ranges,
    ...(unlistedRanges ? { unlistedRanges } : {}),
    filled,
    emptied,
    rewritten,
    pageBytes,
    change: "pages",
    ...(onlyA.length ? { onlyA } : {}),
    ...(onlyB.length ? { onlyB } : {}),
  };
  return { devices, ram: [difference] };
}

/** What of the one is compared with what of the other. */
function sides(a: Image, b: Image, block: string | undefined): { left: Side; right: Side; name: string } {
  const stream = [a, b].find((image) => !isMemoryAlone(image));
  const raw = [a, b].find(({ format }) => format === "raw");
  if (block !== undefined && !(stream && raw)) {
    throw new RefusedError(`compare block ${block}`, ["a block can be named for a raw image beside a stream"]);
  }
  if (stream && raw) {
    const id = blockFor(stream, raw, block);
    if (id !== undefined) {
      const whole = (image: Image, id: string): Side => {
        const block = image.ram.block(id)!;
        return { ram: image.ram, block, there: [[0, block.bytes]], held: [[0, block.bytes]] };
      };
      const side = (image: Image) => whole(image, image === stream ? id : MEMORY_BLOCK);
      return { left: side(a), right: side(b), name: id };
    }
  }
  return { left: memory(a), right: memory(b), name: MEMORY_BLOCK };
}

/** Block of a stream that a raw image is taken for; undefined: all of guest-physical memory. */
function blockFor(stream: Image, raw: Image, named: string | undefined): string | undefined {
  const what = `compare ${raw.path ?? "raw memory"} with ${stream.path ?? "a stream"}`;
  if (named !== undefined) {
    if (stream.ram.block(named)) return named;
    const names = stream.ram.blocks.slice(0, 40).map(({ id }) => id);
    throw new RefusedError(what, [
      `no RAM block is named ${JSON.stringify(named)}: the blocks are ${names.join(", ")}`,
    ]);
  }
  const candidates = rawCandidates(stream, raw);
  if (candidates.length === 1) return candidates[0] === MEMORY_BLOCK ? undefined : candidates[0];
  const size = `it has 0x${raw.ram.totalBytes.toString(16)} bytes`;
  throw new RefusedError(what, [
    candidates.length
      ? `${size}, as have ${candidates.join(", ")}: name the block`
      : `${size}, as no RAM block has: name the block`,
  ]);
}

/** What of a stream has the size of a raw image: names of blocks, "memory" for all of guest-physical memory. */
export function rawCandidates(stream: Image, raw: Image): string[] {
  const size = raw.ram.totalBytes;
  const blocks = stream.ram.blocks.filter(({ bytes }) => bytes === size).map(({ id }) => id);
  const last = physicalRanges(stream)?.at(-1);
  return last && last.base + last.length === size ? [...blocks, MEMORY_BLOCK] : blocks;
}

/** Guest-physical memory of an image. @throws {RefusedError} when it is not known where a stream's machine has its RAM */
function memory(image: Image): Side {
  const ranges = physicalRanges(image);
  if (!ranges?.length) throw new RefusedError(`compare memory of ${image.path ?? "a stream"}`, mapProblems(image));
  const ram = isMemoryAlone(image) ? image.ram : new PhysicalRam(image.ram, ranges);
  const block = ram.block(MEMORY_BLOCK)!;
  const there = wholePages(ranges.map(({ base, length }) => [base, base + length]), block);
  const segments = image.core?.segments.map(({ address, fileBytes }) => [address, address + fileBytes] as const);
  return { ram, block, there, held: segments ? wholePages(segments, block) : there };
}

/** On bounds of pages, since pages are what is compared; neighbours together. */
function wholePages(ranges: readonly Range[], { pageBytes, bytes }: ImageBlock): Range[] {
  const found: [number, number][] = [];
  for (const [begin, end] of ranges) {
    if (begin >= end) continue;
    const from = begin - begin % pageBytes, to = Math.min(Math.ceil(end / pageBytes) * pageBytes, bytes);
    const last = found[found.length - 1];
    if (last && from <= last[1]) last[1] = Math.max(last[1], to);
    else found.push([from, to]);
  }
  return found;
}

function common(a: readonly Range[], b: readonly Range[]): Range[] {
  const found: Range[] = [];
  for (let i = 0, j = 0; i < a.length && j < b.length;) {
    const from = Math.max(a[i][0], b[j][0]), to = Math.min(a[i][1], b[j][1]);
    if (from < to) found.push([from, to]);
    if (a[i][1] < b[j][1]) i++;
    else j++;
  }
  return found;
}

function without(a: readonly Range[], b: readonly Range[]): Range[] {
  const found: Range[] = [];
  let j = 0;
  for (const [from, to] of a) {
    let at = from;
    while (j < b.length && b[j][1] <= at) j++;
    for (let k = j; k < b.length && b[k][0] < to; k++) {
      if (at < b[k][0]) found.push([at, b[k][0]]);
      at = Math.max(at, b[k][1]);
    }
    if (at < to) found.push([at, to]);
  }
  return found;
}

function pages(from: number, to: number, pageBytes: number): [first: number, count: number] {
  const first = Math.floor(from / pageBytes);
  return [first, Math.ceil(to / pageBytes) - first];
}
