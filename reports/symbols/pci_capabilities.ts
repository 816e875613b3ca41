/**
 * The list of capabilities in the first 256 bytes: u8 id, u8 offset of the next one, then registers of its own.
 *
 *     capability[0x40]
 *       id                     0x05  MSI
 *       control                0x0081  enabled, 64 bit, 1 of 1 vectors
 *       address                0xfee01000
 *
 * The list begins at 0x34; a list that runs in a circle, or out of the space, ends there. Source: PCI Local Bus 3.0, chapter 6.7 and
 * 6.8; PCI Power Management 1.2; PCI Express 5.0, chapter 7; virtio 1.2, 4.1.4; QEMU hw/pci/pci_bridge.c
 * (pci_bridge_qemu_reserve_cap_init), include/standard-headers/linux/pci_regs.h.
 * @module
 */
import { expressParts } from "./pci_express.ts";
import { flags, present, register, type Registers, words } from "./pci_parts.ts";
import { bits, hexText, type Part } from "./rule.ts";

/** Where the list begins; where capabilities may lie. */
const LIST = 0x34, FIRST = 0x40, END = 0x100;
/** Each takes four bytes at least. */
const MOST = (END - FIRST) / 4;
const VENDOR_REDHAT_QUMRANET = 0x1af4, VENDOR_REDHAT = 0x1b36;
/** Device ids of virtio over PCI: transitional 0x1000..0x103f, 0x1040 + virtio id from there on. */
const VIRTIO_FIRST = 0x1000, VIRTIO_LAST = 0x10ef;

const NAMES: readonly (string | undefined)[] = [
  ...[undefined, "Power Management", "AGP", "Vital Product Data", "Slot Identification", "MSI", "CompactPCI HotSwap"],
  ...["PCI-X", "HyperTransport", "Vendor-Specific", "Debug port", "CompactPCI Central Resource Control", "SHPC"],
  ...[
    "Subsystem ID",
    "AGP 8x",
    "Secure Device",
    "PCI Express",
    "MSI-X",
    "SATA",
    "Advanced Features",
    "Enhanced Allocation",
  ],
];

/** Main registers of a capability, by its id. `at` is where it begins. */
const DECODERS: Readonly<Record<number, (config: Registers, at: number) => Part[]>> = {
  0x01: powerParts,
  0x05: msiParts,
  0x09: vendorParts,
  0x0d: (config, at) => [words("subsystem", idAt(config, at + 4))],
  0x10: expressParts,
  0x11: msixParts,
};

/** Where each capability begins, in the order of the list. */
export function capabilityOffsets(config: Registers): number[] {
  const found: number[] = [];
  for (let at = config.u8(LIST) & ~3; at >= FIRST && config.has(at, 2); at = config.u8(at + 1) & ~3) {
    if (found.includes(at) || found.length === MOST) break;
    found.push(at);
  }
  return found;
}

/** Where a capability of this id begins; undefined where the device has none. */
export function findCapability(config: Registers, id: number): number | undefined {
  return capabilityOffsets(config).find((at) => config.u8(at) === id);
}

/** The list, in its order. */
export function capabilities(config: Registers): Part[] {
  return capabilityOffsets(config).map((at) => {
    const id = config.u8(at);
    const parts = [register("id", id, 2, NAMES[id]), ...(DECODERS[id]?.(config, at) ?? [])];
    return { name: `capability[${hexText(at, 2)}]`, parts };
  });
}

function idAt(config: Registers, at: number): string {
  return [config.u16(at), config.u16(at + 2)].map((id) => id.toString(16).padStart(4, "0")).join(":");
}

const PM_CAPABILITIES = bits(
  "3 PME_CLOCK, 5 DSI, 9 D1, 10 D2, 11 PME_D0, 12 PME_D1, 13 PME_D2, 14 PME_D3hot, 15 PME_D3cold",
);

function powerParts(config: Registers, at: number): Part[] {
  const able = config.u16(at + 2), control = config.u16(at + 4);
  const said = [
    `D${control & 3}`,
    control & 8 && "NO_SOFT_RESET",
    control & 0x100 && "PME_ENABLE",
    control & 0x8000 && "PME_STATUS",
  ];
  const version = `version ${able & 7}`;
  const { meaning } = flags("", able & ~0x1c7, 4, PM_CAPABILITIES);
  return [
    register("pmc", able, 4, meaning ? `${version} ${meaning}` : version),
    register("pmcsr", control, 4, said.filter((word) => word).join(" ")),
  ];
}

