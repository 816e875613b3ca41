/**
 * `explain`: every byte of a migration stream, from first to last: where it stands, what it is, and where the rule is written.
 *
 *     for await (const { offset, length, path, value, meaning, source } of explainImage("vm.sav")) ...
 *
 * A fold over the decoder's records. The lengths of all lines add up to the file; what nobody claims and what follows a fault
 * is `opaque`. Memory stays bounded, and a mapped-ram file is entered anywhere without its pages being read.
 * @module
 */
import { LIBVIRT_HEADER_BYTES } from "../containers/libvirt.ts";
import type { Located } from "../containers/locate.ts";
import type { ByteSource } from "../stream/channel.ts";
import { StreamDecoder } from "../stream/decode.ts";
import { StreamError } from "../stream/errors.ts";
import type { SectionRecord, StreamRecord } from "../stream/records.ts";
import type { Tables } from "../stream/tables.ts";
import { commandLines } from "./explain_commands.ts";
import { dataLines, deviceLines } from "./explain_device.ts";
import {
  configurationLines,
  eofLines,
  footerLines,
  headerLines,
  opaqueLines,
  sectionLines,
  vmdescriptionLines,
} from "./explain_frame.ts";
import { type ExplainLine, member, RAW_LIMIT } from "./explain_lines.ts";
import { libvirtLines } from "./explain_libvirt.ts";
import { bitmapLines, blockLines, markLines, pageLines, type PageWish, slotLines, totalLines } from "./explain_ram.ts";
import { type InputOptions, openSeekable, type ReportInput } from "./input.ts";

export type { ExplainLine } from "./explain_lines.ts";
export type { ReportInput } from "./input.ts";

/** Longest body looked into behind a fault. */
const BROKEN_LIMIT = 4 << 20;

/** What to explain. */
export interface ExplainOptions extends InputOptions {
  /** Begin with the line that holds this offset of the file. */
  readonly at?: number;
  /** Most lines. Default: all. */
  readonly limit?: number;
  /** Only sections whose idstr is this, or ends in "/" and this. */
  readonly section?: string;
  /** Only what holds this page: the other way round, from RAM to the file. */
  readonly page?: { readonly block: string; readonly offset: number };
  /** A line for each page record, or one for each run of a kind. Default "each". Slots of mapped-ram come in runs always. */
  readonly pages?: "each" | "runs";
  /** Codecs of plugins. */
  readonly tables?: Partial<Tables>;
  /** Told what is wrong with the stream; the lines before it have been given then. */
  readonly onFault?: (fault: StreamError) => void;
  /** Told of each record's end, and waited for. `total` is unknown on a pipe. */
  readonly onProgress?: (bytes: number, total: number | undefined) => void | Promise<void>;
}

/**
 * Explain a stream, line after line.
 * @throws {TransportError} when the file cannot be opened or read; what is wrong with the stream is in the lines
 * @throws {StreamError} when a container around the stream is broken
 */
export async function* explainImage(
  input: ReportInput,
  options: ExplainOptions = {},
): AsyncGenerator<ExplainLine> {
  let left = options.limit ?? Infinity;
  if (left <= 0) return;
  const located = await openSeekable(input, options);
  try {
    for await (const line of new Explanation(located, options).lines()) {
      yield line;
      if (--left <= 0) return;
    }
  } finally {
    located.close();
  }
}

class Explanation {
  readonly #decoder: StreamDecoder;
  readonly #located: Located;
  readonly #source: ByteSource;
  readonly #options: ExplainOptions;
  readonly #wish: PageWish;
  /** Offset behind the last byte that has a line. */
  #end: number;
  #section: SectionRecord | undefined;
  #path = "";
  /** Path of the body: sections[3].ram */
  #body = "";
  #sections = 0;
  #commands = 0;
  #marks = 0;
  #pages = 0;
  #pieces = 0;
  #bitmap: Uint8Array | undefined;

  constructor(located: Located, options: ExplainOptions) {
    const { source } = located;
    this.#located = located;
    this.#source = source;
    this.#options = options;
    this.#decoder = new StreamDecoder(source, options.tables?.sections ? { sections: options.tables.sections } : {});
    this.#end = source.start ?? 0;
    const { at = 0, pages, page } = options;
    this.#wish = { from: at, runs: pages === "runs", ...(page ? { page } : {}) };
  }

