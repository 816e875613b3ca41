/**
 * Reading the pages of mapped-ram blocks to where they belong: runs of set bits, by position, straight into guest memory.
 * Large guests are read by two threads that take runs off one list; with multifd by a Worker for each channel. What is small
 * is read here, as starting a Worker takes longer.
 *
 * Source: QEMU migration/ram.c read_ramblock_mapped_ram, migration/file.c multifd_file_recv_data.
 * @module
 */
import { type RamBlock, SEGMENT, SLOT } from "../guest/memory.ts";
import { TransportError } from "../stream/errors.ts";
import { nextBit } from "../stream/mapped_ram.ts";
import type { RamBlockEntry } from "../stream/records.ts";
import { addressOf } from "../threads/machine_address.ts";
import { Lane, WORTHWHILE } from "./lane.ts";
import { adviseLargePages } from "./large_pages.ts";
import { type ReadDone, type ReadJob, takeRuns } from "./lane_worker.ts";
import { canPassDescriptors } from "./scm_rights.ts";
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
  /** With multifd: further channels on the same file, which read the pages instead. */
  readonly channels?: readonly Channel[];
  readonly areas: readonly MappedArea[];
  /** Index as in the block list. */
  readonly blocks: readonly RamBlock[];
  readonly signal: AbortSignal;
  readonly progress?: (bytes: number, total: number | undefined) => void;
}

/** Milliseconds of work after which the event loop gets its turn. */
const BREATH_MS = 15;

/** Bytes of guest memory that get large pages together. */
const STRETCH = 8 << 20;

/** Runs as lane_worker.ts takes them, and to which block each belongs. */
class RunList {
  readonly memories: WebAssembly.Memory[] = [];
  readonly #numbers: number[] = [];
  readonly #blocks: RamBlock[] = [];
  /** Bytes to come into each stretch of a memory: index and stretch number -> bytes. */
  readonly #filled = new Map<number, number>();
  bytes = 0;

  add(block: RamBlock, offset: number, length: number, position: number): void {
    block.writable(offset, length);
    const memory = block.segments[Math.floor(offset / SEGMENT)]!;
    let index = this.memories.lastIndexOf(memory);
    if (index < 0) index = this.memories.push(memory) - 1;
    this.#numbers.push(index, offset % SEGMENT, length, position);
    this.#blocks.push(block);
    this.bytes += length;
    const stretch = index * (SEGMENT / STRETCH) + Math.floor(offset % SEGMENT / STRETCH);
    this.#filled.set(stretch, (this.#filled.get(stretch) ?? 0) + length);
  }

  /** Ask for large pages where at least half of a stretch will be filled. */
  adviseLargePages(): void {
    const views = this.memories.map((memory) => new Uint8Array(memory.buffer as ArrayBuffer));
    for (const [stretch, bytes] of this.#filled) {
      if (bytes < STRETCH / 2) continue;
      const from = stretch % (SEGMENT / STRETCH) * STRETCH;
      adviseLargePages(views[Math.floor(stretch / (SEGMENT / STRETCH))], from, from + STRETCH);
    }
  }