function msiParts(config: Registers, at: number): Part[] {
  const control = config.u16(at + 2);
  const wide = (control & 0x80) !== 0, masks = (control & 0x100) !== 0;
  const said = [
    control & 1 ? "enabled" : "disabled",
    wide ? "64 bit" : "32 bit",
    ...(masks ? ["maskable"] : []),
    `${1 << (control >> 4 & 7)} of ${1 << (control >> 1 & 7)} vectors`,
  ];
  const data = at + (wide ? 12 : 8), mask = data + 4;
  const address = wide ? config.u64(at + 4) : config.u32(at + 4);
  return present([
    register("control", control, 4, said.join(", ")),
    register("address", address, 8),
    register("data", config.u16(data), 4),
    masks && register("mask", config.u32(mask), 8),
    masks && register("pending", config.u32(mask + 4), 8),
  ]);
}

/** Entries of the table that an MSI-X capability tells of. */
export function msixEntries(config: Registers, at: number): number {
  return (config.u16(at + 2) & 0x7ff) + 1;
}

function msixParts(config: Registers, at: number): Part[] {
  const control = config.u16(at + 2);
  const said = [
    control & 0x8000 ? "enabled" : "disabled",
    ...(control & 0x4000 ? ["all masked"] : []),
    `${msixEntries(config, at)} vectors`,
  ];
  const place = (value: number) => `bar[${value & 7}] + ${hexText((value & ~7) >>> 0)}`;
  return [
    register("control", control, 4, said.join(", ")),
    words("table", place(config.u32(at + 4))),
    words("pba", place(config.u32(at + 8))),
  ];
}

const VIRTIO_TYPES: Readonly<Record<number, string>> = {
  1: "common",
  2: "notify",
  3: "isr",
  4: "device",
  5: "pci",
  8: "shared memory",
};

function vendorParts(config: Registers, at: number): Part[] {
  const length = config.u8(at + 2), type = config.u8(at + 3);
  const vendor = config.u16(0), device = config.u16(2);
  const parts = [register("length", length, 2)];
  if (vendor === VENDOR_REDHAT_QUMRANET && device >= VIRTIO_FIRST && device <= VIRTIO_LAST) {
    return [...parts, ...virtioParts(config, at, type, length)];
  }
  if (vendor === VENDOR_REDHAT && type === 1 && length >= 32) return [...parts, ...reserveParts(config, at)];
  return parts;
}

/** struct virtio_pci_cap, virtio_pci_notify_cap, virtio_pci_cap64. */
function virtioParts(config: Registers, at: number, type: number, length: number): Part[] {
  const wide = type === 8 && length >= 24;
  const word = (low: number, high: number) =>
    BigInt(config.u32(at + low)) | (wide ? BigInt(config.u32(at + high)) << 32n : 0n);
  return present([
    register("cfg_type", type, 2, VIRTIO_TYPES[type]),
    { name: "bar", value: config.u8(at + 4), text: String(config.u8(at + 4)) },
    config.u8(at + 5) !== 0 && register("shm_id", config.u8(at + 5), 2),
    register("offset", word(8, 16), 1),
    register("length", word(12, 20), 1),
    type === 2 && register("notify_off_multiplier", config.u32(at + 16), 1),
  ]);
}

/** PCIBridgeQemuCap: what firmware shall leave free behind a bridge; all ones is no wish. */
function reserveParts(config: Registers, at: number): Part[] {
  const reserve = (name: string, value: number | bigint, none: number | bigint): Part =>
    value === none ? words(name, "any") : register(name, value, 1);
  return [
    register("type", 1, 2, "resources to reserve"),
    reserve("bus_res", config.u32(at + 4), 0xffff_ffff),
    reserve("io", config.u64(at + 8), 0xffff_ffff_ffff_ffffn),
    reserve("mem", config.u32(at + 16), 0xffff_ffff),
    reserve("mem_pref_32", config.u32(at + 20), 0xffff_ffff),
    reserve("mem_pref_64", config.u64(at + 24), 0xffff_ffff_ffff_ffffn),
  ];
}
