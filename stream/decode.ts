/**
 * One decoder for everybody: bytes of a main channel in, records out.
 *
 *     51 45 56 4d 00 00 00 03 | 07 configuration | { 01 02 03 04 sections | 08 commands } | 00 | 06 u32 len, JSON
 *
 * Loading a guest, inspecting, explaining and converting are folds over these records. The decoder believes nothing:
 * each length is held against what is left before it is used, and every fault names its offset. Records before a fault
 * are always delivered first.
 *
 * Source: QEMU migration/savevm.c qemu_loadvm_state, qemu_loadvm_state_main.
 * @module
 */
import type { ByteSource } from "./channel.ts";
import { CommandState } from "./commands.ts";
import { decodeConfiguration } from "./configuration.ts";
import * as C from "./constants.ts";
import { deviceBounds, TAIL_LIMIT } from "./device.ts";
import { hex, TruncatedStreamError, UnsupportedError } from "./errors.ts";
import { faultAt } from "./fault.ts";
import { decodeHeader } from "./header.ts";
import { ITERABLE_SECTIONS } from "./iterables.ts";
import { RamDecoder } from "./ram.ts";
import { StreamReader } from "./reader.ts";
import type { SectionRecord, SectionType, StreamRecord } from "./records.ts";
import { SectionFraming } from "./sections.ts";
import type { SectionCodec } from "./tables.ts";
import { decodeRest, decodeTail } from "./tail.ts";
import { findVmdescription, parseVmdescription, type VmDescription } from "./vmdesc.ts";

/** A doubt that does not stop the decoder. */
export interface StreamWarning {
  readonly offset: number;
  readonly text: string;
}

/** How to decode. */
export interface DecodeOptions {
  /** Codecs of iterable sections besides the built-in ones. */
  readonly sections?: Readonly<Record<string, SectionCodec>>;
  /** Stop behind VMDESCRIPTION without looking whether bytes follow (a live peer may keep the channel open). */
  readonly ignoreTrailing?: boolean;
  /** A stream without configuration section is a fault, as for a QEMU with send-configuration=on. */
  readonly requireConfiguration?: boolean;
  readonly onWarning?: (warning: StreamWarning) => void;
}

const TYPE_WORDS: Record<number, SectionType> = { 1: "start", 2: "part", 3: "end", 4: "full" };

/** Decode a main channel. The generator ends behind the last byte, or throws {@link StreamError}. */
export function decode(source: ByteSource, options: DecodeOptions = {}): AsyncGenerator<StreamRecord> {
  return new StreamDecoder(source, options).records();
}

/** The decoder with its state, for readers that want to ask it about the stream while it runs. */
export class StreamDecoder {
  readonly reader: StreamReader;
  readonly commands = new CommandState();
  readonly ram: RamDecoder;
  /** Known before the first section where the source can seek; else from the end of the stream on. */
  description?: VmDescription;
  /** True once the EOF byte was seen: QEMU has everything it needs. */
  eofSeen = false;
  readonly #options: DecodeOptions;
  readonly #codecs: Readonly<Record<string, SectionCodec>>;
  readonly #framing: SectionFraming;
  readonly #devicesSeen = new Set<string>();
  #ramPhase: "none" | "setup" | "parts" | "done" = "none";
  #adviseChecked = false;
  #opaqueRest = false;

  constructor(source: ByteSource, options: DecodeOptions = {}) {
    this.#options = options;
    this.#codecs = { ...ITERABLE_SECTIONS, ...options.sections };
    this.reader = new StreamReader(source);
    this.#framing = new SectionFraming(this.reader, (text, offset) => this.#warn(text, offset));
    this.ram = new RamDecoder(this.reader, {
      pageSize: 4096,
      pageSizeKnown: false,
      mappedRam: false,
      ignoreShared: false,
      postcopyAdvised: false,
    });
  }

  /** All records, once. */
  async *records(): AsyncGenerator<StreamRecord> {
    const { reader } = this;
    yield await decodeHeader(reader);
    this.#describeAhead();
    await reader.need(1, "Cannot read configuration", ["Configuration section missing"], "Invalid argument");
    const first = reader.peekU8();
    if (first === C.QEMU_VM_CONFIGURATION) {
      const configuration = await decodeConfiguration(reader);
      const { framing } = this.ram;
      if (configuration.targetPageBits !== undefined) {
        framing.pageSize = 1 << configuration.targetPageBits;
        framing.pageSizeKnown = true;
      }
      framing.mappedRam = configuration.capabilities?.includes("mapped-ram") ?? false;
      framing.ignoreShared = configuration.capabilities?.includes("x-ignore-shared") ?? false;
      yield configuration;
    } else if (
      !this.#options.requireConfiguration &&
      [C.QEMU_VM_SECTION_START, C.QEMU_VM_SECTION_FULL, C.QEMU_VM_COMMAND].includes(first)
    ) {
      this.ram.framing.unconfigured = true;
      this.#warn("no configuration section: sent with send-configuration=off", reader.offset);
    } else {
      this.#fault("Cannot read configuration", 0, `byte ${hex(first)}`, "0x7", ["Configuration section missing"]);
    }
    yield* this.#elements();
    if (this.#opaqueRest) return;
    yield* decodeTail(reader, {
      postcopy: this.commands.postcopy !== 0,
      ignoreTrailing: this.#options.ignoreTrailing ?? false,
      seen: (idstr, instanceId) => this.#devicesSeen.has(`${idstr} ${instanceId}`),
      describe: (description) => this.description = description,
      warn: (text, offset) => this.#warn(text, offset),
    });
  }

  /** On a channel that can seek the description is read first: it says how long device bodies are. */
  #describeAhead(): void {
    const found = findVmdescription(this.reader.source);
    if (!found) return;
    try {
      this.description = parseVmdescription(found.text);
    } catch (error) {
      this.#warn(`description cannot be used: ${(error as Error).message}`, found.offset);
      return;
    }
    const { pageSize } = this.description;
    if (pageSize !== undefined && pageSize >= 1024 && pageSize <= 65536) {
      this.ram.framing.pageSize = pageSize;
      this.ram.framing.pageSizeKnown = true;
    }
  }

