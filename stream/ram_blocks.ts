/**
 * The RAM block list at the beginning of the `ram` section.
 *
 *     u64 total | MEM_SIZE
 *     { str8 name, u64 used_length,
 *       [u64 page_size]        block on huge pages, after POSTCOPY_ADVISE
 *       [u64 guest address]    x-ignore-shared
 *       [mapped-ram header, bitmap, gap, pages]
 *     }                        until the lengths add up to the total
 *
 * Source: QEMU migration/ram.c ram_save_setup, parse_ramblocks, read_ramblock_mapped_ram.
 * @module
 */
import * as C from "./constants.ts";
import { hex, TruncatedStreamError } from "./errors.ts";
import { faultAt } from "./fault.ts";
import { decodeMappedHeader, lastBit, nextBit, standsMappedHeader } from "./mapped_ram.ts";
import type { StreamReader } from "./reader.ts";
import type { RamBlockEntry, StreamRecord } from "./records.ts";

/** Blocks of a list; QEMU machines have under a hundred. */
const BLOCK_LIMIT = 65535;

/** Length of a block that no list has. */
const UNLISTED_LENGTH = 2 ** 52;

/** What the configuration and the commands before it say about the ram sections. */
export interface RamFraming {
  /** Bytes; a power of two. */
  pageSize: number;
  /** False while `pageSize` is a guess: a mapped-ram header may correct it. */
  pageSizeKnown: boolean;
  mappedRam: boolean;
  /** No configuration said which capabilities are on: the first block shows whether mapped-ram is. */
  unconfigured?: boolean;
  ignoreShared: boolean;
  /** The list is on another channel that is not there: records name blocks of a length nobody knows. */
  anyBlock?: boolean;
  /** POSTCOPY_ADVISE with a payload was seen: blocks on huge pages carry their page size. */
  postcopyAdvised: boolean;
}

/** Decodes the list and keeps it. */
export class RamBlockList {
  readonly blocks: RamBlockEntry[] = [];
  readonly #index = new Map<string, number>();

  /** @param listed what is known of it from elsewhere */
  constructor(readonly reader: StreamReader, readonly framing: RamFraming, listed: readonly RamBlockEntry[] = []) {
    for (const block of listed) this.#index.set(block.idstr, this.blocks.push(block) - 1);
  }

  /** Index of the block with that name, -1 when it is not in the list. */
  indexOf(idstr: string): number {
    return this.#index.get(idstr) ?? (this.framing.anyBlock ? this.#unlisted(idstr) : -1);
  }