  async *lines(): AsyncGenerator<ExplainLine> {
    const { onProgress } = this.#options;
    const size = this.#source.size?.();
    yield* this.#wanted(this.#front());
    try {
      for await (const record of this.#decoder.records()) {
        this.#enter(record);
        const recordEnd = record.offset + record.length;
        if (recordEnd > this.#wish.from) yield* this.#wanted(this.#explain(record));
        this.#end = Math.min(recordEnd, size ?? recordEnd);
        await onProgress?.(this.#end, size);
      }
      yield* this.#rest("behind the end of the stream");
    } catch (error) {
      if (!(error instanceof StreamError)) throw error;
      this.#options.onFault?.(error);
      yield* this.#broken(error);
    }
  }

  /** What stands in front of the stream. Nothing does where it was unpacked: its offsets count from there. */
  *#front(): Generator<ExplainLine> {
    const { libvirt, streamOffset } = this.#located;
    const start = this.#end;
    const own = libvirt && start === streamOffset ? LIBVIRT_HEADER_BYTES + libvirt.dataBytes : 0;
    if (start > own) yield* this.#opaque(0, start - own, "in front of the stream");
    if (libvirt && own > 0) yield* libvirtLines(this.#source, start - own, libvirt);
  }

  /** Keep count of what a record opens. */
  #enter(record: StreamRecord): void {
    switch (record.kind) {
      case "section":
        this.#section = record;
        this.#path = `sections[${this.#sections++}]`;
        this.#body = this.#path + member(record.idstr);
        this.#pages = this.#pieces = this.#marks = 0;
        return;
      case "command":
      case "eof":
      case "vmdescription":
        this.#section = undefined;
        return;
      case "mapped-bitmap":
        this.#bitmap = record.bitmap.slice();
        return;
    }
  }

  #explain(record: StreamRecord): Iterable<ExplainLine> {
    switch (record.kind) {
      case "header":
        return headerLines(record);
      case "configuration":
        return configurationLines(record);
      case "section":
        return sectionLines(record, this.#path);
      case "footer":
        return footerLines(record, this.#path);
      case "ram-total":
        return totalLines(record, this.#body);
      case "ram-block":
        return blockLines(record, this.#body);
      case "mapped-bitmap":
        return bitmapLines(record, this.#body, this.#wish);
      case "mapped-pages":
        return slotLines(record, this.#bitmap, this.#body, this.#wish, this.#source.size?.() ?? Infinity, this.#peek);
      case "ram-pages": {
        const lines = pageLines(record, this.#body, this.#pages, this.#wish);
        this.#pages += record.count;
        return lines;
      }
      case "ram-mark":
        return markLines(record, this.#body + (this.#marks++ ? `[${this.#marks - 1}]` : ""));
      case "device":
        return deviceLines(record, this.#description(record), this.#body);
      case "section-data":
        return dataLines(record, this.#body, this.#pieces++);
      case "command":
        return commandLines(record, `commands[${this.#commands++}]`);
      case "eof":
        return eofLines(record.offset, "eof");
      case "vmdescription":
        return vmdescriptionLines(record);
      case "opaque": {
        const { offset, length, data, what } = record;
        if (what !== "gap") return this.#opaque(offset, length, what, data);
        const block = this.#decoder.ram.blocks.length - 1;
        return opaqueLines(
          offset,
          length,
          data ?? this.#peek(offset),
          "room up to the pages, which begin at a multiple of 1 MiB",
          `${this.#body}.blocks[${block}].gap`,
          "migration/ram.c mapped_ram_setup_ramblock",
        );
      }
    }
  }

  #description({ idstr, instanceId }: { idstr: string; instanceId: number }) {
    return this.#decoder.description?.device(idstr, instanceId);
  }

  #opaque(offset: number, length: number, meaning: string, raw = this.#peek(offset)): ExplainLine[] {
    return opaqueLines(offset, length, raw, meaning);
  }

  /** The lines somebody asked for. */
  *#wanted(lines: Iterable<ExplainLine>): Generator<ExplainLine> {
    const { section, page, at = 0 } = this.#options;
    if (section !== undefined && !this.#isIn(section)) return;
    for (const line of lines) {
      if (line.offset + line.length <= at) continue;
      if (page && !/\.(bitmap\[|pages\[|records\[)/.test(line.path)) continue;
      yield line;
    }
  }

  #isIn(name: string): boolean {
    const idstr = this.#section?.idstr;
    return idstr === name || (idstr?.endsWith("/" + name) ?? false);
  }

  /** What the decoder could not take, and everything behind it. */
  async *#broken(fault: StreamError): AsyncGenerator<ExplainLine> {
    yield* this.#brokenDevice(fault);
    const before = Math.min(fault.offset, this.#source.size?.() ?? fault.offset) - this.#end;
    if (before > 0) {
      yield* this.#wanted(this.#opaque(this.#end, before, "begins what the fault behind it belongs to"));
      this.#end += before;
    }
    yield* this.#rest(fault.message);
  }

  /** A device whose body is wrong somewhere: its fields up to there. */
  *#brokenDevice(fault: StreamError): Generator<ExplainLine> {
    const section = this.#section;
    const description = section && section.offset + section.length === this.#end && this.#description(section);
    if (!description || section.type !== "full" || fault.offset <= this.#end || !this.#source.readAt) return;
    const body = new Uint8Array(Math.min(fault.offset - this.#end, BROKEN_LIMIT));
    const landed = body.subarray(0, this.#source.readAt(body, this.#end));
    for (const line of deviceLines({ ...section, offset: this.#end, body: landed }, description, this.#body, true)) {
      yield* this.#wanted([line]);
      this.#end = line.offset + line.length;
    }
  }

  /** Up to the end of the file, as one line. */
  async *#rest(meaning: string): AsyncGenerator<ExplainLine> {
    const { reader } = this.#decoder;
    let end = this.#source.size?.();
    if (end === undefined) {
      while (await reader.ensure(1)) reader.pos = reader.end;
      end = reader.offset;
    }
    if (end <= this.#end) return;
    this.#section = undefined;
    yield* this.#wanted(this.#opaque(this.#end, end - this.#end, meaning));
    this.#end = end;
  }

  /** The first bytes at an offset, where the source can seek. */
  readonly #peek = (offset: number): Uint8Array | undefined => {
    if (!this.#source.readAt) return undefined;
    const raw = new Uint8Array(RAW_LIMIT);
    return raw.subarray(0, this.#source.readAt(raw, offset));
  };
}
