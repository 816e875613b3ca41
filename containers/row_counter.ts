/**
 * Passing over rows of page records in a file: every head is looked at, no page is read.
 * @module
 */
import { RecordRow } from "../threads/record_row.ts";

/** Pages of one step: progress is told in between. */
const STEP_PAGES = 1 << 15;

/** Over one open file. */
export class RowCounter {
  readonly #row: RecordRow;

  private constructor(row: RecordRow) {
    this.#row = row;
  }

  /** Over a file that stays open as long as this is used; undefined where FFI may not be used. */
  static over(fd: number): RowCounter | undefined {
    const row = RecordRow.over(fd);
    return row && new RowCounter(row);
  }

  /**
   * From `position` on, how many records are the pages from `offset` of their block on? At most a step at a time.
   * @param pages how many the block has left
   * @returns 0 where the row has ended
   */
  pass(offset: number, pages: number, pageSize: number, position: number): number {
    return this.#row.count(offset, Math.min(pages, STEP_PAGES), pageSize, position);
  }
}