  /** A block that no list has. @returns -1 for what no block is called */
  #unlisted(idstr: string): number {
    if (idstr === "" || !printable(idstr) || this.blocks.length >= BLOCK_LIMIT) return -1;
    const index = this.blocks.push({ idstr, usedLength: UNLISTED_LENGTH }) - 1;
    this.#index.set(idstr, index);
    return index;
  }

  /** Decode the list; the reader stands on its MEM_SIZE word. */
  async *decode(): AsyncGenerator<StreamRecord> {
    const { reader, framing } = this;
    const channel = reader.source.name;
    const start = reader.offset;
    const total = reader.u64n() - C.RAM_SAVE_FLAG_MEM_SIZE;
    if (this.blocks.length) {
      this.#fault("Cannot read RAM block list", start, "a second list", "one");
    }
    yield { kind: "ram-total", channel, offset: start, length: 8, total };
    let left = total;
    while (left > 0) {
      const offset = reader.offset;
      const unknown = (name: string) => [`Unknown ramblock "${name}", cannot accept migration`];
      await reader.need(1, "Cannot read RAM block list", unknown(""), "Invalid argument");
      const nameLength = reader.peekU8();
      if (!(await reader.ensure(9 + nameLength))) {
        const name = String.fromCharCode(
          ...reader.buf.subarray(reader.pos + 1, Math.min(reader.end, reader.pos + 1 + nameLength)),
        );
        await reader.need(9 + nameLength, "Cannot read RAM block list", unknown(name), "Invalid argument");
      }
      reader.pos++;
      const idstr = reader.latin1(nameLength);
      const usedLength = reader.u64n();
      if (nameLength === 0 || this.#index.has(idstr) || !printable(idstr)) {
        const again = this.#index.has(idstr);
        const found = nameLength === 0 ? "an empty name" : `${JSON.stringify(idstr)}${again ? " again" : ""}`;
        // QEMU takes a block twice
        const said = again ? undefined : unknown(idstr);
        this.#fault("Cannot read RAM block list", offset, found, "a name not listed yet", said);
      }
      if (usedLength > left || usedLength % (framing.pageSizeKnown ? framing.pageSize : 1024) !== 0) {
        this.#fault(
          `Cannot use RAM block ${idstr}`,
          offset + 1 + nameLength,
          `${hex(usedLength)} bytes`,
          `whole pages and at most the ${hex(left)} left of the total`,
          usedLength > left ? unknown("") : undefined,
        );
      }
      if (this.blocks.length >= BLOCK_LIMIT) {
        this.#fault("Cannot read RAM block list", offset, "more blocks", `at most ${BLOCK_LIMIT}`);
      }
      left -= usedLength;
      const entry: { -readonly [K in keyof RamBlockEntry]: RamBlockEntry[K] } = { idstr, usedLength };
      if (framing.postcopyAdvised) {
        const pageSize = await this.#hugePageSize(left);
        if (pageSize !== undefined) entry.pageSize = pageSize;
      }
      if (framing.ignoreShared) {
        await reader.need(8, `Cannot read address of RAM block ${idstr}`);
        entry.address = reader.u64();
      }
      if (framing.unconfigured && this.blocks.length === 0) framing.mappedRam = await standsMappedHeader(reader);
      if (framing.mappedRam) {
        const known = framing.pageSizeKnown ? framing.pageSize : undefined;
        entry.mapped = await decodeMappedHeader(reader, idstr, usedLength, known);
        framing.pageSize = entry.mapped.pageSize;
        framing.pageSizeKnown = true;
      }
      const index = this.blocks.push(entry) - 1;
      this.#index.set(idstr, index);
      yield { kind: "ram-block", channel, offset, length: reader.offset - offset, block: entry, index };
      if (entry.mapped) yield* this.#mappedArea(entry, index);
    }
  }

  /** The extra of a block on huge pages; `left` bytes of the total are still to come. */
  async #hugePageSize(left: number): Promise<number | undefined> {
    const { reader } = this;
    if (!(await reader.ensure(8)) || reader.peekU8() !== 0) return undefined;
    const value = reader.peekU32() * 0x100000000 + reader.peekU32(4);
    // the list is used up: this may be the next record, EOS or MULTIFD_FLUSH
    if (left === 0 && (value === C.RAM_SAVE_FLAG_EOS || value === C.RAM_SAVE_FLAG_MULTIFD_FLUSH)) return undefined;
    if (value < this.framing.pageSize || !Number.isInteger(Math.log2(value))) return undefined;
    reader.pos += 8;
    return value;
  }

  async *#mappedArea(block: RamBlockEntry, index: number): AsyncGenerator<StreamRecord> {
    const { reader } = this;
    const channel = reader.source.name;
    const { bitmapOffset, bitmapBytes, pagesOffset, pageSize } = block.mapped!;
    const pages = Math.ceil(block.usedLength / pageSize);
    await reader.need(
      bitmapBytes,
      `Cannot read bitmap of RAM block ${block.idstr}`,
      ["Error reading dirty bitmap"],
      "Invalid argument",
    );
    const bitmap = reader.bytes(bitmapBytes);
    const last = lastBit(bitmap);
    if (last >= pages) {
      this.#fault(
        `Cannot use bitmap of RAM block ${block.idstr}`,
        bitmapOffset + (last >> 3),
        `a bit for page ${last}`,
        `none beyond page ${pages - 1}`,
        `page outside of ramblock ${block.idstr} range`,
      );
    }
    const size = reader.source.size?.();
    if (size !== undefined && last >= 0 && pagesOffset + (last + 1) * pageSize > size) {
      this.#missingPages(block, bitmap, size);
    }
    yield { kind: "mapped-bitmap", channel, offset: bitmapOffset, length: bitmapBytes, block, index, bitmap };
    const gap = pagesOffset - reader.offset;
    if (gap > 0) {
      const offset = reader.offset;
      await reader.skip(gap);
      yield { kind: "opaque", channel, offset, length: gap, what: "gap" };
    }
    if (reader.source.readAt) {
      reader.seek(pagesOffset + block.usedLength);
      yield {
        kind: "mapped-pages",
        channel,
        offset: pagesOffset,
        length: block.usedLength,
        block,
        index,
        pageOffset: 0,
      };
      return;
    }
    for (let done = 0; done < block.usedLength;) {
      const n = Math.min(block.usedLength - done, 1 << 20);
      await reader.need(n, `Cannot read pages of RAM block ${block.idstr}`, [
        'Unknown ramblock "", cannot accept migration',
      ]);
      const offset = reader.offset;
      const data = reader.bytes(n);
      yield { kind: "mapped-pages", channel, offset, length: n, block, index, pageOffset: done, data };
      done += n;
    }
  }

  /** The file ends before the last page whose bit is set. QEMU reads runs in pieces of 1 MiB and names the piece. */
  #missingPages(block: RamBlockEntry, bitmap: Uint8Array, size: number): never {
    const { pagesOffset, pageSize } = block.mapped!;
    const pages = Math.ceil(block.usedLength / pageSize);
    const whole = Math.max(0, Math.floor((size - pagesOffset) / pageSize));
    let first = nextBit(bitmap, 0, pages, 1);
    let end = nextBit(bitmap, first, pages, 0);
    const step = (1 << 20) / pageSize;
    while (Math.min(first + step, end) <= whole) {
      first = Math.min(first + step, end);
      if (first === end) {
        first = nextBit(bitmap, end, pages, 1);
        end = nextBit(bitmap, first, pages, 0);
      }
    }
    const want = Math.min(step, end - first) * pageSize;
    const position = pagesOffset + first * pageSize;
    const got = Math.max(0, Math.min(want, size - position));
    throw new TruncatedStreamError(`Cannot read pages of RAM block ${block.idstr}`, {
      channel: this.reader.source.name,
      offset: position,
      found: `${got} bytes before the end`,
      expected: String(want),
      qemu: [
        `(${block.idstr}) failed to read page ${(first * pageSize).toString(16)}from file offset ` +
        `${position.toString(16)}: Partial read of size ${got}, expected ${want}`,
      ],
      reason: "Invalid argument",
    });
  }

  #fault(action: string, offset: number, found: string, expected: string, qemu?: string | string[]): never {
    faultAt(this.reader, action, offset, found, expected, typeof qemu === "string" ? [qemu] : qemu);
  }
}

function printable(name: string): boolean {
  for (let i = 0; i < name.length; i++) {
    const code = name.charCodeAt(i);
    if (code < 0x20 || code === 0x7f) return false;
  }
  return true;
}
