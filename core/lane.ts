/**
 * Calling on the Worker of lane_worker.ts. It is a help, never a need: where Workers may not be started, loads go on alone.
 * @module
 */
import { type RamBlock, SEGMENT } from "../guest/memory.ts";
import { addressOf } from "../threads/machine_address.ts";
import { mayStartWorkers } from "../threads/may_start.ts";
import { startWorker } from "../threads/workers_ahead.ts";
import { adviseLargePages } from "./large_pages.ts";
import type { HelpJob, ReadDone, ReadJob, TouchJob } from "./lane_worker.ts";

/** Bytes below which a second thread is not worth its start. */
export const WORTHWHILE = 64 << 20;
/** Bytes of guest memory touched ahead of the page written last. */
const AHEAD = 64 << 20;
/** Bytes of one request to touch. */
const STRIDE = 8 << 20;

/** Module of the Worker. */
export const LANE_WORKER = new URL("./lane_worker.ts", import.meta.url);

/** One Worker. */
export class Lane {
  readonly #worker: Worker;
  #done?: (done: ReadDone) => void;

  private constructor(worker: Worker) {
    this.#worker = worker;
    worker.onmessage = ({ data }: MessageEvent<ReadDone>) => this.#done?.(data);
    worker.onerror = (event) => {
      event.preventDefault();
      this.#done?.({ error: event.message });
    };
  }

  /** Start one, or undefined where that is not allowed. */
  static start(): Lane | undefined {
    if (!mayStartWorkers()) return undefined;
    try {
      return new Lane(startWorker(LANE_WORKER));
    } catch {
      return undefined;
    }
  }

  /** Let it make memory resident, which the caller keeps. */
  touch(address: number, length: number): void {
    this.#worker.postMessage({ kind: "touch", address, length } satisfies TouchJob);
  }

  /** Let it help with a row of pages. */
  row(help: Omit<HelpJob, "kind">): void {
    this.#worker.postMessage({ kind: "row", ...help } satisfies HelpJob);
  }

  /** Let it read runs. Resolves when it found no more, or failed. */
  read(job: Omit<ReadJob, "kind">): Promise<ReadDone> {
    return new Promise((resolve) => {
      this.#done = resolve;
      this.#worker.postMessage({ kind: "read", ...job } satisfies ReadJob);
    });
  }

  close(): void {
    this.#worker.terminate();
  }
}

/**
 * Keeps a stretch of memory resident in front of the pages a load writes in order. Only blocks that are being written
 * are touched, at most {@link AHEAD} bytes too far.
 */
export class TouchAhead {
  #lane?: Lane;
  #block?: RamBlock;
  #segment = -1;
  #until = 0;
  /** Address of the segment. */
  #base = 0;

  constructor(lane: Lane | undefined) {
    this.#lane = lane;
  }

  /** A page was written at `offset` of `block`. Cheap when nothing is to be done. */
  wrote(block: RamBlock, offset: number): void {
    const segment = Math.floor(offset / SEGMENT);
    const at = offset % SEGMENT;
    if (block !== this.#block || segment !== this.#segment) {
      this.#block = block;
      this.#segment = segment;
      this.#until = Math.ceil((at + 1) / STRIDE) * STRIDE;
      block.materialise(segment * SEGMENT, 1);
      const memory = new Uint8Array(block.segments[segment]!.buffer as ArrayBuffer);
      this.#base = adviseLargePages(memory, 0, memory.length) ? addressOf(memory) : 0;
    }
    const end = Math.min(SEGMENT, block.usedLength - segment * SEGMENT);
    while (this.#lane && this.#base && this.#until < Math.min(end, at + AHEAD)) {
      const to = Math.min(end, this.#until + STRIDE);
      this.#lane.touch(this.#base + this.#until, to - this.#until);
      this.#until = to;
    }
  }

  close(): void {
    this.#lane?.close();
    this.#lane = undefined;
  }
}
