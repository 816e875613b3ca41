/**
 * A multifd channel: pages of RAM beside the main stream, in packets.
 *
 *     channel = init { packet }
 *     init    = u32 11223344, u32 version(1), uuid(16), u8 id, 0(39)                                    64 bytes
 *     packet  = u32 11223344, u32 version(1), u32 flags, u32 pages_alloc, u32 normal_pages, u32 next_packet_size,
 *               u64 packet_num, u32 zero_pages, 0(28), ramblock(256), u64 offset[pages per packet], payload
 *     flags     01 SYNC: what comes behind it waits for the main channel   3e compression   40 device state
 *
 * All pages of a packet are of one block: first `normal_pages` offsets of pages with data, then `zero_pages` of pages of
 * zeros. The payload is the data in that order, plain or packed (`next_packet_size` bytes). As many offsets as fit 512 KiB
 * of pages are always there. Source: QEMU migration/multifd.h, multifd.c, multifd-nocomp.c.
 * @module
 */
import { MULTIFD_MAGIC } from "./constants.ts";
import { hex, StreamError } from "./errors.ts";

/** The only version there is. */
export const MULTIFD_VERSION = 1;
/** Bytes of the first message of a channel. */
export const MULTIFD_INIT_BYTES = 64;
/** Bytes that say what kind of packet follows. */
export const MULTIFD_HEADER_BYTES = 12;
/** Bytes of pages in a full packet. */
export const MULTIFD_PACKET_SIZE = 524288;
/** No packed payload is longer: twice what it unpacks to. */
export const MULTIFD_PAYLOAD_LIMIT = 2 * MULTIFD_PACKET_SIZE;
/** Channels there can be: their number is one byte. */
export const MULTIFD_CHANNEL_LIMIT = 256;

/** Bits of a packet's flags. */
export const MULTIFD_FLAG_SYNC = 0x01;
export const MULTIFD_FLAG_COMPRESSION_MASK = 0x3e;
export const MULTIFD_FLAG_DEVICE_STATE = 0x40;

/** Bytes in front of the offsets. */
export const OFFSETS_AT = 320;
const NAME_AT = 64;
const NAME_BYTES = 256;

/** Pages a packet can list. */
export function multifdPagesPerPacket(pageSize: number): number {
  return MULTIFD_PACKET_SIZE / pageSize;
}

/** Bytes of a packet without its payload. */
export function multifdPacketBytes(pageSize: number): number {
  return OFFSETS_AT + 8 * multifdPagesPerPacket(pageSize);
}

/** What a channel says first. */
export interface MultifdInit {
  /** Of the sending VM, 16 bytes in printed order; all zero when it has none. */
  readonly uuid: Uint8Array<ArrayBuffer>;
  /** Number of the channel. */
  readonly id: number;
}

/** What the first message is held against. */
export interface MultifdInitExpected {
  /** Channels the migration has. */
  readonly channels: number;
  /** Of this VM; left out: any will do. */
  readonly uuid?: Uint8Array;
}

/**
 * Read the first message of a channel.
 * @param bytes    64 bytes
 * @param channel  name for errors
 * @throws {StreamError} with QEMU's sentence
 */
export function decodeMultifdInit(bytes: Uint8Array, channel: string, expected: MultifdInitExpected): MultifdInit {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const fault = (offset: number, found: string, wanted: string, qemu: string): never => {
    throw new StreamError("Cannot read first message of a channel", {
      channel,
      offset,
      found,
      expected: wanted,
      qemu: [qemu],
    });
  };
  const magic = view.getUint32(0), version = view.getUint32(4);
  if (magic !== MULTIFD_MAGIC) {
    const text = `multifd: received packet magic ${magic.toString(16)} expected ${MULTIFD_MAGIC.toString(16)}`;
    fault(0, `magic ${hex(magic)}`, hex(MULTIFD_MAGIC), text);
  }
  if (version !== MULTIFD_VERSION) {
    const text = `multifd: received packet version ${version} expected ${MULTIFD_VERSION}`;
    fault(4, `version ${version}`, String(MULTIFD_VERSION), text);
  }
  const uuid = bytes.slice(8, 24), id = bytes[24];
  if (expected.uuid && expected.uuid.some((byte, i) => byte !== uuid[i])) {
    const [theirs, ours] = [uuidText(uuid), uuidText(expected.uuid)];
    const text = `multifd: received uuid '${theirs}' and expected uuid '${ours}' for channel ${id << 24 >> 24}`;
    fault(8, `uuid ${theirs}`, ours, text);
  }
  // QEMU lets id == channels pass, and then reads past the end of its list
  if (id >= expected.channels) {
    const text = `multifd: received channel id ${id} is greater than number of channels ${expected.channels}`;
    fault(24, `channel id ${id}`, `one below ${expected.channels}`, text);
  }
  return { uuid, id };
}

