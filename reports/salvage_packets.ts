/**
 * The packets of a damaged multifd channel: all that decode, in order, behind damaged places too.
 *
 *     a head that is wrong in its magic or version alone is taken; behind any other the next packet is looked for
 *     pages as they are     of a packet that is cut, those that are whole
 *     pages that are packed go on from packet to packet: behind a damaged place there are none
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Breath } from "../containers/breath.ts";
import type { ChannelRow, PackedChannel } from "../containers/channel_row.ts";
import type { ByteSource } from "../stream/channel.ts";
import { MULTIFD_MAGIC } from "../stream/constants.ts";
import { hex, StreamError, TruncatedStreamError } from "../stream/errors.ts";
import {
  decodeMultifdInit,
  MULTIFD_CHANNEL_LIMIT,
  MULTIFD_FLAG_SYNC,
  MULTIFD_INIT_BYTES,
  MULTIFD_VERSION,
  MultifdPacket,
} from "../stream/multifd.ts";
import { MultifdPackets } from "../stream/multifd_channel.ts";
import { StreamReader } from "../stream/reader.ts";
import type { Damage } from "./salvage_pieces.ts";

/** How a packet begins. */
const BEGIN = Buffer.alloc(8);
BEGIN.writeUInt32BE(MULTIFD_MAGIC);
BEGIN.writeUInt32BE(MULTIFD_VERSION, 4);
/** Bytes looked through at once. */
const WINDOW = 1 << 20;

/** A packet that was found. */
export interface PacketPlace {
  /** Of its head, in the file. */
  readonly at: number;
  /** Counts packets over all channels. */
  number: number;
  readonly sync: boolean;
  /** Where the data of its first page is, in the row of all channels. */
  readonly position: number;
  /** Pages whose data is there, from the first on. */
  readonly normal: number;
}

/** What packets are held against. */
export interface KnownBlocks {
  readonly pageSize: number;
  /** Used length of a block; undefined where there is none of that name. */
  usedLength(idstr: string): number | undefined;
}

/** Goes through one channel. */
export class PacketScan implements PackedChannel {
  readonly packets: PacketPlace[] = [];
  readonly damages: Damage[] = [];
  /** Number of the channel, where its first message has it. */
  number: number | undefined;
  uuid: string | undefined;
  /** How many packets there are before the first damaged place. */
  sound = Infinity;
  /** Packets whose pages cannot be unpacked. */
  packed = 0;
  /** Packets with state of devices. */
  states = 0;
  decoder?: PackedChannel["decoder"];
  readonly #packets: MultifdPackets;
  readonly #trial: MultifdPacket;
  readonly #head: Uint8Array<ArrayBuffer>;
  readonly #size: number;
  #torn = false;

  /**
   * @param source with `readAt` and `size`, named as errors are to name it
   * @param base   of its bytes in the row
   */
  constructor(
    readonly source: ByteSource,
    readonly base: number,
    readonly row: ChannelRow,
    readonly known: KnownBlocks,
    readonly breath: Breath,
  ) {
    this.#size = source.size!();
    const framing = { channel: source.name, id: 0, ...known };
    this.#packets = new MultifdPackets(new StreamReader(source), framing);
    this.#trial = new MultifdPacket(framing);
    this.#head = new Uint8Array(this.#trial.bytes);
  }

  /** For errors of what unpacks. */
  get name(): string {
    return this.source.name;
  }

  get id(): number {
    return this.number ?? 0;
  }

  /** Find them all. */
  async run(): Promise<void> {
    const { reader, packet } = this.#packets;
    this.#init();
    // behind a first message that is no such a packet may begin anywhere
    const sound = this.number !== undefined || this.#isPacket(MULTIFD_INIT_BYTES);
    let at = sound ? MULTIFD_INIT_BYTES : await this.#search(0);
    while (at < this.#size) {
      reader.seek(at);
      let kind: "ram" | "device-state" | undefined;
      try {
        kind = await this.#packets.next();
      } catch (error) {
        if (!(error instanceof StreamError)) throw error;
        this.#damage(error);
        if (this.#isMended(at)) at = this.#take(this.#trial, at, at + this.#trial.bytes);
        else {
          this.#torn = true;
          at = await this.#search(at + 1);
        }
        continue;
      }
      if (kind === undefined) break;
      const from = at;
      if (kind === "ram") at = this.#take(packet, at, reader.offset);
      else {
        this.states++;
        at = reader.offset + this.#packets.payload;
        if (at > this.#size) this.#cut("Cannot read state of a device", reader.offset, this.#packets.payload);
      }
      const pause = this.breath.taken(at - from);
      if (pause) await pause;
    }
    this.#judgeNumbers();
  }

  /** Read the head of a packet that was found. @returns it, valid until the next one */
  read({ at }: PacketPlace): MultifdPacket {
    if (!this.#decode(at)) throw new Error(`no packet at ${hex(at)} any more`); // it was one
    return this.#trial;
  }

  #init(): void {
    const bytes = new Uint8Array(MULTIFD_INIT_BYTES);
    const got = this.source.readAt!(bytes, 0);
    if (got < bytes.length) return this.#cut("Cannot read first message of a channel", 0, bytes.length);
    try {
      const { id, uuid } = decodeMultifdInit(bytes, this.name, { channels: MULTIFD_CHANNEL_LIMIT });
      this.number = id;
      this.uuid = uuid.toHex();
    } catch (error) {
      if (!(error instanceof StreamError)) throw error;
      this.#damage(error);
    }
  }

  /** Keep a packet. @returns where the next one should begin */
  #take(packet: MultifdPacket, at: number, payloadAt: number): number {
    const { payload, number, sync, compression } = packet;
    const left = this.#size - payloadAt;
    let { normal } = packet;
    let position = this.base + payloadAt;
    if (left < payload) this.#cut("Cannot read pages of a packet", payloadAt, payload);
    if (normal > 0 && compression) {
      position = this.#torn || left < payload ? -1 : this.#unpacked(packet, payloadAt);
      if (position < 0) {
        normal = 0;
        this.packed++;
      }
    } else if (left < payload) normal = Math.floor(left / this.known.pageSize);
    this.packets.push({ at, number, sync, position, normal });
    return payloadAt + payload;
  }

  /** @returns the place of the pages; -1 when they cannot be had */
  #unpacked(packet: MultifdPacket, payloadAt: number): number {
    const data = new Uint8Array(packet.payload);
    this.source.readAt!(data, payloadAt);
    try {
      return this.row.unpack(this, packet, data, payloadAt, this.known.pageSize);
    } catch (error) {
      if (!(error instanceof StreamError)) throw error;
      this.#damage(error);
      this.#torn = true;
      return -1;
    }
  }

