/**
 * Pages of a stream put down where a mapped-ram file has them, in whatever order and however often they come.
 *
 *     data    written at pages_offset + offset, bit set        neighbours go out together
 *     zero    bit cleared; of blocks a receiver fills itself zeros are written and the bit set
 *     delta   applied to what the file has
 *
 * @module
 */
import type { OutputFile } from "../containers/output_file.ts";
import * as C from "../stream/constants.ts";
import { StreamError } from "../stream/errors.ts";
import { countBits } from "../stream/mapped_ram.ts";
import type { MappedRamHeader, RamPagesRecord } from "../stream/records.ts";
import type { Tables } from "../stream/tables.ts";
import { PIECES, type PieceWriter } from "../threads/write_behind.ts";
import { OWN_CONTENT } from "./convert_stream.ts";

/** Bytes gathered before they are handed over. */
const GATHERED = 1 << 20;

interface PlacedBlock {
  readonly idstr: string;
  readonly pages: number;
  readonly layout: MappedRamHeader;
  /** Bit i (LSB first) is page i. */
  readonly bitmap: Uint8Array;
  readonly ownContent: boolean;
}

/** Places pages of one stream in one file. */
export class PagePlacer implements Disposable {
  readonly #blocks: PlacedBlock[] = [];
  readonly #out: OutputFile;
  readonly #tables: Partial<Tables>;
  #pieces: PieceWriter | undefined;
  /** The run being gathered: begin in the buffer, bytes, position in the file. */
  #begin = 0;
  #length = 0;
  #position = 0;
  #listed = 0;
  #page = new Uint8Array(0);
  /** Deltas came: what is in the file is wanted again and again, so nothing waits on its way there. */
  #direct = false;

  constructor(out: OutputFile, tables: Partial<Tables>) {
    this.#out = out;
    this.#tables = tables;
  }

  /** Pages whose last copy is data. */
  get normalPages(): number {
    return this.#blocks.reduce((sum, { bitmap, pages }) => sum + countBits(bitmap, pages), 0);
  }

  /** The others. */
  get zeroPages(): number {
    return this.#blocks.reduce((sum, { pages }) => sum + pages, 0) - this.normalPages;
  }

  /** Bytes of all blocks. */
  get #expected(): number {
    return this.#blocks.reduce((sum, { pages, layout }) => sum + pages * layout.pageSize, 0);
  }

  /** The next block of the list. */
  add(idstr: string, usedLength: number, layout: MappedRamHeader): void {
    const bitmap = new Uint8Array(layout.bitmapBytes);
    const pages = Math.ceil(usedLength / layout.pageSize);
    this.#blocks.push({ idstr, pages, layout, bitmap, ownContent: OWN_CONTENT.test(idstr) });
  }

  /** Put down a run of records. */
  async put(record: RamPagesRecord): Promise<void> {
    const { count, block, pageOffset, flags, bytes, dataAt, pageSize } = record;
    const laidOut = this.#blocks[block[0]].layout.pageSize;
    if (pageSize !== laidOut) {
      throw new StreamError("Cannot keep the stream", {
        channel: record.channel,
        offset: record.offset,
        found: `pages of ${pageSize} bytes, of which the stream says nothing in front`,
        expected: `${laidOut}: keep it as it is, and convert the file`,
      });
    }
    for (let i = 0; i < count; i++) {
      const { layout: { pagesOffset }, bitmap, ownContent } = this.#blocks[block[i]];
      const page = pageOffset[i] / pageSize, mask = 1 << (page & 7);
      const position = pagesOffset + pageOffset[i];
      const had = (bitmap[page >> 3] & mask) !== 0;
      if (flags[i] & C.RAM_SAVE_FLAG_ZERO && !ownContent) {
        bitmap[page >> 3] &= ~mask;
        continue;
      }
      bitmap[page >> 3] |= mask;
      if (flags[i] & C.RAM_SAVE_FLAG_PAGE) {
        const full = this.#gather(bytes, dataAt[i], pageSize, position);
        if (full) await full;
      } else await this.#rewrite(record, i, position, had);
    }
  }

  /** A page that depends on what the file has. */
  async #rewrite(record: RamPagesRecord, i: number, position: number, had: boolean): Promise<void> {
    const { flags, bytes, dataAt, dataLength, pageSize } = record;
    await this.#settle();
    if (this.#page.length !== pageSize) this.#page = new Uint8Array(pageSize);
    this.#page.fill(0);
    if (flags[i] & C.RAM_SAVE_FLAG_XBZRLE) {
      this.#direct = true;
      if (had) this.#out.readAt(this.#page, position);
      this.#apply(record, i, bytes.subarray(dataAt[i], dataAt[i] + dataLength[i]));
    } else if (!had) return; // a hole is zero already
    this.#out.writeAt(this.#page, position);
  }

  /** Everything is in the file, bitmaps too. */
  async finish(): Promise<void> {
    await this.#settle();
    for (const { bitmap, layout } of this.#blocks) this.#out.writeAt(bitmap, layout.bitmapOffset);
  }

  [Symbol.dispose](): void {
    this.#pieces?.[Symbol.dispose]();
  }

  #apply(record: RamPagesRecord, i: number, delta: Uint8Array): void {
    if (delta.length === 0) return;
    const codec = this.#tables.ramFlags?.[C.RAM_SAVE_FLAG_XBZRLE];
    const refused = codec ? codec.apply(this.#page, delta) : "no codec for differences";
    if (!refused) return;
    throw new StreamError(`Cannot apply a difference to a page of ${record.blocks[record.block[i]].idstr}`, {
      channel: record.channel,
      offset: record.offset + record.at[i],
      found: codec ? "a malformed record" : "no codec",
      expected: codec ? "one that stays inside the page" : "a plugin that owns flag 0x40",
      ...(codec ? { qemu: [refused] } : {}),
    });
  }

  #gather(bytes: Uint8Array, at: number, length: number, position: number): void | Promise<void> {
    if (this.#direct) return this.#out.writeAt(bytes.subarray(at, at + length), position);
    const pieces = this.#pieces ??= this.#out.pieces(GATHERED, this.#expected);
    if (position !== this.#position + this.#length) this.#list(position);
    pieces.buffer.set(bytes.subarray(at, at + length), this.#begin + this.#length);
    this.#length += length;
    if (this.#begin + this.#length + length <= GATHERED && this.#listed < PIECES - 1) return;
    return this.#next();
  }

  #list(position: number): void {
    if (this.#length > 0) {
      this.#pieces!.list(this.#begin, this.#length, this.#position);
      this.#listed++;
    }
    this.#begin += this.#length;
    this.#length = 0;
    this.#position = position;
  }

  #next(): void | Promise<void> {
    this.#list(0);
    this.#begin = this.#listed = 0;
    return this.#pieces!.next();
  }

  /** What was gathered is in the file: somebody wants to read it, or write over it. */
  async #settle(): Promise<void> {
    if (!this.#pieces || this.#direct) return;
    await this.#next();
    await this.#pieces.drain();
  }
}