/** The first message of channel `id`. @param uuid 16 bytes; left out: none */
export function encodeMultifdInit(id: number, uuid?: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(MULTIFD_INIT_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MULTIFD_MAGIC);
  view.setUint32(4, MULTIFD_VERSION);
  if (uuid) bytes.set(uuid, 8);
  bytes[24] = id;
  return bytes;
}

/** What packets are held against. */
export interface MultifdFraming {
  /** Name of the channel in errors: "multifd 0". */
  readonly channel: string;
  /** Its number. */
  readonly id: number;
  /** Bytes of a target page. */
  readonly pageSize: number;
  /** Used length of a block in bytes; undefined when there is none of that name. */
  usedLength(idstr: string): number | undefined;
  /** Compression bits there must be; undefined: those of the first packet with pages. */
  readonly compression?: number;
}

/** Reads packets of one channel, each into the same fields. Allocates nothing per packet but the name of a new block. */
export class MultifdPacket {
  /** All bits. */
  flags = 0;
  /** Pages with data. */
  normal = 0;
  /** Pages of zeros. */
  zero = 0;
  /** Bytes of the payload. */
  payload = 0;
  /** Counts packets over all channels. */
  number = 0;
  /** Block of the pages. */
  idstr = "";
  /** Byte offsets in the block: `normal` of data pages, then `zero` of zero pages. */
  readonly offsets: Float64Array<ArrayBuffer>;
  /** Bits of the compression; undefined until a packet with pages came. */
  compression: number | undefined;
  readonly #framing: MultifdFraming;
  readonly #name = new Uint8Array(NAME_BYTES);

  constructor(framing: MultifdFraming) {
    this.#framing = framing;
    this.compression = framing.compression;
    this.offsets = new Float64Array(multifdPagesPerPacket(framing.pageSize));
  }

  /** Bytes of a packet without its payload. */
  get bytes(): number {
    return multifdPacketBytes(this.#framing.pageSize);
  }

  /** A SYNC packet: nothing behind it may be applied before the main channel has come to its mark. */
  get sync(): boolean {
    return (this.flags & MULTIFD_FLAG_SYNC) !== 0;
  }

  /**
   * Read the head of a packet, {@link MULTIFD_HEADER_BYTES} long.
   * @param offset of the packet in the channel
   * @returns false for device state, which has another layout behind the head
   * @throws {StreamError} with QEMU's sentence
   */
  head(view: DataView, at: number, offset: number): boolean {
    const magic = view.getUint32(at), version = view.getUint32(at + 4);
    if (magic !== MULTIFD_MAGIC) {
      const text = `multifd: received packet magic ${magic.toString(16)}, expected ${MULTIFD_MAGIC.toString(16)}`;
      this.#fault(offset, `magic ${hex(magic)}`, hex(MULTIFD_MAGIC), text);
    }
    if (version !== MULTIFD_VERSION) {
      const text = `multifd: received packet version ${version}, expected ${MULTIFD_VERSION}`;
      this.#fault(offset + 4, `version ${version}`, String(MULTIFD_VERSION), text);
    }
    this.flags = view.getUint32(at + 8);
    return !(this.flags & MULTIFD_FLAG_DEVICE_STATE);
  }

  /**
   * Read the rest of a RAM packet.
   * @param at     where in the view the packet begins, head included
   * @param offset of the packet in the channel
   * @throws {StreamError} with QEMU's sentence where it has one; it checks less
   */
  body(view: DataView, at: number, offset: number): void {
    const alloc = view.getUint32(at + 12), normal = view.getUint32(at + 16), zero = view.getUint32(at + 32);
    const limit = this.offsets.length;
    const received = (what: string) => `multifd: received packet with ${what}`;
    if (alloc > limit) {
      this.#fault(offset + 12, `${alloc} pages`, `at most ${limit}`, received(`${alloc} pages, expected ${limit}`));
    }
    if (normal > alloc) {
      const text = `${normal} non-zero pages, which exceeds maximum expected pages ${alloc}`;
      this.#fault(offset + 16, `${normal} pages with data`, `at most ${alloc}`, received(text));
    }
    if (zero > alloc - normal) {
      const text = `${zero} zero pages, expected maximum ${alloc - normal}`;
      this.#fault(offset + 32, `${zero} zero pages`, `at most ${alloc - normal}`, received(text));
    }
    this.normal = normal;
    this.zero = zero;
    this.payload = view.getUint32(at + 20);
    this.number = view.getUint32(at + 24) * 0x100000000 + view.getUint32(at + 28);
    if (normal + zero > 0) {
      this.#block(view, at + NAME_AT);
      this.#pages(view, at, offset);
    }
    this.#payload(offset);
  }

  /** The name, made into a string only when it is another than before. */
  #block(view: DataView, at: number): void {
    const name = this.#name;
    let length = 0, same = true;
    for (; length < NAME_BYTES - 1; length++) {
      const byte = view.getUint8(at + length);
      if (byte !== name[length]) {
        same = false;
        name[length] = byte;
      }
      if (byte === 0) break;
    }
    if (!same || length !== this.idstr.length) this.idstr = String.fromCharCode(...name.subarray(0, length));
  }

