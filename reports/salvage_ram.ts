/**
 * Recovered pages into one raw file a block, with an account of which came and which did not.
 * @module
 */
import { Buffer } from "node:buffer";
import type { Breath } from "../containers/breath.ts";
import { StoredRam } from "../containers/stored_ram.ts";
import { isZero } from "../guest/zero.ts";
import type { ByteSource } from "../stream/channel.ts";
import { StreamError } from "../stream/errors.ts";
import type { Tables } from "../stream/tables.ts";
import { BlockFile, type SalvagedBlock } from "./salvage_file.ts";
import type { MappedBlock } from "./salvage_mapped.ts";
import { type Pieces, UNKNOWN_LENGTH } from "./salvage_pieces.ts";

export type { SalvagedBlock } from "./salvage_file.ts";

/** Bytes read at once. */
const STEP = 1 << 20;
/** Blocks longer than this are not believed: 16 TiB. */
const LENGTH_LIMIT = 2 ** 44;

/** Where files go, and how they are named in the report. */
export interface SalvageTarget {
  /** A new name for a block's or device's file: relative to the directory. */
  readonly fileFor: (name: string) => string;
  readonly pathOf: (file: string) => string;
}

/**
 * Write the blocks of a sequential stream: each piece over those before it.
 * @param absent the stream is whole: pages that never came were not meant to
 */
export async function salvagePages(
  found: Pieces,
  tables: Partial<Tables>,
  target: SalvageTarget,
  absent: boolean,
  breath: Breath,
): Promise<SalvagedBlock[]> {
  const rams = found.pieces.map(({ index, source }) => new StoredRam(source, index, tables));
  const blocks: SalvagedBlock[] = [];
  for (const [id, known] of found.blocks) {
    const bytes = known < UNKNOWN_LENGTH ? known : lastByte(found, id);
    if (bytes === 0 || bytes > LENGTH_LIMIT) continue;
    const file = target.fileFor(id);
    using out = new BlockFile(id, file, target.pathOf(file), bytes, known < UNKNOWN_LENGTH, found.pageSize);
    for (let i = 0; i < rams.length; i++) await overlay(rams[i], found.pieces[i], i > 0, id, out, breath);
    for (const { block, pageOffset } of found.falsePages) if (block === id) out.doubt(pageOffset / found.pageSize);
    blocks.push(out.finish(absent));
  }
  return blocks;
}

/** Behind the last page that was sent of a block. */
function lastByte({ pieces, pageSize }: Pieces, id: string): number {
  const indexed = pieces.map(({ index }) => index.blocks.find(({ entry }) => entry.idstr === id));
  return Math.max(0, ...indexed.map((block) => (block?.pages.sentEnd ?? 0) * pageSize));
}

async function overlay(
  ram: StoredRam,
  piece: Pieces["pieces"][number],
  later: boolean,
  id: string,
  out: BlockFile,
  breath: Breath,
): Promise<void> {
  const block = ram.block(id);
  const pages = piece.index.blocks.find(({ entry }) => entry.idstr === id)?.pages;
  if (!block || !pages || pages.sentPages === 0) return;
  const { pageBytes } = out;
  const inferred = piece.inferred === id, doubtful = inferred && piece.doubtful === true;
  const buffer = new Uint8Array(STEP);
  const stop = Math.min(block.bytes, out.bytes);
  for (let at = 0; at < stop;) {
    const run = ram.run(block, at);
    const end = Math.min(at + Math.abs(run), stop);
    if (run < 0) {
      for (let page = at / pageBytes; page < end / pageBytes; page++) {
        if (pages.isSent(page)) out.zero(page, doubtful, inferred);
      }
      at = end;
    }
    while (at < end) {
      const n = Math.min(STEP, end - at);
      const view = buffer.subarray(0, n);
      copyPages(ram, id, at, view, out, (page) => doubtful || (later && pages.code(page) < 0), inferred);
      at += n;
      const pause = breath.taken(n);
      if (pause) await pause;
    }
  }
}

/** A range at once; where part of it cannot be had, page by page. */
function copyPages(
  ram: StoredRam,
  id: string,
  offset: number,
  view: Uint8Array,
  out: BlockFile,
  uncertain: (page: number) => boolean,
  inferred: boolean,
): void {
  const { pageBytes } = out;
  try {
    ram.readRange(id, offset, view);
    return out.data(view, offset, uncertain, inferred);
  } catch (error) {
    if (!(error instanceof StreamError)) throw error;
  }
  for (let at = 0; at < view.length; at += pageBytes) {
    const page = view.subarray(at, at + pageBytes);
    try {
      ram.readRange(id, offset + at, page);
      out.data(page, offset + at, uncertain, inferred);
    } catch (error) {
      if (!(error instanceof StreamError)) throw error;
    }
  }
}

/** Write the blocks of a mapped-ram file. @param finished bitmaps say which pages are data */
export async function salvageMapped(
  source: ByteSource,
  blocks: readonly MappedBlock[],
  finished: boolean,
  target: SalvageTarget,
  breath: Breath,
): Promise<SalvagedBlock[]> {
  const size = source.size!();
  const buffer = Buffer.alloc(STEP);
  const salvaged: SalvagedBlock[] = [];
  for (const { id, bytes, pageBytes, pagesOffset, bitmap } of blocks) {
    if (bytes > LENGTH_LIMIT) continue;
    const file = target.fileFor(id);
    using out = new BlockFile(id, file, target.pathOf(file), bytes, true, pageBytes);
    const trusted = finished ? bitmap : undefined;
    // beyond the end of the file there is nothing to read; clear bits are zero all the same
    const there = Math.max(0, Math.min(bytes, size - pagesOffset));
    const isData = (page: number, view: Uint8Array) => {
      return trusted ? ((trusted[page >> 3] >> (page & 7)) & 1) === 1 : !isZero(view);
    };
    for (let at = 0; at < bytes;) {
      const n = Math.min(STEP, bytes - at);
      if (at < there) source.readAt!(buffer.subarray(0, n), pagesOffset + at);
      let from = -1; // where a run of data pages in the buffer begins
      for (let i = 0; i <= n; i += pageBytes) {
        const data = i < n && at + i + pageBytes <= there &&
          isData((at + i) / pageBytes, buffer.subarray(i, i + pageBytes));
        if (data && from < 0) from = i;
        if (!data && from >= 0) {
          out.data(buffer.subarray(from, i), at + from, () => !trusted);
          from = -1;
        }
        if (i < n && trusted && !isData((at + i) / pageBytes, buffer)) out.zero((at + i) / pageBytes);
      }
      at += n;
      const pause = breath.taken(n);
      if (pause) await pause;
    }
    salvaged.push(out.finish(false));
  }
  return salvaged;
}
