/**
 * The value "virtio": all that a virtio device saves, in a layout that no description tells.
 *
 *     transport | u8 status | u8 isr | u16 queue_sel | u32 guest_features, the low half | u32 config_len | configuration
 *     u32 count | for each queue: u32 num | (MMIO: u32 align) | u64 desc | u16 last_avail_idx | (u16 vector)
 *     the device's own state
 *     subsections virtio/device_endian, 64bit_features, virtqueues, ringsize, broken, extra_state, started, packed_virtqueues,
 *     disabled; those over queues have 1024 entries
 *
 * What is not like that is left as "rest", a number of bytes. Source: QEMU hw/virtio/virtio.c (virtio_save, vmstate_virtio).
 * @module
 */
import { bitNames, hexText, type Meaning, type Part } from "./rule.ts";
import { type Layout, layouts } from "./virtio_device.ts";
import { featureNames, ISR, queueName, STATUS, type VirtioKind, virtioKind } from "./virtio_names.ts";
import { legacyLittle, numberPart, spaceParts } from "./virtio_space.ts";
import {
  QUEUES,
  readExtraState,
  readTransport,
  type Transport,
  type TransportKind,
  vectorPart,
} from "./virtio_transport.ts";
import { Misfit, Wire } from "./virtio_wire.ts";

/** What a device has of a queue. */
interface Queue {
  readonly num: number;
  readonly align?: number;
  readonly desc: bigint;
  readonly lastAvail: number;
  readonly vector?: number;
}

/** Subsections of virtio, decoded. */
interface Subsections {
  endian?: number;
  features?: bigint;
  /** Of each queue: where avail and used are. */
  rings?: readonly (readonly [avail: bigint, used: bigint])[];
  sizes?: readonly number[];
  packed?: readonly (readonly Part[])[];
  /** In their order. */
  readonly flags: Part[];
  extra?: readonly Part[];
}

/** Up to the queues, then what could be read of the rest. */
interface State {
  transport?: Transport;
  fields?: { readonly status: number; readonly isr: number; readonly queueSel: number; readonly features: number };
  config?: Uint8Array;
  queues?: Queue[];
  device?: readonly Part[];
  subsections?: Subsections;
  /** Of the device's own state, bytes of which the layout is not known. */
  unknown?: number;
  /** Bytes at the end that were not read. */
  rest: number;
}

const VERSION_1 = 32n;
/** VIRTIO_DEVICE_ENDIAN_*. */
const ENDIAN = ["unknown", "little", "big"];
/** VIRTIO_PCI_VRING_ALIGN. */
const PCI_ALIGN = 4096;
/** Most queues that have a name each though they are not in use: a console has one of 62 queues. */
const NAMED = 8;
/**
 * Describe such a value.
 * @param section last part of the section's idstr
 * @param kind    transport the idstr tells; without one each is tried, and one that does not fit exactly is none
 */
export function describeVirtio(
  bytes: Uint8Array,
  section: string,
  kind: TransportKind | undefined,
): Meaning | undefined {
  if (kind !== undefined) return meaning(read(bytes, section, kind), bytes, section);
  for (const each of ["PCI", "MMIO", "CCW"] as const) {
    const state = read(bytes, section, each);
    if (state.rest === 0 && state.unknown === undefined) return meaning(state, bytes, section);
  }
  return undefined;
}

function read(bytes: Uint8Array, section: string, kind: TransportKind): State {
  const wire = new Wire(bytes);
  const state: State = { rest: bytes.length };
  // what was read before a misfit stands
  const done = attempt(() => {
    state.transport = readTransport(kind, wire);
    state.rest = wire.left;
    state.fields = { status: wire.u8(), isr: wire.u8(), queueSel: wire.u16(), features: wire.u32() };
    state.config = wire.take(wire.u32());
    state.rest = wire.left;
    state.queues = readQueues(wire, state.transport);
    state.rest = wire.left;
    return true;
  });
  if (done) readDevice(state, wire, section);
  return state;
}

function readQueues(wire: Wire, { kind, vectors }: Transport): Queue[] {
  const count = wire.u32();
  if (count > QUEUES) throw new Misfit();
  return Array.from({ length: count }, () => {
    const num = wire.u32();
    const align = kind === "MMIO" ? { align: wire.u32() } : {};
    const desc = wire.u64(), lastAvail = wire.u16();
    return { num, ...align, desc, lastAvail, ...(vectors ? { vector: wire.u16() } : {}) };
  });
}

