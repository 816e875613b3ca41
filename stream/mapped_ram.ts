/**
 * mapped-ram on the wire: what stands behind a block's name and length.
 *
 *     u32 version(1), u64 page_size, u64 bitmap_offset, u64 pages_offset     offsets absolute in the file
 *     bitmap    ceil(pages / 64) * 8 bytes at bitmap_offset, little-endian: page i is bit i % 8 of byte i / 8
 *     gap       up to pages_offset, a multiple of 1 MiB
 *     pages     one slot per page; slots whose bit is clear hold nothing that counts
 *
 * A clear bit means zero. The bitmap is written when RAM is complete, so an interrupted file has none.
 * Source: QEMU migration/ram.c mapped_ram_setup_ramblock, parse_ramblock_mapped_ram.
 * @module
 */
import { MAPPED_RAM_FILE_OFFSET_ALIGNMENT, MAPPED_RAM_HDR_SIZE, MAPPED_RAM_HDR_VERSION } from "./constants.ts";
import { hex, StreamError } from "./errors.ts";
import type { StreamReader } from "./reader.ts";
import type { MappedRamHeader } from "./records.ts";
import type { StreamWriter } from "./writer.ts";

/** Pages of one block at most: 4 TiB of 4 KiB pages, a bitmap of 128 MiB. Bit arithmetic and memory stay within bounds. */
const PAGE_LIMIT = 2 ** 30;

/** Bytes of the bitmap of a block. */
export function mappedBitmapBytes(usedLength: number, pageSize: number): number {
  return Math.ceil(Math.ceil(usedLength / pageSize) / 64) * 8;
}

/** Where a block's areas go when its header begins at `headerOffset` of the file. */
export function layoutMappedBlock(headerOffset: number, usedLength: number, pageSize: number): MappedRamHeader {
  const bitmapOffset = headerOffset + MAPPED_RAM_HDR_SIZE;
  const bitmapBytes = mappedBitmapBytes(usedLength, pageSize);
  const alignment = MAPPED_RAM_FILE_OFFSET_ALIGNMENT;
  const pagesOffset = Math.ceil((bitmapOffset + bitmapBytes) / alignment) * alignment;
  return { version: MAPPED_RAM_HDR_VERSION, pageSize, bitmapOffset, pagesOffset, bitmapBytes };
}

/** Write the 28 bytes of the header; the writer must have room. */
export function encodeMappedHeader(writer: StreamWriter, header: MappedRamHeader): void {
  writer.u32(header.version);
  writer.u64(header.pageSize);
  writer.u64(header.bitmapOffset);
  writer.u64(header.pagesOffset);
}

/** Does a mapped-ram header stand here? For streams without a configuration, which would say it. Nothing is consumed. */
export async function standsMappedHeader(reader: StreamReader): Promise<boolean> {
  if (!(await reader.ensure(MAPPED_RAM_HDR_SIZE)) || reader.peekU32() !== MAPPED_RAM_HDR_VERSION) return false;
  const pageSize = reader.peekU32(8);
  return reader.peekU32(4) === 0 && pageSize >= 1024 && pageSize <= 65536 && Number.isInteger(Math.log2(pageSize)) &&
    reader.peekU32(12) * 2 ** 32 + reader.peekU32(16) === reader.offset + MAPPED_RAM_HDR_SIZE;
}

/**
 * Read and judge the header of one block.
 * @param pageSize target page size as known from elsewhere, or undefined: then the header's own is taken
 * @throws {StreamError} for everything that would make the areas overlap or run backwards (QEMU checks less)
 */
