/**
 * Blocks of a mapped-ram file, found without reading the stream: a header says where it stands itself.
 *
 *     str8 name, u64 length | u32 1, u64 page_size, u64 bitmap_offset, u64 pages_offset
 *                             ^ bitmap_offset = here + 28, pages_offset a multiple of 1 MiB behind it
 *
 * A save that was not finished has pages and empty bitmaps: then every slot that is not zero is taken for a page.
 * @module
 */
import { Buffer } from "node:buffer";
import type { Breath } from "../containers/breath.ts";
import type { ByteSource } from "../stream/channel.ts";
import { MAPPED_RAM_FILE_OFFSET_ALIGNMENT, MAPPED_RAM_HDR_SIZE } from "../stream/constants.ts";
import { lastBit, mappedBitmapBytes } from "../stream/mapped_ram.ts";
import type { RamBlockEntry } from "../stream/records.ts";

const WINDOW = 4 << 20;
/** What stands in front of a header at most: a name and a length. */
const BEFORE = 1 + 255 + 8;
const PAGE_SIZES: ReadonlySet<number> = new Set([1024, 2048, 4096, 8192, 16384, 65536]);

/** A block with its areas in the file. */
export interface MappedBlock {
  readonly id: string;
  /** Used length. */
  readonly bytes: number;
  readonly pageBytes: number;
  readonly pagesOffset: number;
  /** Bit i (LSB first) is page i; undefined where it is not in the file, or cannot be right. */
  readonly bitmap: Uint8Array | undefined;
}

/** A block the decoder found. */
export function mappedBlockOf(source: ByteSource, entry: RamBlockEntry): MappedBlock {
  const { pageSize, bitmapOffset, pagesOffset, bitmapBytes } = entry.mapped!;
  const { idstr: id, usedLength: bytes } = entry;
  const bitmap = new Uint8Array(bitmapBytes);
  const whole = source.readAt!(bitmap, bitmapOffset) === bitmapBytes;
  const sound = whole && lastBit(bitmap) < Math.ceil(bytes / pageSize);
  return { id, bytes, pageBytes: pageSize, pagesOffset, bitmap: sound ? bitmap : undefined };
}

/** Look through a file for headers. @param from offset to begin at */
export async function findMappedBlocks(source: ByteSource, from: number, breath: Breath): Promise<MappedBlock[]> {
  const size = source.size!();
  const buffer = Buffer.alloc(WINDOW);
  const found: MappedBlock[] = [];
  for (let at = from; at < size; at += WINDOW - BEFORE - MAPPED_RAM_HDR_SIZE) {
    const length = source.readAt!(buffer, at);
    const window = buffer.subarray(0, length);
    // the version's last byte, which memory has less of than zeros
    for (let one = window.indexOf(1); one >= 0; one = window.indexOf(1, one + 1)) {
      const block = headerAt(source, window, one - 3, at, size);
      if (block && !found.some(({ pagesOffset }) => pagesOffset === block.pagesOffset)) found.push(block);
    }
    const pause = breath.taken(0);
    if (pause) await pause;
  }
  return found.sort((a, b) => a.pagesOffset - b.pagesOffset);
}

function headerAt(
  source: ByteSource,
  window: Buffer,
  i: number,
  base: number,
  size: number,
): MappedBlock | undefined {
  if (i < 10 || i + MAPPED_RAM_HDR_SIZE > window.length) return undefined;
  if (window[i] !== 0 || window[i + 1] !== 0 || window[i + 2] !== 0 || window.readUInt32BE(i + 4) !== 0) {
    return undefined;
  }
  const pageSize = window.readUInt32BE(i + 8);
  if (!PAGE_SIZES.has(pageSize)) return undefined;
  const bitmapOffset = Number(window.readBigUInt64BE(i + 12));
  const pagesOffset = Number(window.readBigUInt64BE(i + 20));
  if (bitmapOffset !== base + i + MAPPED_RAM_HDR_SIZE) return undefined;
  if (pagesOffset % MAPPED_RAM_FILE_OFFSET_ALIGNMENT !== 0 || pagesOffset <= bitmapOffset) return undefined;
  const usedLength = Number(window.readBigUInt64BE(i - 8));
  if (usedLength === 0 || usedLength % pageSize !== 0 || pagesOffset > size) return undefined;
  if (bitmapOffset + mappedBitmapBytes(usedLength, pageSize) > pagesOffset) return undefined;
  for (let n = 1; n <= 255 && i - 9 - n >= 0; n++) {
    if (window[i - 9 - n] !== n) continue;
    const idstr = window.toString("latin1", i - 8 - n, i - 8);
    if (!/^[\x20-\x7e]+$/.test(idstr)) continue;
    const bitmapBytes = mappedBitmapBytes(usedLength, pageSize);
    const mapped = { version: 1, pageSize, bitmapOffset, pagesOffset, bitmapBytes };
    return mappedBlockOf(source, { idstr, usedLength, mapped });
  }
  return undefined;
}
