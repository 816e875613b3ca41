/**
 * Where bytes are, as numbers for calls of the C library. User addresses have 47 bits, so a number holds them exactly. They are
 * good for as long as somebody holds the memory.
 * @module
 */

/** Address of a view's first byte. Needs `--allow-ffi` without a path. */
export function addressOf(view: Uint8Array<ArrayBuffer>): number {
  return Number(Deno.UnsafePointer.value(Deno.UnsafePointer.of(view)));
}
