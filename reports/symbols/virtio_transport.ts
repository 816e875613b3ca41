/**
 * What the transport of a virtio device saves: PCI, memory-mapped registers, channel I/O of s390.
 *
 *     PCI    i32 version 2 | configuration, 4 KiB where it has a PCI Express capability, else 256 bytes | u32 irq_state[4]
 *            with an MSI-X capability: its table and pending bits, and u16 config_vector, for each queue u16 vector
 *            extra state: subsection virtio_pci/modern_state
 *     MMIO   u32 host_features_sel | u32 guest_features_sel | u32 guest_page_shift; for each queue u32 align
 *            extra state: subsection virtio_mmio/state
 *     CCW    s390_virtio_ccw_dev; for each queue u16 vector
 *
 * Source: QEMU hw/virtio/virtio-pci.c (virtio_pci_save_config, vmstate_virtio_pci), virtio-mmio.c, hw/pci/pci.c, msix.c,
 * hw/s390x/virtio-ccw.c (vmstate_virtio_ccw_dev), css.c (vmstate_subch_dev).
 * @module
 */
import { capabilityOffsets, msixEntries } from "./pci_capabilities.ts";
import { describeConfig, pinName } from "./pci_config.ts";
import { describeMsix, msixBytes } from "./pci_msix.ts";
import { Registers } from "./pci_parts.ts";
import { hexText, type Part } from "./rule.ts";
import { numberPart } from "./virtio_space.ts";
import { Misfit, type Wire } from "./virtio_wire.ts";

/** How a device is attached. */
export type TransportKind = "PCI" | "MMIO" | "CCW";

/** What a transport says of itself. */
export interface Transport {
  readonly kind: TransportKind;
  readonly parts: readonly Part[];
  /** Queues have a vector. */
  readonly vectors: boolean;
  /** Id of the PCI function. */
  readonly pciDevice?: number;
}

const PCI_VERSION = 2, PCI_VENDOR_QUMRANET = 0x1af4;
const CONFIG = 256, EXPRESS_CONFIG = 4096, PINS = 4;
const CAP_EXPRESS = 0x10, CAP_MSIX = 0x11;
/** VIRTIO_NO_VECTOR. */
const NO_VECTOR = 0xffff;
/** VIRTIO_QUEUE_MAX: entries of arrays over all queues that a device may have. */
export const QUEUES = 1024;
/** Bytes of vmstate_subch_dev behind thinint_active: schib, sense data, program, command, id, flags. */
const SUBCHANNEL = 52 + 32 + 8 + 8 + 1 + 256 + 1 + 1;
const ORB = 12;

