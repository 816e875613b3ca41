/**
 * The main channel as `verify` follows it: framing, configuration, sections, and what only the whole can say.
 * @module
 */
import { LIBVIRT_HEADER_BYTES, NOT_RESTORED } from "../containers/libvirt.ts";
import type { Located } from "../containers/locate.ts";
import type { StreamDecoder, StreamWarning } from "../stream/decode.ts";
import { StreamError } from "../stream/errors.ts";
import type { ConfigurationRecord, SectionRecord, StreamRecord } from "../stream/records.ts";
import type { Tables } from "../stream/tables.ts";
import { member } from "./explain_lines.ts";
import type { Report } from "./findings.ts";
import { CommandChecks } from "./verify_commands.ts";
import { checkDevice } from "./verify_devices.ts";
import { RamChecks } from "./verify_ram.ts";

/** Where in libvirt's header the format stands. */
const LABEL_AT = 28;

/** What came before the checks and goes beside them. */
export interface StreamSurroundings {
  readonly tables?: Partial<Tables>;
  /** Pages may be on further channels, which are looked at apart. */
  readonly elsewhere: boolean;
}

/** Follows one main channel. */
export class StreamChecks {
  readonly #decoder: StreamDecoder;
  readonly #add: Report;
  readonly #ram: RamChecks;
  readonly #commands: CommandChecks;
  #section: SectionRecord | undefined;
  #path = "";
  #sections = 0;
  #commandCount = 0;
  #blocks = 0;
  /** Page records of the section so far. */
  #records = 0;
  #last: StreamRecord | undefined;
  /** Sections by idstr and instance. */
  readonly #announced = new Map<string, number>();
  #configuration: ConfigurationRecord | undefined;
  #devices = 0;
  #eof: number | undefined;
  #fault: StreamError | undefined;
  /** How libvirt labelled a stream that is not packed, and where. */
  #label: { readonly format: string; readonly offset: number } | undefined;

  constructor(decoder: StreamDecoder, report: Report, { tables, elsewhere }: StreamSurroundings) {
    this.#decoder = decoder;
    this.#add = report;
    this.#ram = new RamChecks(decoder, report, tables, elsewhere);
    this.#commands = new CommandChecks(decoder, report);
  }

  /** Machine name of the configuration; undefined without one. */
  get machine(): string | undefined {
    return this.#configuration?.machine;
  }

  /** What is odd in front of the stream. */
  front({ libvirt, warnings, source, streamOffset, compressions }: Located): void {
    const at = libvirt && source.start === streamOffset ? streamOffset - LIBVIRT_HEADER_BYTES - libvirt.dataBytes : 0;
    if (libvirt && !libvirt.complete) {
      this.#add("error", at, "libvirt.magic", "the save was not completed: libvirt refuses such an image");
    }
    for (const text of warnings) {
      if (text.endsWith(NOT_RESTORED)) this.#add("error", at + LABEL_AT, "libvirt.format", text);
      else if (!/did not complete/.test(text)) this.#add("warning", at, libvirt ? "libvirt" : "container", text);
    }
    if (libvirt && compressions.length === 0) this.#label = { format: libvirt.format, offset: at + LABEL_AT };
  }

