/**
 * Will that QEMU load this file? Machine, capabilities, and each device's layout against the QEMU's own.
 *
 *     version      minimum_version_id <= version <= version_id
 *     fields       in order; one with version_id above the stream's is not expected, one with a test may be absent
 *     numbers      as many bytes in the stream as in memory
 *     subsections  each one's name is known
 *
 * It is what the layouts can tell: values, RAM blocks and what a device checks after loading are not in a dump. Source: QEMU
 * migration/vmstate.c (vmstate_load_state, vmstate_subsection_load).
 * @module
 */
import type { Image } from "../containers/image.ts";
import type { DeviceDescription, FieldDescription, Vmsd } from "../stream/vmdesc.ts";
import type { Report } from "./findings.ts";
import type { DumpField, DumpVmsd, TargetQemu } from "./vmstate_dump.ts";

/** What a QEMU would say to one device. */
export interface DeviceVerdict {
  /** idstr of its section. */
  readonly name: string;
  /** Tells sections of one name apart. */
  readonly instanceId: number;
  /** Of the section. */
  readonly version: number;
  /** Of its layout in the stream; undefined where no description says it. */
  readonly vmsd?: string;
  /** "unknown": its layout is not in the dump, or not in the stream. */
  readonly verdict: "accepted" | "refused" | "unknown";
  /** Why. */
  readonly reasons: readonly string[];
  /** Names of the subsections that the QEMU does not know, where there are such. */
  readonly unknownSubsections?: readonly string[];
}

/** Hold an image against a QEMU; what it would refuse is reported as an error. */
export function verifyAgainst(image: Image, target: TargetQemu, report: Report): DeviceVerdict[] {
  const { machine, capabilities } = image.stream;
  const start = image.sections[0]?.headerOffset ?? image.streamEnd;
  const at = image.streamOffset;
  if (machine !== undefined && target.machines && !target.machines.has(machine)) {
    report("error", at + 13, "configuration.machine", `machine type ${machine}: ${target.name} has none of that name`);
  }
  if (machine !== undefined && target.dumpedMachine !== undefined && target.dumpedMachine !== machine) {
    const text = `machine type ${machine}: ${target.name} was dumped from ${target.dumpedMachine}`;
    report("warning", at + 13, "configuration.machine", `${text}, and a QEMU that runs as that refuses the other`);
  }
  for (const capability of capabilities) {
    if (!target.capabilities || target.capabilities.includes(capability)) continue;
    report(
      "error",
      at + 8,
      "configuration.subsections",
      `capability ${capability}: ${target.name} has none of that name`,
    );
  }
  const verdicts = image.devices.map((device): DeviceVerdict => {
    const { name, instanceId, version } = device;
    const description = image.description?.device(name, instanceId);
    const known = description && !description.oldStyle ? target.layouts.get(description.vmsdName) : undefined;
    const about = { name, instanceId, version, ...(description ? { vmsd: description.vmsdName } : {}) };
    if (!description || !known) {
      const why = !description
        ? "the stream does not describe it"
        : "the dump has devices only, and none with this layout";
      return { ...about, verdict: "unknown", reasons: [why] };
    }
    const { reasons, strangers } = closest(description, known);
    const unknown = strangers.length > 0 ? { unknownSubsections: strangers } : {};
    return { ...about, verdict: reasons.length > 0 ? "refused" : "accepted", reasons, ...unknown };
  });
  verdicts.forEach(({ name, verdict, reasons }, i) => {
    if (verdict !== "refused") return;
    const section = image.sections.findIndex(({ offset }) => offset === image.devices[i].offset);
    const offset = image.sections[section]?.headerOffset ?? start;
    for (const reason of reasons) report("error", offset, `sections[${section}]`, `${name}: ${reason}`);
  });
  return verdicts;
}

/** What speaks against a layout. */
interface Against {
  readonly reasons: string[];
  /** Subsections of the stream that it does not have: they are among the reasons too. */
  readonly strangers: string[];
}