export async function decodeMappedHeader(
  reader: StreamReader,
  idstr: string,
  usedLength: number,
  pageSize: number | undefined,
): Promise<MappedRamHeader> {
  const channel = reader.source.name;
  const offset = reader.offset;
  if (!(await reader.ensure(MAPPED_RAM_HDR_SIZE))) {
    await reader.need(MAPPED_RAM_HDR_SIZE, `Cannot read mapped-ram header of ${idstr}`, [
      `Could not read whole mapped-ram migration header (expected 28, got ${reader.available} bytes)`,
    ], "Invalid argument");
  }
  const fault = (what: string, at: number, found: string, expected: string, qemu?: string[]) => {
    throw new StreamError(`Cannot use mapped-ram ${what} of ${idstr}`, {
      channel,
      offset: offset + at,
      found,
      expected,
      ...(qemu ? { qemu } : {}),
    });
  };
  const version = reader.u32();
  if (version !== MAPPED_RAM_HDR_VERSION) {
    fault(
      "version",
      0,
      String(version),
      "1",
      version > 1
        ? [`Migration mapped-ram capability version not supported (expected <= 1, got ${version})`]
        : undefined,
    );
  }
  const headerPageSize = reader.u64n();
  const plausible = headerPageSize >= 1024 && headerPageSize <= 65536 && (headerPageSize & (headerPageSize - 1)) === 0;
  if (!plausible || (pageSize !== undefined && headerPageSize !== pageSize)) {
    fault("page size", 4, String(headerPageSize), String(pageSize ?? "a power of two from 1024 to 65536"), [
      `page outside of ramblock ${idstr} range`,
    ]);
  }
  if (usedLength / headerPageSize > PAGE_LIMIT) {
    fault("length", 0, `${usedLength / headerPageSize} pages`, `at most ${PAGE_LIMIT}`, [
      'Unknown ramblock "", cannot accept migration',
    ]);
  }
  const bitmapOffset = reader.u64n();
  const pagesOffset = reader.u64n();
  const bitmapBytes = mappedBitmapBytes(usedLength, headerPageSize);
  if (bitmapOffset !== offset + MAPPED_RAM_HDR_SIZE) {
    fault("bitmap offset", 12, hex(bitmapOffset), hex(offset + MAPPED_RAM_HDR_SIZE), ["Error reading dirty bitmap"]);
  }
  if (pagesOffset % headerPageSize !== 0) {
    fault("pages offset", 20, hex(pagesOffset), `a multiple of ${hex(headerPageSize)}`, [
      `Error reading ramblock ${idstr} pages, region has bad alignment`,
    ]);
  }
  if (pagesOffset < bitmapOffset + bitmapBytes || pagesOffset > Number.MAX_SAFE_INTEGER - usedLength) {
    fault("pages offset", 20, hex(pagesOffset), `at least ${hex(bitmapOffset + bitmapBytes)}`, [
      'Unknown ramblock "", cannot accept migration',
    ]);
  }
  return { version, pageSize: headerPageSize, bitmapOffset, pagesOffset, bitmapBytes };
}

/** Number of set bits among the first `pages`. */
export function countBits(bitmap: Uint8Array, pages: number): number {
  let count = 0;
  const whole = pages >> 3;
  for (let i = 0; i < whole; i++) count += BITS[bitmap[i]];
  for (let i = whole * 8; i < pages; i++) count += (bitmap[i >> 3] >> (i & 7)) & 1;
  return count;
}

/** Index of the last set bit, or -1. */
export function lastBit(bitmap: Uint8Array): number {
  for (let i = bitmap.length - 1; i >= 0; i--) {
    if (bitmap[i]) return i * 8 + 31 - Math.clz32(bitmap[i]);
  }
  return -1;
}

/** Index of the first page at or after `from` whose bit equals `value`, or `pages` when there is none. */
export function nextBit(bitmap: Uint8Array, from: number, pages: number, value: 0 | 1): number {
  const skip = value ? 0x00 : 0xff;
  let page = from;
  while (page < pages) {
    if ((page & 7) === 0 && bitmap[page >> 3] === skip) {
      page += 8;
      continue;
    }
    if (((bitmap[page >> 3] >> (page & 7)) & 1) === value) return page;
    page++;
  }
  return pages;
}

const BITS = Uint8Array.from({ length: 256 }, (_, byte) => {
  let count = 0;
  for (let rest = byte; rest; rest &= rest - 1) count++;
  return count;
});
