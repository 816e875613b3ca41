/**
 * mapped-ram: every page has a fixed place in the migration file.
 *
 *     block list entry = str8 name, u64 length, header(28), bitmap, gap, pages area of `length` bytes
 *
 * Non-zero pages are written at `pages_offset + offset`, straight from guest memory; zero pages are not written at all and
 * their bit stays clear. Bitmaps go out when RAM is complete. Needs a channel that can seek. With multifd the further
 * channels write the pages, each by a Worker; the file is the same.
 * Layout: stream/mapped_ram.ts. Source: QEMU migration/ram.c mapped_ram_setup_ramblock, ram_save_file_bmap.
 * @module
 */
import { PageWriters } from "../core/page_writers.ts";
import type { PageRange, Plugin, RamSaveContext, RamStrategy } from "../core/plugin.ts";
import { type RamBlock, SEGMENT } from "../guest/memory.ts";
import { ZeroScanner } from "../guest/zero.ts";
import { encodeMappedHeader, layoutMappedBlock } from "../stream/mapped_ram.ts";
import type { MappedRamHeader } from "../stream/records.ts";

interface MappedBlock {
  readonly index: number;
  readonly header: MappedRamHeader;
  /** Shared with Workers. */
  readonly bitmap: Uint8Array<SharedArrayBuffer>;
}

/** Layout and bitmaps of one save. */
interface MappedSave {
  readonly blocks: Map<RamBlock, MappedBlock>;
  /** With multifd: who writes. */
  writers?: PageWriters;
  /** Zero pages this thread found. */
  zero: number;
  /** Pages of the writers that were booked. */
  booked: number;
}

const saves = new WeakMap<RamSaveContext, MappedSave>();

const strategy: RamStrategy = {
  capability: "mapped-ram",
  needsSeekable: true,

  async setupBlock(context, block) {
    const { writer, pageSize } = context;
    let save = saves.get(context);
    if (!save) saves.set(context, save = { blocks: new Map(), zero: 0, booked: 0 });
    const header = layoutMappedBlock(writer.offset, block.usedLength, pageSize);
    encodeMappedHeader(writer, header);
    const bitmap = new Uint8Array(new SharedArrayBuffer(header.bitmapBytes));
    save.blocks.set(block, { index: save.blocks.size, header, bitmap });
    await writer.seek(header.pagesOffset + block.usedLength);
  },

  setupEnd(context) {
    const save = saves.get(context);
    if (!save || !context.channels.length) return;
    const memories = [...save.blocks.keys()].flatMap(({ segments }) => segments.filter((one) => one !== null));
    const bitmaps = [...save.blocks.values()].map(({ bitmap }) => bitmap.buffer);
    save.writers = new PageWriters(context.channels, memories, bitmaps);
  },

  saveRange(context, range) {
    const save = saves.get(context)!;
    return save.writers ? saveThrough(save.writers, context, save, range) : saveHere(context, save, range);
  },

  async complete(context) {
    const save = saves.get(context)!;
    if (save.writers) {
      await save.writers.drain();
      book(save.writers, context, save);
    }
    for (const { header, bitmap } of save.blocks.values()) {
      context.channel.writeAt!(bitmap, header.bitmapOffset);
      context.sent(bitmap.length);
      context.beside(bitmap.length);
    }
  },

  async close(context) {
    const save = saves.get(context);
    saves.delete(context);
    await save?.writers?.close();
  },
};

/** Write a range through the main channel. */
function saveHere(context: RamSaveContext, save: MappedSave, { block, offset, length }: PageRange): void {
  const { channel, counters, pageSize } = context;
  const { header, bitmap } = save.blocks.get(block)!;
  const pages = length / pageSize;
  const first = offset / pageSize;
  if (context.detectZero && block.isUntouched(offset)) {
    counters.duplicate += pages;
    return;
  }
  const memory = block.segments[Math.floor(offset / SEGMENT)];
  const scanner = context.detectZero && memory ? ZeroScanner.of(memory) : null;
  const normal = scanner ? scanner.scan(offset % SEGMENT, pages, pageSize) : context.detectZero ? 0 : pages;
  counters.normal += normal;
  counters.duplicate += pages - normal;
  const view = normal > 0 ? block.view(offset, length) ?? new Uint8Array(length) : null;
  for (let page = 0; view && page < pages;) {
    if (scanner && !scanner.flags[page]) {
      page++;
      continue;
    }
    const begin = page;
    while (page < pages && (!scanner || scanner.flags[page])) setBit(bitmap, first + page++);
    channel.writeAt!(
      view.subarray(begin * pageSize, page * pageSize),
      header.pagesOffset + offset + begin * pageSize,
    );
  }
  context.sent(normal * pageSize);
  context.beside(normal * pageSize);
}

