/**
 * Reading the pages of mapped-ram blocks to where they belong: runs of set bits, by position, straight into guest memory.
 *
 * Source: QEMU migration/ram.c read_ramblock_mapped_ram.
 * @module
 */
import { type RamBlock, SLOT } from "../guest/memory.ts";
import { TransportError } from "../stream/errors.ts";
import { nextBit } from "../stream/mapped_ram.ts";
import type { RamBlockEntry } from "../stream/records.ts";
import type { Channel } from "./transport.ts";

/** What the block list said about one block. */
export interface MappedArea {
  readonly entry: RamBlockEntry;
  readonly index: number;
  /** A copy; bit i is page i. */
  readonly bitmap: Uint8Array;
}

/** What {@link readMappedPages} needs. */
export interface MappedLoad {
  readonly channel: Channel;
  readonly areas: readonly MappedArea[];
  /** Index as in the block list. */
  readonly blocks: readonly RamBlock[];
  readonly signal: AbortSignal;
  readonly progress?: (bytes: number, total: number | undefined) => void;
}

/** Milliseconds of work after which the event loop gets its turn. */
const BREATH_MS = 15;

/**
 * Read all pages whose bit is set. A page whose bit is clear becomes zero where something else stood before.
 * @throws {TransportError} in QEMU's words when the file gives less than it should
 */
export async function readMappedPages({ channel, areas, blocks, signal, progress }: MappedLoad): Promise<void> {
  let last = performance.now();
  for (const { entry, index, bitmap } of areas) {
    const block = blocks[index];
    const { pageSize, pagesOffset } = entry.mapped!;
    const pages = Math.ceil(entry.usedLength / pageSize);
    const perSlot = SLOT / pageSize;
    for (let page = nextBit(bitmap, 0, pages, 1); page < pages;) {
      const border = (Math.floor(page / perSlot) + 1) * perSlot;
      const end = Math.min(nextBit(bitmap, page, Math.min(pages, border), 0), border);
      const offset = page * pageSize, length = (end - page) * pageSize;
      const got = channel.readAt!(block.writable(offset, length), pagesOffset + offset);
      if (got < length) {
        throw new TransportError(
          `(${block.idstr}) failed to read page ${offset.toString(16)}from file offset ` +
            `${(pagesOffset + offset).toString(16)}: Partial read of size ${got}, expected ${length}`,
        );
      }
      page = nextBit(bitmap, end, pages, 1);
      if (performance.now() - last < BREATH_MS) continue;
      progress?.(pagesOffset + offset + length, channel.size?.());
      await new Promise((resolve) => setTimeout(resolve, 0));
      signal.throwIfAborted();
      last = performance.now();
    }
  }
}
