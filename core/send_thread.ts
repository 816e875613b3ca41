/**
 * A multifd channel that is written by a Worker of its own (send_worker.ts), straight from guest memory.
 *
 *     slot     packet head | struct iovec: the head, then runs of pages, as addresses      DEPTH of them
 *     control  Int32: published, finished, state, watched
 *     totals   Float64: bytes of packed payload sent so far; then pieces of each slot
 *
 * The Worker knows places as numbers: the socket's, and where pages begin. Both stay what they are until it has said that it is
 * done: the socket is lent, and the memory is held here. Needs FFI, and Workers; where there is neither, the channel is written
 * by the thread of the save.
 * @module
 */
import { type RamBlock, SEGMENT } from "../guest/memory.ts";
import { TransportError } from "../stream/errors.ts";
import {
  encodeMultifdPacket,
  MULTIFD_PACKET_SIZE,
  multifdPacketBytes,
  multifdPagesPerPacket,
} from "../stream/multifd.ts";
import { addressOf } from "../threads/machine_address.ts";
import { mayStartWorkers } from "../threads/may_start.ts";
import { startWorker } from "../threads/workers_ahead.ts";
import { canBring } from "./multifd_bring.ts";
import type { ChannelCounters } from "./plugin.ts";
import { type SendLane, type SendSource, syncPacket } from "./send_lane.ts";
import type { Channel } from "./transport.ts";

/** Module of the Worker. */
export const SEND_WORKER = new URL("./send_worker.ts", import.meta.url);
/** Packets a channel may have waiting. */
export const DEPTH = 4;
/** Indices into the control words. */
export const PUBLISHED = 0, FINISHED = 1, STATE = 2, WATCHED = 3;
/** Values of the state. */
export const RUNNING = 0, STOPPED = 1;
/** Bytes of a struct iovec. */
export const IOVEC = 16;

/** What a Worker is told. */
export interface SendStart {
  readonly id: number;
  readonly fd: number;
  /** Packing: its name, the module that brings it, and its level. */
  readonly codec?: { readonly name: string; readonly module: string; readonly level: unknown };
  /** Bytes of a packet's head. */
  readonly head: number;
  readonly slotBytes: number;
  readonly slots: SharedArrayBuffer;
  readonly control: SharedArrayBuffer;
  readonly totals: SharedArrayBuffer;
}

/** What a Worker tells; `done` is its last word. */
export type SendWord = { readonly kind: "sent" } | { readonly kind: "failed"; readonly reason: string } | {
  readonly kind: "done";
};

/** Zeros, for memory that is not there; as many as a packet can have. */
let zeros: Uint8Array<ArrayBuffer> | undefined;

/** A channel with a thread of its own. */
export class ThreadSendLane implements SendLane {
  readonly offsets: Float64Array<ArrayBuffer>;
  readonly #counters: ChannelCounters = { bytes: 0, normal: 0, zero: 0 };
  readonly #worker: Worker;
  readonly #channel: Channel;
  readonly #source: SendSource;
  readonly #lent: () => void;
  readonly #ended: (error?: Error) => void;
  readonly #slots: Uint8Array<ArrayBuffer>;
  readonly #words: Uint32Array<ArrayBuffer>;
  readonly #slotsAt: number;
  readonly #slotBytes: number;
  readonly #head: number;
  readonly #control: Int32Array<SharedArrayBuffer>;
  readonly #totals: Float64Array<SharedArrayBuffer>;
  readonly #done = Promise.withResolvers<void>();
  /** Where segments begin; holds them too. */
  readonly #bases = new Map<WebAssembly.Memory, number>();
  #memory?: WebAssembly.Memory;
  #base = 0;
  /** Packed bytes that were booked. */
  #booked = 0;
  #failed = false;

