/**
 * A source's multifd channels over sockets: each takes packets while it has room for them.
 *
 *     main        fills packets for the channel with the fewest waiting, waits when all are full
 *     channel k   init, SYNC, { packet }, SYNC, ...      packets of one block, at most 512 KiB of pages
 *
 * Sockets by number are written each by a thread of its own, straight from guest memory; other channels by this one. The first
 * channel that fails fails the save, at the next call.
 * Source: QEMU migration/multifd.c multifd_send, multifd_send_sync_main; multifd-nocomp.c.
 * @module
 */
import type { RamBlock } from "../guest/memory.ts";
import { encodeMultifdInit, multifdPagesPerPacket } from "../stream/multifd.ts";
import type { ChannelCounters } from "./plugin.ts";
import { OwnSendLane, type SendLane, type SendSource } from "./send_lane.ts";
import { ThreadSendLane } from "./send_thread.ts";
import type { Channel } from "./transport.ts";

/** Channels that get a thread of their own; each costs some MiB. */
const THREADS = 16;

/** What the channels work on. */
export interface MultifdSenderOptions extends SendSource {
  /** In the order of their numbers. */
  readonly channels: readonly Channel[];
  /** Of the VM, 16 bytes. */
  readonly uuid?: Uint8Array;
}

/** Sends packets on all multifd channels of one save. */
export class MultifdSender {
  /** Pages a packet can take. */
  readonly pagesPerPacket: number;
  readonly #options: MultifdSenderOptions;
  readonly #lanes: SendLane[];
  #next = 0;
  #number = 0;
  #failure?: Error;
  /** Those who wait for a channel. */
  readonly #waiting: (() => void)[] = [];

  constructor(options: MultifdSenderOptions) {
    this.#options = options;
    this.pagesPerPacket = multifdPagesPerPacket(options.pageSize);
    const ended = (error?: Error) => {
      if (error) this.#failure ??= error;
      for (const wake of this.#waiting.splice(0)) wake();
    };
    this.#lanes = options.channels.map((channel, id) =>
      (id < THREADS ? ThreadSendLane.start(channel, id, options, ended) : undefined) ??
        new OwnSendLane(channel, id, options, ended)
    );
  }

  /** What went through each channel so far. */
  counters(): ChannelCounters[] {
    return this.#lanes.map(({ counters }) => ({ ...counters }));
  }

  /** Send the first message of every channel. */
  start(): void {
    for (const [id, lane] of this.#lanes.entries()) lane.init(encodeMultifdInit(id, this.#options.uuid));
  }

  /** Wait until a channel has room for a packet. @throws {TransportError} when one has failed */
  ready(): void | Promise<void> {
    if (this.#failure) throw this.#failure;
    if (this.#lanes.some(({ free }) => free)) return;
    return this.#wait(() => this.#lanes.some(({ free }) => free));
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
    lane.pages(block, normal, end - normal, runs, this.#number++);
  }

  /**
   * Everything sent so far comes before everything sent later: a SYNC packet on every channel. The mark on the main channel is
   * the caller's. @throws {TransportError} when a channel has failed
   */
  async sync(): Promise<void> {
    await this.#wait(() => this.#lanes.every(({ free }) => free));
    for (const lane of this.#lanes) lane.sync(this.#number++);
    await this.#wait(() => this.#lanes.every(({ queued }) => queued === 0));
  }

  /** Give back what packing and threads hold. Resolves when guest memory is not read any more. */
  async close(): Promise<void> {
    await Promise.all(this.#lanes.splice(0).map((lane) => lane.close()));
  }

  async #wait(met: () => boolean): Promise<void> {
    for (;;) {
      if (this.#failure) throw this.#failure;
      if (met()) return;
      for (const lane of this.#lanes) lane.watch();
      if (met()) return; // meanwhile
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** The channel with the fewest packets waiting, in turn among equals. */
  #lane(): SendLane {
    const lanes = this.#lanes;
    let best: SendLane | undefined, next = 0;
    for (let i = 0; i < lanes.length; i++) {
      const id = (this.#next + i) % lanes.length;
      const lane = lanes[id];
      if (lane.free && (!best || lane.queued < best.queued)) [best, next] = [lane, id + 1];
    }
    if (!best) throw new TypeError("Cannot send a packet: no channel is free, ready() was not awaited");
    this.#next = next;
    return best;
  }
}