  /** The next place at or behind `from` where a packet is. @returns the end of the file where none is */
  async #search(from: number): Promise<number> {
    const window = Buffer.allocUnsafe(WINDOW);
    for (let at = from; at < this.#size; at += WINDOW - BEGIN.length) {
      const found = window.subarray(0, this.source.readAt!(window, at));
      for (let i = found.indexOf(BEGIN); i >= 0; i = found.indexOf(BEGIN, i + 1)) {
        if (this.#isPacket(at + i)) return at + i;
      }
      const pause = this.breath.taken(found.length);
      if (pause) await pause;
    }
    return this.#size;
  }

  /** A packet that begins where one should, magic or version of which are wrong. */
  #isMended(at: number): boolean {
    if (!this.#decode(at) || this.#trial.normal + this.#trial.zero === 0) return false;
    const next = at + this.#trial.bytes + this.#trial.payload;
    const begin = new Uint8Array(BEGIN.length);
    return next === this.#size || (this.source.readAt!(begin, next) === 8 && BEGIN.equals(begin));
  }

  /** A packet that nobody said begins here. */
  #isPacket(at: number): boolean {
    const begin = new Uint8Array(BEGIN.length);
    if (this.source.readAt!(begin, at) < begin.length || !BEGIN.equals(begin) || !this.#decode(at)) return false;
    const { normal, zero, flags } = this.#trial;
    // nothing but a number is in a SYNC packet
    return normal + zero > 0 ||
      (flags === MULTIFD_FLAG_SYNC && this.#head.every((byte, i) => byte === 0 || i < 12 || (i >= 24 && i < 32)));
  }

  /** Take what stands somewhere for a RAM packet, magic and version aside. @returns false when it is none */
  #decode(at: number): boolean {
    const head = this.#head, packet = this.#trial;
    if (this.source.readAt!(head, at) < head.length) return false;
    head.set(BEGIN);
    const view = new DataView(head.buffer);
    packet.compression = this.#packets.packet.compression;
    try {
      if (!packet.head(view, 0, at)) return false;
      packet.body(view, 0, at);
    } catch {
      return false;
    }
    return true;
  }

  /** Numbers go up on a channel; one that does not is damaged. */
  #judgeNumbers(): void {
    const { packets } = this;
    for (let i = 0, last = -1; i < packets.length; last = packets[i++].number) {
      const { at, number } = packets[i], next = packets[i + 1]?.number ?? Infinity;
      if (number > last && (number < next || next <= last)) continue;
      packets[i].number = last;
      const found = `packet number ${number}`, expected = `one from ${last + 1} on`;
      this.#damage(
        new StreamError("Cannot use multifd packet", { channel: this.name, offset: at + 24, found, expected }),
      );
    }
  }

  #cut(action: string, offset: number, want: number): void {
    const found = `${Math.max(0, this.#size - offset)} bytes before the end`;
    this.#damage(new TruncatedStreamError(action, { channel: this.name, offset, found, expected: String(want) }));
  }

  #damage({ offset, message }: StreamError): void {
    this.sound = Math.min(this.sound, this.packets.length);
    this.damages.push({ offset, message, channel: this.name });
  }

  /** A SYNC packet is not where a mark of the main channel says. */
  missesSync(mark: number): void {
    const expected = `the SYNC packet of mark ${mark} on the main channel`;
    const place = { channel: this.name, offset: this.#size, found: "the end", expected };
    this.#damage(new TruncatedStreamError("Cannot find SYNC packet", place));
  }
}
