/**
 * Long synchronous work that is still polite: every few milliseconds the event loop has its turn, whoever waits is told how
 * far it is, and a wish to stop is heard.
 *
 *     const breath = new Breath({ total, onProgress, signal });
 *     for (...) { work(); const pause = breath.taken(bytes); if (pause) await pause; }
 *
 * @module
 */

/** Milliseconds of work between two turns of the event loop. */
const BREATH_MS = 25;

/** What a caller of long work may want. */
export interface LongWork {
  /** Told in bytes, every few milliseconds and at the end. */
  readonly onProgress?: (bytes: number, total: number) => void;
  /** Stops the work; it rejects with the signal's reason, and nothing half done stays. */
  readonly signal?: AbortSignal;
}

/** Counts what was done. Nothing is allocated but when a pause is due. */
export class Breath {
  #done = 0;
  #last = performance.now();
  readonly #total: number;
  readonly #work: LongWork;

  /** @param total bytes that will be counted in all */
  constructor(total: number, work: LongWork) {
    this.#total = total;
    this.#work = work;
    work.signal?.throwIfAborted();
  }

  /**
   * So many more bytes are done.
   * @returns a pause to await, where one is due
   */
  taken(bytes: number): Promise<void> | undefined {
    this.#done += bytes;
    if (performance.now() - this.#last < BREATH_MS) return undefined;
    return this.#pause();
  }

  /** Nothing is left to do. */
  end(): void {
    this.#work.signal?.throwIfAborted();
    this.#work.onProgress?.(this.#total, this.#total);
  }

  async #pause(): Promise<void> {
    this.#work.onProgress?.(Math.min(this.#done, this.#total), this.#total);
    await new Promise((resolve) => setTimeout(resolve, 0));
    this.#work.signal?.throwIfAborted();
    this.#last = performance.now();
  }
}
