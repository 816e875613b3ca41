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
import * as C from "../stream/constants.ts";
import { StreamDecoder } from "../stream/decode.ts";
import { StreamError } from "../stream/errors.ts";
import type {
  CommandRecord,
  ConfigurationRecord,
  DeviceRecord,
  RamMarkRecord,
  RamPagesRecord,
  SectionRecord,
  StreamRecord,
} from "../stream/records.ts";
import type { Tables } from "../stream/tables.ts";
import type { ChannelsBeside } from "./further_channels.ts";
import { oddities, ramFormatOf, type SeenStream } from "./index_judge.ts";
import { RamLedger } from "./ram_ledger.ts";
import { RowPass } from "./row_pass.ts";
import type { ImageCommand, ImageSection, ImageWarning, IndexedDevice, StreamIndex } from "./index_result.ts";

/** Most PART sections, other sections and warnings that are listed; more are counted. */
const PART_LIMIT = 1 << 18;
const SECTION_LIMIT = 1 << 16;
const WARNING_LIMIT = 256;
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
  readonly #warnings: ImageWarning[] = [];
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
  readonly #rows: RowPass;
  readonly #ram: RamLedger;
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
    this.#ram = new RamLedger(this.#decoder.ram, options.tables);
    this.#ram.passes.unordered = options.channels?.multifd ?? false;
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
    this.#ram.close(this.#decoder.reader.source);
    for (const text of oddities(this.#seen())) this.#warn(text);
  }

  /**
   * Marks tell that pages of multifd channels belong here: MULTIFD_FLUSH, or each EOS where the first section has none
   * (machine types up to 8.0).
   */
  #mark({ flags, offset }: RamMarkRecord): void | Promise<void> {
    const flush = (flags & C.RAM_SAVE_FLAG_MULTIFD_FLUSH) !== 0;
    if (flush) this.#flushSeen = true;
    const { channels } = this.#options;
    if (!channels?.multifd || !(flush || !this.#flushSeen)) return;
    const { blocks, framing } = this.#decoder.ram;
    channels.list({ blocks, pageSize: framing.pageSize });
    return channels.sync(this.#ram.places(offset)).then(() => this.#ram.passes.sync());
  }

  async #finishChannels(): Promise<void> {
    const { channels } = this.#options;
    if (!channels) return;
    const { blocks, framing } = this.#decoder.ram;
    channels.list({ blocks, pageSize: framing.pageSize });
    try {
      for (const text of await channels.finish(this.#ram.places(this.#end))) this.#warn(text);
    } catch (error) {
      if (!(error instanceof StreamError)) throw error;
      this.#fault = error;
    }
  }

  /** One batch of pages a call; nothing is allocated per page. A promise only where other channels are read. */
  #apply(record: StreamRecord): void | Promise<void> {
    switch (record.kind) {
      case "ram-pages":
        this.#ram.put(record);
        return this.#row(record);
      case "ram-mark":
        return this.#mark(record);
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
        this.#ram.block(record.index).bitmap = record.bitmap.slice();
        return;
      case "ram-block":
        if (record.block.mapped) this.#ram.mapped(record);
        return;
    }
  }

  /** Pages that came in a row: pass over those that follow. */
  #row(record: RamPagesRecord): Promise<void> | undefined {
    const block = record.block[record.count - 1];
    const { size } = this.#decoder.reader.source;
    return this.#rows.follow(
      record,
      this.#ram.blocks[block].pages,
      (offset) => this.#options.onProgress?.(offset, size?.call(this.#decoder.reader.source)),
    )?.then((row) => {
      if (!row) return;
      this.#ram.passedOver(block, row);
      this.#passed = row.end;
    });
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
    if (name === "POSTCOPY_RAM_DISCARD") this.#ram.discard(payload);
    if (name === "POSTCOPY_RUN") this.#ram.passes.postcopy();
  }

  /** What the pass has seen, for those that judge it. */
  #seen(): SeenStream {
    const { eofSeen, description, ram, commands } = this.#decoder;
    return {
      framing: ram.framing,
      blocks: this.#ram.blocks,
      machine: this.#configuration?.machine,
      devices: this.#devices.length,
      described: description !== undefined,
      eof: eofSeen,
      fault: this.#fault !== undefined,
      ramEnd: this.#ramEnd,
      flush: this.#flushSeen,
      multifdChannels: this.#options.channels?.multifd ?? false,
      discarded: this.#ram.discarded,
      postcopy: commands.postcopy !== 0,
      dataPages: this.#ram.dataPages,
      pageRecords: this.#ram.pageRecords,
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
      blocks: this.#ram.blocks,
      deltas: this.#ram.deltas,
      passes: this.#ram.passes.list,
      warnings: this.#warnings,
      ...(this.#fault ? { fault: this.#fault } : {}),
      complete: eofSeen && !this.#fault,
      ramFormat: ramFormatOf(this.#seen()),
      furtherChannels: this.#options.channels?.multifd ?? false,
      pageSize: ram.framing.pageSize,
      end: this.#end,
      ...(this.#ram.lastPage ? { lastPage: this.#ram.lastPage } : {}),
    };
  }
}
