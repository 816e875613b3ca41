/**
 * Reading page records of a sequential stream straight into guest memory: one `preadv` scatters headers into scratch memory
 * and pages to where they belong, so that no page is copied twice.
 *
 *     file    | head | page k | head | page k+1 | ...        4104 bytes a record while pages follow each other
 *     iovec   [scratch, guest k] [scratch, guest k+1] ...
 *
 * That the next records are pages in a row is a guess; their heads are looked at afterwards. It is made only where guest
 * memory is still zero, so what was put down by a wrong guess is wiped and nothing is lost.
 * Needs FFI and is left out where that is not allowed.
 * @module
 */
import fs from "node:fs";
import { type RamBlock, SEGMENT, SLOT } from "../guest/memory.ts";
import { scanBlock } from "../guest/zero.ts";
import { RAM_SAVE_FLAG_CONTINUE, RAM_SAVE_FLAG_PAGE } from "../stream/constants.ts";

/** Records of one call; the kernel takes 1024 pieces. */
const RECORDS = 512;
const HEAD = 8;

type Preadv = (fd: number, pieces: Uint32Array<ArrayBuffer>, count: number, position: bigint) => number | bigint;

/** One file read this way. */
export class ScatterRead {
  readonly #fd: number;
  readonly #preadv: Preadv;
  readonly #heads = new Uint8Array(RECORDS * HEAD);
  readonly #view = new DataView(this.#heads.buffer);
  readonly #headsAt: number;
  /** struct iovec: pointer and length, each as two halves. */
  readonly #pieces = new Uint32Array(RECORDS * 2 * 4);
  readonly #flags = new Uint8Array(SLOT / 1024);
  #memory: WebAssembly.Memory | null = null;
  #memoryAt = 0;

  private constructor(fd: number, preadv: Preadv) {
    this.#fd = fd;
    this.#preadv = preadv;
    this.#headsAt = addressOf(this.#heads);
  }

  /** Open a file, or undefined where FFI may not be used. Never asks for a permission. */
  static open(path: string): ScatterRead | undefined {
    try {
      if (Deno.permissions.querySync({ name: "ffi" }).state !== "granted") return undefined;
      const library = Deno.dlopen("libc.so.6", {
        preadv: { parameters: ["i32", "buffer", "i32", "i64"], result: "isize" },
      });
      return new ScatterRead(fs.openSync(path, "r"), library.symbols.preadv as Preadv);
    } catch {
      return undefined;
    }
  }

  /**
   * Read records from `position` on, as long as they are the pages of `block` from `offset` on, up to the end of its slot.
   * @returns pages that are now in place; 0 where the memory is not zero or the guess was wrong
   */
  read(block: RamBlock, offset: number, position: number, pageSize: number): number {
    const room = Math.min(SLOT - offset % SLOT, block.usedLength - offset);
    const pages = Math.min(Math.floor(room / pageSize), RECORDS);
    if (pages === 0 || scanBlock(block, offset, pages, pageSize, this.#flags) > 0) return 0;
    const target = block.writable(offset, pages * pageSize);
    this.#aim(block.segments[Math.floor(offset / SEGMENT)]!, offset % SEGMENT, pages, pageSize);
    const got = Number(this.#preadv(this.#fd, this.#pieces, pages * 2, BigInt(position)));
    const whole = Math.max(0, Math.floor(got / (HEAD + pageSize)));
    let good = 0;
    while (good < whole && this.#isNext(good, offset + good * pageSize)) good++;
    if (good < pages) target.fill(0, good * pageSize);
    return good;
  }

  #isNext(index: number, offset: number): boolean {
    const word = offset + RAM_SAVE_FLAG_PAGE + RAM_SAVE_FLAG_CONTINUE;
    return this.#view.getUint32(index * HEAD) === Math.floor(word / 2 ** 32) &&
      this.#view.getUint32(index * HEAD + 4) === word % 2 ** 32;
  }

  #aim(memory: WebAssembly.Memory, at: number, pages: number, pageSize: number): void {
    if (memory !== this.#memory) {
      this.#memory = memory;
      this.#memoryAt = addressOf(new Uint8Array(memory.buffer as ArrayBuffer));
    }
    for (let i = 0; i < pages; i++) {
      this.#piece(i * 2, this.#headsAt + i * HEAD, HEAD);
      this.#piece(i * 2 + 1, this.#memoryAt + at + i * pageSize, pageSize);
    }
  }

  #piece(index: number, address: number, length: number): void {
    const at = index * 4;
    this.#pieces[at] = address % 2 ** 32;
    this.#pieces[at + 1] = Math.floor(address / 2 ** 32);
    this.#pieces[at + 2] = length;
    this.#pieces[at + 3] = 0;
  }

  close(): void {
    fs.closeSync(this.#fd);
  }
}

/** Where a view's first byte is; user addresses have 47 bits. */
function addressOf(view: Uint8Array<ArrayBuffer>): number {
  return Number(Deno.UnsafePointer.value(Deno.UnsafePointer.of(view)));
}