/** What speaks against the layout that fits best; several device types may share a name. */
function closest(device: DeviceDescription, known: readonly DumpVmsd[]): Against {
  return known.map((layout) => {
    const found: Against = { reasons: [], strangers: [] };
    compare(device, layout, device.version, device.vmsdName, found);
    return found;
  }).reduce((best, found) => found.reasons.length < best.reasons.length ? found : best);
}

/** @param version what decides which fields are expected: the stream's, or inside a struct the target's own */
function compare(stream: Vmsd, target: DumpVmsd, version: number, path: string, found: Against): void {
  const { reasons } = found;
  if (version > target.version_id) {
    reasons.push(`version ${version} of ${path} is newer than its ${target.version_id}`);
    return;
  }
  if (version < target.minimum_version_id) {
    reasons.push(`version ${version} of ${path} is older than the ${target.minimum_version_id} it still reads`);
    return;
  }
  const fields = target.Fields ?? [];
  const missed = (from: number, to: number) => {
    for (const field of fields.slice(from, to)) {
      if (field.version_id <= version && !mayBeAbsent(field)) {
        reasons.push(`field ${path}.${field.field} is expected, and the stream has none`);
      }
    }
  };
  let next = 0;
  for (const [name, entries] of grouped(stream.fields)) {
    const place = definition(fields, name);
    if (place < next || fields[place].version_id > version) {
      reasons.push(`field ${path}.${name} is not one it reads${place < 0 ? "" : " there"}`);
      continue;
    }
    missed(next, place);
    next = place + 1;
    compareField(entries, fields[place], `${path}.${name}`, found);
  }
  missed(next, fields.length);
  for (const subsection of stream.subsections) {
    const own = target.Subsections?.find(({ name }) => name === subsection.vmsdName);
    if (own) compare(subsection, own, subsection.version, subsection.vmsdName, found);
    else {
      reasons.push(`subsection ${subsection.vmsdName} is not one it knows`);
      found.strangers.push(subsection.vmsdName);
    }
  }
}

/** Index of a field's definition; a name that is defined more than once has its number behind it: `config[1]`. */
function definition(fields: readonly DumpField[], name: string): number {
  const exact = fields.findIndex(({ field }) => field === name);
  const match = /^(.*)\[(\d+)\]$/.exec(name);
  if (exact >= 0 || !match) return exact;
  const all = fields.flatMap(({ field }, i) => field === match[1] ? [i] : []);
  return all[Number(match[2])] ?? -1;
}

/** One with a test; an array whose length is a field of its own may have no elements, and a dump does not tell those apart. */
function mayBeAbsent({ field_exists, num, size, Description }: DumpField): boolean {
  return field_exists || num === undefined && (Description !== undefined || size === 0 || size > 8);
}

/** Entries of one field together. */
function grouped(fields: readonly FieldDescription[]): [string, FieldDescription[]][] {
  const groups: [string, FieldDescription[]][] = [];
  for (const field of fields) {
    const last = groups.at(-1);
    if (last && last[0] === field.name) last[1].push(field);
    else groups.push([field.name, [field]]);
  }
  return groups;
}

function compareField(entries: readonly FieldDescription[], target: DumpField, path: string, found: Against): void {
  const { reasons } = found;
  const field = entries.find(({ type }) => type !== "nullptr");
  if (!field) return;
  if (field.struct && target.Description && field.type === "struct") {
    compare(field.struct, target.Description, target.Description.version_id, path, found);
  } else if (
    /^(u?int(8|16|32|64)( equal)?|bool)$/.test(field.type) && !target.Description && target.size !== field.size
  ) {
    reasons.push(`${path} has ${field.size} bytes in the stream, it reads ${target.size}`);
  }
  const count = entries.reduce((sum, { arrayLen }) => sum + (arrayLen ?? 1), 0);
  const counted = entries.every(({ type }) => type !== "nullptr") &&
    (entries.length > 1 || field.arrayLen !== undefined);
  if (target.num !== undefined && counted && count !== target.num) {
    reasons.push(`${path} has ${count} elements in the stream, it reads ${target.num}`);
  }
}
