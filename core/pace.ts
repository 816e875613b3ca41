/**
 * How fast a save may go, and when what is left is little enough to stop the guest: QEMU's own arithmetic.
 *
 *     window     100 ms; what it may carry is max-bandwidth / 10
 *     threshold  bytes per ms of the last window * downtime-limit: pending below it means switchover
 *
 * Source: QEMU migration/migration.c migration_update_counters, migration_rate_limit; BUFFER_DELAY = 100.
 * @module
 */

const WINDOW_MS = 100;
/** Milliseconds of work after which the event loop gets its turn. */
const BREATH_MS = 15;

/** Bandwidth bookkeeping of one migration. */
export class Pace {
  /** Bytes that may stay unsent when the guest is stopped. 0 until the first window is over. */
  threshold = 0;
  #windowStart = performance.now();
  #windowBytes = 0;
  #windowPages = 0;
  #lastBreath = performance.now();

  /**
   * @param parameter migration parameters, asked anew each time: they may change while the migration runs
   */
  constructor(
    readonly parameter: (name: string) => unknown,
    readonly onRate: (bytesPerSecond: number, pagesPerSecond: number) => void = () => {},
  ) {}

  /**
   * Call between ranges.
   * @param bytes transferred so far
   * @param pages sent so far
   * @returns true when this window's share is used up: send no more before {@link Pace.rest}
   */
  account(bytes: number, pages: number): boolean {
    const now = performance.now();
    if (now - this.#windowStart >= WINDOW_MS) this.#endWindow(now, bytes, pages);
    const limit = Number(this.parameter("max-bandwidth"));
    return limit > 0 && bytes - this.#windowBytes >= limit * WINDOW_MS / 1000;
  }

  /** Wait for the window to end; longer where more was sent than it may carry, since ranges are larger than QEMU's pages. */
  async rest(bytes: number, pages: number, signal: AbortSignal): Promise<void> {
    const limit = Number(this.parameter("max-bandwidth"));
    const due = limit > 0 ? (bytes - this.#windowBytes) / limit * 1000 : 0;
    const left = this.#windowStart + Math.max(WINDOW_MS, due) - performance.now();
    if (left > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(done, left);
        function done() {
          clearTimeout(timer);
          signal.removeEventListener("abort", done);
          resolve();
        }
        signal.addEventListener("abort", done);
      });
    }
    this.#endWindow(performance.now(), bytes, pages);
    this.#lastBreath = performance.now();
  }

  /** Give the event loop its turn now and then, so that keys, timers and `migrate_cancel` are heard. */
  breathe(): void | Promise<void> {
    if (performance.now() - this.#lastBreath < BREATH_MS) return;
    return new Promise((resolve) => {
      setTimeout(() => {
        this.#lastBreath = performance.now();
        resolve();
      }, 0);
    });
  }

  #endWindow(now: number, bytes: number, pages: number): void {
    const ms = Math.max(now - this.#windowStart, 1);
    const perMs = (bytes - this.#windowBytes) / ms;
    const fixed = Number(this.parameter("avail-switchover-bandwidth"));
    this.threshold = (fixed > 0 ? fixed / 1000 : perMs) * Number(this.parameter("downtime-limit"));
    this.onRate(perMs * 1000, (pages - this.#windowPages) / ms * 1000);
    this.#windowStart = now;
    this.#windowBytes = bytes;
    this.#windowPages = pages;
  }
}
