/**
 * RAM as a file holds it: pages by block and offset, read where they lie, never loaded as a whole.
 *
 *     mapped-ram   pages_offset + offset where the page's bit is set, else zero
 *     stream       the index says where the last copy is; deltas are applied to what they were taken from
 *     otherwise    pages nobody sent are zero
 *
 * @module
 */
import type { ByteSource } from "../stream/channel.ts";
import { RAM_SAVE_FLAG_XBZRLE } from "../stream/constants.ts";
import { hex, MemoryFaultError, StreamError, TruncatedStreamError, UnsupportedError } from "../stream/errors.ts";
import { countBits, nextBit } from "../stream/mapped_ram.ts";
import type { Tables } from "../stream/tables.ts";
import type { FileSource } from "./file_source.ts";
import type { ImageBlock, ImageRam } from "./image_ram.ts";
import { spool } from "./sources.ts";
import type { IndexedBlock, StreamIndex } from "./index_result.ts";

/** Bytes read at once where page records stand close together. */
const SPAN = 1 << 20;
/** Most bytes between two pages that are read over: a record's head with its block name. */
const GAP = 512;

/** Pages of all blocks. */
export class StoredRam implements ImageRam {
  /** Bytes of a target page. */
  readonly pageBytes: number;
  /** Bytes of all blocks together. */
  readonly totalBytes: number;
  /** In list order. */
  readonly blocks: readonly ImageBlock[];
  #source: ByteSource;
  readonly #reopen: (() => Promise<ByteSource>) | undefined;
  #prepared: Promise<void> | undefined;
  #spooled: FileSource | undefined;
  readonly #index: StreamIndex;
  readonly #tables: Partial<Tables>;
  readonly #stored = new Map<string, IndexedBlock>();
  #span: Uint8Array | undefined;
  /** What `#span` holds of the file. */
  #spanAt = 0;
  #spanEnd = 0;
  readonly #delta: Uint8Array;

  /**
   * Pages of an indexed stream.
   * @param reopen gives the bytes once more where `source` cannot be read at any position
   */
  constructor(
    source: ByteSource,
    index: StreamIndex,
    tables: Partial<Tables>,
    reopen?: () => Promise<ByteSource>,
  ) {
    this.#source = source;
    this.#reopen = reopen;
    this.#index = index;
    this.#tables = tables;
    this.pageBytes = index.pageSize;
    this.#delta = new Uint8Array(2 + index.pageSize);
    this.blocks = index.blocks.map(describeBlock);
    this.totalBytes = this.blocks.reduce((sum, { bytes }) => sum + bytes, 0);
    for (const block of index.blocks) this.#stored.set(block.entry.idstr, block);
  }

  /** Content of pages is here: it is not on multifd channels that were not given. */
  get readable(): boolean {
    return this.#index.ramFormat !== "multifd" || this.#index.furtherChannels;
  }

  /** The block of that name, or undefined. */
  block(id: string): ImageBlock | undefined {
    return this.blocks.find((block) => block.id === id);
  }

