/**
 * The MSI-X table of a device and which vectors are pending.
 *
 *     entry      u64 address, u32 data, u32 control: bit 0 masked; little-endian; 16 bytes each
 *     pending    a bit for each entry, in whole bytes
 *
 * Source: PCI Local Bus 3.0, 6.8.2; QEMU hw/pci/msix.c (msix_save).
 * @module
 */
import { present, register, Registers, words } from "./pci_parts.ts";
import type { Meaning, Part } from "./rule.ts";

/** PCI_MSIX_ENTRY_SIZE, most entries. */
const ENTRY = 16, MOST = 2048;

/** Bytes that `count` entries take with their pending bits. */
export function msixBytes(count: number): number {
  return count * ENTRY + Math.ceil(count / 8);
}

/** Table and pending bits; undefined where no number of entries takes so many bytes. */
export function describeMsix(bytes: Uint8Array): Meaning | undefined {
  // 129 bytes take 8 entries; a last byte of pending bits may be for fewer
  const count = Math.floor(bytes.length * 8 / (ENTRY * 8 + 1));
  if (count < 1 || count > MOST || msixBytes(count) !== bytes.length) return undefined;
  const parts = msixEntryParts(bytes, count);
  return { text: `${count} ${count === 1 ? "entry" : "entries"}`, parts };
}

function msixEntryParts(bytes: Uint8Array, count: number): Part[] {
  const table = new Registers(bytes);
  const parts: Part[] = [];
  for (let n = 0; n < count; n++) {
    const at = n * ENTRY;
    const control = table.u32(at + 12), pending = table.u8(count * ENTRY + (n >> 3)) >> (n & 7) & 1;
    const state = present([
      register("address", table.u64(at), 1),
      register("data", table.u32(at + 8), 1),
      register("control", control, 1, control & 1 ? "masked" : undefined),
      pending === 1 && words("pending", "true"),
    ]);
    parts.push({ name: String(n), parts: state });
  }
  return parts;
}
