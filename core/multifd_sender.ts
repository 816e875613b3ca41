/**
 * A source's multifd channels over sockets: each takes a packet when it has nothing to send.
 *
 *     main        fills the packet of a free channel, waits when none is free
 *     channel k   init, SYNC, { packet }, SYNC, ...      packets of one block, at most 512 KiB of pages
 *
 * Pages go from guest memory straight into the socket where they stand in long runs. The first channel that fails fails the
 * save, at the next call. Source: QEMU migration/multifd.c multifd_send, multifd_send_sync_main; multifd-nocomp.c.
 * @module
 */
import { type RamBlock, SEGMENT } from "../guest/memory.ts";
import { TransportError } from "../stream/errors.ts";
import {
  encodeMultifdInit,
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

/** What the channels work on. */
export interface MultifdSenderOptions {
  /** In the order of their numbers. */
  readonly channels: readonly Channel[];
  /** Bytes of a target page. */
  readonly pageSize: number;
  /** Of the VM, 16 bytes. */
  readonly uuid?: Uint8Array;
  /** How pages are packed; undefined: not at all. */
  readonly codec?: MultifdCodec;
  /** Value of a migration parameter. */
  readonly parameter: (name: string) => unknown;
  /** Told of bytes as they are handed to a channel. */
  readonly book: (bytes: number) => void;
}

interface Lane {
  readonly id: number;
  readonly channel: Channel;
  readonly counters: ChannelCounters;
  readonly offsets: Float64Array<ArrayBuffer>;
  /** Head of a packet, with room for its payload behind it. */
  readonly staging: Uint8Array<ArrayBuffer>;
  readonly head: Uint8Array<ArrayBuffer>;
  readonly encoder?: MultifdEncoder;
  readonly plain?: Uint8Array<ArrayBuffer>;
  busy: boolean;
}

/** Sends packets on all multifd channels of one save. */
export class MultifdSender {
  /** Pages a packet can take. */
  readonly pagesPerPacket: number;
  readonly #options: MultifdSenderOptions;
  readonly #lanes: Lane[];
  #next = 0;
  #number = 0;
  #failure?: Error;
  /** Those who wait for a channel. */
  #waiting: (() => void)[] = [];

  constructor(options: MultifdSenderOptions) {
    const { channels, pageSize, codec, parameter } = options;
    const head = multifdPacketBytes(pageSize);
    this.#options = options;
    this.pagesPerPacket = multifdPagesPerPacket(pageSize);
    this.#lanes = channels.map((channel, id): Lane => {
      const staging = new Uint8Array(head + (codec ? MULTIFD_PAYLOAD_LIMIT : MULTIFD_PACKET_SIZE));
      return {
        id,
        channel,
        counters: { bytes: 0, normal: 0, zero: 0 },
        offsets: new Float64Array(this.pagesPerPacket),
        staging,
        head: staging.subarray(0, head),
        ...(codec ? { encoder: codec.encoder(parameter), plain: new Uint8Array(MULTIFD_PACKET_SIZE) } : {}),
        busy: false,
      };
    });
  }

  /** What went through each channel so far. */
  counters(): ChannelCounters[] {
    return this.#lanes.map(({ counters }) => ({ ...counters }));
  }

  /** Send the first message of every channel. */
  start(): void {
    for (const lane of this.#lanes) this.#send(lane, 0, 0, encodeMultifdInit(lane.id, this.#options.uuid));
  }

  /** Wait until a channel has nothing to send. @throws {TransportError} when one has failed */
  ready(): void | Promise<void> {
    if (this.#failure) throw this.#failure;
    if (this.#lanes.some(({ busy }) => !busy)) return;
    return this.#wait(() => this.#lanes.some(({ busy }) => !busy));
  }

  /**
   * Send pages of one packet through a free channel; call only after {@link MultifdSender.ready}.
   * @param offset bytes, of the first page in the block; at most {@link MultifdSender.pagesPerPacket} pages from there
   * @param flags  one a page: 1 = not zero; left out: `zero` says it for all
   * @param omit   leave zero pages out, instead of listing them
   */
  pages(
    block: RamBlock,
    offset: number,
    pages: number,
    flags: Uint8Array | undefined,
    zero: boolean,
    omit: boolean = false,
  ): void {
    const lane = this.#lane();
    const { pageSize } = this.#options;
    const { offsets } = lane;
    let normal = 0, runs = 0, last = 0;
    for (let i = 0; i < pages; i++) {
      if (flags ? !flags[i] : zero) continue;
      if (normal === 0 || i !== last + 1) runs++;
      last = i;
      offsets[normal++] = offset + i * pageSize;
    }
    let end = normal;
    for (let i = 0; i < pages && !omit; i++) if (flags ? !flags[i] : zero) offsets[end++] = offset + i * pageSize;
    this.#packet(lane, block, normal, end - normal, runs);
  }

  /**
   * Everything sent so far comes before everything sent later: a SYNC packet on every channel. The mark on the main channel is
   * the caller's. @throws {TransportError} when a channel has failed
   */
  async sync(): Promise<void> {
    await this.#idle();
    const { offsets } = this.#lanes[0];
    for (const lane of this.#lanes) {
      const sync = { flags: MULTIFD_FLAG_SYNC, normal: 0, zero: 0, payload: 0, idstr: "", offsets };
      encodeMultifdPacket(lane.head, { ...sync, number: this.#number++ });
      this.#send(lane, 0, 0, lane.head);
    }
    await this.#idle();
  }

  /** Give back what packing holds. */
  close(): void {
    for (const { encoder } of this.#lanes) encoder?.close();
    this.#lanes.length = 0;
  }

  #idle(): Promise<void> {
    return this.#wait(() => this.#lanes.every(({ busy }) => !busy));
  }

  async #wait(met: () => boolean): Promise<void> {
    for (;;) {
      if (this.#failure) throw this.#failure;
      if (met()) return;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** A free channel, in turn. */
  #lane(): Lane {
    for (let i = 0; i < this.#lanes.length; i++) {
      const lane = this.#lanes[(this.#next + i) % this.#lanes.length];
      if (lane.busy) continue;
      this.#next = lane.id + 1;
      return lane;
    }
    throw new TypeError("Cannot send a packet: no channel is free, ready() was not awaited");
  }

  #packet(lane: Lane, block: RamBlock, normal: number, zero: number, runs: number): void {
    const { pageSize, codec } = this.#options;
    const { head, staging, offsets } = lane;
    const length = normal * pageSize;
    let payload = length, direct = false;
    if (lane.encoder && normal > 0) {
      this.#gather(lane, block, normal, lane.plain!, 0);
      payload = lane.encoder.pack(lane.plain!.subarray(0, length), staging.subarray(head.length));
      if (payload < 0) throw new TransportError(`multifd ${lane.id}: packing ${normal} pages failed`);
    } else if (normal > 0 && runs > RUN_LIMIT) this.#gather(lane, block, normal, staging, head.length);
    else direct = normal > 0;
    const flags = codec?.flag ?? 0;
    encodeMultifdPacket(head, { flags, normal, zero, payload, number: this.#number++, idstr: block.idstr, offsets });
    if (!direct) return this.#send(lane, normal, zero, staging.subarray(0, head.length + payload));
    this.#send(lane, normal, zero, head, this.#runs(lane, block, normal));
  }

  /** Copy the pages of a packet together. */
  #gather({ offsets }: Lane, block: RamBlock, normal: number, target: Uint8Array, at: number): void {
    const { pageSize } = this.#options;
    for (let i = 0; i < normal; i++) {
      const view = block.view(offsets[i], pageSize);
      if (view) target.set(view, at + i * pageSize);
      else target.fill(0, at + i * pageSize, at + (i + 1) * pageSize);
    }
  }

  /** Views of guest memory, one a run. */
  #runs({ offsets }: Lane, block: RamBlock, normal: number): Uint8Array[] {
    const { pageSize } = this.#options;
    const views: Uint8Array[] = [];
    for (let i = 0; i < normal;) {
      const begin = i++;
      while (i < normal && offsets[i] === offsets[i - 1] + pageSize && offsets[i] % SEGMENT !== 0) i++;
      const length = (i - begin) * pageSize;
      views.push(block.view(offsets[begin], length) ?? new Uint8Array(length));
    }
    return views;
  }

  #send(lane: Lane, normal: number, zero: number, first: Uint8Array, rest: readonly Uint8Array[] = []): void {
    const { counters } = lane;
    const bytes = rest.reduce((sum, { length }) => sum + length, first.length);
    counters.bytes += bytes;
    counters.normal += normal;
    counters.zero += zero;
    this.#options.book(bytes);
    lane.busy = true;
    this.#write(lane, first, rest).then(() => lane.busy = false, (error) => this.#failure ??= error)
      .finally(() => {
        for (const wake of this.#waiting.splice(0)) wake();
      });
  }

  async #write({ channel }: Lane, first: Uint8Array, rest: readonly Uint8Array[]): Promise<void> {
    await channel.write!(first);
    for (const view of rest) await channel.write!(view);
  }
}