  #pages(view: DataView, at: number, offset: number): void {
    const { pageSize, usedLength } = this.#framing;
    const used = usedLength(this.idstr);
    if (used === undefined) {
      const found = JSON.stringify(this.idstr);
      const text = `multifd: unknown ram block ${this.idstr}`;
      return this.#fault(offset + NAME_AT, `block ${found}`, "a block of the list", text);
    }
    for (let i = 0; i < this.normal + this.zero; i++) {
      const field = OFFSETS_AT + 8 * i;
      const page = view.getUint32(at + field) * 0x100000000 + view.getUint32(at + field + 4);
      if (page > used - pageSize) {
        const text = `multifd: offset too long ${view.getBigUint64(at + field)} (max ${used.toString(16)})`;
        this.#fault(offset + field, `page ${hex(page)} of ${this.idstr}`, `one below ${hex(used)}`, text);
      }
      if (page % pageSize !== 0) {
        this.#fault(offset + field, `page ${hex(page)} of ${this.idstr}`, `a multiple of ${hex(pageSize)}`);
      }
      this.offsets[i] = page;
    }
  }

  /** QEMU believes this length; too long a one overruns its buffer. */
  #payload(offset: number): void {
    const { normal, payload } = this;
    const pages = normal + this.zero;
    const compression = this.flags & MULTIFD_FLAG_COMPRESSION_MASK;
    if (pages > 0) {
      this.compression ??= compression;
      if (compression !== this.compression) {
        const [got, wanted] = [compression.toString(16), this.compression.toString(16)];
        const text = `multifd ${this.#framing.id}: flags received ${got} flags expected ${wanted}`;
        this.#fault(offset + 8, `compression ${hex(compression)}`, hex(this.compression), text);
      }
    }
    const plain = compression === 0 || normal === 0;
    const length = normal * this.#framing.pageSize;
    if (plain && payload !== length) {
      this.#fault(offset + 20, `${payload} bytes of payload`, `${length} for ${normal} pages`);
    }
    if (payload > MULTIFD_PAYLOAD_LIMIT) {
      this.#fault(offset + 20, `${payload} bytes of payload`, `at most ${MULTIFD_PAYLOAD_LIMIT}`);
    }
  }

  #fault(offset: number, found: string, expected: string, qemu?: string): never {
    throw new StreamError("Cannot read multifd packet", {
      channel: this.#framing.channel,
      offset,
      found,
      expected,
      ...(qemu ? { qemu: [qemu] } : {}),
    });
  }
}

/**
 * Write the head of a packet.
 * @param target  {@link multifdPacketBytes} long; all of it is written
 * @param offsets of the block: `normal` of data pages, then `zero` of zero pages
 */
export function encodeMultifdPacket(
  target: Uint8Array,
  packet: {
    readonly flags: number;
    readonly normal: number;
    readonly zero: number;
    readonly payload: number;
    readonly number: number;
    readonly idstr: string;
    readonly offsets: Float64Array;
  },
): void {
  const view = new DataView(target.buffer, target.byteOffset, target.byteLength);
  const { flags, normal, zero, payload, number, idstr, offsets } = packet;
  target.fill(0);
  view.setUint32(0, MULTIFD_MAGIC);
  view.setUint32(4, MULTIFD_VERSION);
  view.setUint32(8, flags);
  view.setUint32(20, payload);
  view.setUint32(24, Math.floor(number / 0x100000000));
  view.setUint32(28, number >>> 0);
  if (flags & MULTIFD_FLAG_SYNC) return;
  view.setUint32(12, (target.length - OFFSETS_AT) / 8);
  view.setUint32(16, normal);
  view.setUint32(32, zero);
  for (let i = 0; i < idstr.length; i++) target[NAME_AT + i] = idstr.charCodeAt(i);
  for (let i = 0; i < normal + zero; i++) {
    view.setUint32(OFFSETS_AT + 8 * i, Math.floor(offsets[i] / 0x100000000));
    view.setUint32(OFFSETS_AT + 8 * i + 4, offsets[i] >>> 0);
  }
}

/** A UUID as it is printed. @param uuid 16 bytes */
export function uuidText(uuid: Uint8Array): string {
  return uuid.toHex().replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
