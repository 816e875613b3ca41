/**
 * One range of guest memory on its way into a mapped-ram file: look for zero pages, write what lies between them, note both
 * in the bitmap. Works the same on the main thread and in a Worker.
 *
 *     flags of the scan   1 1 0 0 1 1 1 0      one write for each run of pages that are not zero
 *     bitmap              1 1 0 0 1 1 1 0      LSB first; bytes of two ranges never overlap
 *
 * Source: QEMU migration/multifd-zero-page.c multifd_send_zero_page_detect, multifd-nocomp.c multifd_set_file_bitmap.
 * @module
 */
import { ZeroScanner } from "../guest/zero.ts";

/** Writes all of a view at a position of the file. */
export type WriteAt = (view: Uint8Array<ArrayBuffer>, position: number) => void;

/** A range: whole target pages inside one slot. */
export interface PageJob {
  /** Shared memory that holds the pages; undefined: they are all zero and there is no memory for them. */
  memory: WebAssembly.Memory | undefined;
  /** Byte offset of the first page in `memory`. */
  at: number;
  /** Bytes. */
  length: number;
  pageSize: number;
  /** Where the first page goes in the file. */
  position: number;
  /** Look for zero pages and keep the bitmap; else everything is written and the bitmap is the caller's. */
  scan: boolean;
  /** Bitmap of the block. */
  bitmap: Uint8Array;
  /** Number of the first page in the block. */
  first: number;
}

/** Views over memories, made once each. */
const views = new WeakMap<WebAssembly.Memory, Uint8Array<ArrayBuffer>>();
let zeros: Uint8Array<ArrayBuffer> | undefined;

/** A MiB of zeros that begins on a page of the host, as O_DIRECT wants it. */
function zeroPages(): Uint8Array<ArrayBuffer> {
  // a shared buffer in truth, typed as guest memory is (guest/memory.ts)
  const memory = new WebAssembly.Memory({ initial: 16, maximum: 16, shared: true });
  return zeros ??= new Uint8Array(memory.buffer as ArrayBuffer);
}

function viewOf(memory: WebAssembly.Memory): Uint8Array<ArrayBuffer> {
  let view = views.get(memory);
  if (!view) views.set(memory, view = new Uint8Array(memory.buffer as ArrayBuffer));
  return view;
}

/**
 * Write one range. Allocates nothing but a view a run.
 * @returns pages that were written; the others are zero
 * @throws what `write` throws
 */
export function writePages(job: PageJob, write: WriteAt): number {
  const { memory, at, length, pageSize, position, bitmap, first } = job;
  const view = memory ? viewOf(memory) : zeros ?? zeroPages();
  const pages = length / pageSize;
  if (!job.scan) {
    const from = memory ? at : 0;
    write(view.subarray(from, from + length), position);
    return pages;
  }
  const scanner = memory ? ZeroScanner.of(memory) : undefined;
  const normal = scanner ? scanner.scan(at, pages, pageSize) : 0;
  const flags = scanner?.flags;
  for (let page = 0; page < pages;) {
    const begin = page;
    const data = normal > 0 && flags![page] !== 0;
    while (page < pages && (normal > 0 && flags![page] !== 0) === data) {
      const number = first + page++;
      if (data) bitmap[number >> 3] |= 1 << (number & 7);
      else bitmap[number >> 3] &= ~(1 << (number & 7));
    }
    if (data) write(view.subarray(at + begin * pageSize, at + page * pageSize), position + begin * pageSize);
  }
  return normal;
}
