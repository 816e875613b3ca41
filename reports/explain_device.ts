/**
 * Lines of device bodies, by the description behind the end of the stream.
 *
 *     sections[9].cpu.env.regs[0] = 0x0             RAX (uint64)
 *     sections[9].cpu["cpu/poll_control_msr"].marker  a subsection begins
 *
 * What single fields mean is what `inspect --device` says of them; a value whose parts have bytes of their own is a line for each.
 *
 * @module
 */
import type { DeviceDescription } from "../stream/vmdesc.ts";
import { walkDevice } from "../stream/vmstate.ts";
import type { VmFraming, VmLeaf, VmNode, VmValue } from "../stream/vmvalue.ts";
import { type ExplainLine, FieldLines, member, plainNumber, RAW_LIMIT } from "./explain_lines.ts";
import { asText, partLines, placedParts, words } from "./explain_words.ts";
import { DeviceSymbols } from "./symbols/describe.ts";
import { clockOf } from "./symbols/time.ts";

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
/** A device's body and what it is told by. */
export interface ExplainedDevice {
  /** idstr of its section. */
  readonly idstr: string;
  /** Of its body, in the file. */
  readonly offset: number;
  /** All of it, or what there is. */
  readonly body: Uint8Array;
}

/** How a device's body is gone through. */
export interface DeviceLineOptions {
  /** The body may be cut or wrong: give the lines up to there. */
  readonly partial?: boolean;
  /** What QEMU_CLOCK_VIRTUAL showed, in ns: as {@link clockOfDevice} has it. */
  readonly clock?: bigint | undefined;
}

/** The clock in the body of the section "timer"; undefined where it does not say. */
export function clockOfDevice(body: Uint8Array, description: DeviceDescription | undefined): bigint | undefined {
  return description && clockOf(walkDevice(description, body, { partial: true }).nodes);
}

/**
 * Lines of a device's body, covering every byte of it.
 * @param description undefined where the stream has none: then the body is one line
 */
export function* deviceLines(
  device: ExplainedDevice,
  description: DeviceDescription | undefined,
  path: string,
  { partial = false, clock }: DeviceLineOptions = {},
): Generator<ExplainLine> {
  const { idstr, offset, body } = device;
  if (!description) {
    yield* new FieldLines(offset, path).bytes("", body.length, body, "state of a device, no description of its fields")
      .lines;
    return;
  }
  const { nodes } = walkDevice(description, body, { framing: true, partial: true, offset });
  const symbols = new DeviceSymbols(idstr, nodes, clock);
  let end = 0;
  for (const { node, path: at, field, vmsd } of deviceLeaves(nodes, path, description.vmsdName)) {
    if (node.length === 0) continue;
    end = node.offset + node.length;
    if (node.kind === "framing") {
      const [meaning, source] = framing(node, vmsd);
      yield* oneLine(node, at, offset, body, meaning, source);
      continue;
    }
    const known = symbols.of(node, field);
    const [type, info] = typeOf(node);
    const source = `${info}; VMStateDescription ${vmsd}`;
    const parts = placedParts(known.parts, node.length);
    if (parts.length > 0) yield* partLines(node, { ...known, parts }, at, offset, body, source);
    else {
      const said = words(known, node.value);
      yield* oneLine(node, at, offset, body, said ? `${said} (${node.type})` : type, source);
    }
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

function oneLine(
  { offset, length, value }: VmLeaf | VmFraming,
  path: string,
  base: number,
  body: Uint8Array,
  meaning: string,
  source: string,
): ExplainLine[] {
  const raw = body.subarray(offset, offset + Math.min(length, RAW_LIMIT));
  return new FieldLines(base + offset, path, source).add("", length, raw, meaning, plainValue(value)).lines;
}

function typeOf({ type, length }: VmLeaf): readonly [string, string] {
  return TYPES.get(type) ?? number(type) ??
    [`${type}: ${length} bytes in a layout of its own`, "migration/vmstate.c vmstate_save_state_v"];
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
  if (value instanceof Uint8Array) return asText(value);
  return value;
}
