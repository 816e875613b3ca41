/**
 * `verify`: every invariant of a migration stream, more than QEMU itself checks when it loads one.
 *
 *     framing     ids, footers, lengths, order, one START and one END of ram, an end mark, nothing behind it
 *     ram         block list, every record's place, completeness, deltas, what postcopy may send twice, mapped-ram's areas
 *     devices     described size against footers, fields against their types, run state
 *     commands    lengths, postcopy's states, discarded ranges
 *
 * The decoder refuses what makes no sense to go on behind: that is the one finding of its kind, and the last by offset. What
 * it lets pass is held against the rules here. `warning`: odd or incomplete, and may still be what somebody wanted.
 * @module
 */
import { fileSource } from "../containers/file_source.ts";
import { openImage, type OpenImageOptions } from "../containers/image.ts";
import { LIBVIRT_HEADER_BYTES } from "../containers/libvirt.ts";
import type { Located } from "../containers/locate.ts";
import { bufferSource, type ByteSource } from "../stream/channel.ts";
import { StreamDecoder, type StreamWarning } from "../stream/decode.ts";
import { StreamError, UnsupportedError } from "../stream/errors.ts";
import type { ConfigurationRecord, SectionRecord, StreamRecord } from "../stream/records.ts";
import type { Tables } from "../stream/tables.ts";
import { member } from "./explain_lines.ts";
import { type InputOptions, openSeekable, type ReportInput } from "./input.ts";
import { type DeviceVerdict, verifyAgainst } from "./verify_against.ts";
import { CommandChecks } from "./verify_commands.ts";
import { checkDevice } from "./verify_devices.ts";
import { RamChecks } from "./verify_ram.ts";
import { checkReturnPath } from "./verify_return_path.ts";
import { readTarget } from "./vmstate_dump.ts";

/** Most findings of one report; the rest is counted. */
const FINDING_LIMIT = 1000;

/** How bad. An error makes the file unfit to be trusted; a warning is worth knowing. */
export type Severity = "error" | "warning";

/** One violation. */
export interface Finding {
  /** How bad. */
  readonly severity: Severity;
  /** Further channel it is in; left out: the main one. */
  readonly channel?: string;
  /** In the file. */
  readonly offset: number;
  /** As `explain` names it: `sections[0].ram.blocks[1].mapped.pagesOffset`. */
  readonly path: string;
  /** One line. */
  readonly message: string;
}

/** Takes findings. */
export type Report = (severity: Severity, offset: number, path: string, message: string, channel?: string) => void;

/** What came out: `verify --json`. */
export interface VerifyReport {
  /** No errors; there may be warnings. */
  readonly ok: boolean;
  /** By offset. */
  readonly findings: readonly Finding[];
  /** What a QEMU would say to it; only where one was named. */
  readonly against?: {
    readonly target: string;
    /** Whether it has the machine type; undefined where only a dump is at hand. */
    readonly machine?: boolean;
    readonly devices: readonly DeviceVerdict[];
  };
}

/** How to look. */
export interface VerifyOptions extends InputOptions {
  /** Further channels of a multifd or postcopy-preempt migration: files, bytes or sources that can be read at any position. */
  readonly channels?: OpenImageOptions["channels"];
  /** The way back of the migration, recorded. */
  readonly returnPath?: ReportInput;
  /** A QEMU program, or a file that `-dump-vmstate` wrote: will that one load it? */
  readonly against?: string;
  /** Codecs of plugins. */
  readonly tables?: Partial<Tables>;
  /** Told of each record's end. `total` is unknown on a pipe. */
  readonly onProgress?: (bytes: number, total: number | undefined) => void;
}

/**
 * Verify a stream.
 * @throws {TransportError} when the file cannot be opened or read; what is wrong with its bytes is in the report
 */
export async function verifyImage(input: ReportInput, options: VerifyOptions = {}): Promise<VerifyReport> {
  let located: Located;
  try {
    located = await openSeekable(input, options);
  } catch (error) {
    if (!(error instanceof StreamError)) throw error;
    return {
      ok: false,
      findings: [{ severity: "error", offset: error.offset, path: "container", message: error.message }],
    };
  }
  try {
    const pass = new Verification(
      new StreamDecoder(located.source, {
        ...(options.tables?.sections ? { sections: options.tables.sections } : {}),
        onWarning: (warning) => pass.warn(warning),
      }),
      options,
    );
    pass.container(located);
    await pass.run();
    pass.unpacked(located);
    if (options.returnPath !== undefined) await pass.returnPath(options.returnPath);
    if (options.channels?.length) await pass.channels(options.channels, input);
    const against = options.against === undefined ? undefined : await pass.against(options.against, input);
    return { ...pass.report(), ...(against ? { against } : {}) };
  } finally {
    located.close();
  }
}

class Verification {
  readonly #decoder: StreamDecoder;
  readonly #options: VerifyOptions;
  readonly #findings: Finding[] = [];
  #more = 0;
  #errors = 0;
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
  /** Where the header of an image labelled sparse stands. */
  #sparse: number | undefined;

  constructor(decoder: StreamDecoder, options: VerifyOptions) {
    this.#decoder = decoder;
    this.#options = options;
    this.#ram = new RamChecks(decoder, this.#add, options.tables, (options.channels?.length ?? 0) > 0);
    this.#commands = new CommandChecks(decoder, this.#add);
  }

