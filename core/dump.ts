/**
 * Values as `print`, `x` and `xp` show them.
 *
 *     0000000000000000: 0x00000000 0x00000000 0x00000000 0x00000000
 *     ^ 16 hex digits   ^ each value after a blank, 16 bytes a line (8 when the values are bytes)
 *
 * Little endian. Source: QEMU monitor/hmp-cmds-target.c (memory_dump), monitor/monitor.c (monitor_printc).
 * @module
 */
import { CommandError } from "../stream/errors.ts";

/** What `/FMT` says: how many, in what form, of how many bytes. */
export interface DumpFormat {
  /** Values to show. */
  readonly count: number;
  /** Hexadecimal, decimal, unsigned, octal, character, instruction. */
  readonly format: "x" | "d" | "u" | "o" | "c" | "i";
  /** 1, 2, 4 or 8; -1 for `i` without a size. */
  readonly size: number;
}

/** Reads memory: bytes landed from the start of `target`, fewer when the rest cannot be reached. */
export type MemoryReader = (address: number, target: Uint8Array) => number;

/** One character as the monitor quotes it. */
export function quoteCharacter(code: number): string {
  const named: Record<number, string> = { 39: "\\'", 92: "\\\\", 10: "\\n", 13: "\\r" };
  if (code in named) return `'${named[code]}'`;
  const printable = code >= 32 && code <= 126;
  return printable ? `'${String.fromCharCode(code)}'` : `'\\x${code.toString(16).padStart(2, "0")}'`;
}

/** `print/FMT EXPR`: the value alone, no padding. */
export function printValue(value: bigint, format: DumpFormat["format"]): string {
  const unsigned = BigInt.asUintN(64, value);
  switch (format) {
    case "o":
      return unsigned === 0n ? "0" : "0" + unsigned.toString(8);
    case "x":
      return unsigned === 0n ? "0" : "0x" + unsigned.toString(16);
    case "u":
      return unsigned.toString();
    case "c":
      return quoteCharacter(Number(BigInt.asUintN(32, value)));
    default:
      return value.toString();
  }
}

/** One value of a memory dump, padded to its column. */
function dumpValue(value: bigint, format: DumpFormat["format"], bytes: number): string {
  const bits = bytes * 8;
  switch (format) {
    case "o":
      return (value === 0n ? "0" : "0" + value.toString(8)).padStart(Math.ceil(bits / 3));
    case "u":
      return value.toString().padStart(Math.ceil(bits * 10 / 33));
    case "d":
      return (bits === 64 ? BigInt.asIntN(64, value) : value).toString().padStart(Math.ceil(bits * 10 / 33));
    case "c":
      return quoteCharacter(Number(value));
    default:
      return "0x" + value.toString(16).padStart(bits / 4, "0");
  }
}

/** Largest dump of one command, in bytes: far above what a person reads, below what would hurt. */
const MAX_DUMP = 16 << 20;

/**
 * `x/FMT ADDR`, `xp/FMT ADDR`.
 * @returns lines, each with its line feed; the last one says so when memory ends
 * @throws {CommandError} for format `i`, which needs a disassembler, and for more than 16 MiB
 */
export function dumpMemory({ count, format, size }: DumpFormat, start: bigint, read: MemoryReader): string {
  if (format === "i") {
    throw new CommandError("Cannot disassemble: there is no disassembler; use format x, d, u, o or c");
  }
  const width = format === "c" ? 1 : size;
  const lineBytes = size === 1 ? 8 : 16;
  const line = new Uint8Array(lineBytes);
  const view = new DataView(line.buffer);
  let left = count * size;
  if (left > MAX_DUMP) throw new CommandError(`Cannot dump ${left} bytes: at most ${MAX_DUMP} at a time`);
  let address = BigInt.asUintN(64, start);
  let out = "";
  while (left > 0) {
    const bytes = Math.min(left, lineBytes);
    out += address.toString(16).padStart(16, "0") + ":";
    const reachable = address + BigInt(bytes) <= BigInt(Number.MAX_SAFE_INTEGER);
    if (!reachable || read(Number(address), line.subarray(0, bytes)) < bytes) return out + " Cannot access memory\n";
    for (let i = 0; i < bytes; i += width) out += " " + dumpValue(valueAt(view, i, width), format, width);
    out += "\n";
    address = BigInt.asUintN(64, address + BigInt(bytes));
    left -= bytes;
  }
  return out;
}

function valueAt(view: DataView, at: number, width: number): bigint {
  switch (width) {
    case 1:
      return BigInt(view.getUint8(at));
    case 2:
      return BigInt(view.getUint16(at, true));
    case 4:
      return BigInt(view.getUint32(at, true));
    default:
      return view.getBigUint64(at, true);
  }
}
