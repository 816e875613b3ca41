/**
 * Lines of `ram` bodies: the block list, page records, marks, and the areas of mapped-ram.
 *
 *     sections[0].ram.total, .blocks[0].idstr, .blocks[0].usedLength, .blocks[0].mapped.bitmapOffset, .blocks[0].bitmap
 *     sections[0].ram.blocks[0].pages[16..127]     slots of mapped-ram that are all data, or all not
 *     sections[1].ram.records[7]                   a page record: word, name, payload
 *     sections[1].ram.records[8..900]              a run of them, where runs are asked for
 *
 * @module
 */
import * as C from "../stream/constants.ts";
import { hex } from "../stream/errors.ts";
import { countBits, nextBit } from "../stream/mapped_ram.ts";
import type {
  MappedBitmapRecord,
  MappedPagesRecord,
  RamBlockRecord,
  RamMarkRecord,
  RamPagesRecord,
  RamTotalRecord,
} from "../stream/records.ts";
import { flagNames } from "./explain_frame.ts";
import { type ExplainLine, FieldLines, RAW_LIMIT } from "./explain_lines.ts";

/** Which lines of pages are wanted. */
export interface PageWish {
  /** Nothing that ends here or before. */
  readonly from: number;
  /** One line for a run of records of one kind. */
  readonly runs: boolean;
  /** Only records and slots of this page. */
  readonly page?: { readonly block: string; readonly offset: number };
}

/** The word with the total. */
export function totalLines({ offset, total }: RamTotalRecord, path: string): ExplainLine[] {
  const raw = new Uint8Array(8);
  new DataView(raw.buffer).setBigUint64(0, BigInt(total) | BigInt(C.RAM_SAVE_FLAG_MEM_SIZE));
  return new FieldLines(offset, path, "migration/ram.c ram_save_setup")
    .add("total", 8, raw, "bytes of all RAM blocks; the low bits are flags: MEM_SIZE, a list of blocks follows", total)
    .lines;
}

/** An entry of the list. */
export function blockLines({ offset, block, index }: RamBlockRecord, path: string): ExplainLine[] {
  const { idstr, usedLength, pageSize, address, mapped } = block;
  const fields = new FieldLines(offset, `${path}.blocks[${index}]`, "migration/ram.c ram_save_setup, parse_ramblock")
    .str8("idstr", idstr, "name of a RAM block; the destination must have it")
    .u64("usedLength", usedLength, "bytes of the block that are in use");
  if (pageSize !== undefined) fields.u64("pageSize", pageSize, "host page size of a block on huge pages (postcopy)");
  if (address !== undefined) fields.u64("address", address, "guest-physical address of the block (x-ignore-shared)");
  if (mapped) {
    const from = "migration/ram.c mapped_ram_setup_ramblock; stream/mapped_ram.ts";
    fields
      .u32("mapped.version", mapped.version, "version of the mapped-ram header", from)
      .u64("mapped.pageSize", mapped.pageSize, "bytes of one slot: a target page", from)
      .u64("mapped.bitmapOffset", mapped.bitmapOffset, "where the block's bitmap lies, counted in the file", from)
      .u64("mapped.pagesOffset", mapped.pagesOffset, "where page 0 of the block lies, counted in the file", from);
  }
  return fields.lines;
}

/** EOS and the other words without a page. */
export function markLines({ offset, word, flags }: RamMarkRecord, path: string): ExplainLine[] {
  const [name, meaning] = flags & C.RAM_SAVE_FLAG_EOS
    ? ["eos", "EOS: end of this section's body"]
    : flags & C.RAM_SAVE_FLAG_HOOK
    ? ["hook", "HOOK: belongs to the RDMA transport"]
    : ["flush", "MULTIFD_FLUSH: wait until every multifd channel has reached its SYNC packet"];
  return new FieldLines(offset, path, "migration/ram.c ram_load_precopy").u64(name, word, meaning).lines;
}