  readonly #add: Report = (severity, offset, path, message, channel) => {
    if (severity === "error") this.#errors++;
    if (this.#findings.length < FINDING_LIMIT) {
      this.#findings.push({ severity, ...(channel === undefined ? {} : { channel }), offset, path, message });
    } else this.#more++;
  };

  /** What is odd in front of the stream. */
  container({ libvirt, warnings, source, streamOffset, compressions }: Located): void {
    const at = libvirt && source.start === streamOffset ? streamOffset - LIBVIRT_HEADER_BYTES - libvirt.dataBytes : 0;
    if (libvirt && !libvirt.complete) {
      this.#add("error", at, "libvirt.magic", "the save was not completed: libvirt refuses such an image");
    }
    for (const text of warnings) {
      if (!/did not complete/.test(text)) this.#add("warning", at, libvirt ? "libvirt" : "container", text);
    }
    if (libvirt?.format === "sparse" && compressions.length === 0) this.#sparse = at;
  }

  /** Why a layer around the stream ended early. */
  unpacked(located: Located): void {
    const problem = located.problem();
    if (problem !== undefined) this.#add("error", this.#decoder.reader.offset, "container", problem);
    const { mappedRam } = this.#decoder.ram.framing;
    if (this.#sparse === undefined || mappedRam || this.#sections === 0) return;
    const message = "labelled sparse, and pages are in the stream: libvirt cannot restore it, snapshot-revert can";
    this.#add("warning", this.#sparse + 28, "libvirt.format", message);
  }

  warn({ offset, text }: StreamWarning): void {
    this.#add("warning", offset, this.#place(text), text);
  }

  async run(): Promise<void> {
    const { onProgress } = this.#options;
    const { reader } = this.#decoder;
    try {
      for await (const record of this.#decoder.records()) {
        this.#take(record);
        this.#last = record;
        onProgress?.(reader.offset, reader.source.size?.());
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
        this.#eof = record.offset;
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

  /** What came back, held against the block list. */
  async returnPath(input: ReportInput): Promise<void> {
    const file = typeof input === "string" ? fileSource(input, { name: "return path" }) : undefined;
    const source = file ??
      (input instanceof Uint8Array ? bufferSource(input, { name: "return path" }) : input as ByteSource);
    const { blocks, framing } = this.#decoder.ram;
    try {
      await checkReturnPath(source, blocks, framing.pageSize, this.#add);
    } finally {
      file?.close();
    }
  }

  /** Go through the further channels, packet by packet, beside the main one. */
  async channels(channels: NonNullable<OpenImageOptions["channels"]>, input: ReportInput): Promise<void> {
    this.#needFile(input, "verify --channel");
    const at = (channel: string, offset: number, message: string) =>
      this.#add("error", offset, `channels[${JSON.stringify(channel)}]`, message, channel);
    try {
      await using image = await openImage(input, { ...this.#opening(), channels });
      const { fault } = image;
      if (fault && fault.channel !== this.#decoder.reader.source.name) at(fault.channel, fault.offset, fault.message);
      for (const { text } of image.warnings) {
        const channel = /^multifd \d+/.exec(text)?.[0];
        if (channel || /packets are on channels/.test(text)) at(channel ?? "multifd", 0, text);
      }
      if (fault || !image.complete) return;
      for (const { id, missingPages } of image.ram.blocks) {
        if (missingPages > 0) {
          this.#add("warning", 0, "channels", `${missingPages} pages of ${id} are on none of the channels`);
        }
      }
    } catch (error) {
      if (!(error instanceof StreamError)) throw error;
      if (error.channel !== this.#decoder.reader.source.name) at(error.channel, error.offset, error.message);
    }
  }

  #opening(): OpenImageOptions {
    const { offset, snapshot, tables } = this.#options;
    return {
      ...(offset !== undefined ? { offset } : {}),
      ...(snapshot !== undefined ? { snapshot } : {}),
      ...(tables ? { tables } : {}),
    };
  }

  /** What is read twice has to be a file. */
  #needFile(input: ReportInput, feature: string): void {
    if (input !== "-" && !(typeof input === "object" && "read" in input && !input.readAt)) return;
    throw new UnsupportedError("Cannot read twice", {
      channel: this.#decoder.reader.source.name,
      offset: this.#decoder.reader.offset,
      found: "a pipe",
      expected: "a file",
      feature,
    });
  }

  /** Open what was read once more, and hold it against a QEMU. */
  async against(target: string, input: ReportInput): Promise<VerifyReport["against"]> {
    this.#needFile(input, "verify --against");
    const qemu = await readTarget(target, this.#configuration?.machine);
    const opening = openImage(input, this.#opening());
    await using image = await opening.catch((error) => {
      if (error instanceof StreamError) return undefined; // said already
      throw error;
    });
    const machine = this.#configuration?.machine;
    return {
      target,
      ...(qemu.machines && machine !== undefined ? { machine: qemu.machines.has(machine) } : {}),
      devices: image ? verifyAgainst(image, qemu, this.#add) : [],
    };
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

  report(): VerifyReport {
    const further = ({ channel }: Finding) => channel === undefined ? 0 : 1;
    const findings = this.#findings.toSorted((a, b) => further(a) - further(b) || a.offset - b.offset);
    const last = findings.at(-1);
    if (this.#more > 0 && last) {
      findings.push({ ...last, severity: "warning", path: "", message: `${this.#more} more findings are not listed` });
    }
    return { ok: this.#errors === 0, findings };
  }
}