  shared(): SharedArrayBuffer {
    const runs = new SharedArrayBuffer(this.#numbers.length * 8);
    new Float64Array(runs).set(this.#numbers);
    return runs;
  }

  /**
   * QEMU's words for a run that ended early; its hex numbers are glued to the words around them. What it has for a further
   * channel it never gets to say, as it ends itself (migration/file.c multifd_file_recv_data).
   */
  shortRead(run: number, got: number, channel?: number): TransportError {
    const [, at, length, position] = this.#numbers.slice(run * 4, run * 4 + 4);
    if (channel !== undefined) {
      const hex = (bytes: number) => "0x" + bytes.toString(16);
      return new TransportError(`multifd recv (${channel}): read ${hex(got)}, expected ${hex(length)}`);
    }
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
export async function readMappedPages(load: MappedLoad): Promise<void> {
  const list = listRuns(load.areas, load.blocks);
  if (list.bytes >= WORTHWHILE) list.adviseLargePages();
  const cursor = new SharedArrayBuffer(8);
  const job = { memories: list.memories, runs: list.shared(), cursor };
  const done = load.channels?.length
    ? await readThrough(load.channels, job, list.bytes, load)
    : await readHere(job, list.bytes, load);
  const { noun } = load.channel;
  if (done.run !== undefined) throw list.shortRead(done.run, done.got!, done.channel);
  if (done.error) throw new TransportError(`Unable to read from ${noun}: ${done.error}`);
}

interface Job extends Pick<ReadJob, "runs" | "cursor"> {
  readonly memories: readonly WebAssembly.Memory[];
}

/** What a Worker is told: addresses of memories that are held here, where it can use them. */
function posted({ memories, runs, cursor }: Job): Pick<ReadJob, "memories" | "runs" | "cursor"> {
  const byAddress = canPassDescriptors();
  return {
    memories: byAddress ? memories.map(({ buffer }) => addressOf(new Uint8Array(buffer as ArrayBuffer))) : memories,
    runs,
    cursor,
  };
}

/** Read with this thread, and with a second one where that is worth its start. */
async function readHere(job: Job, bytes: number, load: MappedLoad): Promise<ReadDone> {
  const { channel } = load;
  const lane = channel.file && bytes >= WORTHWHILE ? Lane.start() : undefined;
  try {
    const beside = lane?.read({ path: channel.file!.path, ...posted(job) });
    const own = await readOn(channel, job, load);
    const other = isFault(own) ? undefined : await beside;
    return other && !other.refused ? other : own;
  } finally {
    lane?.close();
  }
}

/** With multifd: a Worker for each further channel, with the flags it was opened with. This thread helps until they read. */
async function readThrough(
  channels: readonly Channel[],
  job: Job,
  bytes: number,
  load: MappedLoad,
): Promise<ReadDone> {
  if (bytes < WORTHWHILE) return { ...await readOn(channels[0], job, load), channel: 0 };
  const lanes: Lane[] = [];
  try {
    const reading: Promise<ReadDone>[] = [];
    for (const [id, { file }] of channels.entries()) {
      const lane = file && Lane.start();
      if (!lane) break;
      lanes.push(lane);
      reading.push(lane.read({ ...file, ...posted(job) }).then((done) => ({ ...done, channel: id })));
    }
    const begun = new Int32Array(job.cursor);
    const own = await readOn(channels[0], job, load, () => Atomics.load(begun, 1) < lanes.length);
    if (isFault(own)) return { ...own, channel: 0 };
    const watch = watching(job, load);
    const results = await Promise.all(reading).finally(() => watch.end());
    load.signal.throwIfAborted();
    const fault = results.find((done) => isFault(done) && !done.refused);
    if (fault) return fault;
    // where Workers are not allowed, or may not open what this thread has open, it reads itself
    return await readOn(channels[0], job, load);
  } finally {
    for (const lane of lanes) lane.close();
  }
}

function isFault({ run, error }: ReadDone): boolean {
  return run !== undefined || error !== undefined;
}

/** Take runs until there are none or the help is not wanted any more, with a breath now and then. */
async function readOn(
  channel: Channel,
  job: Job,
  { signal, progress }: MappedLoad,
  wanted: () => boolean = () => true,
): Promise<ReadDone> {
  const views = job.memories.map((memory) => new Uint8Array(memory.buffer));
  const own = takeRuns(job, (memory, at, length, position) => {
    return channel.readAt!(views[memory].subarray(at, at + length), position);
  });
  let last = performance.now();
  for (;;) {
    if (!wanted()) return {};
    const step = own.next();
    if (step.done) return step.value;
    if (performance.now() - last < BREATH_MS) continue;
    progress?.(step.value, channel.size?.());
    await new Promise((resolve) => setTimeout(resolve, 0));
    signal.throwIfAborted();
    last = performance.now();
  }
}

/** Tell how far others are, and let them find nothing more to do when the load is given up. */
function watching({ runs, cursor }: Job, { channel, signal, progress }: MappedLoad): { end(): void } {
  const numbers = new Float64Array(runs), taken = new Int32Array(cursor);
  const count = numbers.length / 4;
  const timer = setInterval(() => {
    if (signal.aborted) Atomics.store(taken, 0, count);
    const run = Math.min(Atomics.load(taken, 0), count) - 1;
    if (run >= 0) progress?.(numbers[run * 4 + 3] + numbers[run * 4 + 2], channel.size?.());
  }, BREATH_MS);
  return { end: () => clearInterval(timer) };
}
