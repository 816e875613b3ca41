/**
 * `explain` of the main channel: a fold over the decoder's records that gives each its lines, and every byte that nobody claims.
 * @module
 */
import { LIBVIRT_HEADER_BYTES } from "../containers/libvirt.ts";
import type { Located } from "../containers/locate.ts";
import type { ByteSource } from "../stream/channel.ts";
import { StreamDecoder } from "../stream/decode.ts";
import { StreamError } from "../stream/errors.ts";
import type { SectionRecord, StreamRecord } from "../stream/records.ts";
import type { ExplainOptions } from "./explain.ts";
import { isNamed, type KnownRam } from "./explain_channel.ts";
import { commandLines } from "./explain_commands.ts";
import { Coverage } from "./explain_cover.ts";
import { dataLines } from "./explain_data.ts";
import { clockOfDevice, deviceLines } from "./explain_device.ts";
import {
  configurationLines,
  eofLines,
  footerLines,
  headerLines,
  opaqueLines,
  sectionLines,
  vmdescriptionLines,
} from "./explain_frame.ts";
import { libvirtLines } from "./explain_libvirt.ts";
import { type ExplainLine, member } from "./explain_lines.ts";
import { bitmapLines, blockLines, markLines, pageLines, type PageWish, slotLines, totalLines } from "./explain_ram.ts";
import { type ExplainedRam, RamPass } from "./explain_seen.ts";

/** Longest body looked into behind a fault. */
const BROKEN_LIMIT = 4 << 20;

/** The lines of a main channel. */
export class Explanation {
  readonly #decoder: StreamDecoder;
  readonly #located: Located;
  readonly #source: ByteSource;
  readonly #options: ExplainOptions;
  readonly #wish: PageWish;
  readonly #cover: Coverage;
  readonly #pass = new RamPass();
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
  /** What the guest's own clock showed, ns. */
  #clock: bigint | undefined;

  /** @param total bytes of everything that is gone through, where that is known */
  constructor(located: Located, options: ExplainOptions, readonly total: number | undefined) {
    const { source } = located;
    this.#located = located;
    this.#source = source;
    this.#options = options;
    this.#decoder = new StreamDecoder(source, options.tables?.sections ? { sections: options.tables.sections } : {});
    this.#cover = new Coverage(this.#decoder.reader);
    const { at = 0, pages, page } = options;
    // what was asked for is in another channel: nothing of this one is
    const from = typeof at === "number" ? at : Infinity;
    this.#wish = { from, runs: pages === "runs", ...(page ? { page } : {}) };
  }

  /** Bytes that have been gone through. */
  get end(): number {
    return this.#cover.end;
  }

  /** What further channels are held against. */
  get known(): KnownRam {
    const { blocks, framing } = this.#decoder.ram;
    const pageSize = framing.pageSizeKnown || this.#pass.listed ? framing.pageSize : undefined;
    return { blocks, complete: this.#pass.listed, pageSize };
  }

  /** What was seen of RAM. */
  seen(): ExplainedRam {
    return this.#pass.seen(this.#decoder);
  }

  async *lines(): AsyncGenerator<ExplainLine> {
    const { onProgress } = this.#options;
    yield* this.#wanted(this.#front());
    try {
      for await (const record of this.#decoder.records()) {
        this.#enter(record);
        const recordEnd = record.offset + record.length;
        if (recordEnd > this.#wish.from) yield* this.#wanted(this.#explain(record));
        this.#cover.reach(recordEnd);
        await onProgress?.(this.end, this.total);
      }
      this.#section = undefined;
      yield* this.#wanted(await this.#cover.rest("behind the end of the stream"));
    } catch (error) {
      if (!(error instanceof StreamError)) throw error;
      this.#options.onFault?.(error);
      yield* this.#broken(error);
    }
  }

  /** What stands in front of the stream. Nothing does where it was unpacked: its offsets count from there. */
  *#front(): Generator<ExplainLine> {
    const { libvirt, streamOffset } = this.#located;
    const start = this.end;
    const own = libvirt && start === streamOffset ? LIBVIRT_HEADER_BYTES + libvirt.dataBytes : 0;
    if (start > own) yield* this.#cover.opaque(0, start - own, "in front of the stream");
    if (libvirt && own > 0) yield* libvirtLines(this.#source, start - own, libvirt);
  }

  /** Keep count of what a record opens. */
  #enter(record: StreamRecord): void {
    this.#pass.take(record);
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
      case "device":
        if (record.idstr === "timer") this.#clock = clockOfDevice(record.body, this.#description(record));
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
        return slotLines(
          record,
          this.#bitmap,
          this.#body,
          this.#wish,
          this.#source.size?.() ?? Infinity,
          this.#cover.peek,
        );
      case "ram-pages": {
        const lines = pageLines(record, this.#body, this.#pages, this.#wish);
        this.#pages += record.count;
        return lines;
      }
      case "ram-mark":
        return markLines(record, this.#body + (this.#marks++ ? `[${this.#marks - 1}]` : ""));
      case "device":
        return deviceLines(record, this.#description(record), this.#body, { clock: this.#clock });
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
        if (what !== "gap") return this.#cover.opaque(offset, length, what, data);
        const block = this.#decoder.ram.blocks.length - 1;
        return opaqueLines(
          offset,
          length,
          data ?? this.#cover.peek(offset),
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

  /** The lines somebody asked for. */
  *#wanted(lines: Iterable<ExplainLine>): Generator<ExplainLine> {
    const { section, page } = this.#options;
    if (section !== undefined && !isNamed(this.#section?.idstr, section)) return;
    for (const line of lines) {
      if (line.offset + line.length <= this.#wish.from) continue;
      if (page && !/\.(bitmap\[|pages\[|records\[)/.test(line.path)) continue;
      yield line;
    }
  }

  /** What the decoder could not take, and everything behind it. */
  async *#broken(fault: StreamError): AsyncGenerator<ExplainLine> {
    yield* this.#brokenDevice(fault);
    yield* this.#wanted(this.#cover.before(fault.offset));
    this.#section = undefined;
    yield* this.#wanted(await this.#cover.rest(fault.message));
  }

  /** A device whose body is wrong somewhere: its fields up to there. */
  *#brokenDevice(fault: StreamError): Generator<ExplainLine> {
    const section = this.#section;
    const description = section && section.offset + section.length === this.end && this.#description(section);
    if (!description || section.type !== "full" || fault.offset <= this.end || !this.#source.readAt) return;
    const body = new Uint8Array(Math.min(fault.offset - this.end, BROKEN_LIMIT));
    const landed = body.subarray(0, this.#source.readAt(body, this.end));
    const device = { ...section, offset: this.end, body: landed };
    for (const line of deviceLines(device, description, this.#body, { partial: true, clock: this.#clock })) {
      yield* this.#wanted([line]);
      this.#cover.reach(line.offset + line.length);
    }
  }
}
