/**
 * A multifd channel that is read by a Worker of its own (packet_worker.ts), straight into guest memory. The Worker knows
 * places as numbers: the socket's, and where segments of guest memory begin. Both stay what they are until it has said that
 * it is done: the socket is lent, and the memory is held here.
 *
 *     this thread   start          segment, where it begins    go             over + the socket is shut
 *     Worker               need segment                 stopped       failed                          done
 *
 * Needs FFI, and Workers; where there is neither, the channel is read on the thread of the load.
 * @module
 */
import { type RamBlock, SEGMENT } from "../guest/memory.ts";
import { StreamError, TransportError, TruncatedStreamError } from "../stream/errors.ts";
import { adviseLargePages } from "./large_pages.ts";
import { addressOf } from "../threads/machine_address.ts";
import { mayStartWorkers } from "../threads/may_start.ts";
import { canBring } from "./multifd_bring.ts";
import type { PacketLane, PacketTarget } from "./packet_lane.ts";
import type { Channel } from "./transport.ts";

/** A block as the Worker knows it. */
export interface PacketBlock {
  readonly idstr: string;
  readonly usedLength: number;
  /** How many segments there are. */
  readonly segments: number;
  /** Shared: one byte a slot. */
  readonly touched: Uint8Array<SharedArrayBuffer>;
}

/** What a Worker is told. */
export type PacketOrder =
  | {
    readonly kind: "start";
    readonly id: number;
    readonly fd: number;
    readonly pageSize: number;
    readonly blocks: readonly PacketBlock[];
    /** Packing: its name, and the module that brings it. */
    readonly codec?: { readonly name: string; readonly module: string };
    /** One Float64: bytes read so far. One Int32 behind it: not 0 when the load is over. */
    readonly shared: SharedArrayBuffer;
  }
  | { readonly kind: "segment"; readonly block: number; readonly segment: number; readonly address: number }
  | { readonly kind: "go" };

/** A fault, in a shape that can be posted. */
export interface PacketFault {
  readonly kind: "stream" | "truncated" | "transport";
  readonly message: string;
  readonly channel: string;
  readonly offset: number;
  readonly found?: string;
  readonly expected?: string;
  readonly qemu: readonly string[];
  readonly reason: string;
}

/** What a Worker tells; `done` is its last word. */
export type PacketWord =
  | { readonly kind: "need"; readonly block: number; readonly segment: number }
  | { readonly kind: "stopped" }
  | { readonly kind: "failed"; readonly fault: PacketFault }
  | { readonly kind: "refused" }
  | { readonly kind: "done" };

/** The Worker cannot do it; nothing was read. */
export class Refused extends Error {}

/** Module of the Worker. */
export const PACKET_WORKER = new URL("./packet_worker.ts", import.meta.url);
/** Bytes of what is shared with a Worker. */
const SHARED_BYTES = 16;

/** A channel with a thread of its own. */
export class ThreadLane implements PacketLane {
  readonly name: string;
  stopped = false;
  readonly #worker: Worker;
  readonly #channel: Channel;
  readonly #blocks: readonly RamBlock[];
  readonly #offset: Float64Array<SharedArrayBuffer>;
  readonly #over: Int32Array<SharedArrayBuffer>;
  readonly #changed: () => void;
  readonly #lent: () => void;
  readonly #ended = Promise.withResolvers<void>();
  #error?: Error;

  private constructor(
    worker: Worker,
    channel: Channel,
    id: number,
    lent: () => void,
    changed: () => void,
    blocks: readonly RamBlock[],
    shared: SharedArrayBuffer,
  ) {
    this.name = `multifd ${id}`;
    this.#worker = worker;
    this.#channel = channel;
    this.#lent = lent;
    this.#changed = changed;
    this.#blocks = blocks;
    this.#offset = new Float64Array(shared, 0, 1);
    this.#over = new Int32Array(shared, 8, 1);
    worker.onmessage = ({ data }: MessageEvent<PacketWord>) => this.#hear(data);
    worker.onerror = (event) => {
      event.preventDefault();
      this.#error ??= new TransportError(`Unable to read from ${this.name}: ${event.message}`);
      this.#end();
    };
  }

  /** Start a Worker, or undefined where the channel has no number, or Workers are not allowed. */
  static start(channel: Channel, id: number, target: PacketTarget, changed: () => void): ThreadLane | undefined {
    const { pageSize, codec, blocks } = target;
    if (!channel.lendSocket || !mayStartWorkers() || !blocks || !canBring(codec)) return undefined;
    const loan = channel.lendSocket();
    if (!loan) return undefined;
    try {
      const worker = target.threads?.take() ?? new Worker(PACKET_WORKER, { type: "module" });
      const shared = new SharedArrayBuffer(SHARED_BYTES);
      const lane = new ThreadLane(worker, channel, id, loan.done, changed, blocks, shared);
      lane.#order({
        kind: "start",
        id,
        fd: loan.fd,
        pageSize,
        blocks: blocks.map(({ idstr, usedLength, segments, touched }) => {
          return { idstr, usedLength, segments: segments.length, touched };
        }),
        ...(codec ? { codec: { name: codec.name, module: codec.module! } } : {}),
        shared,
      });
      return lane;
    } catch {
      loan.done();
      return undefined;
    }
  }

  get offset(): number {
    return this.#offset[0];
  }

  async run(): Promise<void> {
    await this.#ended.promise;
    if (this.#error) throw this.#error;
  }

  goOn(): void {
    this.stopped = false;
    this.#order({ kind: "go" });
  }

  async finish(): Promise<void> {
    Atomics.store(this.#over, 0, 1);
    this.#channel.abort(); // wakes it where it waits for bytes
    this.#order({ kind: "go" }); // and here where it stands at a SYNC packet
    await this.#ended.promise;
  }

  #hear(word: PacketWord): void {
    switch (word.kind) {
      case "need":
        return this.#segment(word.block, word.segment);
      case "stopped":
        this.stopped = true;
        return this.#changed();
      case "failed":
        this.#error ??= revive(word.fault);
        return;
      case "refused":
        this.#error ??= new Refused();
        return;
      case "done":
        return this.#end();
    }
  }

  /** Make a segment and say where it is. */
  #segment(block: number, segment: number): void {
    const ram = this.#blocks[block];
    ram.materialise(segment * SEGMENT, 1);
    const view = new Uint8Array(ram.segments[segment]!.buffer as ArrayBuffer);
    adviseLargePages(view, 0, view.length);
    this.#order({ kind: "segment", block, segment, address: addressOf(view) });
  }

  #order(order: PacketOrder): void {
    this.#worker.postMessage(order);
  }

  #end(): void {
    this.#worker.terminate();
    this.#lent();
    this.#ended.resolve();
  }
}

/** The error a Worker had. */
function revive({ kind, message, ...options }: PacketFault): Error {
  if (kind === "transport") return new TransportError(message);
  const error = new (kind === "truncated" ? TruncatedStreamError : StreamError)("", options);
  error.message = message; // put together by the Worker
  return error;
}
