/**
 * One pass over a stream's records that keeps what an image needs: where everything is, and nothing of RAM itself.
 *
 *     records -> configuration, sections, devices, blocks with the place of each page's last copy, warnings, fault
 *
 * A fault ends the pass; what came before it stays. Memory is bounded by what the file really holds: 8 bytes a data page
 * and 16 a delta, and a limit on the number of sections that are listed.
 * @module
 */
import type { ByteSource } from "../stream/channel.ts";
import { parseDiscard } from "../stream/commands.ts";
import * as C from "../stream/constants.ts";
import { StreamDecoder } from "../stream/decode.ts";
import { hex, StreamError } from "../stream/errors.ts";
import { lastBit } from "../stream/mapped_ram.ts";
import type {
  CommandRecord,
  ConfigurationRecord,
  DeviceRecord,
  RamBlockEntry,
  RamBlockRecord,
  RamPagesRecord,
  SectionRecord,
  StreamRecord,
} from "../stream/records.ts";
import type { Tables } from "../stream/tables.ts";
import type { ChannelsBeside, PagePlaces } from "./further_channels.ts";
import { oddities, ramFormatOf, type SeenStream } from "./index_judge.ts";
import { type PassedRow, RowPass } from "./row_pass.ts";
import { DeltaList, PageIndex } from "./page_index.ts";
import type {
  ImageCommand,
  ImageSection,
  ImageWarning,
  IndexedBlock,
  IndexedDevice,
  StreamIndex,
} from "./index_result.ts";

/** Most PART sections, other sections and warnings that are listed; more are counted. */
const PART_LIMIT = 1 << 18;
const SECTION_LIMIT = 1 << 16;
const WARNING_LIMIT = 256;
/** Most pages of a mapped-ram block. */
const PAGE_LIMIT = 2 ** 31;
/** Bytes between two calls of `onProgress`. */
const PROGRESS_STEP = 32 << 20;

/** How to read. */
export interface StreamIndexOptions {
  /** Codecs of plugins: deltas, sections with bodies of their own. */
  readonly tables?: Partial<Tables>;
  /** Channels beside the main one, identified. */
  readonly channels?: ChannelsBeside;
  readonly onProgress?: (bytes: number, total: number | undefined) => void | Promise<void>;
}

/**
 * Read a main channel from where its source stands to the end.
 * @throws {StreamError} when it does not begin as a stream; later faults are in the result
 * @throws {TransportError} when the source cannot be read
 */
export async function indexStream(source: ByteSource, options: StreamIndexOptions = {}): Promise<StreamIndex> {
  const pass = new Pass(source, options);
  await pass.run();
  return pass.result();
}

class Pass {
  readonly #decoder: StreamDecoder;
  readonly #options: StreamIndexOptions;
  readonly #seekable: boolean;
  readonly #sections: ImageSection[] = [];
  readonly #devices: IndexedDevice[] = [];
  readonly #commands: ImageCommand[] = [];
  readonly #blocks: IndexedBlock[] = [];
  readonly #deltas = new DeltaList();
  readonly #warnings: ImageWarning[] = [];
  #scratch: Uint8Array | undefined;
  #version = 0;
  #configuration?: ConfigurationRecord;
  #fault?: StreamError;
  #section?: ImageSection;
  #footers = false;
  #end = 0;
  #parts = 0;
  #unlisted = 0;
  #flushSeen = false;
  #ramEnd = false;
  #dataPages = 0;
  #pageRecords = 0;
  #discarded = false;
  #lastPage?: { readonly block: string; readonly pageOffset: number };
  readonly #rows: RowPass;
  /** Offset up to which rows were passed over. */
  #passed = 0;

