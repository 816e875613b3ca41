/**
 * What a virtio device saves of itself, between its queues and the subsections of virtio.
 *
 * Layouts hang on properties that a stream does not tell (is there more than one pair of queues, does the device offer packed
 * rings), so a kind may have several: the one that leads to the exact end of the bytes is the device's. Source: QEMU hw/block/virtio-blk.c
 * (virtio_blk_save_device), hw/char/virtio-serial-bus.c (virtio_serial_save_device), hw/virtio/virtio-balloon.c
 * (vmstate_virtio_balloon_device), virtio-mem.c (vmstate_virtio_mem_device), virtio-iommu.c (vmstate_virtio_iommu_device).
 * @module
 */
import { hexText, type Part } from "./rule.ts";
import { elementParts } from "./virtio_element.ts";
import type { VirtioKind } from "./virtio_names.ts";
import { netLayouts } from "./virtio_net.ts";
import { numberPart } from "./virtio_space.ts";
import { Misfit, type Wire } from "./virtio_wire.ts";

/** A way to read the state of a device; throws a Misfit where bytes are not like that. */
export type Layout = (wire: Wire) => Part[];

/** Requests, domains, mappings: no more of them than there are bytes for. */
type Each = (wire: Wire, n: number) => Part;

/** Ports a virtio-serial bus may have. */
const MOST_PORTS = 511;

/** Layouts of a kind, most likely first; undefined for a kind of which none is known. @param queues it has */
export function layouts(kind: VirtioKind | undefined, queues: number): readonly Layout[] | undefined {
  switch (kind) {
    case "net":
      return netLayouts();
    case "blk":
      // vhost-user-blk saves nothing
      return [...variants((many, packed) => (wire) => blockParts(wire, many, packed), queues > 1), () => []];
    case "console":
      return [(wire) => consoleParts(wire, false), (wire) => consoleParts(wire, true)];
    case "balloon":
      return [balloonParts];
    case "mem":
      return [(wire) => memoryParts(wire, true), (wire) => memoryParts(wire, false)];
    case "iommu":
      return [iommuParts];
    case "rng":
    case "scsi":
    case "gpu":
    case "input":
    case "vsock":
    case "fs":
    case "9p":
      return [() => []];
    default:
      return undefined;
  }
}

function variants(layout: (many: boolean, packed: boolean) => Layout, many: boolean): Layout[] {
  return [layout(many, false), layout(many, true), layout(!many, false), layout(!many, true)];
}

/** Requests that wait for the guest to run, each after a 1; a 0 at the end. */
function blockParts(wire: Wire, many: boolean, packed: boolean): Part[] {
  const requests: Part[] = [];
  while (wire.bool()) {
    const queue: Part[] = many ? [numberPart("queue", wire.u32())] : [];
    requests.push({ name: String(requests.length), parts: [...queue, ...elementParts(wire, packed)] });
  }
  return requests.length === 0 ? [{ name: "requests", text: "none" }] : [{ name: "requests", parts: requests }];
}

function consoleParts(wire: Wire, packed: boolean): Part[] {
  const swap16 = (value: number) => (value & 0xff) << 8 | value >> 8;
  const swap32 = (value: number) => (swap16(value & 0xffff) << 16 | swap16(value >>> 16)) >>> 0;
  const raw = [wire.u16(), wire.u16(), wire.u32()];
  // these are as the guest reads them, before they are written big-endian
  const [cols, rows, most] = raw[2] <= MOST_PORTS ? raw : [swap16(raw[0]), swap16(raw[1]), swap32(raw[2])];
  if (most === 0 || most > MOST_PORTS) throw new Misfit();
  const map = Array.from({ length: Math.ceil(most / 32) }, () => wire.u32());
  const used = map.flatMap((word, n) => Array.from({ length: 32 }, (_, bit) => word >>> bit & 1 ? n * 32 + bit : -1));
  const ports = repeat(wire, wire.u32(), (wire) => portPart(wire, packed));
  return [
    numberPart("cols", cols),
    numberPart("rows", rows),
    numberPart("max_nr_ports", most),
    { name: "ports_map", text: map.map((word) => hexText(word, 8)).join(" "), meaning: portsText(used) },
    { name: "ports", parts: ports },
  ];
}

function portsText(used: readonly number[]): string {
  const ports = used.filter((port) => port >= 0);
  return ports.length === 0 ? "no ports" : `${ports.length === 1 ? "port" : "ports"} ${ports.join(" ")}`;
}

