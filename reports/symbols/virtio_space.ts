/**
 * The device-specific configuration of virtio devices in its fields.
 *
 * QEMU fills its copy when the guest reads or writes it: a stream has what the guest saw last, zeroes where it never looked.
 * Little-endian with VERSION_1, in the byte order of the guest without. Source: virtio 1.2, chapter 5; QEMU hw/virtio/virtio-config-io.c,
 * include/standard-headers/linux/virtio_net.h and their like.
 * @module
 */
import { size } from "../text.ts";
import { bitNames, bits, hexText, type Part } from "./rule.ts";
import type { VirtioKind } from "./virtio_names.ts";

const NET_STATUS = bits("0 LINK_UP, 1 ANNOUNCE");

/** Fields of each kind, in order: name, type and, after "/", the unit. "-" is a hole. */
const FIELDS: Readonly<Record<VirtioKind, string>> = {
  net:
    "mac mac, status u16/link, max_virtqueue_pairs u16, mtu u16, speed u32/speed, duplex u8/duplex, rss_max_key_size u8, " +
    "rss_max_indirection_table_length u16, supported_hash_types u32/hex",
  blk:
    "capacity u64/sectors, size_max u32, seg_max u32, geometry.cylinders u16, geometry.heads u8, geometry.sectors u8, " +
    "blk_size u32, physical_block_exp u8, alignment_offset u8, min_io_size u16, opt_io_size u32, wce u8, - u8, num_queues u16, " +
    "max_discard_sectors u32, max_discard_seg u32, discard_sector_alignment u32, max_write_zeroes_sectors u32, " +
    "max_write_zeroes_seg u32, write_zeroes_may_unmap u8, - u8, - u8, - u8, max_secure_erase_sectors u32, " +
    "max_secure_erase_seg u32, secure_erase_sector_alignment u32, zoned.zone_sectors u32, zoned.max_open_zones u32, " +
    "zoned.max_active_zones u32, zoned.max_append_sectors u32, zoned.write_granularity u32, zoned.model u8",
  console: "cols u16, rows u16, max_nr_ports u32, emerg_wr u32",
  balloon: "num_pages u32/pages, actual u32/pages, free_page_hint_cmd_id u32, poison_val u32/hex",
  scsi:
    "num_queues u32, seg_max u32, max_sectors u32, cmd_per_lun u32, event_info_size u32, sense_size u32, cdb_size u32, " +
    "max_channel u16, max_target u16, max_lun u32",
  gpu: "events_read u32, events_clear u32, num_scanouts u32, num_capsets u32",
  input: "select u8/hex, subsel u8/hex, size u8",
  vsock: "guest_cid u64",
  crypto: "status u32, max_dataqueues u32, crypto_services u32/hex, cipher_algo_l u32/hex, cipher_algo_h u32/hex, " +
    "hash_algo u32/hex, mac_algo_l u32/hex, mac_algo_h u32/hex, aead_algo u32/hex, max_cipher_key_len u32, " +
    "max_auth_key_len u32, akcipher_algo u32/hex, max_size u64",
  iommu: "page_size_mask u64/hex, input_range.start u64/hex, input_range.end u64/hex, domain_range.start u32, " +
    "domain_range.end u32, probe_size u32, bypass u8",
  mem: "block_size u64/bytes, node_id u16, - u16, - u16, - u16, addr u64/hex, region_size u64/bytes, " +
    "usable_region_size u64/bytes, plugged_size u64/bytes, requested_size u64/bytes",
  pmem: "start u64/hex, size u64/bytes",
  fs: "tag text36, num_request_queues u32",
};

/** Kinds whose configuration is little-endian whatever the guest is. */
const LITTLE: ReadonlySet<VirtioKind> = new Set(["balloon", "gpu", "vsock", "crypto", "iommu", "mem", "input"]);
/** Where a kind has a number, of how many bytes, that QEMU lets be no more than this: it reads so in one order alone. */
const LIMITS: Readonly<Record<VirtioKind, readonly (readonly [at: number, length: number, most: number])[]>> = {
  net: [[8, 2, 512], [6, 2, 3]],
  blk: [[12, 4, 1024]],
  console: [[4, 4, 511]],
  scsi: [[0, 4, 1024]],
};

/**
 * The byte order of a legacy guest, told by numbers that have a limit: nothing else in a stream tells what is usual for its machine.
 * @returns undefined where no order fits
 */
export function legacyLittle(kind: VirtioKind | undefined, bytes: Uint8Array): boolean | undefined {
  if (kind === undefined || LITTLE.has(kind)) return true;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const limits = (LIMITS[kind] ?? []).filter(([at, length]) => at + length <= bytes.length);
  return [true, false].find((little) =>
    limits.every(([at, length, most]) => numberAt(view, at, length, little) <= most)
  );
}

/** Fields of a configuration, as far as its bytes go. @param little byte order of the numbers */
export function spaceParts(kind: VirtioKind | undefined, bytes: Uint8Array, little: boolean): Part[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const parts: Part[] = [];
  let at = 0;
  for (const field of (kind === undefined ? undefined : FIELDS[kind])?.split(", ") ?? []) {
    const [name, type] = field.split(" ");
    const [format, unit] = type.split("/");
    const length = format === "mac"
      ? 6
      : format.startsWith("text")
      ? Number(format.slice(4))
      : Number(format.slice(1)) / 8;
    if (at + length > bytes.length) break;
    if (name !== "-") {
      const own = bytes.subarray(at, at + length);
      if (format === "mac") parts.push({ name, text: macText(own) });
      else if (format.startsWith("text")) parts.push({ name, text: JSON.stringify(textOf(own)) });
      else parts.push(numberPart(name, numberAt(view, at, length, little), unit));
    }
    at += length;
  }
  return parts;
}

/** "52:54:00:12:34:56". */
export function macText(bytes: Uint8Array): string {
  return bytes.toHex().replace(/..(?=.)/g, "$&:");
}

/** A number in its unit: hex, bytes, pages of 4 KiB, sectors of 512 bytes, Mbit/s; a plain one in decimal. */
export function numberPart(name: string, value: number | bigint, unit?: string): Part {
  const plain = { name, value, text: value.toString() };
  switch (unit) {
    case "hex":
      return { name, value, text: hexText(value) };
    case "bytes":
      return { name, value, text: sizeText(value, 1) };
    case "pages":
      return { ...plain, meaning: sizeText(value, 4096) };
    case "sectors":
      return { ...plain, meaning: sizeText(value, 512) };
    case "link":
      return { name, value, text: hexText(value), meaning: bitNames(value, NET_STATUS) };
    case "speed":
      return value === 0xffff_ffff ? { ...plain, text: "unknown" } : { ...plain, text: `${value} Mbit/s` };
    case "duplex":
      return { ...plain, meaning: ({ 0: "half", 1: "full", 255: "unknown" } as Record<number, string>)[Number(value)] };
    default:
      return plain;
  }
}

function sizeText(count: number | bigint, unit: number): string {
  const bytes = BigInt(count) * BigInt(unit);
  return bytes <= BigInt(Number.MAX_SAFE_INTEGER) ? size(Number(bytes)) : hexText(bytes);
}

function numberAt(view: DataView, at: number, length: number, little: boolean): number | bigint {
  if (length === 8) return view.getBigUint64(at, little);
  if (length === 4) return view.getUint32(at, little);
  return length === 2 ? view.getUint16(at, little) : view.getUint8(at);
}

/** Up to the first NUL. */
function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}
