/**
 * multifd into one file: a Worker for each channel, with a file handle of its own, over the guest's shared memory.
 *
 *     main       hands a range to the channel with the shortest queue; waits when all queues are full
 *     Worker k   takes ranges in order: zero scan, positioned writes, bitmap, counters
 *     control    Int32: [state, progress] then [published, finished, open] per channel
 *     jobs       Float64: DEPTH ranges of FIELDS numbers per channel
 *     totals     Float64: [bytes, normal pages, zero pages] per channel
 *
 * As many Workers as there are processors start with the first range, those of the other channels once that pays: a guest of
 * zeros needs none. The first channel that fails stops them all; its reason is thrown at the next call. `close` resolves when every Worker has
 * let go of its handle. Until the first Worker is at work, and where none can be started or may open what the session was
 * handed, ranges are written by the calling thread through the channels themselves.
 * Source: QEMU migration/multifd.c multifd_send, multifd_send_thread; migration/file.c file_write_ramblock_iov.
 * @module
 */
import { TransportError } from "../stream/errors.ts";
import { mayStartWorkers } from "../threads/may_start.ts";
import { startWorker } from "../threads/workers_ahead.ts";
import { type PageJob, writePages } from "./page_job.ts";
import type { ChannelCounters } from "./plugin.ts";
import type { Channel } from "./transport.ts";

/** Module of the Worker. */
export const PAGE_WRITER = new URL("./page_writer_worker.ts", import.meta.url);
/** Indices into the control words. */
export const STATE = 0, PROGRESS = 1, QUEUES = 2;
/** Words of a channel: published, finished, open. */
export const QUEUE_WORDS = 3;
/** Values of the state. */
export const RUNNING = 0, FAILED = 1, STOPPED = 2;
/** Ranges a channel may have waiting. */
export const DEPTH = 8;
/** Numbers of a range: memory, at, length, position, scan, bitmap, first page, page size. */
export const FIELDS = 8;
/** Numbers of a channel's totals. */
export const TOTALS = 3;

/** What a Worker is told. */
export interface PageWriterStart {
  readonly id: number;
  readonly path: string;
  readonly flags: number;
  readonly memories: readonly WebAssembly.Memory[];
  readonly bitmaps: readonly SharedArrayBuffer[];
  readonly control: SharedArrayBuffer;
  readonly jobs: SharedArrayBuffer;
  readonly totals: SharedArrayBuffer;
}

/** What a Worker tells: why it failed (`refused`: it may not open the file), that its handle is closed. */
export type PageWriterWord =
  | { readonly kind: "failed"; readonly refused: boolean; readonly reason: string }
  | { readonly kind: "closed" };

/** Bytes written from which on every channel gets its Worker: starting one costs tens of milliseconds. */
const WORTHWHILE = 64 << 20;

/** Answers of the search for a channel. */
const FULL = -1, NONE = -2;

interface Lane {
  readonly worker: Worker;
  readonly closed: Promise<void>;
}

/** Writes ranges of guest memory through several channels of one file. */
export class PageWriters {
  readonly #channels: readonly Channel[];
  readonly #memories: readonly WebAssembly.Memory[];
  readonly #bitmaps: readonly SharedArrayBuffer[];
  readonly #control: Int32Array<SharedArrayBuffer>;
  readonly #jobs: Float64Array<SharedArrayBuffer>;
  readonly #totals: Float64Array<SharedArrayBuffer>;
  readonly #own: Float64Array;
  readonly #lanes: Lane[] = [];
  readonly #first: number;
  #refused = false;
  #next = 0;
  #failure?: Error;