/** Which slots hold data. */
export function bitmapLines(record: MappedBitmapRecord, path: string, wish: PageWish): ExplainLine[] {
  const { block, index, bitmap, offset } = record;
  const { pageSize } = block.mapped!;
  const pages = Math.ceil(block.usedLength / pageSize);
  const from = "migration/ram.c ram_save_file_bmap; stream/mapped_ram.ts";
  if (wish.page) {
    if (wish.page.block !== block.idstr) return [];
    const page = Math.floor(wish.page.offset / pageSize);
    if (page >= pages) return [];
    const set = (bitmap[page >> 3] >> (page & 7)) & 1;
    return new FieldLines(offset + (page >> 3), `${path}.blocks[${index}].bitmap`, from).u8(
      `[${page >> 3}]`,
      bitmap[page >> 3],
      `bit ${page & 7} is page ${hex(page * pageSize)} of ${block.idstr}: ` +
        (set ? "set, its slot is data" : "clear, the page is zero whatever its slot holds"),
    ).lines;
  }
  const value = `${countBits(bitmap, pages)} of ${pages} pages`;
  return new FieldLines(offset, `${path}.blocks[${index}]`, from)
    .add("bitmap", bitmap.length, bitmap.subarray(0, RAW_LIMIT), "bit i % 8 of byte i / 8: page i is data", value)
    .lines;
}

/**
 * Slots of a block, a line for each run that is all data or all not. Where `wish.from` lies inside, the first line is the
 * one page that holds that byte.
 * @param bitmap of the block; absent where it was not read
 * @param end    where the file ends
 */
export function* slotLines(
  record: MappedPagesRecord,
  bitmap: Uint8Array | undefined,
  path: string,
  wish: PageWish,
  end: number,
  peek: (offset: number) => Uint8Array | undefined,
): Generator<ExplainLine> {
  const { block, index, pageOffset, offset, length, data } = record;
  const { pageSize } = block.mapped!;
  const first = pageOffset / pageSize;
  const last = Math.min((pageOffset + length) / pageSize, first + Math.ceil((end - offset) / pageSize));
  if (wish.page && wish.page.block !== block.idstr) return;
  const from = wish.page ? offset + wish.page.offset - pageOffset : wish.from;
  if (from >= offset + length || (wish.page && from < offset)) return;
  let page = from > offset ? first + Math.floor((from - offset) / pageSize) : first;
  let single = from > offset || wish.page !== undefined;
  while (page < last) {
    const set = bitmap ? (bitmap[page >> 3] >> (page & 7)) & 1 : 0;
    const stop = single ? page + 1 : bitmap ? Math.min(last, nextBit(bitmap, page, last, set ? 0 : 1)) : last;
    single = false;
    const at = offset + (page - first) * pageSize;
    const bytes = Math.min((stop - page) * pageSize, offset + length - at, end - at);
    const raw = data ? data.subarray(at - offset, at - offset + RAW_LIMIT) : peek(at);
    const which = stop === page + 1
      ? `page ${hex(page * pageSize)} of ${block.idstr}`
      : `pages ${hex(page * pageSize)} to ${hex((stop - 1) * pageSize)} of ${block.idstr}`;
    const meaning = set
      ? `${which}: content`
      : `${which}: zero, ${
        stop === page + 1 ? "its bit is" : "their bits are"
      } clear and what stands here does not count`;
    const name = `blocks[${index}].pages[${stop === page + 1 ? page : `${page}..${stop - 1}`}]`;
    yield new FieldLines(at, path, "migration/ram.c ram_save_page, mapped_ram_setup_ramblock")
      .add(name, bytes, raw ?? new Uint8Array(), meaning, set ? "data" : "zero").lines[0];
    if (wish.page) return;
    page = stop;
  }
}

/**
 * Page records of a run.
 * @param counted page records of this body before the run
 */
