/**
 * How sections are framed: who they are, under which id, and the footer behind each.
 *
 *     START 01, FULL 04   u32 section id, str8 idstr, u32 instance id, u32 version id, body, footer
 *     PART 02, END 03     u32 section id announced before, body, footer
 *     footer              7e u32 section id            not sent with send-section-footer=off
 *
 * Source: QEMU migration/savevm.c save_section_header, check_section_footer, qemu_loadvm_section_start_full.
 * @module
 */
import * as C from "./constants.ts";
import { hex, StreamError } from "./errors.ts";
import { faultAt } from "./fault.ts";
import type { StreamReader } from "./reader.ts";
import type { FooterRecord, SectionRecord, SectionType } from "./records.ts";

/** Sections announced so far, by id, and whether footers are sent. */
export class SectionFraming {
  /** True: footers are sent; false: not; undefined: no section has ended yet. */
  footers: boolean | undefined;
  readonly #sections = new Map<number, { idstr: string; instanceId: number; versionId: number; full: boolean }>();
  readonly #warn: (text: string, offset: number) => void;

  constructor(readonly reader: StreamReader, warn: (text: string, offset: number) => void) {
    this.#warn = warn;
  }

  /** Has a START or FULL announced that id? */
  knows(sectionId: number): boolean {
    return this.#sections.has(sectionId);
  }

  /** Header of a START or FULL. */
  async announce(type: SectionType): Promise<SectionRecord> {
    const { reader } = this;
    const channel = reader.source.name, offset = reader.offset;
    await reader.need(6, "Cannot read section header");
    const sectionId = reader.peekU32(1);
    const length = reader.peekU8(5);
    const unreadable = [`Unable to read ID string for section ${sectionId}`];
    if (length === 0) {
      faultAt(reader, "Cannot read section header", reader.offset + 5, "an empty name", "an idstr", unreadable);
    }
    await reader.need(6 + length, "Cannot read section header", unreadable, "Invalid argument");
    await reader.need(14 + length, "Cannot read instance and version of a section");
    reader.pos += 6;
    const idstr = reader.latin1(length);
    const instanceId = reader.u32(), versionId = reader.u32();
    if (!/^[\x20-\x7e]+$/.test(idstr)) {
      throw new StreamError("Cannot read section header", {
        channel,
        offset: offset + 6,
        found: `name ${JSON.stringify(idstr)}`,
        expected: "printable characters",
        qemu: [`Unknown savevm section or instance '${idstr}' ${instanceId}`],
      });
    }
    const known = this.#sections.get(sectionId);
    const full = type === "full";
    const same = known?.idstr === idstr && known.instanceId === instanceId;
    if (known && (!same || known.full === full)) {
      faultAt(
        reader,
        "Cannot accept section",
        offset,
        `${idstr} instance ${instanceId} under id ${sectionId}`,
        same ? "it only once" : `a new id, ${sectionId} is ${known.idstr}`,
      );
    }
    this.#sections.set(sectionId, { idstr, instanceId, versionId, full });
    if (idstr === "ram" && versionId !== C.RAM_SAVE_VERSION) {
      faultAt(
        reader,
        "Cannot decode section ram",
        offset + 10 + length,
        `version ${versionId}`,
        String(C.RAM_SAVE_VERSION),
        [
          `error while loading state for instance ${hex(instanceId)} of device 'ram'`,
        ],
      );
    }
    return {
      kind: "section",
      channel,
      offset,
      length: reader.offset - offset,
      type,
      sectionId,
      idstr,
      instanceId,
      versionId,
    };
  }

  /** Header of a PART or END. */
  async again(type: SectionType): Promise<SectionRecord> {
    const { reader } = this;
    const channel = reader.source.name, offset = reader.offset;
    await reader.need(5, "Cannot read section header");
    const sectionId = reader.peekU32(1);
    const known = this.#sections.get(sectionId);
    if (!known) {
      faultAt(
        reader,
        "Cannot read section header",
        reader.offset + 1,
        `section id ${sectionId}`,
        "one announced before",
        [
          `Unknown savevm section ${sectionId}`,
        ],
      );
    }
    reader.pos += 5;
    const { idstr, instanceId, versionId } = known!;
    return { kind: "section", channel, offset, length: 5, type, sectionId, idstr, instanceId, versionId };
  }

  /** The footer of a section whose body was read. The first section decides whether there are any. */
  async footer(section: SectionRecord): Promise<FooterRecord | undefined> {
    const { reader } = this;
    const channel = reader.source.name;
    if (this.footers === false) return undefined;
    const { idstr, sectionId } = section;
    const missing = [`Missing section footer for ${idstr}`];
    await reader.need(1, `Cannot read footer of section ${idstr}`, missing, "Invalid argument");
    const byte = reader.peekU8();
    if (byte !== C.QEMU_VM_SECTION_FOOTER) {
      if (this.footers === undefined && [1, 2, 3, 4, 8, 0].includes(byte)) {
        this.footers = false;
        this.#warn("no section footers: sent with send-section-footer=off", reader.offset);
        return undefined;
      }
      faultAt(
        reader,
        `Cannot read footer of section ${idstr}`,
        reader.offset + 0,
        `byte ${hex(byte)}`,
        "0x7e",
        missing,
      );
    }
    await reader.need(5, `Cannot read footer of section ${idstr}`, [
      "check_section_footer: Read section footer failed: -5",
    ], "Invalid argument");
    const offset = reader.offset;
    const id = reader.peekU32(1);
    if (id !== sectionId) {
      faultAt(
        reader,
        `Cannot read footer of section ${idstr}`,
        reader.offset + 1,
        `section id ${hex(id)}`,
        hex(sectionId),
        [
          `Mismatched section id in footer for ${idstr} - read ${hex(id)} expected ${hex(sectionId)}`,
        ],
      );
    }
    this.footers = true;
    reader.pos += 5;
    return { kind: "footer", channel, offset, length: 5, sectionId };
  }
}
