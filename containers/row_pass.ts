/**
 * Passing over rows of page records: what the first pass over RAM sends in order need not be decoded record by record.
 *
 *     data    8 + page bytes each    heads alone are looked at, in the file behind the reader
 *     zero    9 bytes each           compared where the reader has them
 *
 * Every record is looked at, and the first that is not as expected is the decoder's again.
 * @module
 */
import { endsInRow, endsInZeroRow, ZERO_RECORD, zeroRow } from "../stream/page_row.ts";
import type { StreamReader } from "../stream/reader.ts";
import type { RamPagesRecord } from "../stream/records.ts";
import { HEAD } from "../threads/record_head.ts";
import { RecordHeads } from "../threads/record_heads.ts";
import type { PageIndex } from "./page_index.ts";

/** Bytes of a file from which on rows of data are passed over by themselves. */
const WORTHWHILE = 16 << 20;

/** A row that was passed over. */
export interface PassedRow {
  /** Whether its pages are data; zero otherwise. */
  readonly data: boolean;
  /** Pages of it, at least one. */
  readonly count: number;
  /** Offset in the block of its last page. */
  readonly lastOffset: number;
  /** Offset in the channel behind it, where the reader stands. */
  readonly end: number;
}

/** Over the reader of a decoder, between two of its records. */
export class RowPass implements Disposable {
  readonly #reader: StreamReader;
  readonly #heads: RecordHeads | undefined;

  constructor(reader: StreamReader) {
    this.#reader = reader;
    const { fd, size } = reader.source;
    if (fd !== undefined && size!.call(reader.source) >= WORTHWHILE) this.#heads = RecordHeads.over(fd);
  }

  /**
   * Pass over what follows a run of records, where that is a row.
   * @param pages   of the run's last block: what is passed over is put down there
   * @param onBytes told where it is
   * @returns undefined where nothing was passed over, or at once where it is sure that nothing will be
   */
  follow(
    record: RamPagesRecord,
    pages: PageIndex,
    onBytes: (offset: number) => void | Promise<void>,
  ): Promise<PassedRow | undefined> | undefined {
    if (endsInZeroRow(record)) return this.#zeros(record, pages);
    return this.#heads && endsInRow(record) ? this.#data(this.#heads, record, pages, onBytes) : undefined;
  }

  /** Give everything back but the reader. */
  [Symbol.dispose](): void {
    this.#heads?.[Symbol.dispose]();
  }

  async #data(
    heads: RecordHeads,
    { count, pageOffset, pageSize }: RamPagesRecord,
    pages: PageIndex,
    onBytes: (offset: number) => void | Promise<void>,
  ): Promise<PassedRow | undefined> {
    const begin = pageOffset[count - 1] / pageSize + 1;
    let page = begin;
    let position = this.#reader.offset;
    for (;;) {
      const good = heads.count(page * pageSize, pages.pages - page, pageSize, position);
      if (good === 0) break;
      pages.placeRow(page, good, position + HEAD, HEAD + pageSize);
      page += good;
      position += good * (HEAD + pageSize);
      await onBytes(position);
    }
    if (page === begin) return undefined;
    this.#reader.seek(position);
    return { data: true, count: page - begin, lastOffset: (page - 1) * pageSize, end: position };
  }

  async #zeros({ count, pageOffset, pageSize }: RamPagesRecord, pages: PageIndex): Promise<PassedRow | undefined> {
    const reader = this.#reader;
    const begin = pageOffset[count - 1] / pageSize + 1;
    let page = begin;
    while (page < pages.pages) {
      const ok = reader.ensure(ZERO_RECORD);
      if (ok !== true && !(await ok)) break;
      const { buf, pos, end } = reader;
      const good = zeroRow(new DataView(buf.buffer), pos, end, page * pageSize, pages.pages - page, pageSize);
      pages.zeroRow(page, good);
      page += good;
      reader.pos += good * ZERO_RECORD;
      if (reader.available >= ZERO_RECORD) break;
    }
    if (page === begin) return undefined;
    return { data: false, count: page - begin, lastOffset: (page - 1) * pageSize, end: reader.offset };
  }
}
