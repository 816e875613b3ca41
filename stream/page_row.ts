/**
 * Rows of pages: the first pass over RAM sends them in order, so that a run of records tells what the next ones will be.
 * @module
 */
import type { RamPagesRecord } from "./records.ts";

/** Pages in a row after which more are expected to follow. */
const IN_A_ROW = 32;
/** Bytes in front of a page that says CONTINUE. */
const HEAD = 8;

/** Does a run end in a row of whole pages of one block? Then the next would be the one behind its last. */
export function endsInRow({ count, block, pageOffset, dataAt, pageSize }: RamPagesRecord): boolean {
  const last = count - 1, first = count - IN_A_ROW;
  return first >= 0 && block[first] === block[last] &&
    pageOffset[last] - pageOffset[first] === (IN_A_ROW - 1) * pageSize &&
    dataAt[last] - dataAt[first] === (IN_A_ROW - 1) * (HEAD + pageSize);
}
