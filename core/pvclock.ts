/**
 * The clock a host under KVM writes into its guest's memory: 32 bytes for each CPU, at a place the guest chose. A guest that was
 * moved has another one, which is as it should be.
 *
 *     u32 version, u32 0, u64 tsc_timestamp, u64 system_time, u32 tsc_to_system_mul, s8 tsc_shift, u8 flags, u16 0
 *
 * The version is odd while the host writes. Source: Linux arch/x86/include/asm/pvclock-abi.h.
 * @module
 */
import { Buffer } from "node:buffer";

const BYTES = 32;

function looksLikeClock(bytes: Buffer): boolean {
  return bytes.readUInt32LE(0) !== 0 && bytes.readUInt32LE(0) % 2 === 0 && bytes.readUInt32LE(4) === 0 &&
    bytes.readUInt32LE(24) >= 2 ** 31 && bytes.readUInt16LE(30) === 0;
}

/**
 * Do two copies of a page differ in clocks alone, each of the same rate on both sides?
 * @param a as long as `b`, a multiple of 32 bytes
 */
export function differsInClocks(a: Buffer, b: Buffer): boolean {
  let found = 0;
  for (let at = 0; at < a.length; at += BYTES) {
    const [one, two] = [a.subarray(at, at + BYTES), b.subarray(at, at + BYTES)];
    if (Buffer.compare(one, two) === 0) continue;
    if (!looksLikeClock(one) || !looksLikeClock(two)) return false;
    found++;
  }
  return found > 0;
}
