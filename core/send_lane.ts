/**
 * One multifd channel of a save, as the sender sees it: something that takes packets while it has room. Here is the one that
 * writes from the thread of the save; send_thread.ts has the one with a thread of its own.
 * @module
 */
import { type RamBlock, SEGMENT } from "../guest/memory.ts";
import { TransportError } from "../stream/errors.ts";
import {
  encodeMultifdPacket,
  MULTIFD_FLAG_SYNC,
  MULTIFD_PACKET_SIZE,
  MULTIFD_PAYLOAD_LIMIT,
  multifdPacketBytes,
  multifdPagesPerPacket,
} from "../stream/multifd.ts";
import type { MultifdCodec, MultifdEncoder } from "../stream/multifd_codec.ts";
import type { ChannelCounters } from "./plugin.ts";
import type { Channel } from "./transport.ts";

/** Runs of pages above which a payload is gathered, instead of written run by run. */
const RUN_LIMIT = 2;

/** What all channels of a save work on. */
export interface SendSource {
  /** Bytes of a target page. */
  readonly pageSize: number;
  /** How pages are packed; undefined: not at all. */
  readonly codec?: MultifdCodec;
  /** Value of a migration parameter. */
  readonly parameter: (name: string) => unknown;
  /** Told of bytes as they are handed to a channel. */
  readonly book: (bytes: number) => void;
}

/** One channel. */
export interface SendLane {
  readonly counters: ChannelCounters;
  /** Byte offsets in the block of the next packet's pages: fill them before {@link SendLane.pages}. */
  readonly offsets: Float64Array<ArrayBuffer>;
  /** Packets waiting or under way. */
  readonly queued: number;
  /** A packet can be handed over. */
  readonly free: boolean;
  /** Send the first message. */
  init(bytes: Uint8Array<ArrayBuffer>): void;
  /**
   * Send a packet of pages at `offsets`: `normal` with data, then `zero` of zeros.
   * @param runs how many runs the former make
   */
  pages(block: RamBlock, normal: number, zero: number, runs: number, number: number): void;
  /** Send a SYNC packet. */
  sync(number: number): void;
  /** Say so when the next packet has gone. */
  watch(): void;
  /** No more packets; what is waiting is dropped. Resolves when guest memory is not read any more. */
  close(): void | Promise<void>;
}

/** A channel that is written by this thread: one packet at a time. */
export class OwnSendLane implements SendLane {
  readonly counters: ChannelCounters = { bytes: 0, normal: 0, zero: 0 };
  readonly offsets: Float64Array<ArrayBuffer>;
  readonly #id: number;
  readonly #channel: Channel;
  readonly #source: SendSource;
  readonly #ended: (error?: Error) => void;
  /** Head of a packet, with room for its payload behind it. */
  readonly #staging: Uint8Array<ArrayBuffer>;
  readonly #head: Uint8Array<ArrayBuffer>;
  readonly #encoder?: MultifdEncoder;
  readonly #plain?: Uint8Array<ArrayBuffer>;
  #busy = false;

  /** @param ended called when a packet has gone, or why it has not */
  constructor(channel: Channel, id: number, source: SendSource, ended: (error?: Error) => void) {
    const { pageSize, codec, parameter } = source;
    const head = multifdPacketBytes(pageSize);
    this.#id = id;
    this.#channel = channel;
    this.#source = source;
    this.#ended = ended;
    this.offsets = new Float64Array(multifdPagesPerPacket(pageSize));
    this.#staging = new Uint8Array(head + (codec ? MULTIFD_PAYLOAD_LIMIT : MULTIFD_PACKET_SIZE));
    this.#head = this.#staging.subarray(0, head);
    if (!codec) return;
    this.#encoder = codec.encoder(parameter);
    this.#plain = new Uint8Array(MULTIFD_PACKET_SIZE);
  }

  get queued(): number {
    return this.#busy ? 1 : 0;
  }

  get free(): boolean {
    return !this.#busy;
  }

  init(bytes: Uint8Array<ArrayBuffer>): void {
    this.#send(bytes);
  }

  pages(block: RamBlock, normal: number, zero: number, runs: number, number: number): void {
    const { pageSize, codec } = this.#source;
    const { offsets } = this;
    const head = this.#head, staging = this.#staging;
    const length = normal * pageSize;
    let payload = length, direct = false;
    if (this.#encoder && normal > 0) {
      this.#gather(block, normal, this.#plain!, 0);
      payload = this.#encoder.pack(this.#plain!.subarray(0, length), staging.subarray(head.length));
      if (payload < 0) throw new TransportError(`multifd ${this.#id}: packing ${normal} pages failed`);
    } else if (normal > 0 && runs > RUN_LIMIT) this.#gather(block, normal, staging, head.length);
    else direct = normal > 0;
    encodeMultifdPacket(head, { flags: codec?.flag ?? 0, normal, zero, payload, number, idstr: block.idstr, offsets });
    this.counters.normal += normal;
    this.counters.zero += zero;
    if (!direct) return this.#send(staging.subarray(0, head.length + payload));
    this.#send(head, this.#runs(block, normal));
  }

  sync(number: number): void {
    encodeMultifdPacket(this.#head, syncPacket(number, this.offsets));
    this.#send(this.#head);
  }

  watch(): void {}

  close(): void {
    this.#encoder?.close();
  }

  /** Copy the pages of a packet together. */
  #gather(block: RamBlock, normal: number, target: Uint8Array, at: number): void {
    const { pageSize } = this.#source;
    for (let i = 0; i < normal; i++) {
      const view = block.view(this.offsets[i], pageSize);
      if (view) target.set(view, at + i * pageSize);
      else target.fill(0, at + i * pageSize, at + (i + 1) * pageSize);
    }
  }

  /** Views of guest memory, one a run. */
  #runs(block: RamBlock, normal: number): Uint8Array[] {
    const { pageSize } = this.#source;
    const { offsets } = this;
    const views: Uint8Array[] = [];
    for (let i = 0; i < normal;) {
      const begin = i++;
      while (i < normal && offsets[i] === offsets[i - 1] + pageSize && offsets[i] % SEGMENT !== 0) i++;
      const length = (i - begin) * pageSize;
      views.push(block.view(offsets[begin], length) ?? new Uint8Array(length));
    }
    return views;
  }

  #send(first: Uint8Array, rest: readonly Uint8Array[] = []): void {
    const bytes = rest.reduce((sum, { length }) => sum + length, first.length);
    this.counters.bytes += bytes;
    this.#source.book(bytes);
    this.#busy = true;
    this.#write(first, rest).then(() => {
      this.#busy = false;
      this.#ended();
    }, (error) => this.#ended(error));
  }

  async #write(first: Uint8Array, rest: readonly Uint8Array[]): Promise<void> {
    await this.#channel.write!(first);
    for (const view of rest) await this.#channel.write!(view);
  }
}

/** A SYNC packet, as {@link encodeMultifdPacket} wants it. */
export function syncPacket(number: number, offsets: Float64Array) {
  return { flags: MULTIFD_FLAG_SYNC, normal: 0, zero: 0, payload: 0, number, idstr: "", offsets };
}