  /**
   * Make pages readable where the file is packed: it is unpacked once more, into a temporary file. Nothing to do otherwise.
   * Wanted before {@link StoredRam.readRange}.
   */
  prepare(): Promise<void> {
    if (this.#source.readAt || !this.#reopen) return Promise.resolve();
    return this.#prepared ??= this.#reopen().then(spool).then((file) => {
      this.#source = this.#spooled = file;
    });
  }

  /** Give the temporary file back. */
  close(): void {
    this.#spooled?.close();
  }

  /**
   * The page that holds a byte.
   * @param block  block or its name
   * @param offset byte offset in the block
   * @returns a copy, the caller's own
   * @throws {MemoryFaultError} outside the block
   * @throws {TruncatedStreamError} when the file ends before the page
   * @throws {UnsupportedError} on a pipe, and where the pages are on other channels
   */
  async readPage(block: string | ImageBlock, offset: number): Promise<Uint8Array<ArrayBuffer>> {
    const { entry, pageSize } = this.#find(block, offset, 1);
    const begin = offset - offset % pageSize;
    const page = new Uint8Array(Math.min(pageSize, entry.usedLength - begin));
    await this.prepare();
    this.readRange(block, begin, page);
    return page;
  }

  /**
   * Fill `target` with the block's bytes from `offset` on. Allocates nothing per page.
   * @throws as {@link StoredRam.readPage}
   */
  readRange(block: string | ImageBlock, offset: number, target: Uint8Array): void {
    const stored = this.#find(block, offset, target.length);
    if (target.length === 0) return;
    if (!this.#source.readAt) {
      if (this.#reopen) throw new TypeError("Cannot read pages of a packed stream: prepare() was not called");
      this.#unsupported("pages of a pipe", "a pipe", "a file that can be read at any position");
    }
    if (!this.readable) {
      this.#unsupported("pages of a multifd migration", "none on the main channel", "the multifd channels", "multifd");
    }
    if (stored.entry.mapped) this.#readMapped(stored, offset, target);
    else this.#readIndexed(stored, offset, target);
  }

  /**
   * How far content of one kind goes.
   * @param offset byte offset in the block
   * @returns bytes from `offset` on: positive where pages are data, negative where they are zero or were never sent
   */
  run(block: string | ImageBlock, offset: number): number {
    const { entry, bitmap, pages, pageSize } = this.#find(block, offset, 1);
    const page = Math.floor(offset / pageSize);
    let count: number;
    if (entry.mapped) {
      const total = Math.ceil(entry.usedLength / pageSize);
      if (!bitmap) return offset - entry.usedLength;
      const data = (bitmap[page >> 3] >> (page & 7)) & 1;
      count = nextBit(bitmap, page, total, data ? 0 : 1) - page;
      if (!data) count = -count;
    } else count = pages.run(page);
    const end = Math.min((page + Math.abs(count)) * pageSize, entry.usedLength);
    return count > 0 ? end - offset : offset - end;
  }

  /** Whether a page came in the stream at all. mapped-ram: whether its bitmap is there. */
  isSent(block: string | ImageBlock, offset: number): boolean {
    const { entry, bitmap, pages, pageSize } = this.#find(block, offset, 1);
    return entry.mapped ? bitmap !== undefined : pages.isSent(Math.floor(offset / pageSize));
  }

  #find(block: string | ImageBlock, offset: number, length: number): IndexedBlock {
    const id = typeof block === "string" ? block : block.id;
    const stored = this.#stored.get(id);
    if (!stored) throw new MemoryFaultError(`Cannot read RAM: no block is named ${JSON.stringify(id)}`, id, offset);
    const { usedLength } = stored.entry;
    if (!(Number.isInteger(offset) && offset >= 0 && offset + length <= usedLength)) {
      throw new MemoryFaultError(
        `Cannot read ${length} bytes at ${hex(offset)} of ${id}: it has ${hex(usedLength)}`,
        id,
        offset,
      );
    }
    return stored;
  }

  #readMapped({ entry, bitmap, pageSize }: IndexedBlock, offset: number, target: Uint8Array): void {
    const { pagesOffset } = entry.mapped!;
    const total = Math.ceil(entry.usedLength / pageSize);
    const end = offset + target.length;
    for (let at = offset; at < end;) {
      const page = Math.floor(at / pageSize);
      const data = bitmap ? ((bitmap[page >> 3] >> (page & 7)) & 1) === 1 : false;
      const next = bitmap ? nextBit(bitmap, page, total, data ? 0 : 1) * pageSize : end;
      const stop = Math.min(next, end);
      const part = target.subarray(at - offset, stop - offset);
      if (data) this.#read(part, pagesOffset + at, entry.idstr);
      else part.fill(0);
      at = stop;
    }
  }

  #readIndexed({ entry, pages, pageSize }: IndexedBlock, offset: number, target: Uint8Array): void {
    const end = offset + target.length;
    for (let at = offset; at < end;) {
      const page = Math.floor(at / pageSize);
      const within = at - page * pageSize;
      const stop = Math.min((page + 1) * pageSize, end);
      const code = pages.code(page);
      const whole = within === 0 && stop - at === pageSize;
      if (code === 0) target.fill(0, at - offset, stop - offset);
      else if (code > 0) this.#readNear(target, at - offset, stop - at, code + within, end - at, entry.idstr);
      else if (whole) this.#replay(target.subarray(at - offset, stop - offset), code, entry.idstr);
      else {
        const part = new Uint8Array(pageSize);
        this.#replay(part, code, entry.idstr);
        target.set(part.subarray(within, within + stop - at), at - offset);
      }
      at = stop;
    }
  }

  /** One page; while more are wanted, with those that stand behind it in the file. */
  #readNear(target: Uint8Array, at: number, length: number, position: number, wanted: number, id: string): void {
    if (position < this.#spanAt || position + length > this.#spanEnd) {
      if (wanted <= length) return this.#read(target.subarray(at, at + length), position, id);
      const span = this.#span ??= new Uint8Array(SPAN + GAP);
      const reach = Math.min(span.length, wanted + GAP);
      this.#spanAt = position;
      this.#spanEnd = position + this.#source.readAt!(reach < span.length ? span.subarray(0, reach) : span, position);
      if (this.#spanEnd < position + length) this.#truncated(position, this.#spanEnd - position, length, id);
    }
    const from = position - this.#spanAt;
    const span = this.#span!;
    if (length <= 64) { for (let i = 0; i < length; i++) target[at + i] = span[from + i]; }
    else target.set(span.subarray(from, from + length), at);
  }

  /** A page of deltas: from the last whole copy on, oldest first. */
  #replay(page: Uint8Array, code: number, id: string): void {
    const { deltas } = this.#index;
    const codec = this.#tables.ramFlags?.[RAM_SAVE_FLAG_XBZRLE];
    if (!codec) {
      this.#unsupported("pages sent as differences", "no codec", "a plugin that owns flag 0x40", "xbzrle");
    }
    let depth = 0;
    let base = code;
    for (; base < 0; base = deltas.previous(base)) depth++;
    if (base > 0) this.#read(page, base, id);
    else page.fill(0);
    const chain = new Float64Array(depth);
    for (let at = code; at < 0; at = deltas.previous(at)) chain[--depth] = deltas.position(at);
    for (const position of chain) {
      const got = this.#source.readAt!(this.#delta, position - 2);
      const length = this.#delta[0] << 8 | this.#delta[1];
      if (got < 2 + length) this.#truncated(position, got - 2, length, id);
      const refused = codec!.apply(page, this.#delta.subarray(2, 2 + length));
      if (!refused) continue;
      throw new StreamError(`Cannot apply a difference to a page of ${id}`, {
        channel: this.#source.name,
        offset: position,
        found: "a malformed record",
        expected: "one that stays inside the page",
        qemu: [refused],
      });
    }
  }

  #read(target: Uint8Array, position: number, id: string): void {
    const got = this.#source.readAt!(target, position);
    if (got < target.length) this.#truncated(position, got, target.length, id);
  }

  #truncated(position: number, got: number, want: number, id: string): never {
    throw new TruncatedStreamError(`Cannot read pages of RAM block ${id}`, {
      channel: this.#source.name,
      offset: position,
      found: `${Math.max(0, got)} bytes before the end`,
      expected: String(want),
    });
  }

  #unsupported(what: string, found: string, expected: string, feature = "seek"): never {
    throw new UnsupportedError(`Cannot read ${what}`, {
      channel: this.#source.name,
      offset: this.#index.end,
      found,
      expected,
      feature,
    });
  }
}

function describeBlock({ entry, pageSize, pages, bitmap }: IndexedBlock): ImageBlock {
  const { idstr, usedLength, mapped, pageSize: hostPageBytes, address } = entry;
  const total = Math.ceil(usedLength / pageSize);
  const normalPages = mapped ? bitmap ? countBits(bitmap, total) : 0 : pages.normalPages;
  return {
    id: idstr,
    bytes: usedLength,
    pageBytes: pageSize,
    normalPages,
    zeroPages: total - normalPages,
    missingPages: mapped ? bitmap ? 0 : total : total - pages.sentPages,
    ...(mapped ? { pagesOffset: mapped.pagesOffset, bitmapOffset: mapped.bitmapOffset } : {}),
    ...(hostPageBytes !== undefined ? { hostPageBytes } : {}),
    ...(address !== undefined ? { address } : {}),
  };
}
