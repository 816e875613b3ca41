/**
 * Kinds of virtio devices, names of their features and of what their queues are for.
 *
 * Source: virtio 1.2, chapters 2.1, 5 and 6; QEMU include/standard-headers/linux/virtio_ids.h, virtio_config.h, virtio_net.h and
 * their like, hw/virtio/virtio-qmp.c.
 * @module
 */
import { bitNames, bits } from "./rule.ts";

/** Kind of a device: what QEMU's name has after "virtio-". */
export type VirtioKind = string;

/** VIRTIO_ID_* -> kind. */
const KINDS: Readonly<Record<number, VirtioKind>> = {
  1: "net",
  2: "blk",
  3: "console",
  4: "rng",
  5: "balloon",
  8: "scsi",
  9: "9p",
  16: "gpu",
  18: "input",
  19: "vsock",
  20: "crypto",
  23: "iommu",
  24: "mem",
  25: "sound",
  26: "fs",
  27: "pmem",
  34: "i2c",
  41: "gpio",
};
/** PCI device ids of transitional devices. */
const TRANSITIONAL: Readonly<Record<number, VirtioKind>> = {
  0x1000: "net",
  0x1001: "blk",
  0x1002: "balloon",
  0x1003: "console",
  0x1004: "scsi",
  0x1005: "rng",
  0x1009: "9p",
  0x1012: "vsock",
};
/** Names of sections that are not "virtio-" and the kind. */
const SECTIONS: Readonly<Record<string, VirtioKind>> = {
  "virtio-vhost_vsock": "vsock",
  "virtio-vhost_scsi": "scsi",
  "vhost-user-scsi": "scsi",
  "vhost-user-blk": "blk",
  "vhost-user-fs": "fs",
};
const KNOWN: ReadonlySet<string> = new Set(Object.values(KINDS));

/** The kind of a device. @param section last part of the idstr; @param pciDevice id of the function it is, where it is one */
export function virtioKind(section: string, pciDevice: number | undefined): VirtioKind | undefined {
  const said = SECTIONS[section] ?? section.replace(/^virtio-/, "");
  if (KNOWN.has(said)) return said;
  return pciDevice === undefined ? undefined : TRANSITIONAL[pciDevice] ?? KINDS[pciDevice - 0x1040];
}

/** Features that belong to rings and transports. */
const COMMON = bits(
  "24 NOTIFY_ON_EMPTY, 26 LOG_ALL, 27 ANY_LAYOUT, 28 INDIRECT_DESC, 29 EVENT_IDX, 30 PROTOCOL_FEATURES, 32 VERSION_1, " +
    "33 IOMMU_PLATFORM, 34 RING_PACKED, 35 IN_ORDER, 36 ORDER_PLATFORM, 37 SR_IOV, 38 NOTIFICATION_DATA, " +
    "39 NOTIF_CONFIG_DATA, 40 RING_RESET, 41 ADMIN_VQ",
);

