/**
 * Finding zero pages: one flag per page, 1 where the page holds a non-zero byte.
 *
 *     scanBlock    a range of a RAM block; slots nobody wrote are answered without looking
 *     ZeroScanner  one shared memory, by WASM SIMD (zero.wat, 128 bytes a step): 10 GiB/s, against 4 for a plain loop
 *     isZero       any bytes, by memcmp against a zero page
 *
 * Nothing is allocated per call. The flags of a scanner live in a second memory of its instance (multi-memory), so that
 * they can never land in a guest page. Everything works the same in a Worker that was posted a block's segments.
 * @module
 */
import { Buffer } from "node:buffer";
import { type RamBlock, SEGMENT, SLOT } from "./memory.ts";

/** Pages one scan can answer for: the flags are 64 KiB. */
const MAX_PAGES = 65536;

/** zero.wat, assembled; 227 bytes. */
const MODULE =
  "AGFzbQEAAAABCAFgA39/fwF/AhEBBWd1ZXN0A3JhbQIDAICABAMCAQAFBAEBAQEHEAIFZmxhZ3MCAQRzY2FuAAAKnwEBnAEBBX8CQANA" +
  "IAMgAU8NASAAIAJqIQUgBSEEQQAhBwJAA0AgAP0ABAAgAP0ABBD9UCAA/QAEICAA/QAEMP1Q/VAgAP0ABEAgAP0ABFD9UCAA/QAEYCAA/QAE" +
  "cP1Q/VD9UP1TBEBBASEHDAILIABBgAFqIQAgACAERw0ACwsgAyAHOkABACAGIAdqIQYgBSEAIANBAWohAwwACwsgBgs=";

type Scan = (offset: number, pages: number, pageSize: number) => number;

let compiled: WebAssembly.Module | undefined;
const scanners = new WeakMap<WebAssembly.Memory, ZeroScanner>();

/** Finds zero pages in one shared memory. Made once per memory: {@link ZeroScanner.of}. */
export class ZeroScanner {
  /** One byte per page of the latest scan: 1 = not zero. Borrowed, overwritten by the next scan. */
  readonly flags: Uint8Array<ArrayBuffer>;
  readonly #memory: WebAssembly.Memory;
  readonly #scan: Scan;

  private constructor(memory: WebAssembly.Memory) {
    compiled ??= new WebAssembly.Module(Uint8Array.fromBase64(MODULE));
    const { exports } = new WebAssembly.Instance(compiled, { guest: { ram: memory } });
    this.#memory = memory;
    this.#scan = exports.scan as Scan;
    this.flags = new Uint8Array((exports.flags as WebAssembly.Memory).buffer as ArrayBuffer);
  }

  /**
   * The scanner of a memory.
   * @param memory shared, of at most 4 GiB, 32-bit
   */
  static of(memory: WebAssembly.Memory): ZeroScanner {
    let scanner = scanners.get(memory);
    if (!scanner) scanners.set(memory, scanner = new ZeroScanner(memory));
    return scanner;
  }

  /**
   * Look at `pages` pages from `offset` on; the answers are in {@link ZeroScanner.flags}.
   * @param offset   bytes, where the first page begins
   * @param pages    at most 65536
   * @param pageSize bytes, a multiple of 128
   * @returns how many of the pages are not zero
   * @throws {RangeError} when the range leaves the memory or a parameter is out of range
   */
  scan(offset: number, pages: number, pageSize: number): number {
    if (!(pages >= 0 && pages <= MAX_PAGES) || !(pageSize > 0) || pageSize % 128 !== 0) {
      throw new RangeError(`Cannot scan ${pages} pages of ${pageSize} bytes: at most ${MAX_PAGES}, multiples of 128`);
    }
    if (!(offset >= 0) || offset + pages * pageSize > this.#memory.buffer.byteLength) {
      throw new RangeError(`Cannot scan ${pages} pages at 0x${offset.toString(16)}: the memory ends before`);
    }
    return this.#scan(offset, pages, pageSize);
  }
}

/**
 * Look at `pages` pages of a block, over any borders.
 * @param offset   bytes in the block, a multiple of `pageSize`
 * @param pageSize bytes, a power of two between 128 and 1 MiB
 * @param flags    filled from its start, one byte per page: 1 = not zero
 * @returns how many of the pages are not zero
 */
export function scanBlock(
  block: RamBlock,
  offset: number,
  pages: number,
  pageSize: number,
  flags: Uint8Array,
): number {
  if (!(offset >= 0) || offset + pages * pageSize > block.maxLength) {
    throw new RangeError(`Cannot scan ${pages} pages at 0x${offset.toString(16)} of ${block.idstr}: it ends before`);
  }
  let found = 0;
  for (let done = 0; done < pages;) {
    const at = offset + done * pageSize;
    const n = Math.min(pages - done, (SLOT - at % SLOT) / pageSize);
    const memory = block.isUntouched(at) ? null : block.segments[Math.floor(at / SEGMENT)];
    if (memory) {
      const scanner = ZeroScanner.of(memory);
      found += scanner.scan(at % SEGMENT, n, pageSize);
      for (let i = 0; i < n; i++) flags[done + i] = scanner.flags[i];
    } else {
      flags.fill(0, done, done + n);
    }
    done += n;
  }
  return found;
}

const ZEROS = new Uint8Array(65536);
const ZERO_PAGE = ZEROS.subarray(0, 4096);

/** True when all bytes are zero. For bytes that are not in a block: compare by memcmp, 64 KiB at a time. */
export function isZero(view: Uint8Array): boolean {
  if (view.length === ZERO_PAGE.length) return Buffer.compare(view, ZERO_PAGE) === 0;
  for (let at = 0; at < view.length; at += ZEROS.length) {
    const part = view.length <= ZEROS.length ? view : view.subarray(at, at + ZEROS.length);
    const zeros = part.length === ZEROS.length ? ZEROS : ZEROS.subarray(0, part.length);
    if (Buffer.compare(part, zeros) !== 0) return false;
  }
  return true;
}
