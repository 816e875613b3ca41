/**
 * Lines of device bodies, by the description behind the end of the stream; and of other bodies of their own kind.
 *
 *     sections[9].cpu.env.regs[0] = 0x0             RAX
 *     sections[9].cpu["cpu/poll_control_msr"].marker  a subsection begins
 *
 * @module
 */
import { hex } from "../stream/errors.ts";
import type { SectionDataRecord } from "../stream/records.ts";
import type { DeviceDescription } from "../stream/vmdesc.ts";
import { walkDevice } from "../stream/vmstate.ts";
import type { VmFraming, VmLeaf, VmNode, VmValue } from "../stream/vmvalue.ts";
import { type ExplainLine, FieldLines, member, plainNumber, RAW_LIMIT } from "./explain_lines.ts";

const TYPES_FILE = "migration/vmstate-types.c";
/** What a type is on the wire, and the VMStateInfo that says so. */
const TYPES: ReadonlyMap<string, readonly [meaning: string, source: string]> = new Map([
  ["bool", ["true or false, one byte", `${TYPES_FILE} vmstate_info_bool`]],
  ["timer", [
    "when the timer fires, ns of its clock; -1: not armed",
    "migration/savevm.c timer_put; vmstate_info_timer",
  ]],
  ["buffer", ["bytes as they are", `${TYPES_FILE} vmstate_info_buffer`]],
  ["unused_buffer", ["room of a field that is gone, zeros", `${TYPES_FILE} vmstate_info_unused_buffer`]],
  ["bitmap", [
    "bits in big-endian words of 64: bit i is bit i % 64 of word i / 64",
    `${TYPES_FILE} vmstate_info_bitmap`,
  ]],
  ["nullptr", ['"0": a NULL in an array of pointers', `${TYPES_FILE} vmstate_info_nullptr`]],
  ["CPU_Double_U", ["bits of a double, upper word first", `${TYPES_FILE} vmstate_info_cpudouble`]],
  ["int32 le", ["number that may not exceed the destination's", `${TYPES_FILE} vmstate_info_int32_le`]],
  ["int64 equal", ["unsigned number that must equal the destination's", `${TYPES_FILE} vmstate_info_uint64_equal`]],
  ["capability", ["name of a capability", "migration/savevm.c vmstate_info_capability"]],
  ["pci config", ["PCI configuration space", "hw/pci/pci.c get_pci_config_device"]],
  ["virtio", [
    "a virtio device in its own layout: transport, queues, device, subsections",
    "hw/virtio/virtio.c virtio_save",
  ]],
  ["msix state", ["MSI-X table and pending bits", "hw/pci/msix.c msix_save"]],
  ["scsi-requests", ["requests under way", "hw/scsi/scsi-bus.c put_scsi_requests"]],
]);
const X86_REGISTERS = "RAX RCX RDX RBX RSP RBP RSI RDI R8 R9 R10 R11 R12 R13 R14 R15".split(" ");
/** Fields of well-known devices: where their value means more than its type. */
const KNOWN: readonly (readonly [device: RegExp, field: RegExp, meaning: (index: number) => string])[] = [
  [/^cpu$/, /^env\.regs\[(\d+)\]$/, (i) => `${X86_REGISTERS[i] ?? `register ${i}`} of the CPU`],
  [/^cpu$/, /^env\.eip$/, () => "RIP: where the CPU goes on"],
  [/^cpu$/, /^env\.eflags$/, () => "RFLAGS"],
  [/^cpu$/, /^env\.cr\[(\d+)\]$/, (i) => `CR${i}, a control register`],
  [/^cpu$/, /^env\.xregs\[(\d+)\]$/, (i) => `X${i} of the CPU`],
  [/^globalstate$/, /^size$/, () => "length of the run state's name with its NUL; nobody reads it"],
  [/^globalstate$/, /^runstate$/, () => "run state in which the guest goes on: running, paused, prelaunch"],
];