const OWN: Readonly<Record<VirtioKind, readonly (string | undefined)[]>> = {
  net: bits(
    "0 CSUM, 1 GUEST_CSUM, 2 CTRL_GUEST_OFFLOADS, 3 MTU, 5 MAC, 6 GSO, 7 GUEST_TSO4, 8 GUEST_TSO6, 9 GUEST_ECN, 10 GUEST_UFO, " +
      "11 HOST_TSO4, 12 HOST_TSO6, 13 HOST_ECN, 14 HOST_UFO, 15 MRG_RXBUF, 16 STATUS, 17 CTRL_VQ, 18 CTRL_RX, 19 CTRL_VLAN, " +
      "20 CTRL_RX_EXTRA, 21 GUEST_ANNOUNCE, 22 MQ, 23 CTRL_MAC_ADDR, 50 DEVICE_STATS, 52 VQ_NOTF_COAL, 53 NOTF_COAL, " +
      "54 GUEST_USO4, 55 GUEST_USO6, 56 HOST_USO, 57 HASH_REPORT, 59 GUEST_HDRLEN, 60 RSS, 61 RSC_EXT, 62 STANDBY, " +
      "63 SPEED_DUPLEX",
  ),
  blk: bits(
    "0 BARRIER, 1 SIZE_MAX, 2 SEG_MAX, 4 GEOMETRY, 5 RO, 6 BLK_SIZE, 7 SCSI, 9 FLUSH, 10 TOPOLOGY, 11 CONFIG_WCE, 12 MQ, " +
      "13 DISCARD, 14 WRITE_ZEROES, 16 SECURE_ERASE, 17 ZONED",
  ),
  console: bits("0 SIZE, 1 MULTIPORT, 2 EMERG_WRITE"),
  balloon: bits(
    "0 MUST_TELL_HOST, 1 STATS_VQ, 2 DEFLATE_ON_OOM, 3 FREE_PAGE_HINT, 4 PAGE_POISON, 5 REPORTING",
  ),
  scsi: bits("0 INOUT, 1 HOTPLUG, 2 CHANGE, 3 T10_PI"),
  gpu: bits("0 VIRGL, 1 EDID, 2 RESOURCE_UUID, 3 RESOURCE_BLOB, 4 CONTEXT_INIT"),
  vsock: bits("1 SEQPACKET"),
  iommu: bits("0 INPUT_RANGE, 1 DOMAIN_RANGE, 2 MAP_UNMAP, 3 BYPASS, 4 PROBE, 5 MMIO, 6 BYPASS_CONFIG"),
  mem: bits("0 ACPI_PXM, 1 UNPLUGGED_INACCESSIBLE, 2 PERSISTENT_SUSPEND"),
  "9p": bits("0 MOUNT_TAG"),
  pmem: bits("0 SHMEM_REGION"),
  i2c: bits("0 ZERO_LENGTH_REQUEST"),
  gpio: bits("0 IRQ"),
};

/** Features by name, lowest bit first. */
export function featureNames(kind: VirtioKind | undefined, features: bigint): string {
  const own = kind === undefined ? [] : OWN[kind] ?? [];
  return bitNames(features, Array.from({ length: 64 }, (_, bit) => own[bit] ?? COMMON[bit]));
}

/** VIRTIO_CONFIG_S_*. */
export const STATUS = bits("0 ACKNOWLEDGE, 1 DRIVER, 2 DRIVER_OK, 3 FEATURES_OK, 6 NEEDS_RESET, 7 FAILED");
/** Interrupt status. */
export const ISR = bits("0 QUEUE, 1 CONFIG");

const FIXED: Readonly<Record<VirtioKind, readonly string[]>> = {
  balloon: ["inflate", "deflate", "stats"],
  rng: ["requests"],
  scsi: ["control", "event"],
  gpu: ["control", "cursor"],
  input: ["events", "status"],
  vsock: ["rx", "tx", "event"],
  iommu: ["requests", "events"],
  mem: ["requests"],
  fs: ["hiprio"],
  "9p": ["requests"],
  pmem: ["requests"],
  console: ["rx 0", "tx 0", "control rx", "control tx"],
};

/** What a queue is for; undefined where that is not told by its number. @param count of all queues */
export function queueName(kind: VirtioKind | undefined, n: number, count: number): string | undefined {
  switch (kind) {
    case undefined:
      return undefined;
    case "net":
      if (n === count - 1 && count % 2 === 1) return "control";
      return `${n % 2 ? "tx" : "rx"} ${n >> 1}`;
    case "blk":
      return `requests ${n}`;
    case "crypto":
      return n === count - 1 ? "control" : `data ${n}`;
    case "scsi":
      return FIXED.scsi[n] ?? `requests ${n - 2}`;
    case "fs":
      return FIXED.fs[n] ?? `requests ${n - 1}`;
    case "console":
      return FIXED.console[n] ?? `${n % 2 ? "tx" : "rx"} ${(n >> 1) - 1}`;
    default:
      return FIXED[kind]?.[n];
  }
}