  constructor(source: ByteSource, options: StreamIndexOptions) {
    this.#options = options;
    this.#seekable = source.readAt !== undefined;
    this.#decoder = new StreamDecoder(source, {
      ...(options.tables?.sections ? { sections: options.tables.sections } : {}),
      onWarning: ({ text, offset }) => this.#warn(text, offset),
    });
    this.#rows = new RowPass(this.#decoder.reader);
  }

  async run(): Promise<void> {
    using _rows = this.#rows;
    const { reader } = this.#decoder;
    const { onProgress } = this.#options;
    let told = reader.offset;
    try {
      for await (const record of this.#decoder.records()) {
        const syncing = this.#apply(record);
        if (syncing) await syncing;
        this.#end = Math.max(record.offset + record.length, this.#passed);
        if (!onProgress || reader.offset - told < PROGRESS_STEP) continue;
        told = reader.offset;
        await onProgress(told, reader.source.size?.());
      }
    } catch (error) {
      if (!(error instanceof StreamError) || this.#version === 0) throw error;
      this.#fault = error;
    }
    this.#close(this.#end);
    if (!this.#fault) await this.#finishChannels();
    this.#decoder.ram.blocks.forEach((entry, index) => this.#bitmapOf(this.#blockAt(index, entry)));
    for (const text of oddities(this.#seen())) this.#warn(text);
  }

  /** What further channels tell of pages. */
  readonly #places: PagePlaces = {
    place: (block, pageOffset, position) => {
      const { pages, pageSize } = this.#blocks[block] ?? this.#blockAt(block, this.#decoder.ram.blocks[block]);
      pages.place(pageOffset / pageSize, position);
    },
    zero: (block, pageOffset) => {
      const { pages, pageSize } = this.#blocks[block] ?? this.#blockAt(block, this.#decoder.ram.blocks[block]);
      pages.zero(pageOffset / pageSize);
    },
    records: (record) => this.#pages(record),
  };

  /**
   * Marks tell that pages of multifd channels belong here: MULTIFD_FLUSH, or each EOS where the first section has none
   * (machine types up to 8.0).
   */
  #mark(flags: number): void | Promise<void> {
    const flush = (flags & C.RAM_SAVE_FLAG_MULTIFD_FLUSH) !== 0;
    if (flush) this.#flushSeen = true;
    const { channels } = this.#options;
    if (!channels?.multifd || !(flush || !this.#flushSeen)) return;
    const { blocks, framing } = this.#decoder.ram;
    channels.list({ blocks, pageSize: framing.pageSize });
    return channels.sync(this.#places);
  }

  async #finishChannels(): Promise<void> {
    const { channels } = this.#options;
    if (!channels) return;
    const { blocks, framing } = this.#decoder.ram;
    channels.list({ blocks, pageSize: framing.pageSize });
    try {
      for (const text of await channels.finish(this.#places)) this.#warn(text);
    } catch (error) {
      if (!(error instanceof StreamError)) throw error;
      this.#fault = error;
    }
  }

  /** One batch of pages a call; nothing is allocated per page. A promise only where other channels are read. */
  #apply(record: StreamRecord): void | Promise<void> {
    switch (record.kind) {
      case "ram-pages":
        this.#pages(record);
        return this.#row(record);
      case "ram-mark":
        return this.#mark(record.flags);
      case "section":
        this.#close(record.offset);
        return this.#open(record);
      case "footer":
        this.#footers = true;
        return this.#close(record.offset);
      case "eof":
        return this.#close(record.offset);
      case "command":
        this.#close(record.offset);
        return this.#command(record);
      case "header":
        this.#version = record.version;
        return;
      case "configuration":
        this.#configuration = record;
        return;
      case "device":
        return this.#device(record);
      case "mapped-bitmap":
        this.#blockAt(record.index, record.block).bitmap = record.bitmap.slice();
        return;
      case "ram-block":
        if (record.block.mapped) this.#mappedBlock(record);
        return;
    }
  }

  #pages(record: RamPagesRecord): void {
    const { count, dataAt, pageOffset, flags, block, pageSize, offset } = record;
    const perByte = 1 / pageSize;
    this.#pageRecords += count;
    this.#lastPage = { block: record.blocks[block[count - 1]].idstr, pageOffset: pageOffset[count - 1] };
    for (let i = 0; i < count; i++) {
      const { pages } = this.#blocks[block[i]] ?? this.#blockAt(block[i], record.blocks[block[i]]);
      const page = pageOffset[i] * perByte;
      const flag = flags[i];
      if (flag & C.RAM_SAVE_FLAG_PAGE) {
        pages.place(page, offset + dataAt[i]);
        this.#dataPages++;
      } else if (flag & C.RAM_SAVE_FLAG_ZERO) pages.zero(page);
      else this.#delta(record, i, pages, page);
    }
  }

  /** Pages that came in a row: pass over those that follow. */
  #row(record: RamPagesRecord): Promise<void> | undefined {
    const block = record.block[record.count - 1];
    const { size } = this.#decoder.reader.source;
    return this.#rows.follow(
      record,
      this.#blocks[block].pages,
      (offset) => this.#options.onProgress?.(offset, size?.call(this.#decoder.reader.source)),
    )?.then((row) => {
      if (row) this.#passedOver(row, record.blocks[block].idstr);
    });
  }

  #passedOver({ data, count, lastOffset, end }: PassedRow, block: string): void {
    this.#pageRecords += count;
    if (data) this.#dataPages += count;
    this.#lastPage = { block, pageOffset: lastOffset };
    this.#passed = end;
  }

  /** Deltas are only listed here; a codec is asked whether each is sound, on a page that does not matter. */
  #delta(record: RamPagesRecord, i: number, pages: PageIndex, page: number): void {
    const { dataAt, dataLength, bytes, pageSize, offset, channel } = record;
    this.#dataPages++;
    if (dataLength[i] === 0) return;
    const codec = this.#options.tables?.ramFlags?.[C.RAM_SAVE_FLAG_XBZRLE];
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

  /** Bits of a bitmap are counted in 32 bits; no machine has blocks of 8 TiB. */
  #mappedBlock({ block, index, channel, offset }: RamBlockRecord): void {
    if (this.#blockAt(index, block).pages.pages < PAGE_LIMIT) return;
    throw new StreamError(`Cannot use RAM block ${block.idstr}`, {
      channel,
      offset,
      found: `${hex(block.usedLength)} bytes`,
      expected: `fewer than ${PAGE_LIMIT} pages`,
    });
  }

  #blockAt(index: number, entry: RamBlockEntry): IndexedBlock {
    const pageSize = this.#decoder.ram.framing.pageSize;
    return this.#blocks[index] ??= {
      entry,
      pageSize,
      pages: new PageIndex(Math.ceil(entry.usedLength / pageSize), this.#deltas),
    };
  }

  #open(record: SectionRecord): void {
    const { type, sectionId: id, idstr: name, instanceId, versionId: version, offset: headerOffset, length } = record;
    if (name === "ram" && type === "end") this.#ramEnd = true;
    const section = { type, id, name, instanceId, version, headerOffset, offset: headerOffset + length, bytes: 0 };
    this.#section = section;
    const room = type === "part" ? this.#parts++ < PART_LIMIT : this.#sections.length - this.#parts < SECTION_LIMIT;
    if (room) this.#sections.push(section);
    else this.#unlisted++;
  }

  #close(at: number): void {
    if (this.#section) this.#section.bytes = Math.max(0, at - this.#section.offset);
    this.#section = undefined;
  }

  #device(record: DeviceRecord): void {
    if (!this.#section || this.#devices.length >= SECTION_LIMIT) return;
    this.#section.bytes = record.length;
    this.#devices.push({
      section: this.#section,
      early: record.early,
      bounds: record.bounds,
      ...(this.#seekable ? {} : { body: record.body.slice() }),
    });
  }

  #command({ name, payload, offset }: CommandRecord): void {
    if (this.#commands.length < SECTION_LIMIT) this.#commands.push({ name, offset, bytes: payload.length });
    if (name !== "POSTCOPY_RAM_DISCARD") return;
    this.#discarded = true;
    const { idstr, ranges } = parseDiscard(payload);
    const index = this.#decoder.ram.blocks.findIndex((entry) => entry.idstr === idstr);
    if (index < 0) return;
    const { pages, pageSize } = this.#blockAt(index, this.#decoder.ram.blocks[index]);
    for (const { start, length } of ranges) pages.discard(Math.floor(start / pageSize), Math.ceil(length / pageSize));
  }

  /** The file ends in this block's pages: its bitmap was judged with them, but it is there. */
  #bitmapOf(block: IndexedBlock): void {
    const { source } = this.#decoder.reader;
    const { mapped } = block.entry;
    if (!mapped || block.bitmap || block.pages.pages >= PAGE_LIMIT || !source.readAt || !source.size) return;
    const { bitmapOffset, bitmapBytes } = mapped;
    if (bitmapOffset + bitmapBytes > source.size()) return;
    const bitmap = new Uint8Array(bitmapBytes);
    source.readAt(bitmap, bitmapOffset);
    if (lastBit(bitmap) < block.pages.pages) block.bitmap = bitmap;
  }

  /** What the pass has seen, for those that judge it. */
  #seen(): SeenStream {
    const { eofSeen, description, ram, commands } = this.#decoder;
    return {
      framing: ram.framing,
      blocks: this.#blocks,
      machine: this.#configuration?.machine,
      devices: this.#devices.length,
      described: description !== undefined,
      eof: eofSeen,
      fault: this.#fault !== undefined,
      ramEnd: this.#ramEnd,
      flush: this.#flushSeen,
      multifdChannels: this.#options.channels?.multifd ?? false,
      discarded: this.#discarded,
      postcopy: commands.postcopy !== 0,
      dataPages: this.#dataPages,
      pageRecords: this.#pageRecords,
      unlisted: this.#unlisted,
    };
  }

  #warn(text: string, offset?: number): void {
    if (this.#warnings.length < WARNING_LIMIT) {
      this.#warnings.push({ text, ...(offset !== undefined ? { offset } : {}) });
    }
  }

  result(): StreamIndex {
    const { eofSeen, description, ram } = this.#decoder;
    return {
      version: this.#version,
      ...(this.#configuration ? { configuration: this.#configuration } : {}),
      ...(description ? { description } : {}),
      sections: this.#sections,
      devices: this.#devices,
      commands: this.#commands,
      footers: this.#footers,
      unlisted: this.#unlisted,
      blocks: this.#blocks,
      deltas: this.#deltas,
      warnings: this.#warnings,
      ...(this.#fault ? { fault: this.#fault } : {}),
      complete: eofSeen && !this.#fault,
      ramFormat: ramFormatOf(this.#seen()),
      furtherChannels: this.#options.channels?.multifd ?? false,
      pageSize: ram.framing.pageSize,
      end: this.#end,
      ...(this.#lastPage ? { lastPage: this.#lastPage } : {}),
    };
  }
}
