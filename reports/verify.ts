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
import { openImage } from "../containers/image.ts";
import { LIBVIRT_HEADER_BYTES } from "../containers/libvirt.ts";
import type { Located } from "../containers/locate.ts";
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
import { readTarget } from "./vmstate_dump.ts";

/** Most findings of one report; the rest is counted. */
const FINDING_LIMIT = 1000;

/** How bad. An error makes the file unfit to be trusted; a warning is worth knowing. */
export type Severity = "error" | "warning";

/** One violation. */
export interface Finding {
  /** How bad. */
  readonly severity: Severity;
  /** In the file. */
  readonly offset: number;
  /** As `explain` names it: `sections[0].ram.blocks[1].mapped.pagesOffset`. */
  readonly path: string;
  /** One line. */
  readonly message: string;
}

/** Takes findings. */
export type Report = (severity: Severity, offset: number, path: string, message: string) => void;

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
    this.#ram = new RamChecks(decoder, this.#add, options.tables);
    this.#commands = new CommandChecks(decoder, this.#add);
  }

  readonly #add: Report = (severity, offset, path, message) => {
    if (severity === "error") this.#errors++;
    if (this.#findings.length < FINDING_LIMIT) this.#findings.push({ severity, offset, path, message });
    else this.#more++;
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

  /** Open what was read once more, and hold it against a QEMU. */
  async against(target: string, input: ReportInput): Promise<VerifyReport["against"]> {
    if (input === "-" || (typeof input === "object" && "read" in input && !input.readAt)) {
      throw new UnsupportedError("Cannot compare with a QEMU", {
        channel: this.#decoder.reader.source.name,
        offset: this.#decoder.reader.offset,
        found: "a pipe",
        expected: "a file that can be read twice",
        feature: "verify --against",
      });
    }
    const qemu = await readTarget(target, this.#configuration?.machine);
    const { offset, snapshot, tables } = this.#options;
    const opening = openImage(input, {
      ...(offset !== undefined ? { offset } : {}),
      ...(snapshot !== undefined ? { snapshot } : {}),
      ...(tables ? { tables } : {}),
    });
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
    const findings = this.#findings.toSorted((a, b) => a.offset - b.offset);
    const last = findings.at(-1);
    if (this.#more > 0 && last) {
      findings.push({ ...last, severity: "warning", path: "", message: `${this.#more} more findings are not listed` });
    }
    return { ok: this.#errors === 0, findings };
  }
}
