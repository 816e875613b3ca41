/**
 * A long row of page records, read by this thread and by a Worker at once: each takes the next piece nobody has.
 *
 *     file     | 512 records | 512 records | 512 records | ...      pieces of one row; a guess until their heads were seen
 *     results      512            512          37                   the row ends in the third piece
 *
 * Both stop at the first piece that is not what was guessed; what was read behind it is wiped, as memory was zero before.
 * @module
 */
import { HEAD } from "./record_head.ts";
import type { RecordRow } from "./record_row.ts";

/** Pages of a piece: with 4 KiB pages a large page of the host. */
export const PIECE_PAGES = 512;

/** Where in `state` what is. */
const NEXT = 0, WORKING = 1, RESULTS = 2;

/** A row of one block. Bytes, but for `pages`. */
export interface RowJob {
  /** Pieces of {@link PIECE_PAGES}, the last may be shorter. */
  readonly pages: number;
  readonly pageSize: number;
  /** Address where the first page goes. */
  readonly at: number;
  /** Of the first page, in its block. */
  readonly offset: number;
  /** Of the first head, in the file. */
  readonly position: number;
  /** Next piece, threads at work, then what came of each piece: pages + 1, 0 while nobody did it. */
  readonly state: SharedArrayBuffer;
}

/** Room for the state of a row. */
export function rowState(pages: number): SharedArrayBuffer {
  return new SharedArrayBuffer((RESULTS + Math.ceil(pages / PIECE_PAGES)) * 4);
}

/**
 * Take pieces until there are none or the row has ended. Yields after each. Whoever calls keeps the memory.
 */
export function* takePieces(job: RowJob, row: RecordRow): Generator<number> {
  const state = new Int32Array(job.state);
  const pieces = state.length - RESULTS;
  Atomics.add(state, WORKING, 1);
  try {
    for (;;) {
      const piece = Atomics.add(state, NEXT, 1);
      if (piece >= pieces) return;
      const first = piece * PIECE_PAGES;
      const pages = Math.min(PIECE_PAGES, job.pages - first);
      const skip = first * job.pageSize;
      const position = job.position + first * (HEAD + job.pageSize);
      const good = row.read(job.at + skip, job.offset + skip, pages, job.pageSize, position);
      Atomics.store(state, RESULTS + piece, good + 1);
      if (good < pages) return void Atomics.store(state, NEXT, pieces);
      yield position;
    }
  } finally {
    Atomics.sub(state, WORKING, 1);
    Atomics.notify(state, WORKING);
  }
}

/**
 * Wait until nobody works on it, and say how far the row goes.
 * @returns pages in place, and pages from the first that may have been written behind them up to the last
 */
export function settleRow(job: RowJob): { readonly good: number; readonly written: number } {
  const state = new Int32Array(job.state);
  const pieces = state.length - RESULTS;
  Atomics.store(state, NEXT, pieces); // whoever comes late finds nothing
  for (let at = Atomics.load(state, WORKING); at > 0; at = Atomics.load(state, WORKING)) {
    Atomics.wait(state, WORKING, at);
  }
  let good = 0, written = 0, whole = true;
  for (let piece = 0; piece < pieces; piece++) {
    const result = state[RESULTS + piece] - 1;
    if (result < 0) {
      whole = false;
      continue;
    }
    const pages = Math.min(PIECE_PAGES, job.pages - piece * PIECE_PAGES);
    if (whole) good += result;
    whole &&= result === pages;
    written = piece * PIECE_PAGES + pages;
  }
  return { good, written };
}