/** The transport that the name of a section tells; undefined where it tells none. */
export function transportKind(idstr: string): TransportKind | undefined {
  if (/(^|\/)virtio-mmio@[0-9a-f]+\//.test(idstr)) return "MMIO";
  if (/^\/?[0-9a-f]{2}\.[0-9a-f]\.[0-9a-f]{4}\//.test(idstr)) return "CCW";
  return /:[0-9a-f]{2}\.[0-7]\/[^/]+$/.test(idstr) ? "PCI" : undefined;
}

/** Read what the transport has saved. */
export function readTransport(kind: TransportKind, wire: Wire): Transport {
  switch (kind) {
    case "PCI":
      return readPci(wire);
    case "MMIO": {
      const names = ["host_features_sel", "guest_features_sel", "guest_page_shift"];
      return { kind, parts: names.map((name) => numberPart(name, wire.u32())), vectors: false };
    }
    case "CCW":
      return { kind, parts: readCcw(wire), vectors: true };
  }
}

function readPci(wire: Wire): Transport {
  if (wire.u32() !== PCI_VERSION) throw new Misfit();
  const at = wire.at;
  const short = new Registers(wire.take(CONFIG));
  if (short.u16(0) !== PCI_VENDOR_QUMRANET) throw new Misfit();
  const found = capabilityOffsets(short);
  const express = found.some((at) => short.u8(at) === CAP_EXPRESS);
  wire.at = at;
  const config = wire.take(express ? EXPRESS_CONFIG : CONFIG);
  const parts: Part[] = [{ name: "config", ...describeConfig(config) }, irqPart(wire)];
  const msix = found.find((at) => short.u8(at) === CAP_MSIX);
  if (msix !== undefined) {
    parts.push({ name: "msix", ...describeMsix(wire.take(msixBytes(msixEntries(short, msix)))) });
    parts.push(vectorPart("config_vector", wire.u16()));
  }
  return { kind: "PCI", parts, vectors: msix !== undefined, pciDevice: short.u16(2) };
}

function irqPart(wire: Wire): Part {
  const levels = Array.from({ length: PINS }, () => wire.u32());
  if (levels.some((level) => level > 1)) throw new Misfit();
  const asserted = levels.flatMap((level, n) => level ? [`${pinName(n + 1)} asserted`] : []);
  return { name: "irq_state", text: levels.join(" "), ...(asserted.length ? { meaning: asserted.join(" ") } : {}) };
}

/** A vector of MSI-X, or an indicator's bit. */
export function vectorPart(name: string, value: number): Part {
  return value === NO_VECTOR ? { name, value, text: "none" } : { name, value, text: String(value) };
}

function readCcw(wire: Wire): Part[] {
  const hex = (name: string, value: number | bigint, digits: number): Part => ({
    name,
    value,
    text: hexText(value, digits),
  });
  const parts: Part[] = [
    hex("cssid", wire.u8(), 2),
    hex("ssid", wire.u8(), 1),
    hex("schid", wire.u16(), 4),
    hex("devno", wire.u16(), 4),
    { name: "thinint_active", value: wire.bool() },
  ];
  wire.take(SUBCHANNEL);
  if (wire.enter("s390_subch_dev/orb")) wire.take(ORB);
  for (const name of ["indicators", "indicators2", "summary_indicator"]) {
    const length = wire.u32(), address = wire.u64();
    parts.push(length === 0 ? { name, text: "none" } : { name, text: `${length} bytes at ${hexText(address)}` });
  }
  parts.push(vectorPart("config_vector", wire.u16()), numberPart("ind_offset", wire.u64()));
  if (wire.enter("s390_adapter_info/summary_offset")) parts.push(numberPart("summary_offset", wire.u32()));
  parts.push(numberPart("thinint_isc", wire.u8()), numberPart("revision", wire.u32() | 0));
  return parts;
}

/** The subsection virtio/extra_state: copies of registers that a transport has of its own. */
export function readExtraState(wire: Wire): Part[] {
  if (wire.enter("virtio_pci/modern_state")) {
    const selectors = ["dfselect", "gfselect"].map((name) => numberPart(name, wire.u32()));
    return [...selectors, ...registerCopies(wire, 1)];
  }
  return wire.enter("virtio_mmio/state") ? registerCopies(wire, 0) : [];
}

/** @param hole bytes that stand before `enabled` of each queue */
function registerCopies(wire: Wire, hole: number): Part[] {
  const words = [wire.u32(), wire.u32()].map((word) => BigInt(word));
  const features = words[0] | words[1] << 32n;
  const queues: Part[] = [];
  for (let n = 0; n < QUEUES; n++) {
    const num = wire.u16();
    wire.take(hole);
    const enabled = wire.bool();
    const addresses = Array.from({ length: 3 }, () => BigInt(wire.u32()) | BigInt(wire.u32()) << 32n);
    if (num === 0 && !enabled && addresses.every((address) => address === 0n)) continue;
    const places = ["desc", "avail", "used"].map((name, i) => ({ name, text: hexText(addresses[i]) }));
    queues.push({ name: String(n), parts: [numberPart("num", num), { name: "enabled", value: enabled }, ...places] });
  }
  const vqs: Part = queues.length ? { name: "vqs", parts: queues } : { name: "vqs", text: "all zero" };
  return [{ name: "guest_features", value: features, text: hexText(features, 16) }, vqs];
}
