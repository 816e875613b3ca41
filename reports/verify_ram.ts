/**
 * What the decoder lets pass in `ram` sections.
 *
 *     sections    one START, then PARTs, then one END; no page in START
 *     marks       EOS is exactly 0x10, MULTIFD_FLUSH exactly 0x200
 *     pages       a delta has something to change; from LISTEN on no page comes twice; pages nobody sent are told
 *     mapped-ram  pages begin at a multiple of 1 MiB; a bitmap without a bit over slots with data is told
 *
 * Source: QEMU migration/ram.c; the rules QEMU itself does not hold are those of a reader that trusts nothing.
 * @module
 */
import { DeltaList, PageIndex } from "../containers/page_index.ts";
import { parseDiscard } from "../stream/commands.ts";
import * as C from "../stream/constants.ts";
import type { StreamDecoder } from "../stream/decode.ts";
import { hex } from "../stream/errors.ts";
import { countBits } from "../stream/mapped_ram.ts";
import type {
  MappedBitmapRecord,
  MappedRamHeader,
  RamBlockEntry,
  RamBlockRecord,
  RamMarkRecord,
  RamPagesRecord,
  SectionRecord,
  SectionType,
} from "../stream/records.ts";
import type { Tables } from "../stream/tables.ts";
import type { Report } from "./findings.ts";

/** Bytes read at once where slots are looked into. */
const STEP = 1 << 20;
/** Findings of one kind before the rest is left to the count of pages. */
const REPEAT_LIMIT = 20;

interface CheckedBlock {
  readonly entry: RamBlockEntry;
  readonly offset: number;
  readonly path: string;
  readonly sent: PageIndex;
  /** mapped-ram: pages whose bit is set. */
  set?: number;
}

/** Follows the ram sections of one stream. */
export class RamChecks {
  readonly #decoder: StreamDecoder;
  readonly #report: Report;
  readonly #tables: Partial<Tables> | undefined;
  readonly #blocks: CheckedBlock[] = [];
  readonly #deltas = new DeltaList();
  readonly #elsewhere: boolean;
  #start: { offset: number; path: string } | undefined;
  #ended = false;
  #dataPages = 0;
  #flushes = 0;
  #discarded = false;
  #repeats = 0;
  #scratch: Uint8Array | undefined;

  /** @param elsewhere pages may be on further channels, which are looked at apart */
  constructor(decoder: StreamDecoder, report: Report, tables: Partial<Tables> | undefined, elsewhere: boolean) {
    this.#elsewhere = elsewhere;
    this.#decoder = decoder;
    this.#report = report;
    this.#tables = tables;
  }

  section({ type, offset }: SectionRecord, path: string): void {
    if (type === "full") this.#report("error", offset, path, "ram as a FULL section: it travels in parts");
    if (type === "start" || type === "full") {
      if (this.#start) this.#report("error", offset, path, "ram begins again");
      this.#start ??= { offset, path };
    } else if (this.#ended) {
      this.#report("error", offset, path, `ram: ${type} behind its end`);
    }
    if (type === "end") this.#ended = true;
  }

  block({ block, index, offset }: RamBlockRecord, body: string): void {
    const path = `${body}.blocks[${index}]`;
    const { pageSize } = this.#decoder.ram.framing;
    const sent = new PageIndex(Math.ceil(block.usedLength / pageSize), this.#deltas);
    this.#blocks[index] = { entry: block, offset, path, sent };
    if (block.usedLength === 0) this.#report("warning", offset, path, `RAM block ${block.idstr} has no bytes`);
    if (block.mapped) this.#area(block, block.mapped, offset + 1 + block.idstr.length + 8, path);
  }

  /** Where the pages of a mapped-ram block lie. @param at where its header begins */
  #area({ idstr, usedLength }: RamBlockEntry, { pagesOffset }: MappedRamHeader, at: number, path: string): void {
    if (pagesOffset % C.MAPPED_RAM_FILE_OFFSET_ALIGNMENT !== 0) {
      const message = `pages of ${idstr} begin at ${hex(pagesOffset)}, no multiple of 1 MiB`;
      this.#report("warning", at + 20, `${path}.mapped.pagesOffset`, message);
    }
    const size = this.#decoder.reader.source.size?.();
    if (size === undefined || pagesOffset + usedLength <= size) return;
    const reach = `from ${hex(pagesOffset)} to ${hex(pagesOffset + usedLength)}`;
    const message = `pages of ${idstr} go ${reach}, and the file ends at ${hex(size)}`;
    if (pagesOffset >= size) this.#report("error", at + 20, `${path}.mapped.pagesOffset`, message);
    else this.#report("error", size, `${path}.pages`, message);
  }

  bitmap({ block, index, bitmap, offset }: MappedBitmapRecord, body: string): void {
    const { pageSize } = block.mapped!;
    const set = countBits(bitmap, Math.ceil(block.usedLength / pageSize));
    const checked = this.#blocks[index];
    if (checked) checked.set = set;
    if (set > 0) return;
    const at = this.#dataIn(block);
    if (at === undefined) return;
    this.#report(
      "warning",
      offset,
      `${body}.blocks[${index}].bitmap`,
      `no page of ${block.idstr} has its bit set, but page ${hex(at - at % pageSize)} holds data: a save that was ` +
        "interrupted, a background snapshot, or pages that became zero; QEMU loads zeros",
    );
  }

