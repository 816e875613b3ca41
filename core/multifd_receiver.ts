/**
 * A destination's multifd channels over sockets: packets come on all of them at once, pages land where they belong.
 *
 *     channel k   init was read by who accepted it | { packet } SYNC --stop-- { packet } SYNC --stop-- ...
 *     main        ... mark: waits until every channel has stopped, then lets them go on ...
 *
 * Sockets by number are read each on a thread of its own, straight into guest memory; other channels on this one.
 * The first channel that fails fails the load: the main channel is woken, and what it waited for rejects. While a mark is
 * waited for and no channel gives a byte for half a minute, the peer is taken for dead (QEMU waits for ever).
 * Source: QEMU migration/multifd.c multifd_recv_thread, multifd_recv_sync_main.
 * @module
 */
import { TransportError, TruncatedStreamError } from "../stream/errors.ts";
import { mayStartWorkers } from "../threads/may_start.ts";
import { OwnLane, type PacketLane, type PacketTarget, unpackedMemory } from "./packet_lane.ts";
import { PACKET_WORKER, Refused, ThreadLane } from "./packet_thread.ts";
import { canPassDescriptors } from "./scm_rights.ts";
import type { Channel } from "./transport.ts";
import { WorkerStock } from "./worker_stock.ts";

/** Milliseconds without a byte after which a mark is waited for no longer. */
const SILENCE_MS = 30_000;

/** Channels that get a thread of their own; each costs some MiB. */
const THREADS = 16;

/** Start the threads for `count` channels ahead, where there can be any. */
export function threadsAhead(count: number): WorkerStock | undefined {
  return canPassDescriptors() && mayStartWorkers()
    ? new WorkerStock(PACKET_WORKER, Math.min(count, THREADS))
    : undefined;
}

/** What the channels work on. */
export interface MultifdReceiverOptions extends PacketTarget {
  /** In the order of their numbers; the first message of each was read. */
  readonly channels: readonly Channel[];
  /** Called once, when the first channel failed. */
  onFailure(error: Error): void;
  /** Instead of 30 s. */
  readonly silenceMs?: number;
}

/** Reads all multifd channels of one load. */
export class MultifdReceiver {
  readonly #options: MultifdReceiverOptions;
  readonly #lanes: PacketLane[];
  readonly #ended = new Set<PacketLane>();
  readonly #unpacked: () => Uint8Array<ArrayBuffer>;
  #done = false;
  #failure?: Error;
  #woken: () => void = () => {};

  constructor(options: MultifdReceiverOptions) {
    this.#options = options;
    this.#unpacked = unpackedMemory(options.pageSize);
    const wake = () => this.#woken();
    this.#lanes = options.channels.map((channel, id) =>
      (id < THREADS ? ThreadLane.start(channel, id, options, wake) : undefined) ?? this.#ownLane(channel, id)
    );
  }

  /** Why the load cannot go on. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  /** Bytes that came on all channels. */
  get bytes(): number {
    return this.#lanes.reduce((sum, { offset }) => sum + offset, 0);
  }

  /** Begin to read. The block list must be known. */
  start(): void {
    for (const id of this.#lanes.keys()) this.#run(id).catch((error) => this.#fail(error));
  }

  /**
   * The main channel came to a mark: wait until every channel has come to its SYNC packet, then let all go on.
   * @throws {StreamError} {TransportError} why one did not
   */
  async sync(): Promise<void> {
    const until = this.#options.silenceMs ?? SILENCE_MS;
    let seen = -1, since = performance.now();
    for (;;) {
      if (this.#failure) throw this.#failure;
      const dead = this.#lanes.find((lane) => this.#ended.has(lane));
      if (dead) {
        this.#fail(
          new TruncatedStreamError("Cannot find SYNC packet", {
            channel: dead.name,
            offset: dead.offset,
            found: "the end of the connection",
            expected: "as many SYNC packets as marks on the main channel",
          }),
        );
        continue;
      }
      const missing = this.#lanes.find(({ stopped }) => !stopped);
      if (!missing) break;
      const { bytes } = this;
      if (bytes !== seen) [seen, since] = [bytes, performance.now()];
      const left = since + until - performance.now();
      if (left <= 0) {
        this.#fail(
          new TransportError(
            `Unable to read from ${missing.name}: no SYNC packet, and nothing else for ${until / 1000} s`,
          ),
        );
        continue;
      }
      await this.#look(left);
    }
    for (const lane of this.#lanes) lane.goOn();
  }

  /**
   * The load is over: what channels still say does not matter. They stay their owner's, but those with a thread of their own
   * are aborted. Resolves when no thread writes guest memory any more.
   */
  async stop(): Promise<void> {
    this.#done = true;
    this.#woken();
    await Promise.all(this.#lanes.map((lane) => lane.finish()));
  }

  /** Until a channel stops or fails, at most `ms`. */
  async #look(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#woken = resolve; // first: setTimeout may run what was waiting for its turn
    const timer = setTimeout(resolve, ms);
    await promise;
    clearTimeout(timer);
  }

  #fail(error: Error): void {
    if (this.#done || this.#failure) return;
    this.#failure = error;
    this.#woken();
    this.#options.onFailure(error);
  }

  async #run(id: number): Promise<void> {
    try {
      await this.#lanes[id].run();
    } catch (error) {
      if (!(error instanceof Refused) || this.#done) throw error;
      this.#lanes[id] = this.#ownLane(this.#options.channels[id], id);
      await this.#lanes[id].run();
    }
    this.#ended.add(this.#lanes[id]);
    this.#woken();
  }

  #ownLane(channel: Channel, id: number): OwnLane {
    return new OwnLane(channel, id, this.#options, () => this.#woken(), this.#unpacked);
  }
}