/**
 * Hand a range to the channels. They look for zero pages themselves with zero-page-detection=multifd; with legacy it is
 * done here, with none by nobody.
 */
function saveThrough(
  writers: PageWriters,
  context: RamSaveContext,
  save: MappedSave,
  { block, offset, length }: PageRange,
): void | Promise<void> {
  const { pageSize, parameter, detectZero } = context;
  const { index, header, bitmap } = save.blocks.get(block)!;
  const pages = length / pageSize;
  const first = offset / pageSize;
  if (detectZero && block.isUntouched(offset)) {
    save.zero += pages;
    return book(writers, context, save);
  }
  const memory = block.isUntouched(offset) ? undefined : block.segments[Math.floor(offset / SEGMENT)] ?? undefined;
  const at = offset % SEGMENT;
  const position = header.pagesOffset + offset;
  let done: unknown;
  if (parameter("zero-page-detection") === "multifd") {
    done = writers.submit({ memory, at, length, pageSize, position, scan: true, first }, index);
  } else {
    const scanner = detectZero && memory ? ZeroScanner.of(memory) : null;
    if (scanner) save.zero += pages - scanner.scan(at, pages, pageSize);
    const flags = scanner?.flags.slice(0, pages);
    for (let page = 0; page < pages;) {
      if (flags && !flags[page]) {
        page++;
        continue;
      }
      const begin = page;
      while (page < pages && (!flags || flags[page])) setBit(bitmap, first + page++);
      const from = begin * pageSize;
      const run = { memory, at: at + from, length: page * pageSize - from, pageSize, position: position + from, first };
      const submit = () => writers.submit({ ...run, scan: false }, index);
      done = done instanceof Promise ? done.then(submit) : submit();
    }
  }
  // a share of bandwidth is measured by what has been written
  if (Number(parameter("max-bandwidth")) > 0) done = Promise.resolve(done).then(() => writers.drain());
  return done instanceof Promise ? done.then(() => book(writers, context, save)) : book(writers, context, save);
}

/** Count what the channels have written by now. */
function book(writers: PageWriters, { counters, beside, pageSize }: RamSaveContext, save: MappedSave): void {
  const { normal, zero } = writers;
  counters.normal = normal;
  counters.duplicate = save.zero + zero;
  counters.multifdBytes = normal * pageSize;
  counters.channels = writers.counters();
  beside((normal - save.booked) * pageSize);
  save.booked = normal;
}

function setBit(bitmap: Uint8Array, page: number): void {
  bitmap[page >> 3] |= 1 << (page & 7);
}

/** Pages at fixed offsets of a file. */
export const mappedRam: Plugin = {
  name: "mapped-ram",
  help: "every page has a fixed place in the migration file",
  capabilities: [{
    name: "mapped-ram",
    ordinal: 21,
    help: "Migrate using fixed offsets in the migration file for each RAM page",
    since: "9.0",
    validated: true,
    rules: [
      {
        order: 16,
        check: ({ on }) =>
          on("mapped-ram") && on("xbzrle") ? "Mapped-ram migration is incompatible with xbzrle" : undefined,
      },
      {
        order: 17,
        check: ({ on }) =>
          on("mapped-ram") && on("postcopy-ram") ? "Mapped-ram migration is incompatible with postcopy" : undefined,
      },
    ],
  }],
  parameterRules: [{
    order: 18,
    // QEMU looks at the values in force, not at the ones being set (migration/options.c migrate_params_check)
    check: ({ on, inForce }) =>
      on("mapped-ram") && (inForce("multifd-compression") !== "none" || inForce("tls-creds") !== "")
        ? "Mapped-ram only available for non-compressed non-TLS multifd migration"
        : undefined,
  }],
  ramStrategy: strategy,
};