/**
 * The device's own state, by the first layout that leads to the end; by none, what the subsections behind it say. Where nothing
 * leads to the end, as far as a kind's only layout goes.
 */
function readDevice(state: State, wire: Wire, section: string): void {
  const start = wire.at;
  const kind = virtioKind(section, state.transport!.pciDevice);
  const known: readonly Layout[] = layouts(kind, state.queues!.length) ?? [];
  for (const layout of known) {
    if (readBehind(state, wire, start, layout)) return;
  }
  for (const at of subsectionStarts(wire.bytes, start)) {
    if (!readBehind(state, wire, at)) continue;
    state.unknown = at - start;
    return;
  }
  if (known.length === 1) readBehind(state, wire, start, known[0], true);
}

/** Read to the end from `at` on. @param partly keep what is read though it does not lead there @returns whether it does */
function readBehind(state: State, wire: Wire, at: number, layout?: Layout, partly = false): boolean {
  wire.at = at;
  const device = layout ? attempt(() => layout(wire)) : [];
  if (!device) return false;
  const subsections: Subsections = { flags: [] };
  const whole = readSubsections(wire, subsections) && wire.left === 0;
  if (whole || partly) Object.assign(state, { device, subsections, rest: wire.left });
  return whole;
}

/** Where a subsection of virtio may begin. There are at most as many as such devices have, so few are tried. */
function* subsectionStarts(bytes: Uint8Array, from: number): Generator<number> {
  let tried = 0;
  for (let at = bytes.indexOf(5, from); at >= 0 && tried < 64; at = bytes.indexOf(5, at + 1)) {
    if (new Wire(bytes, at).peekSubsection()?.startsWith("virtio/") !== true) continue;
    tried++;
    yield at;
  }
}

/** @returns false where one is not as it should be; `wire` stands before it then */
function readSubsections(wire: Wire, found: Subsections): boolean {
  for (let name = wire.peekSubsection(); name !== undefined; name = wire.peekSubsection()) {
    const at = wire.at, known = name;
    const done = attempt(() => {
      wire.enter(known);
      readSubsection(wire, known, found);
      return true;
    });
    if (done) continue;
    wire.at = at;
    return false;
  }
  return true;
}

function readSubsection(wire: Wire, name: string, found: Subsections): void {
  switch (name) {
    case "virtio/device_endian":
      found.endian = wire.u8();
      return;
    case "virtio/64bit_features":
      found.features = wire.u64();
      return;
    case "virtio/virtqueues":
      found.rings = Array.from({ length: QUEUES }, () => [wire.u64(), wire.u64()] as const);
      return;
    case "virtio/ringsize":
      found.sizes = Array.from({ length: QUEUES }, () => wire.u32());
      return;
    case "virtio/packed_virtqueues":
      found.packed = Array.from({ length: QUEUES }, () => packedParts(wire));
      return;
    case "virtio/extra_state":
      found.extra = readExtraState(wire);
      return;
    case "virtio/broken":
    case "virtio/started":
    case "virtio/disabled":
      found.flags.push({ name: name.slice("virtio/".length), value: wire.bool() });
      return;
    default:
      throw new Misfit();
  }
}

function packedParts(wire: Wire): Part[] {
  const index = wire.u16(), wrap = wire.bool();
  return [
    numberPart("last_avail_idx", index),
    { name: "last_avail_wrap_counter", value: wrap },
    numberPart("used_idx", wire.u16()),
    { name: "used_wrap_counter", value: wire.bool() },
    numberPart("inuse", wire.u32()),
  ];
}

/** What a reader gives; undefined where bytes are not as it has them. */
function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof Misfit) return undefined;
    throw error;
  }
}

