/**
 * Passing over rows of page records in a file of a sequential stream: every head is looked at, no page is decoded.
 *
 *     file   | head | page k | head | page k+1 | ...     8 bytes and a page a record, while pages follow each other
 *
 * Needs FFI and is left out where that is not allowed; no permission is ever asked for.
 * @module
 */
import { FileWindows, WINDOW_BYTES } from "./file_windows.ts";
import { countHeads, HEAD, reachOfRow } from "./record_head.ts";

/** One open file, which stays open as long as this is used. */
export class RecordHeads implements Disposable {
  readonly #fd: number;
  readonly #windows: FileWindows;

  private constructor(fd: number, windows: FileWindows) {
    this.#fd = fd;
    this.#windows = windows;
  }

  /** Over an open file; undefined where FFI may not be used. */
  static over(fd: number): RecordHeads | undefined {
    const windows = FileWindows.over(fd);
    return windows && new RecordHeads(fd, windows);
  }

  /**
   * From `position` on, how many whole records are the pages from `offset` of their block on? At most a window of them.
   * @param pages how many the block has left
   * @returns 0 where the row has ended, or the file does
   */
  count(offset: number, pages: number, pageSize: number, position: number): number {
    const bytes = HEAD + pageSize;
    const most = Math.min(pages, Math.floor(WINDOW_BYTES / bytes));
    const likely = reachOfRow(this.#fd, offset, most, pageSize, position);
    if (likely === 0) return 0;
    return this.#windows.look(
      position,
      likely * bytes,
      (view, at, length) => countHeads(view, at, Math.floor(length / bytes), offset, pageSize),
    );
  }

  /** Give everything back but the file. */
  [Symbol.dispose](): void {
    this.#windows[Symbol.dispose]();
  }
}
