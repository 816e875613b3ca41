/**
 * Registers as parts, read from little-endian bytes that may end anywhere.
 * @module
 */
import { bitNames, hexText, type Part } from "./rule.ts";

/** Bytes with registers; what lies beyond their end is not there. */
export class Registers {
  readonly view: DataView;

  constructor(bytes: Uint8Array) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Bytes there are. */
  get length(): number {
    return this.view.byteLength;
  }

  /** Whether `size` bytes at `at` are there. */
  has(at: number, size: number): boolean {
    return at >= 0 && at + size <= this.length;
  }

  /** 0 beyond the end. */
  u8(at: number): number {
    return this.has(at, 1) ? this.view.getUint8(at) : 0;
  }

  /** 0 beyond the end. */
  u16(at: number): number {
    return this.has(at, 2) ? this.view.getUint16(at, true) : 0;
  }

  /** 0 beyond the end. */
  u32(at: number): number {
    return this.has(at, 4) ? this.view.getUint32(at, true) : 0;
  }

  /** 0 beyond the end. */
  u64(at: number): bigint {
    return this.has(at, 8) ? this.view.getBigUint64(at, true) : 0n;
  }
}

/** A register of `digits` hex digits. */
export function register(name: string, value: number | bigint, digits: number, meaning?: string): Part {
  return { name, value, text: hexText(value, digits), ...(meaning ? { meaning } : {}) };
}

/** A register of flags. */
export function flags(name: string, value: number, digits: number, names: readonly (string | undefined)[]): Part {
  return register(name, value, digits, bitNames(value, names));
}

/** What is said in words alone. */
export function words(name: string, text: string, meaning?: string): Part {
  return { name, text, ...(meaning ? { meaning } : {}) };
}

/** What there is of some parts. */
export function present(parts: readonly (Part | undefined | false)[]): Part[] {
  return parts.filter((part) => part !== undefined && part !== false);
}
