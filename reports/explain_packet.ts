/**
 * Lines of a multifd channel: its first message, the heads of its packets, and what they carry.
 *
 *     init.magic, .version, .uuid, .id
 *     packets[3].magic, .version, .flags, .pagesAlloc, .normalPages, .nextPacketSize, .packetNum, .zeroPages, .ramblock
 *     packets[3].offset[0], .offset[28..30], .offset[31..127]    of a page, of a run of them, room for more
 *     packets[3].pages[0..27]                                    content, in the order of the offsets
 *     packets[3].data                                            the same, packed; or the state of a device
 *
 * @module
 */
import { hex } from "../stream/errors.ts";
import {
  MULTIFD_FLAG_COMPRESSION_MASK,
  MULTIFD_FLAG_DEVICE_STATE,
  MULTIFD_FLAG_SYNC,
  type MultifdPacket,
  OFFSETS_AT,
  uuidText,
} from "../stream/multifd.ts";
import { type ExplainLine, FieldLines, RAW_LIMIT } from "./explain_lines.ts";
import type { PageWish } from "./explain_ram.ts";

const INIT = "migration/multifd.c MultiFDInit_t, multifd_recv_initial_packet";
const HEAD = "migration/multifd.h MultiFDPacketHdr_t; multifd.c multifd_recv_unfill_packet_header";
const PACKET = "migration/multifd.h MultiFDPacket_t; multifd-nocomp.c multifd_ram_unfill_packet; stream/multifd.ts";
const STATE = "migration/multifd.h MultiFDPacketDeviceState_t; multifd.c multifd_recv_unfill_packet_device_state";
const PLAIN = "migration/multifd-nocomp.c multifd_nocomp_recv";

/** How payloads are packed, by the bits of the flags; where it is written. */
const PACKED: ReadonlyMap<number, readonly [name: string, source: string]> = new Map([
  [0x02, ["ZLIB", "migration/multifd-zlib.c multifd_zlib_recv; plugins/multifd_zlib.ts"]],
  [0x04, ["ZSTD", "migration/multifd-zstd.c multifd_zstd_recv; plugins/multifd_zstd.ts"]],
  [0x08, ["QPL", "migration/multifd-qpl.c multifd_qpl_recv"]],
  [0x10, ["UADK", "migration/multifd-uadk.c multifd_uadk_recv"]],
  [0x20, ["QATZIP", "migration/multifd-qatzip.c multifd_qatzip_recv"]],
]);

/** The first message. @param bytes 64 bytes; @param offset of it in the channel */
export function initLines(bytes: Uint8Array, offset: number): ExplainLine[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return new FieldLines(offset, "init", INIT)
    .u32("magic", view.getUint32(0), "begins every multifd channel, and each of its packets")
    .u32("version", view.getUint32(4), "version of the packets; there is only 1")
    .add(
      "uuid",
      16,
      bytes.subarray(8, 24),
      "UUID of the guest; the destination's must be the same",
      uuidText(bytes.subarray(8, 24)),
    )
    .u8("id", bytes[24], "number of this channel: 0 to one below multifd-channels")
    .bytes("unused1", 7, bytes.subarray(25), "zeros")
    .bytes("unused2", 32, bytes.subarray(32), "zeros")
    .lines;
}

/** `SYNC|ZSTD`, as QEMU's MULTIFD_FLAG_ have it. */
function flagNames(flags: number): string {
  const names = flags & MULTIFD_FLAG_SYNC ? ["SYNC"] : [];
  const packed = flags & MULTIFD_FLAG_COMPRESSION_MASK;
  if (packed) names.push(PACKED.get(packed)?.[0] ?? hex(packed));
  if (flags & MULTIFD_FLAG_DEVICE_STATE) names.push("DEVICE_STATE");
  return names.join("|") || "NOCOMP";
}

function flagMeaning(flags: number): string {
  const name = flagNames(flags);
  if (flags & MULTIFD_FLAG_SYNC) {
    return `${name}: what comes behind waits until the main channel has come to its mark`;
  }
  if (flags & MULTIFD_FLAG_DEVICE_STATE) return `${name}: the state of a device, in another layout from here on`;
  return flags & MULTIFD_FLAG_COMPRESSION_MASK
    ? `${name}: pages are packed, by one stream for the whole channel`
    : `${name}: pages are as they are`;
}

function headFields(view: DataView, offset: number, path: string): FieldLines {
  const flags = view.getUint32(8);
  return new FieldLines(offset, path, PACKET)
    .u32("magic", view.getUint32(0), "begins a packet", HEAD)
    .u32("version", view.getUint32(4), "version of the packet", HEAD)
    .u32("flags", flags, flagMeaning(flags), HEAD);
}

/**
 * The head of a RAM packet with its offsets.
 * @param bytes  of the head, borrowed
 * @param packet read from them
 */