/**
 * Lines of a device's body, covering every byte of it.
 * @param description undefined where the stream has none: then the body is one line
 * @param partial     the body may be cut or wrong: give the lines up to there
 */
export function* deviceLines(
  device: { readonly idstr: string; readonly offset: number; readonly body: Uint8Array },
  description: DeviceDescription | undefined,
  path: string,
  partial = false,
): Generator<ExplainLine> {
  const { idstr, offset, body } = device;
  if (!description) {
    yield* new FieldLines(offset, path).bytes("", body.length, body, "state of a device, no description of its fields")
      .lines;
    return;
  }
  const { nodes } = walkDevice(description, body, { framing: true, partial: true, offset });
  let end = 0;
  for (const { node, path: at, field, vmsd } of deviceLeaves(nodes, path, description.vmsdName)) {
    if (node.length === 0) continue;
    const [meaning, source] = node.kind === "framing" ? framing(node, vmsd) : leaf(node, vmsd, field, idstr);
    const raw = body.subarray(node.offset, Math.min(node.offset + node.length, node.offset + RAW_LIMIT));
    end = node.offset + node.length;
    yield* new FieldLines(offset + node.offset, at, source).add("", node.length, raw, meaning, plainValue(node.value))
      .lines;
  }
  if (end < body.length && !partial) {
    yield* new FieldLines(offset + end, path).bytes(
      "",
      body.length - end,
      body.subarray(end),
      "bytes the description does not account for",
    ).lines;
  }
}

/** A leaf of a body and where it stands. */
export interface DeviceLeaf {
  readonly node: VmLeaf | VmFraming;
  /** As lines have it: sections[9].cpu.env.regs[0] */
  readonly path: string;
  /** From the device on: env.regs[0] */
  readonly field: string;
  /** The VMStateDescription it belongs to. */
  readonly vmsd: string;
}

/** All leaves of a walked body in wire order. @param path of the body */
export function* deviceLeaves(
  nodes: readonly VmNode[],
  path: string,
  vmsd: string,
  field = "",
): Generator<DeviceLeaf> {
  for (const node of nodes) {
    const element = /^\d+$/.test(node.name);
    const at = path + (element ? `[${node.name}]` : member(node.name));
    const inner = element ? `${field}[${node.name}]` : field ? `${field}.${node.name}` : node.name;
    if (node.kind === "leaf" || node.kind === "framing") yield { node, path: at, field: inner, vmsd };
    else yield* deviceLeaves(node.children, at, node.vmsdName ?? vmsd, inner);
  }
}

function leaf({ type, length }: VmLeaf, vmsd: string, field: string, idstr: string): [string, string] {
  const [meaning, source] = TYPES.get(type) ?? number(type) ??
    [`${type}: ${length} bytes in a layout of its own`, "migration/vmstate.c vmstate_save_state_v"];
  const device = idstr.slice(idstr.lastIndexOf("/") + 1);
  for (const [which, name, say] of KNOWN) {
    const match = which.test(device) ? name.exec(field) : null;
    if (match) return [`${say(Number(match[1]))} (${type})`, `${source}; VMStateDescription ${vmsd}`];
  }
  return [meaning, `${source}; VMStateDescription ${vmsd}`];
}

function number(type: string): [string, string] | undefined {
  const match = /^(u?)int(8|16|32|64)( equal)?$/.exec(type);
  if (!match) return undefined;
  const [, unsigned, bits, equal] = match;
  const must = equal ? ", must equal the destination's" : "";
  const info = `vmstate_info_${type.replace(" ", "_")}`;
  return [`${unsigned ? "unsigned" : "signed"} number of ${bits} bits${must}`, `${TYPES_FILE} ${info}`];
}