export function* pageLines(
  record: RamPagesRecord,
  path: string,
  counted: number,
  wish: PageWish,
): Generator<ExplainLine> {
  const { count, at, dataAt, dataLength, pageOffset, flags, block, blocks, bytes, offset, pageSize } = record;
  const kinds = C.RAM_SAVE_FLAG_PAGE | C.RAM_SAVE_FLAG_ZERO | C.RAM_SAVE_FLAG_XBZRLE;
  for (let i = firstAfter(record, wish.from); i < count;) {
    const { idstr } = blocks[block[i]];
    if (wish.page && (idstr !== wish.page.block || pageOffset[i] !== wish.page.offset - wish.page.offset % pageSize)) {
      i++;
      continue;
    }
    let end = i + 1;
    if (wish.runs && !wish.page) {
      while (end < count && block[end] === block[i] && !((flags[end] ^ flags[i]) & kinds)) end++;
    }
    const length = dataAt[end - 1] + dataLength[end - 1] - at[i];
    const flag = flags[i];
    const what = flag & C.RAM_SAVE_FLAG_PAGE ? "data" : flag & C.RAM_SAVE_FLAG_ZERO ? "zero" : "delta";
    const name = end === i + 1 ? `records[${counted + i}]` : `records[${counted + i}..${counted + end - 1}]`;
    yield new FieldLines(offset + at[i], path, RULES[what]).add(
      name,
      length,
      bytes.subarray(at[i], Math.min(at[i] + length, at[i] + RAW_LIMIT)),
      end === i + 1 ? one(record, i) : run(record, i, end),
      end === i + 1 ? `${idstr}:${hex(pageOffset[i])} ${flagNames(flag)}` : `${idstr}: ${end - i} ${what}`,
    ).lines[0];
    i = end;
  }
}

const RULES = {
  data: "migration/ram.c save_page_header, save_normal_page",
  zero: "migration/ram.c save_page_header, save_zero_page",
  delta: "migration/ram.c save_xbzrle_page, load_xbzrle; plugins/xbzrle.ts",
};

function one({ at, dataAt, dataLength, pageOffset, flags, block, blocks }: RamPagesRecord, i: number): string {
  const { idstr } = blocks[block[i]];
  const head = flags[i] & C.RAM_SAVE_FLAG_CONTINUE
    ? "u64 offset and flags (CONTINUE: block as before)"
    : `u64 offset and flags, block name of ${
      dataAt[i] - at[i] - 8 - (flags[i] & C.RAM_SAVE_FLAG_XBZRLE ? 3 : 0)
    } bytes`;
  const page = `page ${hex(pageOffset[i])} of ${idstr}`;
  if (flags[i] & C.RAM_SAVE_FLAG_ZERO) return `${page} is zero: ${head}, the byte 0`;
  if (flags[i] & C.RAM_SAVE_FLAG_PAGE) return `${page}: ${head}, ${dataLength[i]} bytes of content`;
  return `${page} as a change of what it was: ${head}, encoding 1, u16 length, ${dataLength[i]} bytes of XBZRLE`;
}

function run({ pageOffset, flags, block, blocks, dataLength }: RamPagesRecord, i: number, end: number): string {
  const { idstr } = blocks[block[i]];
  const pages = `${end - i} pages of ${idstr}, ${hex(pageOffset[i])} to ${hex(pageOffset[end - 1])}`;
  if (flags[i] & C.RAM_SAVE_FLAG_ZERO) return `${pages}, each zero: u64 offset and flags, the byte 0`;
  if (flags[i] & C.RAM_SAVE_FLAG_PAGE) return `${pages}: u64 offset and flags, ${dataLength[i]} bytes of content each`;
  return `${pages}, each as a change of what it was (XBZRLE)`;
}

/** Index of the first record that ends behind `from`. */
function firstAfter({ count, offset, dataAt, dataLength }: RamPagesRecord, from: number): number {
  let low = 0, high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (offset + dataAt[middle] + dataLength[middle] <= from) low = middle + 1;
    else high = middle;
  }
  return low;
}
