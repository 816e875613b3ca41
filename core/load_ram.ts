/**
 * RAM of a stream that is being loaded: its block list, then pages that land where they belong as they come; the last copy
 * of a page wins.
 *
 *     plain pages      copied by the decoder's reader, or read straight from the file (scatter_read.ts)
 *     mapped-ram       read at the end of the list, by position (mapped_load.ts)
 *     multifd packets  read by channels of their own, waited for at marks (multifd_receiver.ts)
 *
 * Source: QEMU migration/ram.c ram_load_setup, parse_ramblocks, ram_load_precopy.
 * @module
 */
import { type GuestBuilder, matchBlocks } from "../guest/adopt.ts";
import { type RamBlock, SLOT } from "../guest/memory.ts";
import * as C from "../stream/constants.ts";
import { parseDiscard } from "../stream/commands.ts";
import type { StreamDecoder } from "../stream/decode.ts";
import { hex, StreamError, UnsupportedError } from "../stream/errors.ts";
import { endsInRow } from "../stream/page_row.ts";
import type {
  MappedBitmapRecord,
  RamBlockEntry,
  RamMarkRecord,
  RamPagesRecord,
  SectionRecord,
} from "../stream/records.ts";
import { Arrivals } from "./arrivals.ts";
import type { LoadRequest } from "./dataplane.ts";
import { Lane, TouchAhead, WORTHWHILE } from "./lane.ts";
import { unsupported } from "./load_faults.ts";
import { type MappedArea, readMappedPages } from "./mapped_load.ts";
import { MultifdReceiver } from "./multifd_receiver.ts";
import { HEAD } from "../threads/record_head.ts";
import { ScatterRead } from "./scatter_read.ts";

/** What a load's RAM needs of the load. */
export interface RamLoadOwner {
  readonly request: LoadRequest;
  readonly decoder: StreamDecoder;
  readonly builder: GuestBuilder;
  /** Called often; a promise when it is time to let others run. `position` is how far the file was read. */
  breathe(position: number): Promise<void> | undefined;
}

/** See the module. */
export class RamLoad {
  readonly #owner: RamLoadOwner;
  readonly #entries: RamBlockEntry[] = [];
  readonly #mapped: MappedArea[] = [];
  #blocks?: RamBlock[];
  #section?: SectionRecord;
  #pages = 0;
  #normalPages = 0;
  #ahead?: TouchAhead;
  #scatter?: ScatterRead;
  /** Of a sequential stream whose pages all come on this channel. */
  #arrivals?: Arrivals;
  #discarded = false;
  #multifd?: MultifdReceiver;
  #flushSeen = false;

  constructor(owner: RamLoadOwner) {
    this.#owner = owner;
  }

  /** Bytes read by further channels. */
  get furtherBytes(): number {
    return this.#multifd?.bytes ?? 0;
  }

  /** Why a further channel ended the load. */
  get channelFailure(): Error | undefined {
    return this.#multifd?.failure;
  }

  /** A section of RAM begins. */
  begin(section: SectionRecord): void {
    this.#section = section;
  }

  /** One block of the list. */
  listed(entry: RamBlockEntry): void {
    this.#entries.push(entry);
  }

  /** A block's bitmap; its bytes are copied. */
  bitmap({ block, index, bitmap }: MappedBitmapRecord): void {
    this.#mapped.push({ entry: block, index, bitmap: bitmap.slice() });
  }

