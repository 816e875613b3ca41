/**
 * Rows of pages: the first pass over RAM sends them in order, so that a run of records tells what the next ones will be.
 * @module
 */
import * as C from "./constants.ts";
import type { RamPagesRecord } from "./records.ts";

/** Pages in a row after which more are expected to follow. */
const IN_A_ROW = 32;
/** Bytes in front of a page that says CONTINUE. */
const HEAD = 8;

/** Bytes of a zero page's record that says CONTINUE. */
export const ZERO_RECORD = HEAD + 1;

/** Does a run end in a row of whole pages of one block? Then the next would be the one behind its last. */
export function endsInRow(record: RamPagesRecord): boolean {
  return isRow(record, HEAD + record.pageSize);
}

/** As {@link endsInRow}, of zero pages: no other record is that short. */
export function endsInZeroRow(record: RamPagesRecord): boolean {
  return isRow(record, ZERO_RECORD);
}

function isRow({ count, block, pageOffset, dataAt, pageSize }: RamPagesRecord, bytes: number): boolean {
  const last = count - 1, first = count - IN_A_ROW;
  return first >= 0 && block[first] === block[last] &&
    pageOffset[last] - pageOffset[first] === (IN_A_ROW - 1) * pageSize &&
    dataAt[last] - dataAt[first] === (IN_A_ROW - 1) * bytes;
}

/**
 * How many records from `at` on are the zero pages from `offset` of the block named before on?
 * @param end   of the bytes at hand
 * @param pages how many the block has left
 */
export function zeroRow(
  view: DataView,
  at: number,
  end: number,
  offset: number,
  pages: number,
  pageSize: number,
): number {
  const most = Math.min(pages, Math.floor((end - at) / ZERO_RECORD));
  const word = offset + C.RAM_SAVE_FLAG_ZERO + C.RAM_SAVE_FLAG_CONTINUE;
  let high = Math.floor(word / 2 ** 32), low = word % 2 ** 32;
  let good = 0;
  while (
    good < most && view.getUint32(at + 4) === low && view.getUint32(at) === high && view.getUint8(at + HEAD) === 0
  ) {
    good++;
    at += ZERO_RECORD;
    low += pageSize;
    if (low < 2 ** 32) continue;
    low -= 2 ** 32;
    high++;
  }
  return good;
}
