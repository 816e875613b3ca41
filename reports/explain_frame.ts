/**
 * What stands around bodies: header, configuration, section heads and footers, end mark, description.
 *
 *     51 45 56 4d 00 00 00 03 | 07 len name { 05 name version payload } | { 01..04 id ... 7e id } | 00 | 06 len JSON
 *
 * @module
 */
import * as C from "../stream/constants.ts";
import { hex } from "../stream/errors.ts";
import type {
  ConfigurationRecord,
  FooterRecord,
  HeaderRecord,
  SectionRecord,
  VmdescriptionRecord,
} from "../stream/records.ts";
import { type ExplainLine, FieldLines } from "./explain_lines.ts";

const SECTION_TYPES: Record<SectionRecord["type"], readonly [byte: number, meaning: string]> = {
  start: [C.QEMU_VM_SECTION_START, "SECTION_START: first part of a state that travels in several"],
  part: [C.QEMU_VM_SECTION_PART, "SECTION_PART: a further part, sent while the guest may run"],
  end: [C.QEMU_VM_SECTION_END, "SECTION_END: the last part"],
  full: [C.QEMU_VM_SECTION_FULL, "SECTION_FULL: all of a device's state at once"],
};

/** `QEVM` and the version. */
export function headerLines({ offset, version }: HeaderRecord): ExplainLine[] {
  return new FieldLines(offset, "header", "migration/savevm.c qemu_savevm_state_header")
    .text("magic", "QEVM", "begins the main channel of every migration stream")
    .u32("version", version, "version of the stream format; 3 is the only one QEMU still reads")
    .lines;
}

/** Machine name and what is behind it. */
export function configurationLines(record: ConfigurationRecord): ExplainLine[] {
  const fields = new FieldLines(record.offset, "configuration", "migration/savevm.c vmstate_configuration")
    .u8("type", C.QEMU_VM_CONFIGURATION, "CONFIGURATION: who wrote the stream")
    .u32("length", record.machine.length, "bytes of the machine's name")
    .text("machine", record.machine, "versioned machine type; the destination's must be the same");
  record.subsections.forEach(({ name, version }, i) => {
    const prefix = `subsections[${i}]`;
    fields
      .u8(
        `${prefix}.type`,
        C.QEMU_VM_SUBSECTION,
        "SUBSECTION: more fields, present because they are not at their defaults",
      )
      .str8(`${prefix}.name`, name, "which one; it begins with the name of what it belongs to")
      .u32(`${prefix}.version`, version, "version of the subsection");
    if (name === "configuration/target-page-bits") {
      fields.u32(`${prefix}.targetPageBits`, record.targetPageBits!, `pages are 2^${record.targetPageBits} bytes`);
    } else if (name === "configuration/capabilities") {
      const capabilities = record.capabilities!;
      fields.u32(`${prefix}.count`, capabilities.length, "number of capabilities listed");
      capabilities.forEach((capability, k) =>
        fields.str8(
          `${prefix}.capabilities[${k}]`,
          capability,
          "a capability that changes the stream; it must be on at the destination too",
          "migration/savevm.c configuration_validate_capabilities",
        )
      );
    } else {
      fields.bytes(`${prefix}.uuid`, 16, record.uuid, "UUID of the guest, compared with the destination's");
    }
  });
  return fields.lines;
}

/** Head of a section. @param path such as `sections[3]` */
export function sectionLines(record: SectionRecord, path: string): ExplainLine[] {
  const [byte, meaning] = SECTION_TYPES[record.type];
  const again = record.type === "part" || record.type === "end";
  const fields = new FieldLines(record.offset, path, "migration/savevm.c save_section_header")
    .u8("type", byte, meaning)
    .u32("id", record.sectionId, again ? `section id of ${record.idstr}` : "number of the section in this stream only");
  if (again) return fields.lines;
  return fields
    .str8("idstr", record.idstr, "whose state it is: a path on the bus and a name, or a name alone")
    .u32("instanceId", record.instanceId, "tells sections of one name apart")
    .u32("version", record.versionId, "version of the body's layout")
    .lines;
}

/** `7e` and the id. */
export function footerLines(record: FooterRecord, path: string): ExplainLine[] {
  return new FieldLines(record.offset, `${path}.footer`, "migration/savevm.c save_section_footer, check_section_footer")
    .u8("mark", C.QEMU_VM_SECTION_FOOTER, "SECTION_FOOTER: the body ends here; a reader that came out elsewhere stops")
    .u32("id", record.sectionId, "section id again")
    .lines;
}

/** The end mark. */
export function eofLines(offset: number, path: string): ExplainLine[] {
  return new FieldLines(offset, "", "migration/savevm.c qemu_loadvm_state_main")
    .u8(path, C.QEMU_VM_EOF, "EOF: no more sections; from here on QEMU needs nothing more")
    .lines;
}

/** The JSON behind the end. */
export function vmdescriptionLines(record: VmdescriptionRecord): ExplainLine[] {
  const { json } = record;
  return new FieldLines(
    record.offset,
    "vmdescription",
    "migration/savevm.c qemu_savevm_state_complete_precopy_non_iterable; stream/vmdesc.ts",
  )
    .u8(
      "type",
      C.QEMU_VM_VMDESCRIPTION,
      "VMDESCRIPTION: how the device sections are laid out, for tools; QEMU skips it",
    )
    .u32("length", json.length, "bytes of JSON")
    .bytes("json", json.length, json, "the fields of each device section with names, types and sizes")
    .lines;
}

/** Bytes nobody claims. */
export function opaqueLines(
  offset: number,
  length: number,
  raw: Uint8Array | undefined,
  meaning: string,
  path = "opaque",
  source?: string,
): ExplainLine[] {
  return new FieldLines(offset, "").bytes(path, length, raw, meaning, source).lines;
}

/** One line on what a page's flags say: `PAGE|CONTINUE`. */
export function flagNames(flags: number): string {
  const names = RAM_FLAGS.filter(([bit]) => flags & bit).map(([, name]) => name);
  const rest = RAM_FLAGS.reduce((left, [bit]) => left & ~bit, flags);
  return [...names, ...(rest || names.length === 0 ? [hex(rest)] : [])].join("|");
}

const RAM_FLAGS: readonly (readonly [number, string])[] = [
  [C.RAM_SAVE_FLAG_FULL, "FULL"],
  [C.RAM_SAVE_FLAG_ZERO, "ZERO"],
  [C.RAM_SAVE_FLAG_MEM_SIZE, "MEM_SIZE"],
  [C.RAM_SAVE_FLAG_PAGE, "PAGE"],
  [C.RAM_SAVE_FLAG_EOS, "EOS"],
  [C.RAM_SAVE_FLAG_CONTINUE, "CONTINUE"],
  [C.RAM_SAVE_FLAG_XBZRLE, "XBZRLE"],
  [C.RAM_SAVE_FLAG_HOOK, "HOOK"],
  [C.RAM_SAVE_FLAG_COMPRESS_PAGE, "COMPRESS_PAGE"],
  [C.RAM_SAVE_FLAG_MULTIFD_FLUSH, "MULTIFD_FLUSH"],
];
