/**
 * What one pass over a stream puts down of RAM: blocks, the place of each page's last copy, and which pass of the source it came
 * in. Nothing is allocated per page.
 * @module
 */
import { parseDiscard } from "../stream/commands.ts";
import * as C from "../stream/constants.ts";
import { hex, StreamError } from "../stream/errors.ts";
import { lastBit } from "../stream/mapped_ram.ts";
import type { ByteSource } from "../stream/channel.ts";
import type { CommandRecord, RamBlockEntry, RamBlockRecord, RamPagesRecord } from "../stream/records.ts";
import type { Tables } from "../stream/tables.ts";
import type { PagePlaces } from "./further_channels.ts";
import type { IndexedBlock } from "./index_result.ts";
import { DeltaList, PageIndex } from "./page_index.ts";
import { type PageKind, RamPasses } from "./ram_passes.ts";
import type { PassedRow } from "./row_pass.ts";

/** Most pages of a mapped-ram block. */
const PAGE_LIMIT = 2 ** 31;

/** What a ledger is told by the decoder: its list of blocks, and bytes of a page as far as is known. */
export interface RamListing {
  readonly blocks: readonly RamBlockEntry[];
  readonly framing: { readonly pageSize: number };
}

/** RAM of one stream. */
export class RamLedger {
  /** By index in the list. */
  readonly blocks: IndexedBlock[] = [];
  readonly deltas: DeltaList = new DeltaList();
  readonly passes: RamPasses = new RamPasses();
  /** Pages with data, and records of pages, however often one page came. */
  dataPages = 0;
  pageRecords = 0;
  /** Pages were declared lost (POSTCOPY_RAM_DISCARD). */
  discarded = false;
  /** The last page record: those behind it that name no block are of the same. */
  lastPage?: { readonly block: string; readonly pageOffset: number };
  readonly #listing: RamListing;
  readonly #tables: Partial<Tables> | undefined;
  #scratch: Uint8Array | undefined;

  constructor(listing: RamListing, tables: Partial<Tables> | undefined) {
    this.#listing = listing;
    this.#tables = tables;
  }

  /** A block of the list. */
  block(index: number): IndexedBlock {
    return this.blocks[index] ?? this.#add(index, this.#listing.blocks[index]);
  }

  /** A run of records. */
  put(record: RamPagesRecord): void {
    const { count, dataAt, pageOffset, flags, block, pageSize, offset, at } = record;
    const perByte = 1 / pageSize;
    this.pageRecords += count;
    this.lastPage = { block: record.blocks[block[count - 1]].idstr, pageOffset: pageOffset[count - 1] };
    for (let i = 0; i < count; i++) {
      const { pages } = this.blocks[block[i]] ?? this.#add(block[i], record.blocks[block[i]]);
      const page = pageOffset[i] * perByte;
      const flag = flags[i];
      if (flag & C.RAM_SAVE_FLAG_PAGE) {
        this.#pass("normalPages", block[i], page, pages, offset + at[i]);
        pages.place(page, offset + dataAt[i]);
        this.dataPages++;
      } else if (flag & C.RAM_SAVE_FLAG_ZERO) {
        this.#pass("zeroPages", block[i], page, pages, offset + at[i]);
        pages.zero(page);
      } else {
        this.#pass("deltaPages", block[i], page, pages, offset + at[i]);
        this.#delta(record, i, pages, page);
      }
    }
  }

  /** A row that follows a run of records and is put down already. @param block index of its block */
  passedOver(block: number, { data, count, lastOffset }: PassedRow): void {
    const { entry, pageSize } = this.blocks[block];
    this.pageRecords += count;
    if (data) this.dataPages += count;
    this.lastPage = { block: entry.idstr, pageOffset: lastOffset };
    this.passes.add(data ? "normalPages" : "zeroPages", block, lastOffset / pageSize - count + 1, count, false, 0);
  }