function meaning(state: State, bytes: Uint8Array, section: string): Meaning | undefined {
  const { transport, fields, config, subsections } = state;
  if (!transport) return undefined;
  const kind = virtioKind(section, transport.pciDevice);
  const parts: Part[] = [{ name: transport.kind, parts: transport.parts }];
  let status = "";
  if (fields && config) {
    const features = subsections?.features ?? BigInt(fields.features);
    const told = features >> VERSION_1 & 1n ? 1 : subsections?.endian;
    const little = told === undefined ? legacyLittle(kind, config) : told === 1;
    status = bitNames(fields.status, STATUS);
    parts.push(
      { name: "status", value: fields.status, text: hexText(fields.status, 2), meaning: status || "reset" },
      { name: "isr", value: fields.isr, text: hexText(fields.isr, 2), meaning: bitNames(fields.isr, ISR) },
      numberPart("queue_sel", fields.queueSel),
      { name: "guest_features", value: features, text: hexText(features, 16), meaning: featureNames(kind, features) },
      configPart(kind, config, little),
    );
  }
  parts.push(...queuesParts(state, kind), ...stateParts(state, kind));
  if (state.rest > 0) parts.push({ name: "rest", text: `${state.rest} bytes`, meaning: "of another layout" });
  const what = [kind === undefined ? section : `virtio-${kind}`, `on ${transport.kind}`].join(" ");
  return { text: `${bytes.length} bytes`, meaning: status ? `${what}, ${status}` : what, parts };
}

/** @param little byte order of its numbers; undefined where none fits */
function configPart(kind: VirtioKind | undefined, config: Uint8Array, little: boolean | undefined): Part {
  const text = `${config.length} bytes`;
  if (config.length > 0 && config.every((byte) => byte === 0)) return { name: "config", text, meaning: "all zero" };
  const parts = little === undefined ? [] : spaceParts(kind, config, little);
  return { name: "config", text, ...(parts.length ? { parts } : {}) };
}

function queuesParts({ queues, transport, subsections }: State, kind: VirtioKind | undefined): Part[] {
  if (!queues) return [];
  const parts = queues.map((queue, n): Part => {
    const idle = queues.length > NAMED && queue.desc === 0n && queue.lastAvail === 0;
    const symbol = idle ? undefined : queueName(kind, n, queues.length);
    const own = subsections?.packed?.[n] ?? [numberPart("last_avail_idx", queue.lastAvail)];
    const size = subsections?.sizes?.[n];
    return {
      name: String(n),
      ...(symbol === undefined ? {} : { symbol }),
      parts: [
        numberPart("num", queue.num),
        ...(size !== undefined && size !== queue.num ? [numberPart("num_default", size)] : []),
        ...(queue.align === undefined ? [] : [numberPart("align", queue.align)]),
        ...addressParts(queue, subsections?.rings?.[n], transport!.kind),
        ...own,
        ...(queue.vector === undefined ? [] : [vectorPart("vector", queue.vector)]),
      ],
    };
  });
  return [parts.length === 0 ? { name: "vq", text: "none" } : { name: "vq", parts }];
}

/** Where a ring is. Without the subsection the rings lie one behind the other. */
function addressParts(queue: Queue, rings: readonly [bigint, bigint] | undefined, kind: TransportKind): Part[] {
  const place = (name: string, address: bigint): Part => ({ name, value: address, text: hexText(address) });
  const align = BigInt(queue.align ?? PCI_ALIGN);
  if (rings === undefined && (queue.desc === 0n || kind === "CCW" || align === 0n)) return [place("desc", queue.desc)];
  const avail = queue.desc + BigInt(queue.num) * 16n;
  const end = avail + 4n + 2n * BigInt(queue.num);
  const [atAvail, atUsed] = rings ?? [avail, (end + align - 1n) / align * align];
  return [place("desc", queue.desc), place("avail", atAvail), place("used", atUsed)];
}

function stateParts({ device, unknown, subsections }: State, kind: VirtioKind | undefined): Part[] {
  const parts: Part[] = [];
  if (device?.length) parts.push({ name: "device", parts: device });
  if (unknown) parts.push({ name: "device", text: `${unknown} bytes`, meaning: "of a layout that is not known" });
  if (!subsections) return parts;
  const { endian, flags, extra } = subsections;
  if (endian !== undefined) {
    parts.push({ name: "device_endian", value: endian, text: String(endian), meaning: ENDIAN[endian] });
  }
  parts.push(...flags);
  if (extra?.length) parts.push({ name: "extra_state", parts: named(extra, kind) });
  return parts;
}

/** Features that a transport has a copy of, by name. */
function named(parts: readonly Part[], kind: VirtioKind | undefined): Part[] {
  return parts.map((part) =>
    part.name === "guest_features" && typeof part.value === "bigint"
      ? { ...part, meaning: featureNames(kind, part.value) }
      : part
  );
}
