/**
 * Places as people write them: an offset in the file, a byte of a RAM block, a guest-physical address.
 *
 *     0x2100000   2M   pc.ram:0x2000000   0000:00:02.0/vga.vram:0x1000
 *
 * @module
 */
import type { Image } from "../containers/image.ts";
import { physicalRanges } from "../containers/physical_ram.ts";
import { parseSize } from "../guest/size.ts";

/** A byte of a RAM block. */
export interface BlockPlace {
  readonly block: string;
  /** Byte offset in the block. */
  readonly offset: number;
}

/**
 * Read a place.
 * @returns an offset in the file, or a byte of a block: what stands behind the last colon is its offset
 * @throws {RangeError} when the text is neither
 */
export function parsePlace(text: string): number | BlockPlace {
  const colon = text.lastIndexOf(":");
  if (colon < 0) return parseSize(text);
  const block = text.slice(0, colon);
  if (block === "") throw new RangeError(`Cannot read place "${text}": expected OFFSET or BLOCK:OFFSET`);
  return { block, offset: parseSize(text.slice(colon + 1)) };
}

/**
 * Where a guest-physical address lies.
 * @returns undefined where no RAM block is there, or it is not known where the machine has its RAM
 */
export function resolvePhysical(image: Image, address: number): BlockPlace | undefined {
  const range = physicalRanges(image)?.find(({ base, length }) => address >= base && address < base + length);
  return range && { block: range.idstr, offset: range.blockOffset + address - range.base };
}
