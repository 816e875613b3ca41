/**
 * What one pass over a stream means as a whole: the format of its RAM, and what is odd about it.
 * @module
 */
import type { RamFraming } from "../stream/ram.ts";
import type { IndexedBlock, StreamIndex } from "./index_result.ts";

/** What was seen. */
export interface SeenStream {
  readonly framing: RamFraming;
  readonly blocks: readonly IndexedBlock[];
  /** Of the configuration, where there is one. */
  readonly machine: string | undefined;
  /** Number of device bodies. */
  readonly devices: number;
  /** The description is there. */
  readonly described: boolean;
  /** The end mark was seen. */
  readonly eof: boolean;
  /** The pass ended at a fault. */
  readonly fault: boolean;
  /** An END part of ram was seen. */
  readonly ramEnd: boolean;
  /** RAM_SAVE_FLAG_MULTIFD_FLUSH was seen. */
  readonly flush: boolean;
  /** Channels of multifd were given beside the main one. */
  readonly multifdChannels: boolean;
  /** RAM_DISCARD was seen. */
  readonly discarded: boolean;
  /** Postcopy's commands were seen. */
  readonly postcopy: boolean;
  readonly dataPages: number;
  readonly pageRecords: number;
  /** Sections beyond the limits of the list. */
  readonly unlisted: number;
}

/** Before machine type 8.1 multifd leaves no mark: then all that can be seen is that pages are missing and no data came. */
export function ramFormatOf(seen: SeenStream): StreamIndex["ramFormat"] {
  const { framing, blocks } = seen;
  if (!blocks.length) return null;
  if (framing.mappedRam) return "mapped-ram";
  if (seen.flush || seen.multifdChannels) return "multifd";
  const missing = blocks.some(({ pages }) => pages.sentPages < pages.pages);
  return missing && wentBeside(seen) ? "multifd" : "stream";
}

/** Whether pages that are missing on a main channel went over multifd channels. */
export function wentBeside(
  seen: Pick<SeenStream, "framing" | "flush" | "ramEnd" | "dataPages" | "pageRecords" | "machine">,
): boolean {
  if (seen.flush) return true;
  if (!seen.ramEnd || seen.framing.ignoreShared || seen.dataPages > 0) return false;
  return seen.pageRecords === 0 || flushesAfterSections(seen.machine);
}

/** Machine types up to 8.0 (property multifd-flush-after-each-section), and those whose name has no version. */
function flushesAfterSections(machine = ""): boolean {
  const version = /-(\d+)\.(\d+)$/.exec(machine);
  return !version || Number(version[1]) < 8 || (version[1] === "8" && version[2] === "0");
}

/** What is odd about the whole, each a sentence. */
export function* oddities(seen: SeenStream): Generator<string> {
  const { framing, blocks, eof, ramEnd } = seen;
  const format = ramFormatOf(seen);
  if (seen.unlisted > 0) yield `${seen.unlisted} more sections are not listed`;
  if (format === "multifd" && !seen.multifdChannels) {
    yield "pages are on multifd channels, which this file does not hold: content of RAM is not known (multifd)";
  }
  if (!seen.described && seen.devices > 0 && (eof || !seen.fault)) {
    yield "no description: fields of devices cannot be decoded";
  }
  if (eof && blocks.length > 0 && !ramEnd && !seen.postcopy) {
    yield "ram has no END part: a background snapshot, or a save that was not finished";
  }
  if (format === "mapped-ram" && !ramEnd && blocks.every(({ bitmap }) => !bitmap?.some((byte) => byte !== 0))) {
    yield "bitmaps of mapped-ram are all zero: they are written when ram ends, so pages that are in the file count as zero";
  }
  if (format !== "stream") return;
  for (const { entry, pages } of framing.ignoreShared ? blocks : []) {
    if (pages.sentPages > 0 || pages.pages === 0) continue;
    yield `block ${entry.idstr} is not in this file: it is shared memory, kept by a file of its own (x-ignore-shared)`;
  }
  const missing = blocks.reduce((sum, { pages }) => sum + pages.pages - pages.sentPages, 0);
  if (!seen.discarded || missing === 0) return;
  yield eof
    ? `${missing} pages are not on this channel: postcopy-preempt sends them on one of its own`
    : `${missing} pages are missing: postcopy had not ended`;
}