  /** What further channels tell of pages. @param at where the main channel waits for them */
  places(at: number): PagePlaces {
    return {
      place: (block, pageOffset, position) => {
        const { pages, pageSize } = this.block(block);
        this.#pass("normalPages", block, pageOffset / pageSize, pages, at);
        pages.place(pageOffset / pageSize, position);
      },
      zero: (block, pageOffset) => {
        const { pages, pageSize } = this.block(block);
        this.#pass("zeroPages", block, pageOffset / pageSize, pages, at);
        pages.zero(pageOffset / pageSize);
      },
      records: (record) => this.put(record),
    };
  }

  /** A block of mapped-ram. Bits of a bitmap are counted in 32 bits; no machine has blocks of 8 TiB. */
  mapped({ block, index, channel, offset }: RamBlockRecord): void {
    if (this.block(index).pages.pages < PAGE_LIMIT) return;
    throw new StreamError(`Cannot use RAM block ${block.idstr}`, {
      channel,
      offset,
      found: `${hex(block.usedLength)} bytes`,
      expected: `fewer than ${PAGE_LIMIT} pages`,
    });
  }

  /** POSTCOPY_RAM_DISCARD: pages are gone, as if never sent. */
  discard(payload: CommandRecord["payload"]): void {
    this.discarded = true;
    const { idstr, ranges } = parseDiscard(payload);
    const index = this.#listing.blocks.findIndex((entry) => entry.idstr === idstr);
    if (index < 0) return;
    const { pages, pageSize } = this.block(index);
    for (const { start, length } of ranges) pages.discard(Math.floor(start / pageSize), Math.ceil(length / pageSize));
  }

  /** The stream is at its end: a file that ends in a block's pages has its bitmap all the same. */
  close(source: ByteSource): void {
    this.passes.sync();
    for (const index of this.#listing.blocks.keys()) {
      const block = this.block(index);
      const { mapped } = block.entry;
      if (!mapped || block.bitmap || block.pages.pages >= PAGE_LIMIT || !source.readAt || !source.size) continue;
      const { bitmapOffset, bitmapBytes } = mapped;
      if (bitmapOffset + bitmapBytes > source.size()) continue;
      const bitmap = new Uint8Array(bitmapBytes);
      source.readAt(bitmap, bitmapOffset);
      if (lastBit(bitmap) < block.pages.pages) block.bitmap = bitmap;
    }
  }

  #add(index: number, entry: RamBlockEntry): IndexedBlock {
    const { pageSize } = this.#listing.framing;
    const pages = new PageIndex(Math.ceil(entry.usedLength / pageSize), this.deltas);
    return this.blocks[index] = { entry, pageSize, pages };
  }

  #pass(kind: PageKind, block: number, page: number, pages: PageIndex, offset: number): void {
    this.passes.add(kind, block, page, 1, this.passes.isBack(block, page) && pages.isSent(page), offset);
  }

  /** Deltas are only listed here; a codec is asked whether each is sound, on a page that does not matter. */
  #delta(record: RamPagesRecord, i: number, pages: PageIndex, page: number): void {
    const { dataAt, dataLength, bytes, pageSize, offset, channel } = record;
    this.dataPages++;
    if (dataLength[i] === 0) return;
    const codec = this.#tables?.ramFlags?.[C.RAM_SAVE_FLAG_XBZRLE];
    if (codec) {
      this.#scratch ??= new Uint8Array(pageSize);
      const refused = codec.apply(this.#scratch, bytes.subarray(dataAt[i], dataAt[i] + dataLength[i]));
      if (refused) {
        const at = record.pageOffset[i];
        throw new StreamError(`Cannot place page ${hex(at)} of ${record.blocks[record.block[i]].idstr}`, {
          channel,
          offset: offset + record.at[i],
          found: `a malformed ${codec.feature} record`,
          expected: "one that stays inside the page",
          qemu: [refused, `Failed to decompress XBZRLE page at ${at.toString(16)}`],
        });
      }
    }
    pages.delta(page, offset + dataAt[i]);
  }
}
