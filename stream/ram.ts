/**
 * The body of a `ram` section: records that begin with a u64 of page offset and flags.
 *
 *     word = | byte offset in the block, multiple of the page size | flags, the low log2(page size) bits |
 *     MEM_SIZE 04  { str8 name, u64 used_length, [u64 page_size], [u64 address], [mapped-ram] } until the total is used
 *     ZERO     02  [str8 name] u8 0
 *     PAGE     08  [str8 name] page
 *     XBZRLE   40  [str8 name] u8 1, u16 n, n bytes
 *     FLUSH   200  EOS 10  HOOK 80
 *
 * The name is left out when CONTINUE (20) is set: same block as the record before, across sections too.
 * Source: QEMU migration/ram.c ram_load_precopy, parse_ramblocks.
 * @module
 */
import * as C from "./constants.ts";
import { hex } from "./errors.ts";
import { faultAt } from "./fault.ts";
import { probePageSize } from "./page_size.ts";
import { RamBlockList, type RamFraming } from "./ram_blocks.ts";
import type { StreamReader } from "./reader.ts";
import type { RamBlockEntry, RamPagesRecord, StreamRecord } from "./records.ts";

const BATCH = 8192;
const PAGE_KINDS = C.RAM_SAVE_FLAG_ZERO | C.RAM_SAVE_FLAG_PAGE | C.RAM_SAVE_FLAG_XBZRLE;

export type { RamFraming } from "./ram_blocks.ts";