  /** The list is complete: make (or compare) the blocks. */
  #open(): RamBlock[] {
    if (this.#blocks) return this.#blocks;
    const { request: { expect }, decoder, builder } = this.#owner;
    const mappedRam = this.#mapped.length > 0;
    const refused = expect && matchBlocks(expect, this.#entries, { mappedRam });
    if (refused) {
      throw new StreamError("Cannot accept RAM block list", {
        channel: decoder.reader.source.name,
        offset: this.#section!.offset,
        found: "blocks of another machine",
        expected: `those of ${expect.configuration.machine}`,
        qemu: [refused],
      });
    }
    const { framing } = decoder.ram;
    const memory = builder.setBlocks(
      this.#entries.map(({ idstr, usedLength, pageSize, address }) => ({
        idstr,
        usedLength,
        ...(pageSize !== undefined ? { pageSize } : {}),
        ...(address !== undefined ? { address } : {}),
      })),
      framing.pageSize,
      this.#section?.sectionId ?? 0,
    );
    this.#blocks = this.#entries.map(({ idstr }) => memory.block(idstr)!);
    if (!mappedRam && !framing.ignoreShared && !this.#packets) {
      this.#arrivals = new Arrivals(this.#blocks, framing.pageSize);
    }
    return this.#blocks;
  }

  /** Apply a run of page records. Not async: most wait for nothing. */
  pages(record: RamPagesRecord): void | Promise<void> {
    const blocks = this.#open();
    const { count, bytes, dataAt, pageOffset, flags, dataLength, pageSize } = record;
    this.#pages += count;
    const arrivals = this.#arrivals;
    for (let i = 0; i < count; i++) {
      const block = blocks[record.block[i]];
      const flag = flags[i];
      arrivals?.mark(record.block[i], Math.floor(pageOffset[i] / pageSize));
      if (flag & C.RAM_SAVE_FLAG_PAGE) {
        this.#normalPages++;
        block.land(pageOffset[i], bytes, dataAt[i], pageSize);
        if (pageOffset[i] % SLOT === 0) this.#ahead?.wrote(block, pageOffset[i]);
      } else if (flag & C.RAM_SAVE_FLAG_ZERO) {
        if (!block.isUntouched(pageOffset[i])) block.zero(pageOffset[i], pageSize);
      } else this.#codecPage(record, i, block, flag, bytes.subarray(dataAt[i], dataAt[i] + dataLength[i]));
    }
    if (this.#scatter && endsInRow(record)) {
      return this.#follow(record.block[count - 1], pageOffset[count - 1] + pageSize, pageSize);
    }
  }

  /** Pages came in a row: take those that follow straight from the file, until the row ends. */
  async #follow(index: number, offset: number, pageSize: number): Promise<void> {
    const { decoder: { reader }, breathe } = this.#owner;
    const begin = reader.offset;
    const good = await this.#scatter!.follow(this.#blocks![index], offset, begin, pageSize, breathe);
    this.#pages += good;
    this.#normalPages += good;
    this.#arrivals?.markRow(index, offset / pageSize, good);
    if (good > 0) reader.seek(begin + good * (HEAD + pageSize));
  }

  /** A page that is not plain: its plugin knows. */
  #codecPage(record: RamPagesRecord, i: number, block: RamBlock, flag: number, payload: Uint8Array): void {
    const kind = flag & ~C.RAM_SAVE_FLAG_CONTINUE;
    const codec = this.#owner.request.tables.ramFlags[kind];
    const offset = record.offset + record.at[i];
    const { channel, pageOffset, pageSize } = record;
    const action = `Cannot place page ${hex(pageOffset[i])} of ${block.idstr}`;
    if (!codec) {
      throw new UnsupportedError(action, {
        channel,
        offset,
        found: `flags ${hex(kind)}`,
        expected: "a page, or a plugin that owns the flag",
        feature: kind === C.RAM_SAVE_FLAG_XBZRLE ? "xbzrle" : hex(kind),
      });
    }
    const refused = codec.apply(block.writable(pageOffset[i], pageSize), payload);
    if (refused) {
      throw new StreamError(action, {
        channel,
        offset,
        found: `a malformed ${codec.feature} record`,
        expected: "one that stays inside the page",
        qemu: [refused, `Failed to decompress XBZRLE page at ${pageOffset[i].toString(16)}`],
      });
    }
  }

  /** A flag without a page: the end of a section, or a point at which all channels meet. */
  mark(record: RamMarkRecord): void | Promise<void> {
    const { flags } = record;
    if (flags & C.RAM_SAVE_FLAG_MULTIFD_FLUSH) {
      if (!this.#packets) {
        unsupported(record, "multifd", "pages are in the multifd channels, which this channel does not carry");
      }
      this.#flushSeen = true;
      return this.#sync();
    }
    if (!(flags & C.RAM_SAVE_FLAG_EOS)) return;
    // machine types up to 8.0 have no marks of their own: each end of a section is one
    const synced = this.#packets && !this.#flushSeen ? this.#sync() : undefined;
    return synced ? synced.then(() => this.#end(record)) : this.#end(record);
  }

  #end(record: RamMarkRecord): void | Promise<void> {
    const { type } = this.#section!;
    if (type === "start" || type === "full") {
      const blocks = this.#open();
      if (!this.#mapped.length) return this.#touchAhead();
      const { channel, channels, signal, progress } = this.#owner.request;
      return readMappedPages({ channel, channels, areas: this.#mapped, blocks, signal, progress });
    }
    if (type === "end" && this.#pages === 0 && !this.#mapped.length && this.#entries.length && !this.#multifd) {
      const shared = this.#owner.decoder.ram.framing.ignoreShared;
      if (!shared) unsupported(record, "multifd", "the main channel carries no page at all");
    }
  }

  /** Further channels carry packets. With mapped-ram they read the file. */
  get #packets(): boolean {
    const { decoder, request } = this.#owner;
    return !decoder.ram.framing.mappedRam && (request.channels?.length ?? 0) > 0;
  }

  #touchAhead(): void {
    const total = this.#entries.reduce((sum, entry) => sum + entry.usedLength, 0);
    const threads = this.#packets && this.#owner.request.channels!.every(({ lendSocket }) => lendSocket);
    if (total < WORTHWHILE || this.#ahead || threads) return;
    const lane = Lane.start();
    this.#ahead = new TouchAhead(lane);
    const { channel } = this.#owner.request;
    if (channel.file && channel.readAt && !this.#packets) this.#scatter = ScatterRead.open(channel.file.path, lane);
  }

  /** Wait at a mark for the multifd channels; at the first one they begin. */
  #sync(): Promise<void> {
    if (!this.#multifd) {
      const { channel, channels, threads, parameter, tables } = this.#owner.request;
      const blocks = this.#open();
      const compression = parameter("multifd-compression");
      this.#touchAhead();
      this.#multifd = new MultifdReceiver({
        channels: channels!,
        block: (idstr) => blocks.find((block) => block.idstr === idstr),
        blocks,
        threads,
        pageSize: this.#owner.decoder.ram.framing.pageSize,
        codec: Object.values(tables.multifd ?? {}).find(({ name }) => name === compression),
        ahead: this.#ahead,
        onFailure: () => channel.abort(),
      });
      this.#multifd.start();
    }
    return this.#multifd.sync();
  }

  /** Pages were changed after they had been sent: they will come again, or are nowhere in this stream. */
  discard(payload: Uint8Array): void {
    const { idstr, ranges } = parseDiscard(payload);
    const index = this.#entries.findIndex((entry) => entry.idstr === idstr);
    if (index < 0) return;
    const block = this.#open()[index];
    const { pageSize } = this.#owner.decoder.ram.framing;
    this.#discarded = true;
    for (const { start, length } of ranges) {
      const bytes = Math.min(length, block.usedLength - start);
      if (!(bytes > 0)) continue;
      block.zero(start, bytes);
      this.#arrivals?.forget(index, Math.floor(start / pageSize), Math.ceil(bytes / pageSize));
    }
  }

  /**
   * At the end of the stream: are all pages here?
   * @throws {UnsupportedError} where they are on other channels
   */
  finish(): void {
    const { decoder, request } = this.#owner;
    if (this.#entries.length) this.#open();
    const missing = this.#arrivals?.missing() ?? [];
    if (missing.length === 0 || !decoder.eofSeen) return;
    const pages = missing.map(({ idstr, pages }) => `${pages} of ${idstr}`).join(", ");
    const place = { channel: decoder.reader.source.name, offset: decoder.reader.offset };
    const found = `pages that did not come on this channel (${pages})`;
    if (this.#discarded) {
      unsupported(
        place,
        "postcopy-ram",
        found,
        "all pages: postcopy had not ended, or sent them on a channel of its own",
      );
    }
    if (this.#normalPages === 0) unsupported(place, "multifd", found, "the multifd channels beside it");
    request.warn?.(
      `pages that did not come are zero: ${pages} (not plugged in, or free as the guest hinted)`,
    );
  }

  /** Workers and files are given back. Resolves when nobody writes guest memory any more. */
  async close(): Promise<void> {
    await this.#multifd?.stop();
    this.#ahead?.close();
    this.#scatter?.close();
  }
}