function portPart(wire: Wire, packed: boolean): Part {
  const id = wire.u32();
  const parts: Part[] = [
    { name: "guest_connected", value: wire.bool() },
    { name: "host_connected", value: wire.bool() },
  ];
  const popped = wire.u32();
  if (id > MOST_PORTS || popped > 1) throw new Misfit();
  if (popped) {
    parts.push(numberPart("iov_idx", wire.u32()), numberPart("iov_offset", wire.u64()));
    parts.push({ name: "elem", parts: elementParts(wire, packed) });
  }
  return { name: String(id), symbol: `port ${id}`, parts };
}

const HINT_STATUS = ["stop", "requested", "start", "done"];

function balloonParts(wire: Wire): Part[] {
  const parts = [numberPart("num_pages", wire.u32(), "pages"), numberPart("actual", wire.u32(), "pages")];
  if (wire.enter("virtio-balloon-device/free-page-report")) {
    parts.push(numberPart("free_page_hint_cmd_id", wire.u32(), "hex"));
    const status = wire.u32();
    parts.push({ name: "free_page_hint_status", value: status, text: String(status), meaning: HINT_STATUS[status] });
  }
  if (wire.enter("virtio-balloon-device/page-poison")) parts.push(numberPart("poison_val", wire.u32(), "hex"));
  return parts;
}

/** @param early whether size and bitmap are in a section of their own, which comes first: virtio-mem-device-early */
function memoryParts(wire: Wire, early: boolean): Part[] {
  const parts: Part[] = [];
  let blocks = 0;
  if (!early) {
    const [addr, region, block] = [wire.u64(), wire.u64(), wire.u64()];
    if (block === 0n || region / block > BigInt(wire.left) * 8n) throw new Misfit();
    blocks = Number(region / block);
    parts.push(numberPart("addr", addr, "hex"), numberPart("region_size", region, "bytes"));
    parts.push(numberPart("block_size", block, "bytes"), numberPart("node", wire.u32()));
  }
  parts.push(numberPart("usable_region_size", wire.u64(), "bytes"));
  if (!early) parts.push(numberPart("size", wire.u64(), "bytes"));
  parts.push(numberPart("requested_size", wire.u64(), "bytes"));
  if (!early) {
    const words = Array.from({ length: Math.ceil(blocks / 64) }, () => wire.u64());
    const plugged = words.reduce((sum, word) => sum + word.toString(2).replaceAll("0", "").length, 0);
    parts.push({ name: "bitmap", text: `${plugged} of ${blocks} blocks plugged` });
  }
  return parts;
}

const MAPPING = ["read", "write", "mmio"];

function iommuParts(wire: Wire): Part[] {
  const domains = tree(wire, (wire) => {
    wire.u64();
    const id = wire.u32();
    const mappings = tree(wire, mappingPart);
    const endpoints: string[] = [];
    while (wire.bool()) endpoints.push(hexText(wire.u32(), 4));
    const parts: Part[] = [
      { name: "mappings", parts: mappings },
      { name: "endpoints", text: endpoints.join(" ") || "none" },
      { name: "bypass", value: wire.bool() },
    ];
    return { name: String(id), symbol: `domain ${id}`, parts };
  });
  return [{ name: "domains", parts: domains }, { name: "config.bypass", value: wire.bool() }];
}

function mappingPart(wire: Wire, n: number): Part {
  const low = wire.u64(), high = wire.u64(), physical = wire.u64(), flags = wire.u32();
  const may = MAPPING.filter((_, bit) => flags >> bit & 1).join(" ");
  const text = `${hexText(low)}..${hexText(high)} at ${hexText(physical)}`;
  return { name: String(n), text, ...(may ? { meaning: may } : {}) };
}

/** VMSTATE_GTREE: u32 count, then each after a 1, and a 0. */
function tree(wire: Wire, each: Each): Part[] {
  const parts = repeat(wire, wire.u32(), (wire, n) => {
    if (!wire.bool()) throw new Misfit();
    return each(wire, n);
  });
  if (wire.bool()) throw new Misfit();
  return parts;
}

function repeat(wire: Wire, count: number, each: Each): Part[] {
  if (count > wire.left) throw new Misfit();
  return Array.from({ length: count }, (_, n) => each(wire, n));
}
