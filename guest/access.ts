/**
 * Reading and writing by address, as `x`, `xp`, `memsave`, `pmemsave` and `-device loader` do.
 * @module
 */
import type { Guest, PhysicalRange } from "./guest.ts";

/** The range that holds a guest-physical address, or undefined. */
export function physicalRangeAt(guest: Guest, address: number): PhysicalRange | undefined {
  const ranges = guest.physical ?? [];
  let low = 0;
  let high = ranges.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ranges[middle].base <= address) low = middle + 1;
    else high = middle;
  }
  const range = ranges[low - 1];
  return range && address < range.base + range.length ? range : undefined;
}

/**
 * Copy guest-physical memory out.
 * @param address bytes, below 2^53
 * @param target  filled from its start
 * @returns bytes that could be read before the first address without memory; the rest of `target` is as it was
 */
export function readPhysical(guest: Guest, address: number, target: Uint8Array): number {
  return walk(guest, address, target.length, (range, offset, done, n) => {
    guest.memory.block(range.idstr)!.read(offset, target.subarray(done, done + n));
  });
}

/**
 * Copy bytes into guest-physical memory, ROMs included.
 * @returns bytes that found memory
 */
export function writePhysical(guest: Guest, address: number, bytes: Uint8Array): number {
  return walk(guest, address, bytes.length, (range, offset, done, n) => {
    guest.memory.block(range.idstr)!.write(offset, bytes.subarray(done, done + n));
  });
}

/**
 * Copy memory out by virtual address. Only the identity that holds while paging is off (CR0.PG = 0, as in a machine
 * that was never run); page tables are not walked.
 * @returns as {@link readPhysical}
 */
export function readVirtual(guest: Guest, address: number, target: Uint8Array): number {
  return readPhysical(guest, address, target);
}

function walk(
  guest: Guest,
  address: number,
  length: number,
  visit: (range: PhysicalRange, offset: number, done: number, n: number) => void,
): number {
  let done = 0;
  while (done < length) {
    const at = address + done;
    const range = physicalRangeAt(guest, at);
    if (!range) break;
    const n = Math.min(length - done, range.base + range.length - at);
    visit(range, range.blockOffset + at - range.base, done, n);
    done += n;
  }
  return done;
}
