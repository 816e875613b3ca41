/**
 * Registers of a PCI configuration space that hold addresses. Little-endian.
 *
 *     BAR          bit 0 I/O: address from bit 2 on; else bits 2..1 = 2 for 64 bits (two registers), 3 prefetchable, address from 4 on
 *     expansion ROM at 0x30, at 0x38 in a bridge: bit 0 on, address from bit 11 on
 *     windows of a bridge, each base and last address, nothing where the base is above:
 *       I/O           0x1c u8, 0x1d u8: bits 15..12 in 7..4; bits 3..0 = 1: 31..16 are at 0x30, 0x32
 *       memory        0x20 u16, 0x22 u16: bits 31..20 in 15..4
 *       prefetchable  0x24 u16, 0x26 u16: the same; bits 3..0 = 1: 63..32 are at 0x28, 0x2c
 *
 * Source: QEMU hw/pci/pci.c (pci_bar_address), pci_bridge.c (pci_bridge_get_base, pci_bridge_get_limit).
 * @module
 */

/** What a base address register says. */
export interface Bar {
  /** What is decoded. */
  readonly space: "I/O" | "memory";
  /** Without the bits below it. */
  readonly address: bigint;
  /** The register after it belongs to it. */
  readonly wide: boolean;
  /** May be read ahead. */
  readonly prefetchable: boolean;
}

/** What a bridge passes on. */
export interface Window {
  /** First address. */
  readonly base: bigint;
  /** Last address, which is below `base` where the window is closed. */
  readonly limit: bigint;
}

/** Which window. */
export type WindowKind = "I/O" | "memory" | "prefetchable";

/** A BAR. @param at of its first register; where the second one of a wide BAR is beyond the end, its bits are 0 */
export function readBar(config: DataView, at: number): Bar {
  const low = config.getUint32(at, true);
  if (low & 1) return { space: "I/O", address: BigInt((low & ~3) >>> 0), wide: false, prefetchable: false };
  const wide = (low & 6) === 4;
  const high = wide && at + 8 <= config.byteLength ? config.getUint32(at + 4, true) : 0;
  const address = BigInt(high) << 32n | BigInt((low & ~0xf) >>> 0);
  return { space: "memory", address, wide, prefetchable: (low & 8) !== 0 };
}

/** The expansion ROM. @param at 0x30, in a bridge 0x38 */
export function readRom(config: DataView, at: number): { readonly address: bigint; readonly enabled: boolean } {
  const value = config.getUint32(at, true);
  return { address: BigInt((value & ~0x7ff) >>> 0), enabled: (value & 1) !== 0 };
}

/** A window of a bridge. @param config 64 bytes at least */
export function readWindow(config: DataView, kind: WindowKind): Window {
  if (kind === "I/O") {
    const base = config.getUint8(0x1c), limit = config.getUint8(0x1d);
    const wide = (base & 0xf) === 1;
    const upper = (at: number) => wide ? BigInt(config.getUint16(at, true)) << 16n : 0n;
    return {
      base: upper(0x30) | BigInt((base & 0xf0) << 8),
      limit: upper(0x32) | BigInt((limit & 0xf0) << 8 | 0xfff),
    };
  }
  const at = kind === "memory" ? 0x20 : 0x24;
  const base = config.getUint16(at, true), limit = config.getUint16(at + 2, true);
  const wide = kind === "prefetchable" && (base & 0xf) === 1;
  const upper = (at: number) => wide ? BigInt(config.getUint32(at, true)) << 32n : 0n;
  return {
    base: upper(0x28) | BigInt(base & 0xfff0) << 16n,
    limit: upper(0x2c) | BigInt(limit & 0xfff0) << 16n | 0xfffffn,
  };
}
