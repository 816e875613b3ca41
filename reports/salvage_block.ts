/**
 * Of which block pages are whose record was to name one, and is damaged.
 *
 *     name     most letters of a known name stand where a record has it, before the pages
 *     place    pages are sent in the order of the list of blocks, each from its begin to its end: what is missing, of this
 *              block or of those behind it, fits into the bytes that are damaged
 *     order    neither: pages go on behind the last ones where they can, else in the next block that is long enough
 *
 * Source: QEMU migration/ram.c (save_page_header, ram_save_host_page, find_dirty_block, ram_save_setup).
 * @module
 */
import type { ByteSource } from "../stream/channel.ts";
import * as C from "../stream/constants.ts";

/** Bytes of a record's word. */
const WORD = 8;
/** Longest name, and what stands before it. */
const HEAD = WORD + 1 + 255;
/** Bytes that are looked through for a damaged name. */
const WINDOW = 1 << 17;

/** A block pages were taken for. */
export interface Guess {
  readonly block: string;
  /** "place" of the block the last page is of: the same goes on. */
  readonly by: "same" | "name" | "place" | "order";
}

/** What is known where a run of pages without a name begins. */
export interface Nameless {
  /** Of the first record, in the file. */
  readonly offset: number;
  /** Of its page, in its block. */
  readonly pageOffset: number;
  /** The last page that was understood before. */
  readonly last: { readonly block: string; readonly pageOffset: number } | undefined;
  /** Behind the last record that was understood. */
  readonly end: number;
  /** That record was one of a page; where its flags are damaged, a head may stand in its data. */
  readonly endsInData: boolean;
  /** Used lengths, in the order of the list. */
  readonly blocks: ReadonlyMap<string, number>;
  readonly pageSize: number;
}

/** Take pages for those of a block. @returns undefined where nothing speaks for any */
export function guessBlock(source: ByteSource, place: Nameless): Guess | undefined {
  const { last, blocks, pageOffset } = place;
  const named = namesBefore(source, place);
  const others = named.filter((name) => name !== last?.block);
  if (others.length && (named.length === 1 || !last)) return { block: others[0], by: "name" };
  const order = [...blocks.keys()];
  if (!last) return firstBlock(place, order);
  const first = order.indexOf(last.block);
  if (first < 0) return { block: last.block, by: "order" };
  for (let step = 0; step <= order.length; step++) {
    const block = order[(first + step) % order.length];
    if (others.length && !named.includes(block)) continue;
    if (fits(place, last, order, first, step)) return { block, by: step === 0 ? "same" : "place" };
  }
  if (others.length) return { block: others[0], by: "order" };
  if (pageOffset > last.pageOffset && pageOffset < blocks.get(last.block)!) return { block: last.block, by: "order" };
  for (let step = 1; step <= order.length; step++) {
    const block = order[(first + step) % order.length];
    if (pageOffset < blocks.get(block)!) return { block, by: "order" };
  }
  return undefined;
}

/** Where nothing came before: the first block that is long enough. */
function firstBlock(
  { pageOffset, blocks, pageSize, offset, end }: Nameless,
  order: readonly string[],
): Guess | undefined {
  const block = order.find((name) => pageOffset < blocks.get(name)!);
  if (block === undefined) return undefined;
  return {
    block,
    by: block === order[0] && fit(pageOffset / pageSize, offset - end, pageSize, HEAD) ? "place" : "order",
  };
}

/** Whether pages that are missing fit bytes that are damaged. */
function fit(missing: number, damaged: number, pageSize: number, room: number): boolean {
  // a record is of 9 bytes at least, and of a page and its head at most; marks and heads of sections come between
  return missing >= 0 && missing * 9 <= damaged && damaged <= (missing + 1) * (pageSize + 16) + 64 + room;
}

/** Pages between the last one and the first of the run, if that is of the block `step` further on, fit the damaged bytes. */
function fits(
  { offset, end, pageOffset, pageSize, blocks }: Nameless,
  last: NonNullable<Nameless["last"]>,
  order: readonly string[],
  first: number,
  step: number,
): boolean {
  const lengthOf = (i: number) => blocks.get(order[i % order.length])!;
  if (pageOffset >= lengthOf(first + step)) return false;
  let bytes = pageOffset - last.pageOffset - pageSize;
  for (let i = 0; i < step; i++) bytes += lengthOf(first + i);
  return fit(Math.ceil(bytes / pageSize), offset - end, pageSize, step * HEAD);
}

/** Names that fit best what stands last before the run where a record has its name, a quarter of the letters damaged at most. */
function namesBefore(source: ByteSource, place: Nameless): readonly string[] {
  const { offset, end, endsInData, pageOffset, blocks, pageSize } = place;
  const from = Math.max(source.start ?? 0, endsInData ? end - pageSize - WORD : end, offset - WINDOW);
  const bytes = new Uint8Array(offset - from);
  const window = bytes.subarray(0, source.readAt!(bytes, from));
  const names = [...blocks].filter(([, length]) => pageOffset < length).map(([name]) => name);
  const byLength = Map.groupBy(names, (name) => name.length);
  for (let at = window.length - WORD - 2; at >= 0; at--) {
    const word = isWord(window, at, pageSize);
    const alike = byLength.get(window[at + WORD]) ?? [];
    // of word, length and letters some may be damaged, not all
    for (let wrong = 0; wrong <= (word ? 64 : 0); wrong++) {
      const among = wrong === 0 && word ? names : alike;
      const found = among.filter((name) => wrong <= name.length / 4 && wrongLetters(window, at, name) === wrong);
      if (found.length) return found;
      if (!alike.length) break;
    }
  }
  return [];
}

/** Letters of a name that do not stand where a record at `at` has it. */
function wrongLetters(window: Uint8Array, at: number, name: string): number {
  const text = at + WORD + 1;
  if (text + name.length >= window.length) return Infinity;
  let wrong = 0;
  for (let i = 0; i < name.length; i++) if (window[text + i] !== name.charCodeAt(i)) wrong++;
  return wrong;
}

/** Page offset and flags of a record that names its block. */
function isWord(window: Uint8Array, at: number, pageSize: number): boolean {
  if (window[at] !== 0 || window[at + 1] !== 0 || window[at + 2] !== 0) return false;
  const flags = (window[at + 6] << 8 | window[at + 7]) & (pageSize - 1);
  return [C.RAM_SAVE_FLAG_ZERO, C.RAM_SAVE_FLAG_PAGE, C.RAM_SAVE_FLAG_XBZRLE].includes(flags);
}
