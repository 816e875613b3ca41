/**
 * Large pages for guest memory that is about to be filled: the first write to a 4 KiB page costs more than copying it, and
 * one 2 MiB page takes the place of 512 of them. QEMU asks for the same when it makes guest RAM.
 *
 * Needs FFI (madvise) and is left out where that is not allowed; no permission is ever asked for.
 * Source: QEMU system/physmem.c ram_block_add (QEMU_MADV_HUGEPAGE); Linux asm-generic/mman-common.h.
 * @module
 */

const MADV_HUGEPAGE = 14, MADV_POPULATE_WRITE = 23;

type Madvise = (start: Uint8Array<ArrayBuffer>, length: bigint, advice: number) => number;
let madvise: Madvise | null | undefined;

/** The C library's madvise, or null where it may not be called. */
function libcMadvise(): Madvise | null {
  try {
    if (Deno.permissions.querySync({ name: "ffi" }).state !== "granted") return null;
    const library = Deno.dlopen("libc.so.6", {
      madvise: { parameters: ["buffer", "usize", "i32"], result: "i32" },
    });
    return library.symbols.madvise;
  } catch {
    return null;
  }
}

function advise(memory: Uint8Array<ArrayBuffer>, from: number, to: number, advices: readonly number[]): void {
  if (madvise === undefined) madvise = libcMadvise();
  if (!madvise) return;
  const view = memory.subarray(from, to);
  for (const advice of advices) madvise(view, BigInt(view.length), advice);
}

/** Let the kernel back bytes `from` to `to` with large pages when they are written. A matter of microseconds. */
export function adviseLargePages(memory: Uint8Array<ArrayBuffer>, from: number, to: number): void {
  advise(memory, from, to, [MADV_HUGEPAGE]);
}

/** Make bytes `from` to `to` resident now. Unlike a write, this cannot disturb a page somebody else is writing. */
export function populate(memory: Uint8Array<ArrayBuffer>, from: number, to: number): void {
  advise(memory, from, to, [MADV_POPULATE_WRITE]);
}
