/**
 * The word in front of a page record, where a row of them is looked for: 8 bytes, then the page.
 * @module
 */
import fs from "node:fs";
import { RAM_SAVE_FLAG_CONTINUE, RAM_SAVE_FLAG_PAGE } from "../stream/constants.ts";

/** Bytes in front of a page. */
export const HEAD = 8;

const head = new Uint8Array(HEAD);
const word = new DataView(head.buffer);

/** Whether a head says: the page at `offset` of the block named before, as data. */
export function isHead(view: DataView, at: number, offset: number): boolean {
  return view.getUint32(at) * 2 ** 32 + view.getUint32(at + 4) ===
    offset + (RAM_SAVE_FLAG_PAGE + RAM_SAVE_FLAG_CONTINUE);
}

/** How many of `records` that stand at `at` are the pages from `offset` of their block on. */
export function countHeads(view: DataView, at: number, records: number, offset: number, pageSize: number): number {
  let good = 0;
  while (good < records && isHead(view, at, offset)) {
    good++;
    at += HEAD + pageSize;
    offset += pageSize;
  }
  return good;
}

/**
 * Look at few heads: how many records from `position` of an open file on are the pages from `offset` of their block on?
 * @returns at most `pages`; a guess still, as only some of the heads were seen
 */
export function reachOfRow(fd: number, offset: number, pages: number, pageSize: number, position: number): number {
  const there = (page: number) => {
    const got = fs.readSync(fd, head, 0, HEAD, position + page * (HEAD + pageSize));
    return got === HEAD && isHead(word, 0, offset + page * pageSize);
  };
  if (pages === 0 || there(pages - 1)) return pages;
  let good = 0;
  for (let bad = pages - 1; good < bad;) {
    const middle = (good + bad) >> 1;
    if (there(middle)) good = middle + 1;
    else bad = middle;
  }
  return good;
}