export function packetLines(
  bytes: Uint8Array,
  packet: MultifdPacket,
  offset: number,
  path: string,
  wish: PageWish,
): ExplainLine[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const { normal, zero, offsets } = packet;
  const fields = headFields(view, offset, path)
    .u32("pagesAlloc", view.getUint32(12), "offsets there is room for; 0 in SYNC packets")
    .u32("normalPages", normal, "pages with data")
    .u32("nextPacketSize", packet.payload, "bytes behind this head, up to the next packet")
    .u64("packetNum", view.getBigUint64(24), "number of this packet among those of all channels")
    .u32("zeroPages", zero, "pages of zeros, which have offsets and no data")
    .bytes("unused32", 4, bytes.subarray(36), "zeros")
    .bytes("unused64", 24, bytes.subarray(40), "zeros")
    .add(
      "ramblock",
      256,
      bytes.subarray(64, 64 + RAW_LIMIT),
      normal + zero === 0
        ? "no RAM block: there are no pages"
        : "RAM block of all pages of the packet, padded with NUL",
      textOf(bytes.subarray(64, 64 + 256)),
    );
  for (const [first, end, what] of [[0, normal, "data"], [normal, normal + zero, "zero"]] as const) {
    const start = fields.offset;
    for (const [i, n] of pieces(end - first, 8, start, wish)) {
      // those in front of the place that is asked for are counted, and dropped by whoever asks
      fields.bytes("offset", start + 8 * i - fields.offset, undefined, "offsets of pages");
      offsetLine(fields, bytes.subarray(OFFSETS_AT + 8 * (first + i)), packet, first + i, n, what);
    }
  }
  const used = normal + zero, room = offsets.length - used;
  return fields.bytes(`offset[${name(used, room)}]`, 8 * room, bytes.subarray(OFFSETS_AT + 8 * used), "not used").lines;
}

/** Offsets of `n` pages from the i-th on. @param bytes from there on */
function offsetLine(
  fields: FieldLines,
  bytes: Uint8Array,
  { idstr, offsets }: MultifdPacket,
  i: number,
  n: number,
  what: "data" | "zero",
): void {
  const pages = n === 1
    ? `page ${hex(offsets[i])} of ${idstr}`
    : `${n} pages of ${idstr} from ${hex(least(offsets, i, n))} on`;
  const meaning = `byte offset${n === 1 ? "" : "s"} in the block: ${pages}, ` +
    (what === "zero" ? "zero" : "whose data follows");
  if (n === 1) fields.u64(`offset[${i}]`, offsets[i], meaning);
  else fields.bytes(`offset[${name(i, n)}]`, 8 * n, bytes, meaning);
}

/**
 * Pages behind a head that are not packed: the first `count`, all of them unless the channel is cut.
 * @param bytes of them, as far as they were read
 */
export function* dataLines(
  packet: MultifdPacket,
  count: number,
  pageSize: number,
  bytes: Uint8Array,
  offset: number,
  path: string,
  wish: PageWish,
): Generator<ExplainLine> {
  const { idstr, offsets } = packet;
  for (const [i, n] of pieces(count, pageSize, offset, wish)) {
    const raw = bytes.subarray(i * pageSize, i * pageSize + RAW_LIMIT);
    const meaning = n === 1
      ? `page ${hex(offsets[i])} of ${idstr}: content`
      : `${n} pages of ${idstr}: content, in the order of their offsets`;
    yield new FieldLines(offset + i * pageSize, path, PLAIN)
      .add(`pages[${name(i, n)}]`, n * pageSize, raw, meaning, "data").lines[0];
  }
}

/** Pages behind a head that are packed: one line. @param bytes the first ones */
export function packedLines(
  packet: MultifdPacket,
  pageSize: number,
  bytes: Uint8Array,
  offset: number,
  path: string,
): ExplainLine[] {
  const { payload, normal, idstr } = packet;
  const code = packet.flags & MULTIFD_FLAG_COMPRESSION_MASK;
  const [packer, source] = PACKED.get(code) ?? [hex(code), "migration/multifd.h MULTIFD_FLAG_COMPRESSION_MASK"];
  return new FieldLines(offset, path, source).add(
    "data",
    payload,
    bytes.subarray(0, RAW_LIMIT),
    `${normal} pages of ${idstr}, packed: they are ${hex(normal * pageSize)} bytes`,
    packer,
  ).lines;
}

/** The head of a device state packet. @param bytes of it, borrowed */
export function deviceStateLines(bytes: Uint8Array, offset: number, path: string): ExplainLine[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return headFields(view, offset, path)
    .add("idstr", 256, bytes.subarray(12, 12 + RAW_LIMIT), "device whose state it is", stateOwner(bytes), STATE)
    .u32("instanceId", view.getUint32(268), "tells devices of one name apart", STATE)
    .u32("nextPacketSize", view.getUint32(272), "bytes of state behind this head", STATE)
    .lines;
}

/** idstr of a device state packet. @param bytes of its head */
export function stateOwner(bytes: Uint8Array): string {
  return textOf(bytes.subarray(12, 268));
}

/** Text up to the first NUL. */
function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return String.fromCharCode(...bytes.subarray(0, end < 0 ? bytes.length : end));
}

/** The lowest of `n` offsets from the i-th on. */
function least(offsets: Float64Array, i: number, n: number): number {
  let low = offsets[i];
  for (let k = i + 1; k < i + n; k++) low = Math.min(low, offsets[k]);
  return low;
}

/** What a device state packet carries. @param bytes the first ones */
export function stateLines(bytes: Uint8Array, length: number, offset: number, path: string): ExplainLine[] {
  return new FieldLines(offset, path, "hw/vfio/migration-multifd.c VFIODeviceStatePacket; " + STATE)
    .bytes("data", length, bytes, "a piece of the device's state, as its driver reads it").lines;
}

/** `7`, `7..9` */
function name(first: number, count: number): string {
  return count === 1 ? String(first) : `${first}..${first + count - 1}`;
}

/**
 * Things of one size in a row: each of them, or runs. Where the place that was asked for is among them, from the one on that
 * holds it.
 */
function* pieces(
  count: number,
  size: number,
  start: number,
  { from, runs }: PageWish,
): Generator<readonly [first: number, count: number]> {
  let i = from > start ? Math.min(count, Math.floor((from - start) / size)) : 0;
  if (runs && from > start && i < count) yield [i++, 1];
  while (i < count) {
    const n = runs ? count - i : 1;
    yield [i, n];
    i += n;
  }
}