/** Decodes all `ram` bodies of one channel; keeps the block list and the last block named. */
export class RamDecoder {
  readonly #list: RamBlockList;
  /** Index of the block named last, -1 before the first. */
  #current = -1;
  readonly #batch = {
    at: new Uint32Array(BATCH),
    dataAt: new Uint32Array(BATCH),
    pageOffset: new Float64Array(BATCH),
    flags: new Uint16Array(BATCH),
    dataLength: new Uint32Array(BATCH),
    block: new Uint16Array(BATCH),
  };

  /** @param listed the block list, where another channel has it */
  constructor(readonly reader: StreamReader, readonly framing: RamFraming, listed: readonly RamBlockEntry[] = []) {
    this.#list = new RamBlockList(reader, framing, listed);
  }

  /** The block list, as far as it was read. */
  get blocks(): readonly RamBlockEntry[] {
    return this.#list.blocks;
  }

  /** Decode one body, from behind the section header up to and including its EOS. */
  async *body(): AsyncGenerator<StreamRecord> {
    const reader = this.reader;
    for (;;) {
      const ok = reader.ensure(8);
      if (ok !== true && !(await ok)) await reader.need(8, "Cannot read RAM record", ["Getting RAM address failed"]);
      const { framing } = this;
      if (!framing.pageSizeKnown && (this.blocks.length || framing.anyBlock) && this.#flagsAhead() & PAGE_KINDS) {
        framing.pageSize = await probePageSize(reader);
        framing.pageSizeKnown = true;
      }
      const count = this.#scan();
      if (count > 0) {
        yield this.#pages(count);
        continue;
      }
      const flags = this.#flagsAhead();
      if (flags & PAGE_KINDS) {
        await this.#completePage(flags);
        continue;
      }
      const offset = reader.offset;
      switch (flags & ~C.RAM_SAVE_FLAG_CONTINUE) {
        case C.RAM_SAVE_FLAG_MEM_SIZE:
          yield* this.#list.decode();
          break;
        case C.RAM_SAVE_FLAG_HOOK:
        case C.RAM_SAVE_FLAG_MULTIFD_FLUSH:
        case C.RAM_SAVE_FLAG_EOS: {
          this.#refuseWithMappedRam(flags);
          const word = reader.u64();
          yield { kind: "ram-mark", channel: reader.source.name, offset, length: 8, word, flags };
          if (flags & C.RAM_SAVE_FLAG_EOS) return;
          break;
        }
        default:
          this.#unknown(flags, offset);
      }
    }
  }

  #flagsAhead(): number {
    return this.reader.peekU32(4) & (this.framing.pageSize - 1);
  }

  /** Take as many whole page records as are at hand. Allocates nothing, never waits. */
  #scan(): number {
    const { reader, blocks } = this;
    const { at, dataAt, pageOffset, flags, dataLength, block } = this.#batch;
    const { pageSize, mappedRam } = this.framing;
    const mask = pageSize - 1;
    const buf = reader.buf;
    const base = reader.pos;
    const end = reader.end;
    let pos = base;
    let n = 0;
    let current = this.#current;
    while (n < BATCH && end - pos >= 8) {
      const low = (buf[pos + 4] << 24 | buf[pos + 5] << 16 | buf[pos + 6] << 8 | buf[pos + 7]) >>> 0;
      const flag = low & mask;
      const kind = flag & ~C.RAM_SAVE_FLAG_CONTINUE;
      if (
        (kind !== C.RAM_SAVE_FLAG_PAGE && kind !== C.RAM_SAVE_FLAG_ZERO && kind !== C.RAM_SAVE_FLAG_XBZRLE) || mappedRam
      ) break;
      let data = pos + 8;
      if (!(flag & C.RAM_SAVE_FLAG_CONTINUE)) {
        if (data >= end) break;
        const length = buf[data];
        if (data + 1 + length > end) break;
        current = this.#lookup(data + 1, length);
        if (current < 0) break;
        data += 1 + length;
      } else if (current < 0) break;
      let size: number;
      if (kind === C.RAM_SAVE_FLAG_PAGE) size = pageSize;
      else if (kind === C.RAM_SAVE_FLAG_ZERO) size = 1;
      else {
        if (data + 3 > end) break;
        size = buf[data + 1] << 8 | buf[data + 2];
        if (buf[data] !== 1 || size > pageSize) break;
        data += 3;
      }
      if (data + size > end) break;
      if (kind === C.RAM_SAVE_FLAG_ZERO && buf[data] !== 0) break;
      const high = (buf[pos] << 24 | buf[pos + 1] << 16 | buf[pos + 2] << 8 | buf[pos + 3]) >>> 0;
      const offset = high * 0x100000000 + (low - flag);
      if (offset + pageSize > blocks[current].usedLength) break;
      at[n] = pos - base;
      dataAt[n] = data - base;
      pageOffset[n] = offset;
      flags[n] = flag;
      dataLength[n] = size;
      block[n] = current;
      n++;
      pos = data + size;
    }
    // a record that broke off may have named another block: only whole records count
    if (n > 0) this.#current = block[n - 1];
    reader.pos = pos;
    return n;
  }

  #pages(count: number): RamPagesRecord {
    const { reader } = this;
    const { at, dataAt, pageOffset, flags, dataLength, block } = this.#batch;
    const length = dataAt[count - 1] + dataLength[count - 1];
    const bytes = reader.buf.subarray(reader.pos - length, reader.pos);
    return {
      kind: "ram-pages",
      channel: reader.source.name,
      offset: reader.offset - length,
      length,
      count,
      bytes,
      at,
      dataAt,
      pageOffset,
      flags,
      dataLength,
      block,
      blocks: this.blocks,
      pageSize: this.framing.pageSize,
    };
  }

  /** Index of the block with that name, -1 when it is not in the list. The name of the current block is tried first. */
  #lookup(at: number, length: number): number {
    const buf = this.reader.buf;
    const current = this.#current >= 0 ? this.blocks[this.#current].idstr : undefined;
    if (current !== undefined && current.length === length) {
      let i = 0;
      while (i < length && buf[at + i] === current.charCodeAt(i)) i++;
      if (i === length) return this.#current;
    }
    let name = "";
    for (let i = 0; i < length; i++) name += String.fromCharCode(buf[at + i]);
    return this.#list.indexOf(name);
  }

  /** A page record that is not whole at hand, or is wrong: read it field by field and say what is wrong. */
  async #completePage(flags: number): Promise<void> {
    const { reader } = this;
    const { pageSize } = this.framing;
    const offset = reader.offset;
    const kind = flags & ~C.RAM_SAVE_FLAG_CONTINUE;
    this.#refuseWithMappedRam(flags);
    const address = reader.peekU32() * 0x100000000 + (reader.peekU32(4) - flags);
    const illegal = `Illegal RAM offset ${address.toString(16)}`;
    let need = 8;
    let block = this.#current;
    if (flags & C.RAM_SAVE_FLAG_CONTINUE) {
      if (block < 0) {
        this.#fault("Cannot read RAM record", offset, "CONTINUE and no block yet", "a block name", [
          "Ack, bad migration stream!",
          illegal,
        ]);
      }
    } else {
      await reader.need(9, "Cannot read block name of a page");
      const length = reader.peekU8(8);
      await reader.need(9 + length, "Cannot read block name of a page");
      block = this.#lookup(reader.pos + 9, length);
      if (block < 0) {
        reader.pos += 9;
        const name = reader.latin1(length);
        this.#fault("Cannot place page", offset, `block ${JSON.stringify(name)}`, "a block of the list", [
          `Can't find block ${name}`,
          illegal,
        ]);
      }
      need += 1 + length;
    }
    const { idstr, usedLength } = this.blocks[block];
    if (address + pageSize > usedLength) {
      this.#fault(
        "Cannot place page",
        offset,
        `page ${hex(address)} of ${idstr}`,
        `one below ${hex(usedLength)}`,
        illegal,
      );
    }
    const where = `page ${hex(address)} of ${idstr}`;
    switch (kind) {
      case C.RAM_SAVE_FLAG_ZERO:
        await reader.need(need + 1, `Cannot read zero ${where}`);
        if (reader.peekU8(need) !== 0) {
          const value = reader.peekU8(need);
          this.#fault(
            `Cannot read zero ${where}`,
            offset + need,
            `value ${value}`,
            "0",
            `Found a zero page with value ${value}`,
          );
        }
        return;
      case C.RAM_SAVE_FLAG_PAGE:
        return await reader.need(need + pageSize, `Cannot read ${where}`);
      case C.RAM_SAVE_FLAG_XBZRLE: {
        const failed = `Failed to decompress XBZRLE page at ${address.toString(16)}`;
        await reader.need(need + 3, `Cannot read XBZRLE ${where}`, [failed]);
        const encoding = reader.peekU8(need);
        const size = reader.peekU8(need + 1) << 8 | reader.peekU8(need + 2);
        if (encoding !== 1) {
          this.#fault(`Cannot read XBZRLE ${where}`, offset + need, `encoding ${encoding}`, "1", [
            "Failed to load XBZRLE page - wrong compression!",
            failed,
          ]);
        }
        if (size > pageSize) {
          this.#fault(`Cannot read XBZRLE ${where}`, offset + need + 1, `${size} bytes`, `at most ${pageSize}`, [
            "Failed to load XBZRLE page - len overflow!",
            failed,
          ]);
        }
        return await reader.need(need + 3 + size, `Cannot read XBZRLE ${where}`);
      }
      default:
        this.#unknown(flags, offset);
    }
  }

  #refuseWithMappedRam(flags: number): void {
    const refused = flags & (PAGE_KINDS | C.RAM_SAVE_FLAG_HOOK | C.RAM_SAVE_FLAG_MULTIFD_FLUSH);
    if (!this.framing.mappedRam || !refused) return;
    this.#fault(
      "Cannot read RAM record",
      this.reader.offset,
      `flags ${hex(flags)}`,
      "only MEM_SIZE and EOS in a mapped-ram stream",
      `Unexpected RAM flags: ${refused}`,
    );
  }

  #unknown(flags: number, offset: number): never {
    const qemu = `Unknown combination of migration flags: ${hex(flags)}`;
    this.#fault("Cannot read RAM record", offset, `flags ${hex(flags)}`, "one kind of record", qemu);
  }

  #fault(action: string, offset: number, found: string, expected: string, qemu?: string | string[]): never {
    faultAt(this.reader, action, offset, found, expected, typeof qemu === "string" ? [qemu] : qemu);
  }
}
