/**
 * Reading the pages of mapped-ram blocks to where they belong: runs of set bits, by position, straight into guest memory.
 * Large guests are read by two threads that take runs off one list.
 *
 * Source: QEMU migration/ram.c read_ramblock_mapped_ram.
 * @module
 */
import { type RamBlock, SEGMENT, SLOT } from "../guest/memory.ts";
import { TransportError } from "../stream/errors.ts";
import { nextBit } from "../stream/mapped_ram.ts";
import type { RamBlockEntry } from "../stream/records.ts";
import { errnoText } from "./errno.ts";
import { Lane, WORTHWHILE } from "./lane.ts";
import { type ReadDone, takeRuns } from "./lane_worker.ts";
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

/** Runs as lane_worker.ts takes them, and to which block each belongs. */
class RunList {
  readonly memories: WebAssembly.Memory[] = [];
  readonly #numbers: number[] = [];
  readonly #blocks: RamBlock[] = [];
  bytes = 0;

  add(block: RamBlock, offset: number, length: number, position: number): void {
    block.writable(offset, length);
    const memory = block.segments[Math.floor(offset / SEGMENT)]!;
    let index = this.memories.lastIndexOf(memory);
    if (index < 0) index = this.memories.push(memory) - 1;
    this.#numbers.push(index, offset % SEGMENT, length, position);
    this.#blocks.push(block);
    this.bytes += length;
  }

  shared(): SharedArrayBuffer {
    const runs = new SharedArrayBuffer(this.#numbers.length * 8);
    new Float64Array(runs).set(this.#numbers);
    return runs;
  }

  /** QEMU's words for a run that ended early; its hex numbers are glued to the words around them. */
  shortRead(run: number, got: number): TransportError {
    const [, at, length, position] = this.#numbers.slice(run * 4, run * 4 + 4);
    const block = this.#blocks[run];
    const segment = block.segments.indexOf(this.memories[this.#numbers[run * 4]]);
    return new TransportError(
      `(${block.idstr}) failed to read page ${(segment * SEGMENT + at).toString(16)}from file offset ` +
        `${position.toString(16)}: Partial read of size ${got}, expected ${length}`,
    );
  }
}

/** Runs of set bits, none crossing a slot, none longer than the MiB QEMU reads at once. */
function listRuns(areas: readonly MappedArea[], blocks: readonly RamBlock[]): RunList {
  const list = new RunList();
  for (const { entry, index, bitmap } of areas) {
    const { pageSize, pagesOffset } = entry.mapped!;
    const pages = Math.ceil(entry.usedLength / pageSize);
    const perSlot = SLOT / pageSize;
    for (let page = nextBit(bitmap, 0, pages, 1); page < pages;) {
      const border = Math.min(pages, (Math.floor(page / perSlot) + 1) * perSlot);
      const end = nextBit(bitmap, page, border, 0);
      const offset = page * pageSize;
      list.add(blocks[index], offset, (end - page) * pageSize, pagesOffset + offset);
      page = nextBit(bitmap, end, pages, 1);
    }
  }
  return list;
}

/**
 * Read all pages whose bit is set.
 * @throws {TransportError} in QEMU's words when the file gives less than it should
 */
export async function readMappedPages({ channel, areas, blocks, signal, progress }: MappedLoad): Promise<void> {
  const list = listRuns(areas, blocks);
  const runs = list.shared(), cursor = new SharedArrayBuffer(4);
  const { memories } = list;
  const fail = (done: ReadDone) => {
    if (done.run !== undefined) throw list.shortRead(done.run, done.got!);
    if (done.error) throw new TransportError(`Unable to read from ${channel.noun}: ${errnoText(done.error)}`);
  };
  const lane = channel.file && list.bytes >= WORTHWHILE ? Lane.start() : undefined;
  try {
    const beside = lane?.read({ path: channel.file!.path, memories, runs, cursor });
    const views = memories.map((memory) => new Uint8Array(memory.buffer));
    const own = takeRuns({ runs, cursor, views }, (view, position) => channel.readAt!(view, position));
    let last = performance.now();
    for (;;) {
      const step = own.next();
      if (step.done) {
        fail(step.value);
        break;
      }
      if (performance.now() - last < BREATH_MS) continue;
      progress?.(step.value, channel.size?.());
      await new Promise((resolve) => setTimeout(resolve, 0));
      signal.throwIfAborted();
      last = performance.now();
    }
    if (beside) fail(await beside);
  } finally {
    lane?.close();
  }
}