  /**
   * Start.
   * @param channels one for each Worker, open for writing at positions
   * @param memories segments that ranges may lie in; ranges in others are written by the calling thread
   * @param bitmaps  of all blocks, shared
   * @param first    Workers that start with the first range
   */
  constructor(
    channels: readonly Channel[],
    memories: readonly WebAssembly.Memory[],
    bitmaps: readonly SharedArrayBuffer[],
    first: number = navigator.hardwareConcurrency,
  ) {
    const count = channels.length;
    this.#channels = channels;
    this.#memories = memories;
    this.#bitmaps = bitmaps;
    this.#control = new Int32Array(new SharedArrayBuffer((QUEUES + QUEUE_WORDS * count) * 4));
    this.#jobs = new Float64Array(new SharedArrayBuffer(count * DEPTH * FIELDS * 8));
    this.#totals = new Float64Array(new SharedArrayBuffer(count * TOTALS * 8));
    this.#own = new Float64Array(count * TOTALS);
    this.#first = first;
  }

  /** Workers that have their handle. */
  get open(): number {
    return this.#lanes.filter((_, id) => this.#isOpen(id)).length;
  }

  /** What went through each channel so far. */
  counters(): ChannelCounters[] {
    return this.#channels.map((_, id) => {
      const [bytes, normal, zero] = [0, 1, 2].map((i) => this.#totals[id * TOTALS + i] + this.#own[id * TOTALS + i]);
      return { bytes, normal, zero };
    });
  }

  /** Pages written, over all channels. */
  get normal(): number {
    return this.#sum(1);
  }

  /** Pages found to be zero, over all channels. */
  get zero(): number {
    return this.#sum(2);
  }

  /**
   * Hand over a range. Its numbers are copied; `bitmap` is an index into those given to `start`.
   * @returns a promise when all queues are full
   * @throws {TransportError} when a channel has failed
   */
  submit(job: Omit<PageJob, "bitmap">, bitmap: number): void | Promise<void> {
    this.#check();
    const memory = job.memory ? this.#memories.indexOf(job.memory) : -1;
    if (job.memory && memory < 0) return this.#write(job, bitmap);
    this.#startWorkers();
    const lane = this.#shortest();
    if (lane === NONE) return this.#write(job, bitmap);
    if (lane === FULL) return this.#room().then((free) => this.#publish(free, job, memory, bitmap));
    this.#publish(lane, job, memory, bitmap);
  }

  /** Wait until everything handed over is in the file. @throws {TransportError} when a channel has failed */
  async drain(): Promise<void> {
    for (;;) {
      const seen = Atomics.load(this.#control, PROGRESS);
      this.#check();
      if (this.#lanes.every((_, id) => this.#queued(id) === 0)) return;
      await this.#progress(seen);
    }
  }

  /** Stop; ranges not yet begun are dropped. Resolves when all handles of Workers are closed. Call once, last. */
  async close(): Promise<void> {
    Atomics.compareExchange(this.#control, STATE, RUNNING, STOPPED);
    this.#wake();
    await Promise.all(this.#lanes.map(({ closed }) => closed));
    for (const { worker } of this.#lanes) worker.terminate();
    this.#lanes.length = 0;
  }

  /** The first ones at once, then one a range. */
  #startWorkers(): void {
    while (!this.#refused && this.#lanes.length < this.#channels.length) {
      const id = this.#lanes.length;
      if (id >= this.#first && this.#sum(0) < WORTHWHILE) return;
      const { file } = this.#channels[id];
      try {
        if (file?.flags === undefined || !mayStartWorkers()) this.#refused = true;
        else this.#lanes.push(this.#startWorker(id, file.path, file.flags));
      } catch {
        this.#refused = true; // no Workers here
      }
      if (id >= this.#first) return;
    }
  }

  #startWorker(id: number, path: string, flags: number): Lane {
    const worker = startWorker(PAGE_WRITER);
    const closed = Promise.withResolvers<void>();
    worker.onmessage = ({ data }: MessageEvent<PageWriterWord>) => {
      if (data.kind === "closed") closed.resolve();
      else if (!data.refused) this.#fail(id, data.reason);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      if (this.#isOpen(id)) this.#fail(id, event.message);
      closed.resolve();
    };
    const { buffer: control } = this.#control, { buffer: jobs } = this.#jobs, { buffer: totals } = this.#totals;
    const memories = this.#memories, bitmaps = this.#bitmaps;
    worker.postMessage({ id, path, flags, memories, bitmaps, control, jobs, totals } satisfies PageWriterStart);
    return { worker, closed: closed.promise };
  }

  #isOpen(id: number): boolean {
    return Atomics.load(this.#control, QUEUES + QUEUE_WORDS * id + 2) !== 0;
  }

  #fail(id: number, reason: string): void {
    this.#failure ??= new TransportError(`Unable to write to ${this.#channels[id].noun}: ${reason}`);
    Atomics.store(this.#control, STATE, FAILED);
    this.#wake();
  }

  /** Everybody looks up: Workers at their queue, this thread at the progress. */
  #wake(): void {
    for (let id = 0; id < this.#channels.length; id++) {
      Atomics.add(this.#control, QUEUES + QUEUE_WORDS * id, 1);
      Atomics.notify(this.#control, QUEUES + QUEUE_WORDS * id);
    }
    Atomics.add(this.#control, PROGRESS, 1);
    Atomics.notify(this.#control, PROGRESS);
  }

  #check(): void {
    if (this.#failure) throw this.#failure;
  }

  #queued(id: number): number {
    return Atomics.load(this.#control, QUEUES + QUEUE_WORDS * id) -
        Atomics.load(this.#control, QUEUES + QUEUE_WORDS * id + 1) | 0;
  }

  /** The channel with the fewest ranges waiting, in turn among equals; FULL or NONE. */
  #shortest(): number {
    let best = NONE, least = DEPTH;
    for (let i = 0; i < this.#lanes.length; i++) {
      const id = (this.#next + i) % this.#lanes.length;
      if (!this.#isOpen(id)) continue;
      const queued = this.#queued(id);
      if (queued < least) [best, least] = [id, queued];
      else if (best === NONE) best = FULL;
    }
    if (best >= 0) this.#next = best + 1;
    return best;
  }

  async #room(): Promise<number> {
    for (;;) {
      const seen = Atomics.load(this.#control, PROGRESS);
      this.#check();
      const id = this.#shortest();
      if (id >= 0) return id;
      await this.#progress(seen);
    }
  }

  async #progress(seen: number): Promise<void> {
    // a channel that failed says so by a message, right behind the flag
    if (Atomics.load(this.#control, STATE) === FAILED && !this.#failure) {
      return await new Promise((resolve) => setTimeout(resolve, 1));
    }
    const wait = Atomics.waitAsync(this.#control, PROGRESS, seen);
    if (wait.async) await wait.value;
  }

  #publish(id: number, job: Omit<PageJob, "bitmap">, memory: number, bitmap: number): void {
    const control = this.#control, jobs = this.#jobs;
    const word = QUEUES + QUEUE_WORDS * id;
    const i = (id * DEPTH + (Atomics.load(control, word) >>> 0) % DEPTH) * FIELDS;
    jobs[i] = memory;
    jobs[i + 1] = job.at;
    jobs[i + 2] = job.length;
    jobs[i + 3] = job.position;
    jobs[i + 4] = job.scan ? 1 : 0;
    jobs[i + 5] = bitmap;
    jobs[i + 6] = job.first;
    jobs[i + 7] = job.pageSize;
    Atomics.add(control, word, 1);
    Atomics.notify(control, word);
  }

  /** On this thread, through the channels in turn. */
  #write(job: Omit<PageJob, "bitmap">, bitmap: number): void {
    const id = this.#next = (this.#next + 1) % this.#channels.length;
    const channel = this.#channels[id];
    const whole = { ...job, bitmap: new Uint8Array(this.#bitmaps[bitmap]) };
    const normal = writePages(whole, (view, position) => channel.writeAt!(view, position));
    this.#own[id * TOTALS] += normal * job.pageSize;
    this.#own[id * TOTALS + 1] += normal;
    this.#own[id * TOTALS + 2] += job.length / job.pageSize - normal;
  }

  #sum(member: number): number {
    let sum = 0;
    for (let i = member; i < this.#own.length; i += TOTALS) sum += this.#totals[i] + this.#own[i];
    return sum;
  }
}
