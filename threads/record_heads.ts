/**
 * Passing over rows of page records in a file of a sequential stream: every head is looked at, no page is decoded.
 *
 *     file   | head | page k | head | page k+1 | ...     8 bytes and a page a record, while pages follow each other
 *             ^^^^^^ near: this thread reads heads alone   aside: the runtime's pool reads all of what comes after
 *
 * Each way costs about as much as the other, a call a head or all bytes in a few calls, so that two processors take half the
 * time. Needs FFI and is left out where that is not allowed; no permission is ever asked for.
 * @module
 */
import fs from "node:fs";
import { RAM_SAVE_FLAG_CONTINUE, RAM_SAVE_FLAG_PAGE } from "../stream/constants.ts";

/** Bytes in front of a page. */
export const HEAD = 8;
const HEAD_BYTES = 8n;

/** Pages of one step: the caller tells progress in between. */
const STEP_PAGES = 1 << 15;
/** Most bytes that are read aside at once, and the fewest records that are worth it. */
const ASIDE_BYTES = 4 << 20;
const ASIDE_RECORDS = 256;
/** Heads that are read here for each record read aside, as both take the same time then. */
const NEAR_SHARE = 1.25;

type Pread = (fd: number, view: Uint8Array<ArrayBuffer>, length: bigint, position: bigint) => number | bigint;
type PreadAside = (...args: Parameters<Pread>) => Promise<number | bigint>;

/** Whether a head says: the page at `offset` of the block named before, as data. */
export function isHead(view: DataView, at: number, offset: number): boolean {
  return view.getUint32(at) * 2 ** 32 + view.getUint32(at + 4) ===
    offset + (RAM_SAVE_FLAG_PAGE + RAM_SAVE_FLAG_CONTINUE);
}

/** One open file, which stays open as long as this is used. */
export class RecordHeads {
  readonly #fd: number;
  readonly #pread: Pread;
  readonly #preadAside: PreadAside;
  readonly #head = new Uint8Array(HEAD);
  readonly #view = new DataView(this.#head.buffer);
  #aside: DataView<ArrayBuffer> | undefined;

  private constructor(fd: number, pread: Pread, preadAside: PreadAside) {
    this.#fd = fd;
    this.#pread = pread;
    this.#preadAside = preadAside;
  }

  /** Over an open file; undefined where FFI may not be used. */
  static over(fd: number): RecordHeads | undefined {
    const parameters = ["i32", "buffer", "usize", "i64"] as const;
    try {
      if (Deno.permissions.querySync({ name: "ffi" }).state !== "granted") return undefined;
      const { symbols } = Deno.dlopen("libc.so.6", {
        pread: { parameters, result: "isize" },
        preadAside: { name: "pread", parameters, result: "isize", nonblocking: true },
      });
      return new RecordHeads(fd, symbols.pread as Pread, symbols.preadAside as PreadAside);
    } catch {
      return undefined;
    }
  }

  /**
   * Look at few heads: how many records from `position` of the file on are the pages from `offset` of their block on?
   * @returns at most `pages`; a guess still, as only some of the heads were seen
   */
  reach(offset: number, pages: number, pageSize: number, position: number): number {
    const there = (page: number) => {
      const got = fs.readSync(this.#fd, this.#head, 0, HEAD, position + page * (HEAD + pageSize));
      return got === HEAD && isHead(this.#view, 0, offset + page * pageSize);
    };
    if (pages === 0 || there(pages - 1)) return pages;
    let good = 0;
    for (let bad = pages - 1; good < bad;) {
      const middle = (good + bad) >> 1;
      if (there(middle)) good = middle + 1;
      else bad = middle;
    }
    return good;
  }

  /**
   * From `position` on, how many whole records are the pages from `offset` of their block on? At most a step at a time.
   * @param pages how many the block has left
   * @returns 0 where the row has ended, or the file does
   */
  async count(offset: number, pages: number, pageSize: number, position: number): Promise<number> {
    const bytes = HEAD + pageSize;
    const whole = Math.max(0, Math.floor((fs.fstatSync(this.#fd).size - position) / bytes));
    const likely = this.reach(offset, Math.min(pages, whole, STEP_PAGES), pageSize, position);
    let good = 0;
    while (good < likely) {
      const left = likely - good;
      const fits = Math.min(Math.floor(ASIDE_BYTES / bytes), Math.floor(left / (1 + NEAR_SHARE)));
      const aside = fits < ASIDE_RECORDS ? 0 : fits;
      const near = aside === 0 ? left : Math.min(left - aside, Math.floor(aside * NEAR_SHARE));
      const far = position + (good + near) * bytes;
      const reading = aside === 0 ? undefined : this.#readAside(aside * bytes, far);
      const here = this.#near(offset + good * pageSize, near, pageSize, position + good * bytes);
      const read = reading === undefined ? 0 : Math.floor(Number(await reading) / bytes);
      const there = here < near ? 0 : this.#far(offset + (good + near) * pageSize, read, pageSize);
      good += here + there;
      if (here + there < near + aside) break;
    }
    return good;
  }

  #near(offset: number, pages: number, pageSize: number, position: number): number {
    const fd = this.#fd, pread = this.#pread, head = this.#head, view = this.#view;
    let good = 0;
    while (good < pages && Number(pread(fd, head, HEAD_BYTES, BigInt(position))) === HEAD && isHead(view, 0, offset)) {
      good++;
      offset += pageSize;
      position += HEAD + pageSize;
    }
    return good;
  }

  #readAside(length: number, position: number): Promise<number | bigint> {
    this.#aside ??= new DataView(new ArrayBuffer(ASIDE_BYTES));
    return this.#preadAside(this.#fd, new Uint8Array(this.#aside.buffer), BigInt(length), BigInt(position));
  }

  /** In what was read aside; -1 for an error is no record. */
  #far(offset: number, records: number, pageSize: number): number {
    let good = 0;
    while (good < records && isHead(this.#aside!, good * (HEAD + pageSize), offset + good * pageSize)) good++;
    return good;
  }
}