  private constructor(
    worker: Worker,
    channel: Channel,
    source: SendSource,
    lent: () => void,
    ended: (error?: Error) => void,
  ) {
    const { pageSize } = source;
    this.#worker = worker;
    this.#channel = channel;
    this.#source = source;
    this.#lent = lent;
    this.#ended = ended;
    const pages = multifdPagesPerPacket(pageSize);
    this.offsets = new Float64Array(pages);
    this.#head = multifdPacketBytes(pageSize);
    this.#slotBytes = this.#head + (1 + pages) * IOVEC;
    // shared in truth, typed as guest memory is (guest/memory.ts)
    const slots = new SharedArrayBuffer(DEPTH * this.#slotBytes) as unknown as ArrayBuffer;
    this.#slots = new Uint8Array(slots);
    this.#words = new Uint32Array(slots);
    this.#slotsAt = addressOf(this.#slots);
    this.#control = new Int32Array(new SharedArrayBuffer(16));
    this.#totals = new Float64Array(new SharedArrayBuffer((1 + DEPTH) * 8));
    worker.onmessage = ({ data }: MessageEvent<SendWord>) => this.#hear(data);
    worker.onerror = (event) => {
      event.preventDefault();
      this.#hear({ kind: "failed", reason: event.message });
      this.#hear({ kind: "done" });
    };
  }

  /** Start a Worker, or undefined where the channel has no number, or Workers are not allowed. */
  static start(
    channel: Channel,
    id: number,
    source: SendSource,
    ended: (error?: Error) => void,
  ): ThreadSendLane | undefined {
    const { codec, parameter } = source;
    if (!channel.lendSocket || !mayStartWorkers() || !canBring(codec) || (codec && !codec.level)) return undefined;
    const loan = channel.lendSocket();
    if (!loan) return undefined;
    try {
      const worker = startWorker(SEND_WORKER);
      const lane = new ThreadSendLane(worker, channel, source, loan.done, ended);
      worker.postMessage(
        {
          id,
          fd: loan.fd,
          ...(codec ? { codec: { name: codec.name, module: codec.module!, level: parameter(codec.level!) } } : {}),
          head: lane.#head,
          slotBytes: lane.#slotBytes,
          slots: lane.#slots.buffer as unknown as SharedArrayBuffer,
          control: lane.#control.buffer,
          totals: lane.#totals.buffer,
        } satisfies SendStart,
      );
      return lane;
    } catch {
      loan.done();
      return undefined;
    }
  }

  get counters(): ChannelCounters {
    this.#bookPacked();
    return this.#counters;
  }

  get queued(): number {
    return Atomics.load(this.#control, PUBLISHED) - Atomics.load(this.#control, FINISHED) | 0;
  }

  get free(): boolean {
    return this.queued < DEPTH;
  }

  init(bytes: Uint8Array<ArrayBuffer>): void {
    const at = this.#slot();
    this.#slots.set(bytes, at);
    this.#publish(at, bytes.length, 1, 0);
  }

  pages(block: RamBlock, normal: number, zero: number, _runs: number, number: number): void {
    const { pageSize, codec } = this.#source;
    const at = this.#slot(), length = normal * pageSize;
    encodeMultifdPacket(this.#slots.subarray(at, at + this.#head), {
      flags: codec?.flag ?? 0,
      normal,
      zero,
      payload: length,
      number,
      idstr: block.idstr,
      offsets: this.offsets,
    });
    this.#counters.normal += normal;
    this.#counters.zero += zero;
    this.#publish(at, this.#head, this.#runs(block, normal, at), length);
  }

  sync(number: number): void {
    const at = this.#slot();
    encodeMultifdPacket(this.#slots.subarray(at, at + this.#head), syncPacket(number, this.offsets));
    this.#publish(at, this.#head, 1, 0);
  }

  watch(): void {
    Atomics.store(this.#control, WATCHED, 1);
  }

  async close(): Promise<void> {
    if (this.queued > 0) this.#channel.abort(); // the save has failed, and it may wait for room in the socket
    Atomics.store(this.#control, STATE, STOPPED);
    Atomics.add(this.#control, PUBLISHED, 1);
    Atomics.notify(this.#control, PUBLISHED);
    await this.#done.promise;
  }

  /** Begin of the slot that is next. */
  #slot(): number {
    return (Atomics.load(this.#control, PUBLISHED) >>> 0) % DEPTH * this.#slotBytes;
  }

  /** One piece a run. @returns pieces, that of the head included */
  #runs(block: RamBlock, normal: number, slot: number): number {
    const { pageSize } = this.#source;
    const { offsets } = this;
    let pieces = 1;
    for (let i = 0; i < normal; pieces++) {
      const begin = i++;
      const untouched = block.isUntouched(offsets[begin]);
      while (
        i < normal && offsets[i] === offsets[i - 1] + pageSize && offsets[i] % SEGMENT !== 0 &&
        block.isUntouched(offsets[i]) === untouched
      ) i++;
      const address = untouched ? zerosAt() : this.#baseOf(block, offsets[begin]) + offsets[begin] % SEGMENT;
      this.#piece(slot, pieces, address, (i - begin) * pageSize);
    }
    return pieces;
  }

  #baseOf(block: RamBlock, offset: number): number {
    const memory = block.segments[Math.floor(offset / SEGMENT)]!;
    if (memory === this.#memory) return this.#base;
    let base = this.#bases.get(memory);
    if (base === undefined) {
      base = addressOf(new Uint8Array(memory.buffer as ArrayBuffer));
      this.#bases.set(memory, base);
    }
    this.#memory = memory;
    return this.#base = base;
  }

  #piece(slot: number, index: number, address: number, length: number): void {
    const at = (slot + this.#head + index * IOVEC) / 4;
    this.#words[at] = address % 2 ** 32;
    this.#words[at + 1] = Math.floor(address / 2 ** 32);
    this.#words[at + 2] = length;
    this.#words[at + 3] = 0;
  }

  /** Hand a slot over. @param bytes of the head @param pieces of it all @param length bytes of pages */
  #publish(at: number, bytes: number, pieces: number, length: number): void {
    this.#piece(at, 0, this.#slotsAt + at, bytes);
    const now = bytes + (this.#source.codec ? 0 : length);
    this.#totals[1 + at / this.#slotBytes] = pieces;
    this.#counters.bytes += now;
    this.#source.book(now);
    this.#bookPacked();
    Atomics.add(this.#control, PUBLISHED, 1);
    Atomics.notify(this.#control, PUBLISHED);
  }

  /** Packed payloads are known when they have gone. */
  #bookPacked(): void {
    const bytes = this.#totals[0] - this.#booked;
    if (bytes === 0) return;
    this.#booked += bytes;
    this.#counters.bytes += bytes;
    this.#source.book(bytes);
  }

  #hear(word: SendWord): void {
    if (word.kind === "sent") return this.#ended();
    if (word.kind === "failed") {
      if (!this.#failed) this.#ended(new TransportError(word.reason));
      this.#failed = true;
      return;
    }
    this.#worker.terminate();
    this.#lent();
    this.#bases.clear();
    this.#done.resolve();
  }
}

function zerosAt(): number {
  return addressOf(zeros ??= new Uint8Array(MULTIFD_PACKET_SIZE));
}