  /** Byte offset in the block of the first byte of its slots that is not zero. */
  #dataIn({ usedLength, mapped }: RamBlockEntry): number | undefined {
    const { source } = this.#decoder.reader;
    if (!source.readAt) return undefined;
    const step = new Uint8Array(Math.min(STEP, usedLength));
    for (let at = 0; at < usedLength; at += step.length) {
      const want = step.subarray(0, Math.min(step.length, usedLength - at));
      const got = source.readAt(want, mapped!.pagesOffset + at);
      const words = new Float64Array(step.buffer, 0, got >> 3);
      // -0 is a bit pattern of its own: look at bytes where a word is not a plain zero
      let i = 0;
      while (i < words.length && words[i] === 0 && !Object.is(words[i], -0)) i++;
      for (let byte = i * 8; byte < got; byte++) if (step[byte] !== 0) return at + byte;
      if (got < want.length) return undefined;
    }
    return undefined;
  }

  /** One batch of page records; nothing is allocated per page. @param counted records of the section before it */
  pages(record: RamPagesRecord, body: string, type: SectionType, counted: number): void {
    const { count, pageOffset, flags, block, pageSize, offset, at } = record;
    if (type === "start" || type === "full") {
      this.#report("error", offset, `${body}.records[0]`, "page records inside START, which only lists blocks");
    }
    const postcopy = this.#decoder.commands.postcopy >= 3;
    const perByte = 1 / pageSize;
    for (let i = 0; i < count; i++) {
      const { sent, entry } = this.#blocks[block[i]] ?? this.#unlisted(record, i, body);
      const page = pageOffset[i] * perByte;
      const delta = (flags[i] & C.RAM_SAVE_FLAG_XBZRLE) !== 0;
      if (!(flags[i] & C.RAM_SAVE_FLAG_ZERO)) this.#dataPages++;
      if (delta) this.#delta(record, i, sent, `${body}.records[${counted + i}]`);
      if (postcopy && sent.isSent(page) && this.#repeats++ < REPEAT_LIMIT) {
        const which = `page ${hex(pageOffset[i])} of ${entry.idstr}`;
        this.#report(
          "error",
          offset + at[i],
          `${body}.records[${counted + i}]`,
          `${which} again: in postcopy a page can be placed only once`,
        );
      }
      sent.zero(page);
    }
  }

  #unlisted({ blocks, block, offset }: RamPagesRecord, i: number, body: string): CheckedBlock {
    const { pageSize } = this.#decoder.ram.framing;
    const entry = blocks[block[i]];
    const sent = new PageIndex(Math.ceil(entry.usedLength / pageSize), this.#deltas);
    return this.#blocks[block[i]] = { entry, offset, path: body, sent };
  }

  /** A delta needs a page to change, and must stay inside it. */
  #delta(record: RamPagesRecord, i: number, sent: PageIndex, path: string): void {
    const { dataAt, dataLength, bytes, pageSize, offset, at, pageOffset, block, blocks } = record;
    const which = `page ${hex(pageOffset[i])} of ${blocks[block[i]].idstr}`;
    const report = (message: string) => {
      if (this.#repeats++ < REPEAT_LIMIT) this.#report("error", offset + at[i], path, message);
    };
    if (!sent.isSent(pageOffset[i] / pageSize)) report(`a delta for ${which}, which was not sent before`);
    const codec = this.#tables?.ramFlags?.[C.RAM_SAVE_FLAG_XBZRLE];
    if (!codec || dataLength[i] === 0) return;
    this.#scratch ??= new Uint8Array(pageSize);
    const refused = codec.apply(this.#scratch, bytes.subarray(dataAt[i], dataAt[i] + dataLength[i]));
    if (!refused) return;
    const said = `${refused}; Failed to decompress XBZRLE page at ${pageOffset[i].toString(16)}`;
    report(`malformed delta for ${which} (QEMU: ${said})`);
  }

  mark({ word, flags, offset }: RamMarkRecord, body: string): void {
    if (flags & C.RAM_SAVE_FLAG_MULTIFD_FLUSH) this.#flushes++;
    const exact = flags & C.RAM_SAVE_FLAG_EOS
      ? C.RAM_SAVE_FLAG_EOS
      : flags & C.RAM_SAVE_FLAG_MULTIFD_FLUSH
      ? C.RAM_SAVE_FLAG_MULTIFD_FLUSH
      : undefined;
    if (exact === undefined || word === BigInt(exact)) return;
    this.#report("error", offset, body, `${hex(word)} where ${hex(exact)} is expected: a mark has no other bits`);
  }

  /** Pages of a RAM_DISCARD are as if never sent. */
  discard(payload: Uint8Array): void {
    this.#discarded = true;
    const { idstr, ranges } = parseDiscard(payload);
    const block = this.#blocks.find((each) => each?.entry.idstr === idstr);
    const { pageSize } = this.#decoder.ram.framing;
    for (const { start, length } of block ? ranges : []) {
      block!.sent.discard(Math.floor(start / pageSize), Math.ceil(length / pageSize));
    }
  }

  /** At the end of the stream. @param eof whether its end mark was seen */
  judge(eof: boolean, end: number): void {
    const { mappedRam, ignoreShared } = this.#decoder.ram.framing;
    if (this.#repeats > REPEAT_LIMIT) {
      this.#report("error", end, "sections", `${this.#repeats - REPEAT_LIMIT} more page records of that kind`);
    }
    if (!eof) return;
    const { commands } = this.#decoder;
    if (this.#start && !this.#ended && commands.postcopy === 0) {
      this.#report(
        "warning",
        this.#start.offset,
        this.#start.path,
        "ram has no END: a background snapshot, or a save that was not finished",
      );
    }
    if (this.#elsewhere) return;
    const nothing = this.#dataPages === 0 && this.#blocks.some(({ sent }) => sent.sentPages < sent.pages);
    const elsewhere = mappedRam || this.#flushes > 0 || nothing;
    if (this.#blocks.length === 0 || (elsewhere && !ignoreShared)) {
      if (!mappedRam && this.#blocks.length > 0) {
        const { offset, path } = this.#blocks[0];
        this.#report("warning", offset, path, "no content of pages is here: it is on multifd channels of its own");
      }
      return;
    }
    for (const { entry, sent, offset, path } of this.#blocks) {
      const missing = sent.pages - sent.sentPages;
      if (missing === 0) continue;
      const why = this.#discarded
        ? "they are on a channel of their own (postcopy-preempt), or postcopy had not ended"
        : sent.sentPages === 0 && ignoreShared
        ? "shared memory, kept by a file of its own (x-ignore-shared)"
        : "they stay what they are at the destination";
      this.#report(
        "warning",
        offset,
        path,
        `${missing} of ${sent.pages} pages of ${entry.idstr} were never sent: ${why}`,
      );
    }
  }
}
