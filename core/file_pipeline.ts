/**
 * Filling and writing at the same time: a ring of staging buffers between a save and a Worker that writes them to the
 * file through a handle of its own.
 *
 *     save     fills buffer k --FULL--> Worker writes it, in order --FREE--> save fills it again
 *     control  Int32: [state, length] per buffer, then [errno position: 0 none, 1 see message]
 *
 * Only for a stream that grows from its start without a seek. Source of the numbers: filling 1 GiB takes 0.3 s, writing it
 * to memory 0.4 s, both together no more than the longer.
 * @module
 */
import type { ByteSink } from "../stream/channel.ts";
import { TransportError } from "../stream/errors.ts";

/** States of a buffer; index 0 of its pair. */
export const FREE = 0, FULL = 1, FAILED = 2, STOP = 3;
const BUFFERS = 4;
/** Milliseconds the caller's thread may stand still for a buffer. */
const WAIT_MS = 10;

/** What the Worker is told. */
export interface PipelineStart {
  readonly path: string;
  /** Position of the first byte in the file. */
  readonly start: number;
  readonly control: SharedArrayBuffer;
  readonly staging: SharedArrayBuffer;
  /** Bytes of one buffer. */
  readonly size: number;
}

/** A sink over a file, with a Worker behind it. Bytes count as written when they were handed over. */
export class FilePipeline implements ByteSink {
  readonly name: string;
  readonly start: number;
  readonly #worker: Worker;
  readonly #control: Int32Array<SharedArrayBuffer>;
  readonly #buffers: Uint8Array<ArrayBuffer>[];
  #current = 0;
  #failure?: Error;

  /**
   * @param path  of a regular file that exists and may be written
   * @param start position of the first byte
   * @param size  bytes of a staging buffer
   */
  constructor(name: string, path: string, start: number, size: number, private readonly noun: string) {
    this.name = name;
    this.start = start;
    const control = new SharedArrayBuffer(BUFFERS * 8);
    const staging = new SharedArrayBuffer(BUFFERS * size);
    this.#control = new Int32Array(control);
    this.#buffers = Array.from(
      { length: BUFFERS },
      (_, i) => new Uint8Array(staging as unknown as ArrayBuffer, i * size, size),
    );
    this.#worker = new Worker(new URL("./file_pipeline_worker.ts", import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data }) => this.#failure ??= this.#failed(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#failure ??= this.#failed(event.message);
      for (let i = 0; i < BUFFERS; i++) {
        Atomics.store(this.#control, i * 2, FAILED);
        Atomics.notify(this.#control, i * 2);
      }
    };
    this.#worker.postMessage({ path, start, control, staging, size } satisfies PipelineStart);
  }

  #failed(reason: string): Error {
    return new TransportError(`Unable to write to ${this.noun}: ${reason}`);
  }

  /** Everything goes through `exchange`. */
  write(): never {
    throw new TypeError("Cannot write to a pipeline: exchange buffers with it");
  }

  exchange(
    filled: Uint8Array<ArrayBuffer> | undefined,
    length: number,
  ): Uint8Array<ArrayBuffer> | Promise<Uint8Array<ArrayBuffer>> {
    if (filled) {
      const at = this.#current * 2;
      this.#control[at + 1] = length;
      Atomics.store(this.#control, at, FULL);
      Atomics.notify(this.#control, at);
      this.#current = (this.#current + 1) % BUFFERS;
    }
    // a short wait in place: the event loop hears of a notification late
    Atomics.wait(this.#control, this.#current * 2, FULL, WAIT_MS);
    const state = Atomics.load(this.#control, this.#current * 2);
    if (state === FREE) return this.#buffers[this.#current];
    return this.#free(this.#current).then(() => this.#buffers[this.#current]);
  }

  /** Wait until everything handed over is in the file. @throws {TransportError} when writing failed */
  async drain(): Promise<void> {
    for (let i = 0; i < BUFFERS; i++) await this.#free(i);
  }

  /** End the Worker, also one that waits for a buffer. Call once, after `drain` or after a failure. */
  close(): void {
    for (let i = 0; i < BUFFERS; i++) {
      Atomics.store(this.#control, i * 2, STOP);
      Atomics.notify(this.#control, i * 2);
    }
    this.#worker.terminate();
  }

  async #free(index: number): Promise<void> {
    for (;;) {
      const state = Atomics.load(this.#control, index * 2);
      if (state === FREE) return;
      if (state === FAILED) {
        // the reason comes by message, right behind the flag
        while (!this.#failure) await new Promise((resolve) => setTimeout(resolve, 1));
        throw this.#failure;
      }
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }
}
