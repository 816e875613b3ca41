/**
 * multifd: several channels in parallel. With mapped-ram all of them write one file; over sockets each carries packets,
 * whose pages may be compressed (multifd-compression). What is done here is the way over sockets; files are mapped-ram's.
 *
 *     main        START block list, FLUSH, EOS | { PART EOS } | END FLUSH, EOS    FLUSH: RAM record 0x200
 *     channel k   init          SYNC           |  packets     |     SYNC
 *
 * Machine types up to 8.0, and `-global migration.multifd-flush-after-each-section=on`, have no FLUSH: a SYNC packet belongs
 * to every EOS. Zero pages are listed in the packets, or with
 * zero-page-detection=legacy they are ZERO records of the main channel.
 * Source: QEMU migration/multifd-nocomp.c multifd_ram_flush_and_sync, migration/ram.c, migration/options.c.
 * @module
 */
import { MultifdSender } from "../core/multifd_sender.ts";
import { putZeroPages } from "../core/plain_pages.ts";
import type { PageRange, Plugin, RamSaveContext, RamStrategy } from "../core/plugin.ts";
import { SEGMENT } from "../guest/memory.ts";
import { ZeroScanner } from "../guest/zero.ts";
import { RAM_SAVE_FLAG_MULTIFD_FLUSH } from "../stream/constants.ts";
import { TransportError } from "../stream/errors.ts";

const COMPRESSIONS = ["none", "zlib", "zstd"];

/** Newest machine type that has no FLUSH, as major * 100 + minor. */
const FLUSHES_AFTER_SECTIONS = 800;

interface Sending {
  readonly sender: MultifdSender;
  /** A SYNC packet for every EOS. */
  readonly afterSections: boolean;
}

const sendings = new WeakMap<RamSaveContext, Sending>();

const strategy: RamStrategy = {
  capability: "multifd",
  unless: "mapped-ram",

  async setupEnd(context) {
    const { channels, guest, pageSize, parameter, tables, counters, beside } = context;
    if (!channels.length) throw new TransportError("multifd needs an address that can be connected to several times");
    const compression = parameter("multifd-compression");
    const codec = Object.values(tables.multifd ?? {}).find(({ name }) => name === compression);
    const { uuid, machine } = guest.configuration;
    const afterSections = guest.globals.multifdFlushAfterEachSection ?? flushesAfterSections(machine);
    const book = (bytes: number) => {
      counters.multifdBytes += bytes;
      beside(bytes);
    };
    const sender = new MultifdSender({ channels, pageSize, uuid, codec, parameter, book });
    sendings.set(context, { sender, afterSections });
    sender.start();
    if (!afterSections) await flush(context, sender);
  },

  async sectionEnd(context) {
    const { sender, afterSections } = sendings.get(context)!;
    if (!afterSections) return;
    await sender.sync();
    // the channels may not go on before the destination has read the EOS
    await context.writer.flush();
  },

  async saveRange(context, range) {
    const { sender } = sendings.get(context)!;
    const { pageSize, parameter, detectZero, counters } = context;
    const legacy = parameter("zero-page-detection") === "legacy";
    if (legacy) await context.writer.room(range.length / pageSize * 9 + 300);
    const step = sender.pagesPerPacket * pageSize;
    for (let done = 0; done < range.length; done += step) {
      const ready = sender.ready();
      if (ready) await ready;
      const part = { ...range, offset: range.offset + done, length: Math.min(step, range.length - done) };
      send(context, sender, part, detectZero, legacy);
    }
    counters.channels = sender.counters();
  },

  async complete(context) {
    const { sender, afterSections } = sendings.get(context)!;
    if (!afterSections) await flush(context, sender);
    context.counters.channels = sender.counters();
  },

  close(context) {
    sendings.get(context)?.sender.close();
    sendings.delete(context);
  },
};

/** Whether a machine type is too old for FLUSH. */
function flushesAfterSections(machine: string): boolean {
  const [, major, minor] = /-(\d+)\.(\d+)$/.exec(machine) ?? [];
  return major !== undefined && Number(major) * 100 + Number(minor) <= FLUSHES_AFTER_SECTIONS;
}

/** A SYNC packet on every channel and its mark on the main one. */
async function flush({ writer }: RamSaveContext, sender: MultifdSender): Promise<void> {
  await sender.sync();
  await writer.room(8);
  writer.u64(RAM_SAVE_FLAG_MULTIFD_FLUSH);
}

/** One packet's worth of pages. A channel is free. */
function send(
  context: RamSaveContext,
  sender: MultifdSender,
  part: PageRange,
  detectZero: boolean,
  legacy: boolean,
): void {
  const { pageSize, counters } = context;
  const { block, offset, length } = part;
  const pages = length / pageSize;
  const untouched = block.isUntouched(offset);
  const memory = detectZero && !untouched ? block.segments[Math.floor(offset / SEGMENT)] : null;
  const scanner = memory ? ZeroScanner.of(memory) : undefined;
  const normal = scanner ? scanner.scan(offset % SEGMENT, pages, pageSize) : detectZero ? 0 : pages;
  const flags = normal > 0 && normal < pages ? scanner!.flags : undefined;
  counters.normal += normal;
  if (!legacy) {
    counters.duplicate += pages - normal;
    return sender.pages(block, offset, pages, flags, normal === 0);
  }
  if (normal < pages) putZeroPages(context, part, flags);
  if (normal > 0) sender.pages(block, offset, pages, flags, false, true);
}

/** Several channels in parallel. */
export const multifd: Plugin = Object.freeze<Plugin>({
  name: "multifd",
  help: "several channels in parallel",
  capabilities: [{
    name: "multifd",
    ordinal: 10,
    help: "Use several channels in parallel",
    since: "4.0",
    rules: [
      {
        order: 11,
        check: ({ on, was, listening }) =>
          on("multifd") && !was("multifd") && listening ? "Multifd must be set before incoming starts" : undefined,
      },
      {
        order: 15,
        check: ({ on }) => on("multifd") && on("xbzrle") ? "Multifd is not compatible with xbzrle" : undefined,
      },
    ],
  }],
  parameters: [
    {
      name: "multifd-channels",
      ordinal: 15,
      help: "Number of extra channels",
      type: "uint8",
      default: 2,
      order: 6,
      check: (value: number) =>
        value < 1 ? "Parameter 'multifd_channels' expects a value between 1 and 255" : undefined,
    },
    {
      name: "multifd-compression",
      ordinal: 19,
      help: "How pages are compressed on multifd channels",
      type: "enum",
      values: COMPRESSIONS,
      default: "none",
    },
    {
      name: "multifd-zlib-level",
      ordinal: 20,
      help: "zlib level of multifd channels",
      type: "uint8",
      default: 1,
      hidden: true,
      order: 7,
      check: (value: number) =>
        value > 9 ? "Parameter 'multifd_zlib_level' expects a value between 0 and 9" : undefined,
    },
    {
      name: "multifd-zstd-level",
      ordinal: 21,
      help: "zstd level of multifd channels",
      type: "uint8",
      default: 1,
      hidden: true,
      order: 9,
      check: (value: number) =>
        value > 20 ? "Parameter 'multifd_zstd_level' expects a value between 0 and 20" : undefined,
    },
    {
      name: "multifd-qatzip-level",
      ordinal: 22,
      help: "qatzip level of multifd channels",
      type: "uint8",
      default: 1,
      hidden: true,
      order: 8,
      check: (value: number) =>
        value < 1 || value > 9 ? "Parameter 'multifd_qatzip_level' expects a value between 1 and 9" : undefined,
    },
  ],
  ramStrategy: strategy,
});
