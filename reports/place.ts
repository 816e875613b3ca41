/**
 * Places as people write them: an offset in a file, a byte of a RAM block, a guest-physical address.
 *
 *     0x2100000   2M   pc.ram:0x2000000   0000:00:02.0/vga.vram:0x1000   ch0.bin:0x40
 *
 * @module
 */
import type { Image } from "../containers/image.ts";
import { physicalRanges } from "../containers/physical_ram.ts";
import { parseSize } from "../guest/size.ts";
import { hex } from "../stream/errors.ts";
import type { ChannelPlace } from "./explain.ts";
import type { ExplainedRam } from "./explain_seen.ts";

/** A byte of a RAM block. */
export interface BlockPlace {
  readonly block: string;
  /** Byte offset in the block. */
  readonly offset: number;
}

/**
 * Read a place.
 * @param channels files of further channels that were given: one is named by its path, or by the last part of it where no
 *                 other has the same
 * @returns an offset in the file, or a byte of a channel or a block: what stands behind the last colon is its offset
 * @throws {RangeError} when the text is neither
 */
export function parsePlace(text: string, channels: readonly string[] = []): number | ChannelPlace | BlockPlace {
  const colon = text.lastIndexOf(":");
  if (colon < 0) return parseSize(text);
  const name = text.slice(0, colon), offset = parseSize(text.slice(colon + 1));
  if (name === "") throw new RangeError(`Cannot read place "${text}": expected OFFSET or BLOCK:OFFSET`);
  const called = channels.flatMap((path, i) => path.slice(path.lastIndexOf("/") + 1) === name ? [i] : []);
  const channel = channels.includes(name) ? channels.indexOf(name) : called.length === 1 ? called[0] : -1;
  return channel < 0 ? { block: name, offset } : { channel, offset };
}

/**
 * Why nothing in a guest that was gone through holds a page.
 * @param given further channels were among what was gone through
 */
export function missingPage({ blocks, others }: ExplainedRam, { block, offset }: BlockPlace, given: boolean): string {
  const page = `page ${hex(offset)} of ${block}`;
  // a channel on its own
  if (!blocks) return `nothing on this channel holds ${page}`;
  const found = blocks.find(({ id }) => id === block);
  if (!found) return noBlock(block, blocks.map(({ id }) => id));
  if (offset >= found.bytes) return noPage(block, offset, found.bytes);
  if (others === "x-ignore-shared") {
    return `nothing holds ${page}: it is in shared memory, kept by a file of its own (x-ignore-shared)`;
  }
  if (others !== "nowhere" && given) return `none of the channels that were given holds ${page}`;
  if (others !== "nowhere") {
    return `nothing holds ${page}: it went on a ${others} channel; give the file of each with --channel`;
  }
  return `nothing holds ${page}: it was not sent, and counts as zero`;
}

/** That there is no such block, and which there are. */
export function noBlock(id: string, names: readonly string[]): string {
  const there = names.length ? `the blocks are ${names.slice(0, 40).join(", ")}` : "there are none";
  return `No RAM block is named ${JSON.stringify(id)}: ${there}`;
}

/** That a block ends before a page. */
export function noPage(id: string, offset: number, bytes: number): string {
  return `No page at ${hex(offset)} of ${id}: it has ${hex(bytes)}`;
}

/**
 * Where a guest-physical address lies.
 * @returns undefined where no RAM block is there, or it is not known where the machine has its RAM
 */
export function resolvePhysical(image: Image, address: number): BlockPlace | undefined {
  const range = physicalRanges(image)?.find(({ base, length }) => address >= base && address < base + length);
  return range && { block: range.idstr, offset: range.blockOffset + address - range.base };
}
