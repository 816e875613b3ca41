/**
 * multifd into one file: a Worker for each channel, with a file handle of its own, over the guest's shared memory.
 *
 *     main       hands a range to the channel with the shortest queue; waits when all queues are full
 *     Worker k   takes ranges in order: zero scan, positioned writes, bitmap, counters
 *     control    Int32: [state, progress] then [published, finished] per channel
 *     jobs       Float64: DEPTH ranges of FIELDS numbers per channel
 *     totals     Float64: [bytes, normal pages, zero pages] per channel
 *
 * The first channel that fails stops them all; its reason is thrown at the next call. `close` resolves when every Worker has
 * let go of its handle. Where a Worker cannot be started, or may not open what the session was handed, ranges are written
 * by the calling thread through the channels themselves.
 * Source: QEMU migration/multifd.c multifd_send, multifd_send_thread; migration/file.c file_write_ramblock_iov.
 * @module
 */
import { TransportError } from "../stream/errors.ts";
import { type PageJob, writePages } from "./page_job.ts";
import type { ChannelCounters } from "./plugin.ts";
import type { Channel } from "./transport.ts";

/** Indices into the control words. */
export const STATE = 0, PROGRESS = 1, QUEUES = 2;
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

/**
 * What a Worker tells: that its handle is open, why it failed (`refused`: it may not open the file), that its handle is
 * closed.
 */
export type PageWriterWord =
  | { readonly kind: "open" }
  | { readonly kind: "failed"; readonly refused: boolean; readonly reason: string }
  | { readonly kind: "closed" };

interface Lane {
  readonly worker: Worker;
  /** Resolves with false when it may not open the file. */
  readonly opened: Promise<boolean>;
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
  #inline = false;
  #next = 0;
  #failure?: Error;

  private constructor(
    channels: readonly Channel[],
    memories: readonly WebAssembly.Memory[],
    bitmaps: readonly SharedArrayBuffer[],
  ) {
    const count = channels.length;
    this.#channels = channels;
    this.#memories = memories;
    this.#bitmaps = bitmaps;
    this.#control = new Int32Array(new SharedArrayBuffer((QUEUES + 2 * count) * 4));
    this.#jobs = new Float64Array(new SharedArrayBuffer(count * DEPTH * FIELDS * 8));
    this.#totals = new Float64Array(new SharedArrayBuffer(count * TOTALS * 8));
    this.#own = new Float64Array(count * TOTALS);
  }

  /**
   * Start.
   * @param channels one for each Worker, open for writing at positions
   * @param memories segments that ranges may lie in; ranges in others are written by the calling thread
   * @param bitmaps  of all blocks, shared
   * @throws {TransportError} when a Worker cannot open the file for another reason than permission
   */
  static async start(
    channels: readonly Channel[],
    memories: readonly WebAssembly.Memory[],
    bitmaps: readonly SharedArrayBuffer[],
  ): Promise<PageWriters> {
    const writers = new PageWriters(channels, memories, bitmaps);
    try {
      await writers.#open();
    } catch (error) {
      await writers.close();
      throw error;
    }
    return writers;
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
    if (this.#inline || (job.memory && memory < 0)) return this.#write(job, bitmap);
    const lane = this.#shortest();
    if (lane < 0) return this.#room().then((free) => this.#publish(free, job, memory, bitmap));
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

  async #open(): Promise<void> {
    try {
      for (const [id, { file }] of this.#channels.entries()) {
        if (file?.flags === undefined) {
          this.#inline = true;
          break;
        }
        this.#lanes.push(this.#startWorker(id, file.path, file.flags));
      }
    } catch {
      this.#inline = true; // no Workers here
    }
    const opened = await Promise.all(this.#lanes.map((lane) => lane.opened));
    if (opened.includes(false)) this.#inline = true;
    if (this.#inline) {
      await this.close();
      Atomics.store(this.#control, STATE, RUNNING);
    }
    this.#check();
  }

  #startWorker(id: number, path: string, flags: number): Lane {
    const worker = new Worker(new URL("./page_writer_worker.ts", import.meta.url), { type: "module" });
    const opened = Promise.withResolvers<boolean>(), closed = Promise.withResolvers<void>();
    worker.onmessage = ({ data }: MessageEvent<PageWriterWord>) => {
      if (data.kind === "open") opened.resolve(true);
      else if (data.kind === "closed") closed.resolve();
      else {
        if (!data.refused) this.#fail(id, data.reason);
        opened.resolve(!data.refused);
      }
    };
    worker.onerror = (event) => {
      event.preventDefault();
      this.#fail(id, event.message);
      opened.resolve(true);
      closed.resolve();
    };
    const { buffer: control } = this.#control, { buffer: jobs } = this.#jobs, { buffer: totals } = this.#totals;
    const memories = this.#memories, bitmaps = this.#bitmaps;
    worker.postMessage({ id, path, flags, memories, bitmaps, control, jobs, totals } satisfies PageWriterStart);
    return { worker, opened: opened.promise, closed: closed.promise };
  }

  #fail(id: number, reason: string): void {
    this.#failure ??= new TransportError(`Unable to write to ${this.#channels[id].noun}: ${reason}`);
    Atomics.store(this.#control, STATE, FAILED);
    this.#wake();
  }

  /** Everybody looks up: Workers at their queue, this thread at the progress. */
  #wake(): void {
    for (let id = 0; id < this.#channels.length; id++) {
      Atomics.add(this.#control, QUEUES + 2 * id, 1);
      Atomics.notify(this.#control, QUEUES + 2 * id);
    }
    Atomics.add(this.#control, PROGRESS, 1);
    Atomics.notify(this.#control, PROGRESS);
  }

  #check(): void {
    if (this.#failure) throw this.#failure;
  }

  #queued(id: number): number {
    return Atomics.load(this.#control, QUEUES + 2 * id) - Atomics.load(this.#control, QUEUES + 2 * id + 1) | 0;
  }

  /** The channel with the fewest ranges waiting, in turn among equals; -1 when all are full. */
  #shortest(): number {
    let best = -1, least = DEPTH;
    for (let i = 0; i < this.#lanes.length; i++) {
      const id = (this.#next + i) % this.#lanes.length;
      const queued = this.#queued(id);
      if (queued < least) [best, least] = [id, queued];
    }
    this.#next = best + 1;
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
    const word = QUEUES + 2 * id;
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