function framing({ name, value }: VmFraming, vmsd: string): [string, string] {
  switch (name) {
    case "marker":
      return [`a subsection begins: ${vmsd}`, "migration/vmstate.c vmstate_subsection_save"];
    case "name":
      return ["name of the subsection", "migration/vmstate.c vmstate_subsection_save"];
    case "version":
      return ["version of the subsection", "migration/vmstate.c vmstate_subsection_save"];
    case "count":
      return [`the tree has ${value} nodes`, `${TYPES_FILE} put_gtree`];
    case "more":
      return ["one more element follows", `${TYPES_FILE} put_qtailq, put_qlist, put_gtree`];
    default:
      return ["no more elements", `${TYPES_FILE} put_qtailq, put_qlist, put_gtree`];
  }
}

function plainValue(value: VmValue): ExplainLine["value"] {
  if (typeof value === "bigint") return plainNumber(value);
  if (value instanceof Uint8Array) return text(value) ?? undefined;
  return value;
}

/** Bytes that are a text padded with NULs, such as a run state. */
function text(bytes: Uint8Array): string | undefined {
  const end = bytes.findIndex((byte) => byte < 0x20 || byte > 0x7e);
  if (end < 3 || bytes.length > 256 || bytes.subarray(end).some((byte) => byte !== 0)) return undefined;
  return String.fromCharCode(...bytes.subarray(0, end));
}

const CHUNK_FLAGS = ["EOS", "ZEROES", "BITMAP_NAME", "DEVICE_NAME", "START", "COMPLETE", "BITS"];

/** A piece of an iterable section other than ram. */
export function dataLines(record: SectionDataRecord, path: string, piece: number): ExplainLine[] {
  const { offset, length, idstr, data } = record;
  if (idstr === "dirty-bitmap") return chunkLines(record, `${path}.chunks[${piece}]`);
  const source = DATA_RULES[idstr] ?? DATA_RULES[idstr.slice(idstr.lastIndexOf("/"))];
  return new FieldLines(offset, path, source).bytes(`pieces[${piece}]`, length, data, `a piece of ${idstr}`).lines;
}

const DATA_RULES: Record<string, string> = {
  "spapr/htab": "hw/ppc/spapr.c htab_load; stream/iterables.ts",
  "s390-storage_attributes": "hw/s390x/s390-stattrib.c cmma_load; stream/iterables.ts",
  "/vfio": "hw/vfio/migration.c vfio_load_state; stream/iterables.ts",
};

/** One chunk of a dirty-bitmap section. */
function chunkLines({ offset, data, length }: SectionDataRecord, path: string): ExplainLine[] {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const fields = new FieldLines(offset, path, "migration/block-dirty-bitmap.c; stream/iterables.ts");
  let at = 0;
  const u8 = () => view.getUint8(at++);
  const name = () => {
    const n = u8();
    at += n;
    return String.fromCharCode(...data.subarray(at - n, at));
  };
  const head = data[0] & 0x80 ? 2 : 1;
  const flags = data[head - 1];
  at = head;
  const words = CHUNK_FLAGS.filter((_, i) => flags & 1 << i).join("|") || hex(flags);
  fields.add("flags", head, data.subarray(0, head), "what this chunk holds", words);
  if (flags & 0x08) fields.str8("node", name(), "block node, or its alias");
  if (flags & 0x04) fields.str8("bitmap", name(), "bitmap of that node, or its alias");
  if (flags & 0x10) {
    fields.u32("granularity", view.getUint32(at), "bytes of the disk that one bit stands for");
    at += 4;
    fields.u8("startFlags", u8(), "1 enabled, 2 persistent, 4 ignored");
  }
  if (flags & 0x40) {
    fields.u64("firstSector", view.getBigUint64(at), "where the bits begin, sectors of 512 bytes");
    fields.u32("sectors", view.getUint32(at + 8), "how far they reach, sectors of 512 bytes");
    at += 12;
    if (!(flags & 0x02)) {
      fields.u64("bytes", view.getBigUint64(at), "bytes of bits that follow");
      at += 8;
    }
  }
  fields.bytes("bits", length - at, data.subarray(at), "the bits");
  return fields.lines;
}
