/**
 * Reading page records of a sequential stream straight into guest memory: one `preadv` scatters headers into scratch memory
 * and pages to where they belong, so that no page is copied twice.
 *
 *     file    | head | page k | head | page k+1 | ...        4104 bytes a record while pages follow each other
 *     iovec   [scratch, guest k] [scratch, guest k+1] ...
 *
 * That the next records are pages in a row is a guess. Heads are looked at first, the last one and where that is not what
 * was guessed the others by halves, so that little is read in vain; and all of them once they were read.
 * Needs FFI and is left out where that is not allowed; no permission is ever asked for.
 * @module
 */
import fs from "node:fs";
import { addressOf } from "./machine_address.ts";
import { HEAD, isHead, reachOfRow } from "./record_head.ts";

/** Records of one call; the kernel takes 1024 pieces. */
export const RECORDS = 512;

type Preadv = (fd: number, pieces: Uint32Array<ArrayBuffer>, count: number, position: bigint) => number | bigint;

/** One file read this way, by one thread. */
export class RecordRow {
  readonly #fd: number;
  readonly #preadv: Preadv;
  readonly #heads = new Uint8Array(RECORDS * HEAD);
  readonly #view = new DataView(this.#heads.buffer);
  readonly #headsAt: number;
  /** struct iovec: pointer and length, each as two halves. */
  readonly #pieces = new Uint32Array(RECORDS * 2 * 4);

  private constructor(fd: number, preadv: Preadv) {
    this.#fd = fd;
    this.#preadv = preadv;
    this.#headsAt = addressOf(this.#heads);
  }

  /** Over an open file, which stays open; undefined where FFI may not be used. */
  static over(fd: number): RecordRow | undefined {
    try {
      if (Deno.permissions.querySync({ name: "ffi" }).state !== "granted") return undefined;
      const { symbols } = Deno.dlopen("libc.so.6", {
        preadv: { parameters: ["i32", "buffer", "i32", "i64"], result: "isize" },
      });
      return new RecordRow(fd, symbols.preadv as Preadv);
    } catch {
      return undefined;
    }
  }

  /** Open a file, or undefined where FFI or the file may not be used. To be closed. */
  static open(path: string): RecordRow | undefined {
    let fd: number;
    try {
      fd = fs.openSync(path, "r");
    } catch {
      return undefined;
    }
    const row = RecordRow.over(fd);
    if (!row) fs.closeSync(fd);
    return row;
  }

  /** As {@link reachOfRow}. */
  reach(offset: number, pages: number, pageSize: number, position: number): number {
    return reachOfRow(this.#fd, offset, pages, pageSize, position);
  }

  /**
   * Read at most `pages` records from `position` of the file on.
   * @param at     address where the first page belongs; there must be room for all of them
   * @param offset of the first page in its block: what the heads must say
   * @param pages  at most {@link RECORDS}
   * @returns how many are what was guessed; what lies behind them in guest memory may have been written, and is not theirs
   */
  read(
    at: number,
    offset: number,
    pages: number,
    pageSize: number,
    position: number,
  ): number {
    const likely = this.reach(offset, pages, pageSize, position);
    if (likely === 0) return 0;
    this.#aim(at, likely, pageSize);
    const got = Number(this.#preadv(this.#fd, this.#pieces, likely * 2, BigInt(position)));
    const whole = Math.max(0, Math.floor(got / (HEAD + pageSize)));
    let good = 0;
    while (good < whole && isHead(this.#view, good * HEAD, offset + good * pageSize)) good++;
    return good;
  }

  #aim(at: number, pages: number, pageSize: number): void {
    for (let i = 0; i < pages; i++) {
      this.#piece(i * 2, this.#headsAt + i * HEAD, HEAD);
      this.#piece(i * 2 + 1, at + i * pageSize, pageSize);
    }
  }

  #piece(index: number, address: number, length: number): void {
    const at = index * 4;
    this.#pieces[at] = address % 2 ** 32;
    this.#pieces[at + 1] = Math.floor(address / 2 ** 32);
    this.#pieces[at + 2] = length;
    this.#pieces[at + 3] = 0;
  }

  /** Give the file back; only one that {@link RecordRow.open} opened. */
  close(): void {
    fs.closeSync(this.#fd);
  }
}
