/**
 * Passing over rows of page records in a file: every head is looked at, no page is kept. Long rows are passed by two threads.
 * @module
 */
import { RecordRow } from "./record_row.ts";
import { type RowJob, rowState, settleRow, takePieces } from "./row_team.ts";
import type { CountJob } from "./row_worker.ts";

/** Bytes of pages from which on a second thread is worth its start. */
const LONG = 256 << 20;
/** Pages of one step: progress is told in between. */
const STEP_PAGES = 1 << 15;

/** Over one open file. */
export class RowCounter {
  readonly #fd: number;
  readonly #row: RecordRow;
  /** Undefined: not needed yet; null: not to be had. */
  #worker: Worker | null | undefined;

  private constructor(fd: number, row: RecordRow) {
    this.#fd = fd;
    this.#row = row;
  }

  /** Over a file that stays open until {@link RowCounter.close}; undefined where FFI may not be used. */
  static over(fd: number): RowCounter | undefined {
    const row = RecordRow.over(fd);
    return row && new RowCounter(fd, row);
  }

  /**
   * From `position` on, how many records are the pages from `offset` of their block on? At most a step at a time.
   * @param pages how many the block has left
   * @returns 0 where the row has ended
   */
  pass(offset: number, pages: number, pageSize: number, position: number): number {
    const likely = this.#row.reach(offset, pages, pageSize, position);
    if (likely * pageSize >= LONG) this.#start();
    const step = Math.min(likely, STEP_PAGES);
    if (step === 0) return 0;
    const job: RowJob = { pages: step, pageSize, offset, position, state: rowState(step) };
    this.#worker?.postMessage({ fd: this.#fd, job } satisfies CountJob);
    for (const _ of takePieces(job, this.#row));
    return settleRow(job).good;
  }

  #start(): void {
    if (this.#worker !== undefined) return;
    try {
      this.#worker = new Worker(new URL("./row_worker.ts", import.meta.url), { type: "module" });
      this.#worker.onerror = (event) => event.preventDefault(); // a help, never a need
    } catch {
      this.#worker = null;
    }
  }

  /** The Worker goes; the file stays open. */
  close(): void {
    this.#worker?.terminate();
    this.#worker = null;
  }
}