  /** Why a layer around the stream ended early. */
  behind(located: Located): void {
    const problem = located.problem();
    if (problem !== undefined) this.#add("error", this.#decoder.reader.offset, "container", problem);
    const { mappedRam } = this.#decoder.ram.framing;
    if (this.#label === undefined || this.#sections === 0) return;
    const { format, offset } = this.#label;
    if (format === "sparse" && !mappedRam) {
      const message = "labelled sparse, and pages are in the stream: libvirt cannot restore it, snapshot-revert can";
      this.#add("warning", offset, "libvirt.format", message);
    } else if (format === "raw" && mappedRam) {
      this.#add("error", offset, "libvirt.format", `labelled raw, but the stream is mapped-ram: ${NOT_RESTORED}`);
    }
  }

  /** A doubt of the decoder. */
  warn({ offset, text }: StreamWarning): void {
    this.#add("warning", offset, this.#place(text), text);
  }

  /** Go through the stream; what is wrong with it is reported, not thrown. */
  async run(onProgress?: (bytes: number, total: number | undefined) => void | Promise<void>): Promise<void> {
    const { reader } = this.#decoder;
    try {
      for await (const record of this.#decoder.records()) {
        this.#take(record);
        this.#last = record;
        await onProgress?.(reader.offset, reader.source.size?.());
      }
    } catch (error) {
      if (!(error instanceof StreamError)) throw error;
      this.#fault = error;
      this.#add("error", error.offset, this.#place(error.message), error.message);
    }
    this.#judge();
  }

  #take(record: StreamRecord): void {
    switch (record.kind) {
      case "configuration":
        this.#configuration = record;
        return this.#checkConfiguration(record);
      case "section":
        return this.#enter(record);
      case "device":
        this.#devices++;
        return checkDevice(record, this.#decoder.description, this.#body, this.#add);
      case "command":
        this.#section = undefined;
        this.#commands.take(record, `commands[${this.#commandCount++}]`);
        if (record.name === "POSTCOPY_RAM_DISCARD") this.#ram.discard(record.payload);
        return;
      case "ram-block":
        this.#blocks++;
        return this.#ram.block(record, this.#body);
      case "mapped-bitmap":
        return this.#ram.bitmap(record, this.#body);
      case "ram-pages":
        this.#ram.pages(record, this.#body, this.#section!.type, this.#records);
        this.#records += record.count;
        return;
      case "ram-mark":
        return this.#ram.mark(record, this.#body);
      case "eof":
        this.#section = undefined;
        if (this.#decoder.eofSeen) this.#eof = record.offset; // a package may have one of its own
        return;
    }
  }

  /** Path of the body that is being read: sections[3].ram */
  get #body(): string {
    return this.#section ? this.#path + member(this.#section.idstr) : this.#path;
  }

  #checkConfiguration({ offset, machine, subsections, capabilities = [] }: ConfigurationRecord): void {
    if (machine === "") {
      this.#add(
        "error",
        offset + 1,
        "configuration.machine",
        "the machine's name is empty; QEMU takes that for any machine",
      );
    }
    const names = subsections.map(({ name }) => name);
    const again = names.find((name, i) => names.indexOf(name) < i);
    if (again) this.#add("error", offset, "configuration.subsections", `${again} is there more than once`);
    const twice = capabilities.find((name, i) => capabilities.indexOf(name) < i);
    if (twice) this.#add("error", offset, "configuration.subsections", `capability ${twice} is listed more than once`);
    for (const name of capabilities) {
      if (name === "mapped-ram" || name === "x-ignore-shared") continue;
      this.#add(
        "warning",
        offset,
        "configuration.subsections",
        `capability ${name} is listed, which no QEMU writes or compares`,
      );
    }
    if (capabilities.includes("mapped-ram") && capabilities.includes("x-ignore-shared")) {
      this.#add(
        "error",
        offset,
        "configuration.subsections",
        "mapped-ram together with x-ignore-shared: QEMU 10.0 writes such files and cannot load them",
      );
    }
  }

  #enter(record: SectionRecord): void {
    this.#section = record;
    this.#path = `sections[${this.#sections++}]`;
    this.#records = 0;
    const { type, idstr, instanceId, sectionId, offset } = record;
    if (idstr === "ram") this.#ram.section(record, this.#path);
    if (type !== "start" && type !== "full") return;
    const key = `${idstr} ${instanceId}`;
    const before = this.#announced.get(key);
    if (before !== undefined && before !== sectionId) {
      this.#add(
        "error",
        offset,
        `${this.#path}.id`,
        `${idstr} instance ${instanceId} again, it came as section ${before}`,
      );
    }
    this.#announced.set(key, sectionId);
  }

  /** What only the whole can say. */
  #judge(): void {
    const { reader, description, ram } = this.#decoder;
    const end = this.#eof ?? reader.offset;
    const known = this.#sections > 0 || this.#configuration !== undefined;
    if (!this.#fault && known) {
      if (this.#devices === 0) this.#add("error", end, "sections", "no device state");
      if (this.#blocks === 0) this.#add("warning", end, "sections", "no RAM");
    }
    this.#ram.judge(this.#eof !== undefined, end);
    this.#commands.judge(end, this.#eof !== undefined);
    const size = description?.pageSize;
    if (size !== undefined && this.#blocks > 0 && size !== ram.framing.pageSize) {
      this.#add(
        "error",
        end,
        "vmdescription.json",
        `page_size ${size} in a stream of pages of ${ram.framing.pageSize} bytes`,
      );
    }
  }

  /** What a sentence of the decoder is about, as a path. */
  #place(text: string): string {
    const next = `sections[${this.#sections}]`;
    if (/^Cannot (find|read) footer|section footers/.test(text) && this.#section) return `${this.#path}.footer`;
    if (/^Cannot (read stream|decode on its own)/.test(text)) return "header";
    if (/configuration|machine name|capabilit|page bits|UUID/i.test(text) && this.#sections === 0) {
      return "configuration";
    }
    if (/^Cannot (read|end) package/.test(text)) return `commands[${Math.max(0, this.#commandCount - 1)}].bytes`;
    if (/command|package/.test(text)) return `commands[${this.#commandCount}]`;
    if (this.#eof !== undefined) return /behind the end/.test(text) ? "opaque" : "vmdescription";
    if (/^Cannot match section/.test(text)) return `${this.#path}.${/ version \d/.test(text) ? "version" : "idstr"}`;
    if (/^Cannot read (section type|section header|instance)|^Cannot accept section/.test(text)) return next;
    if (/^Cannot decode section ram/.test(text)) return `${next}.version`;
    if (!this.#section) return next;
    if (this.#section.idstr !== "ram") return this.#body;
    if (/^Cannot (read RAM record|place page|read (zero |XBZRLE )?page 0x)/.test(text)) {
      return `${this.#body}.records[${this.#records}]`;
    }
    const inside = this.#last?.kind === "mapped-bitmap" || /bitmap of|pages of RAM block/.test(text);
    return `${this.#body}.blocks[${Math.max(0, this.#blocks - (inside && this.#blocks > 0 ? 1 : 0))}]`;
  }
}
