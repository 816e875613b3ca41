/**
 * Large pages for guest memory that is about to be filled: the first write to a 4 KiB page costs more than copying it, and
 * one 2 MiB page takes the place of 512 of them. QEMU asks for the same when it makes guest RAM.
 *
 * Needs FFI (madvise) and is left out where that is not allowed; no permission is ever asked for.
 * Source: QEMU system/physmem.c ram_block_add (QEMU_MADV_HUGEPAGE); Linux asm-generic/mman-common.h.
 * @module
 */
import { addressOf } from "../threads/machine_address.ts";

const MADV_HUGEPAGE = 14, MADV_POPULATE_WRITE = 23;
/** Bytes; madvise takes whole ones. */
const PAGE = 4096;

type Madvise = (address: bigint, length: bigint, advice: number) => number;
let madvise: Madvise | null | undefined;

/** The C library's madvise, or null where it may not be called. */
function libcMadvise(): Madvise | null {
  try {
    if (Deno.permissions.querySync({ name: "ffi" }).state !== "granted") return null;
    const library = Deno.dlopen("libc.so.6", {
      madvise: { parameters: ["usize", "usize", "i32"], result: "i32" },
    });
    return library.symbols.madvise;
  } catch {
    return null;
  }
}

function advise(address: number, length: number, advice: number): void {
  // whole pages: those the range touches
  const from = Math.floor(address / PAGE) * PAGE;
  madvise!(BigInt(from), BigInt(address + length - from), advice);
}

/**
 * Let the kernel back bytes `from` to `to` with large pages when they are written. A matter of microseconds.
 * @returns whether it may be asked at all
 */
export function adviseLargePages(memory: Uint8Array<ArrayBuffer>, from: number, to: number): boolean {
  if (madvise === undefined) madvise = libcMadvise();
  if (madvise) advise(addressOf(memory) + from, Math.min(to, memory.length) - from, MADV_HUGEPAGE);
  return madvise !== null;
}

/**
 * Make memory resident now. Unlike a write, this cannot disturb a page somebody else is writing.
 * @param address of memory that is kept until the call is over
 */
export function populate(address: number, length: number): void {
  if (madvise === undefined) madvise = libcMadvise();
  if (madvise) advise(address, length, MADV_POPULATE_WRITE);
}
