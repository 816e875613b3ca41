/**
 * A multifd channel that was kept, packet by packet.
 *
 *     channel = init { packet payload }         what a packet is: stream/multifd.ts
 *     payload = pages, packed or not | the state of a device, as multifd.h MultiFDPacketDeviceState_t says
 *
 * Readers decide what becomes of a payload: the cursor stands in front of it when a packet is given.
 * Source: QEMU migration/multifd.c multifd_recv_thread, multifd_recv_unfill_packet_device_state.
 * @module
 */
import { MULTIFD_MAGIC } from "./constants.ts";
import { StreamError } from "./errors.ts";
import {
  MULTIFD_HEADER_BYTES,
  MULTIFD_PACKET_SIZE,
  MULTIFD_VERSION,
  type MultifdFraming,
  MultifdPacket,
  multifdPacketBytes,
} from "./multifd.ts";
import type { StreamReader } from "./reader.ts";

/** Bytes of a device state packet without its payload. */
export const DEVICE_STATE_BYTES = 276;
/** Bytes of device state (vfio) in one packet; QEMU has no limit. */
const DEVICE_STATE_LIMIT = 1 << 30;
/** QEMU's words for a channel that ends behind the head of a packet. */
const CUT = ["multifd: unexpected EOF after packet header"];
/** Page sizes of targets, the usual one first. */
const PAGE_SIZES = [4096, 1024, 2048, 8192, 16384, 65536];

/** Reads the packets behind the first message. */
export class MultifdPackets {
  /** The RAM packet read last. */
  readonly packet: MultifdPacket;
  /** Where the packet read last begins. */
  at = 0;
  /** Bytes of its payload. */
  payload = 0;
  readonly #channel: string;

  /** @param reader stands where a packet begins, or moves there */
  constructor(readonly reader: StreamReader, framing: MultifdFraming) {
    this.packet = new MultifdPacket(framing);
    this.#channel = framing.channel;
  }

  /**
   * Read the next packet; the cursor stands in front of its payload then, and the packet in the bytes at hand before it.
   * @returns what it carries; undefined at the end of the channel
   * @throws {StreamError} with QEMU's sentence where it has one
   */
  async next(): Promise<"ram" | "device-state" | undefined> {
    const { reader, packet } = this;
    if (!(await reader.ensure(1))) return undefined;
    const at = this.at = reader.offset;
    await reader.need(MULTIFD_HEADER_BYTES, "Cannot read multifd packet");
    if (!packet.head(this.#view, reader.pos, at)) return await this.#deviceState();
    await reader.need(packet.bytes, "Cannot read multifd packet", CUT);
    packet.body(this.#view, reader.pos, at);
    reader.pos += packet.bytes;
    this.payload = packet.payload;
    return "ram";
  }

  async #deviceState(): Promise<"device-state"> {
    const { reader } = this;
    await reader.need(DEVICE_STATE_BYTES, "Cannot read device state packet");
    const length = reader.peekU32(DEVICE_STATE_BYTES - 4);
    if (length === 0 || length > DEVICE_STATE_LIMIT) {
      throw new StreamError("Cannot read device state packet", {
        channel: this.#channel,
        offset: reader.offset + DEVICE_STATE_BYTES - 4,
        found: `${length} bytes`,
        expected: `1 to ${DEVICE_STATE_LIMIT}`,
        ...(length === 0 ? { qemu: ["multifd: received empty device state packet"] } : {}),
      });
    }
    reader.pos += DEVICE_STATE_BYTES;
    this.payload = length;
    return "device-state";
  }

  get #view(): DataView {
    const { buf } = this.reader;
    return new DataView(buf.buffer, buf.byteOffset, buf.byteLength);
  }
}

/**
 * Page size of a channel without its main one: how many pages a packet has room for, or where the next one begins.
 * @param reader stands before a packet
 * @returns 4096 where nothing tells
 */
export async function probePacketPageSize(reader: StreamReader): Promise<number> {
  const usual = PAGE_SIZES[0];
  if (!(await reader.ensure(24))) return usual;
  const room = reader.peekU32(12);
  if (room > 0) return PAGE_SIZES.find((size) => size * room === MULTIFD_PACKET_SIZE) ?? usual;
  for (const size of PAGE_SIZES) {
    const next = multifdPacketBytes(size) + reader.peekU32(20);
    if (next > MULTIFD_PACKET_SIZE) continue;
    if (await reader.ensure(next + 8)) {
      if (reader.peekU32(next) === MULTIFD_MAGIC && reader.peekU32(next + 4) === MULTIFD_VERSION) return size;
    } else if (reader.available === next) return size;
  }
  return usual;
}