  /** Sections and commands until EOF, or until the end of a package. */
  async *#elements(end?: number): AsyncGenerator<StreamRecord> {
    const { reader } = this;
    const channel = reader.source.name;
    for (;;) {
      if (end !== undefined && reader.offset >= end) {
        this.#fault(
          "Cannot end package",
          0,
          "its last byte",
          "POSTCOPY_RUN or an end mark in it",
          [],
          "Input/output error",
        );
      }
      await reader.need(1, "Cannot read section type");
      const offset = reader.offset;
      const type = reader.peekU8();
      switch (type) {
        case C.QEMU_VM_SECTION_START:
        case C.QEMU_VM_SECTION_FULL: {
          const section = await this.#framing.announce(TYPE_WORDS[type]);
          yield section;
          yield* type === C.QEMU_VM_SECTION_FULL && !this.#isRam(section)
            ? this.#device(section, end)
            : this.#iterable(section);
          if (this.#opaqueRest) return;
          const footer = await this.#framing.footer(section);
          if (footer) yield footer;
          break;
        }
        case C.QEMU_VM_SECTION_PART:
        case C.QEMU_VM_SECTION_END: {
          const section = await this.#framing.again(TYPE_WORDS[type]);
          yield section;
          yield* this.#iterable(section);
          const footer = await this.#framing.footer(section);
          if (footer) yield footer;
          break;
        }
        case C.QEMU_VM_COMMAND: {
          const ended = yield* this.#command(end);
          if (ended && end !== undefined) return;
          break;
        }
        case C.QEMU_VM_EOF:
          reader.pos++;
          if (end === undefined) this.eofSeen = true;
          yield { kind: "eof", channel, offset, length: 1 };
          return;
        default:
          this.#fault("Cannot read section type", 0, `byte ${hex(type)}`, "0, 1, 2, 3, 4 or 8", [
            `Unknown savevm section type ${type}`,
          ]);
      }
    }
  }

  #isRam(section: { idstr: string }): boolean {
    return section.idstr === "ram";
  }

  async *#iterable(section: SectionRecord): AsyncGenerator<StreamRecord> {
    const { reader } = this;
    const { type, idstr, sectionId } = section;
    if (this.#isRam(section)) {
      if (type === "part" && this.#ramPhase === "setup") this.#ramPhase = "parts";
      this.ram.framing.postcopyAdvised = this.commands.advised !== undefined;
      yield* this.ram.body();
      if (this.#ramPhase === "none") this.#ramPhase = "setup";
      if (!this.#adviseChecked && this.ram.blocks.length) {
        this.#adviseChecked = true;
        this.commands.checkAdvise(reader.source.name, this.ram.blocks, this.ram.framing.pageSize);
      }
      if (type === "end") this.#ramPhase = "done";
      return;
    }
    const codec = this.#codecs[idstr] ?? this.#codecs[idstr.slice(idstr.lastIndexOf("/"))];
    if (!codec) {
      throw new UnsupportedError("Cannot decode section", {
        channel: reader.source.name,
        offset: section.offset,
        found: `iterable ${idstr}`,
        expected: "a section with a known end",
        qemu: [`Unknown savevm section or instance '${idstr}' ${section.instanceId}`],
        feature: idstr,
      });
    }
    for await (const length of codec.pieces(reader, type)) {
      const offset = reader.offset;
      const data = reader.bytes(length);
      yield { kind: "section-data", channel: reader.source.name, offset, length, sectionId, idstr, type, data };
    }
  }

  async *#device(section: SectionRecord, end?: number): AsyncGenerator<StreamRecord> {
    const { reader } = this;
    const channel = reader.source.name;
    const { sectionId, idstr, instanceId, versionId } = section;
    const early = this.#ramPhase === "setup" && end === undefined;
    if (!reader.source.readAt && this.#framing.footers === false && !this.description) await this.#spool();
    const description = end === undefined ? this.#describe(section) : undefined;
    const bounds = await deviceBounds(reader, section, {
      ...(description ? { description } : {}),
      ...(end !== undefined ? { end } : {}),
      footers: this.#framing.footers,
      announced: (id) => this.#framing.knows(id),
      warn: (text, offset) => this.#warn(text, offset),
    });
    this.#devicesSeen.add(`${idstr} ${instanceId}`);
    const offset = reader.offset;
    if (!bounds) {
      this.#warn("neither footers nor a description: from the first device on the stream is one piece", offset);
      this.#opaqueRest = true;
      yield* decodeRest(reader, "device state of unknown bounds");
      return;
    }
    const { length, by } = bounds;
    const body = reader.bytes(length);
    yield { kind: "device", channel, offset, length, sectionId, idstr, instanceId, versionId, body, bounds: by, early };
  }

  /** The description of a device, and whether it agrees with the section's header. */
  #describe(section: SectionRecord) {
    if (!this.description) return undefined;
    const { idstr, instanceId, versionId, offset } = section;
    const description = this.description.device(idstr, instanceId);
    if (!description) {
      faultAt(
        this.reader,
        "Cannot match section with the description",
        offset,
        `${idstr} instance ${instanceId}`,
        "a device it lists",
        [
          `Unknown savevm section or instance '${idstr}' ${instanceId}. Make sure that your current VM setup matches your ` +
          "saved VM setup, including any hotplugged devices",
        ],
      );
    }
    const described = description!.version;
    if (!description!.oldStyle && described !== versionId) {
      faultAt(
        this.reader,
        "Cannot match section with the description",
        offset + 10 + idstr.length,
        `version ${versionId} of ${idstr}`,
        String(described),
        // how old a version a QEMU still takes is not in the file
        versionId > described ? [`savevm: unsupported version ${versionId} for '${idstr}' v${described}`] : undefined,
      );
    }
    return description;
  }

  /** A channel that cannot seek and has no footers: take the (small) rest into memory and look for the description there. */
  async #spool(): Promise<void> {
    const { reader } = this;
    await reader.ensure(TAIL_LIMIT);
    const bytes = reader.buf.subarray(reader.pos, reader.end);
    const found = findVmdescription(bytes);
    if (found) this.description = parseVmdescription(found.text);
  }

  /** @returns true when the command ends a package */
  async *#command(end?: number): AsyncGenerator<StreamRecord, boolean> {
    const { reader } = this;
    const channel = reader.source.name, offset = reader.offset;
    await reader.need(5, "Cannot read command");
    const command = reader.peekU8(1) << 8 | reader.peekU8(2);
    const length = reader.peekU8(3) << 8 | reader.peekU8(4);
    const name = C.MIG_CMD[command];
    if (command === 0 || name === undefined) {
      this.#fault("Cannot read command", 1, `command ${command}`, `1 to ${C.MIG_CMD.length - 1}`, [
        `MIG_CMD ${hex(command)} unknown (len ${hex(length)})`,
      ]);
    }
    const exact = C.MIG_CMD_LENGTH[command];
    if (exact !== undefined && exact !== length) {
      this.#fault(`Cannot read command ${name}`, 3, `${length} bytes`, String(exact), [
        `${name} received with bad length - expecting ${exact}, got ${length}`,
      ], "Numerical result out of range");
    }
    if (end !== undefined && !["PING", "POSTCOPY_LISTEN", "POSTCOPY_RUN"].includes(name)) {
      this.#fault("Cannot accept command in a package", 1, name, "PING, POSTCOPY_LISTEN or POSTCOPY_RUN");
    }
    await reader.need(5 + length, `Cannot read command ${name}`);
    const payload = reader.buf.subarray(reader.pos + 5, reader.pos + 5 + length);
    this.commands.apply(command, payload, { channel, offset }, this.ram.blocks);
    reader.pos += 5 + length;
    const blob = name === "PACKAGED" ? new DataView(payload.buffer, payload.byteOffset).getUint32(0) : 0;
    yield { kind: "command", channel, offset, length: 5 + length, command, name, payload };
    if (name !== "PACKAGED") return name === "POSTCOPY_RUN";

    const blobEnd = reader.offset + blob;
    const left = reader.remaining();
    if (left !== undefined && blob > left) {
      throw new TruncatedStreamError("Cannot read package", {
        channel,
        offset: offset + 5,
        found: `a length of ${blob} and ${left} bytes left`,
        expected: "a whole package",
        qemu: [`CMD_PACKAGED: Buffer receive fail ret=${left} length=${blob}`],
        reason: "Resource temporarily unavailable",
      });
    }
    yield* this.#elements(blobEnd);
    if (reader.offset !== blobEnd) {
      this.#fault("Cannot end package", 0, `its end mark at ${hex(reader.offset)}`, `it at ${hex(blobEnd)}`);
    }
    return false;
  }

  #warn(text: string, offset: number): void {
    this.#options.onWarning?.({ text, offset });
  }

  #fault(action: string, ahead: number, found: string, expected: string, qemu?: string[], reason?: string): never {
    faultAt(this.reader, action, this.reader.offset + ahead, found, expected, qemu, reason);
  }
}
