/**
 * mapped-ram: every page has a fixed place in the migration file.
 *
 *     block list entry = str8 name, u64 length, header(28), bitmap, gap, pages area of `length` bytes
 *
 * Non-zero pages are written at `pages_offset + offset`, straight from guest memory; zero pages are not written at all and
 * their bit stays clear. Bitmaps go out when RAM is complete. Needs a channel that can seek.
 * Layout: stream/mapped_ram.ts. Source: QEMU migration/ram.c mapped_ram_setup_ramblock, ram_save_file_bmap.
 * @module
 */
import type { Plugin, RamSaveContext, RamStrategy } from "../core/plugin.ts";
import { type RamBlock, SEGMENT } from "../guest/memory.ts";
import { ZeroScanner } from "../guest/zero.ts";
import { encodeMappedHeader, layoutMappedBlock } from "../stream/mapped_ram.ts";
import type { MappedRamHeader } from "../stream/records.ts";

interface MappedBlock {
  readonly header: MappedRamHeader;
  readonly bitmap: Uint8Array<ArrayBuffer>;
}

/** Layout and bitmaps of one save, from its first block to `complete`. */
const saves = new WeakMap<RamSaveContext, Map<RamBlock, MappedBlock>>();

const strategy: RamStrategy = {
  capability: "mapped-ram",
  needsSeekable: true,

  async setupBlock(context, block) {
    const { writer, pageSize } = context;
    let blocks = saves.get(context);
    if (!blocks) saves.set(context, blocks = new Map());
    const header = layoutMappedBlock(writer.offset, block.usedLength, pageSize);
    encodeMappedHeader(writer, header);
    blocks.set(block, { header, bitmap: new Uint8Array(header.bitmapBytes) });
    await writer.seek(header.pagesOffset + block.usedLength);
  },

  saveRange(context, { block, offset, length }) {
    const { channel, counters, pageSize } = context;
    const { header, bitmap } = saves.get(context)!.get(block)!;
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
      while (page < pages && (!scanner || scanner.flags[page])) {
        bitmap[(first + page) >> 3] |= 1 << ((first + page) & 7);
        page++;
      }
      channel.writeAt!(
        view.subarray(begin * pageSize, page * pageSize),
        header.pagesOffset + offset + begin * pageSize,
      );
    }
    context.sent(normal * pageSize);
    context.beside(normal * pageSize);
  },

  complete(context) {
    for (const { header, bitmap } of saves.get(context)!.values()) {
      context.channel.writeAt!(bitmap, header.bitmapOffset);
      context.sent(bitmap.length);
      context.beside(bitmap.length);
    }
  },
};

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
