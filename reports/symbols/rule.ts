/**
 * What values of device fields mean: rules, each for some fields of some devices, and the words they are made of.
 *
 *     env.eflags    0x46               PF ZF
 *     env.regs[4]   0x6f04     RSP
 *     expire        1.5 s
 *
 * @module
 */
import type { VmBranch, VmLeaf, VmValue } from "../../stream/vmvalue.ts";

/** What one value means. */
export interface Meaning {
  /** What the field's documentation calls it: "RAX", "CR0", "command". */
  readonly symbol?: string;
  /** The value in its own unit, in place of the plain number: "1.5 s", "00:03.0". */
  readonly text?: string;
  /** What that says: "PF ZF", "runs on". */
  readonly meaning?: string;
  /** Parts of a value that has some: the registers of a configuration space. In the order of their bytes. */
  readonly parts?: readonly Part[];
}

/** A named part of a value. */
export interface Part extends Meaning {
  /** As the documentation calls it: "vendor", "bar[0]". */
  readonly name: string;
  /** Plain. */
  readonly value?: number | bigint | string | boolean;
  /** Where its bytes begin in the value's, when it has bytes of its own; with `length`. */
  readonly offset?: number;
  /** How many they are. */
  readonly length?: number;
}

/** The device a field belongs to. */
export interface DeviceView {
  /** idstr of its section: "0000:00:03.0/virtio-net". */
  readonly idstr: string;
  /** Last part of it: "virtio-net". */
  readonly name: string;
  /** What QEMU_CLOCK_VIRTUAL showed when the guest was saved, in ns; undefined where the stream does not say. */
  readonly clock?: bigint;
  /** A field of the device by its path; undefined where it has none. */
  value(path: string): VmValue | undefined;
}

/** What is known of some fields. */
export interface SymbolRule {
  /** Tried on the last part of the section's idstr; every device where there is none. */
  readonly device?: RegExp;
  /** Tried on the field's path, which is as `VmLeafAt` has it: "env.segs[2].base". */
  readonly field?: RegExp;
  /** VMStateInfo's name: "timer". */
  readonly type?: string;
  /** @returns undefined where nothing is known of this value */
  describe(value: VmValue, match: RegExpExecArray, device: DeviceView, leaf: VmLeaf): Meaning | undefined;
  /**
   * A struct or an array by its path, "env.segs[2]": its name, "SS", and words behind it. With a text it is one value, and
   * what it consists of is not shown.
   * @returns undefined where nothing is known of it
   */
  whole?(match: RegExpExecArray, device: DeviceView, branch: VmBranch): Meaning | undefined;
}

/** A number as a bigint, whatever its width; undefined where a value is none. */
export function integer(value: VmValue | undefined): bigint | undefined {
  return typeof value === "bigint" ? value : typeof value === "number" ? BigInt(value) : undefined;
}

/** Names of the bits that are set, lowest first; bits without a name as "bit 7". Undefined entries have no name. */
export function bitNames(value: number | bigint, names: readonly (string | undefined)[]): string {
  const said: string[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  for (let bit = 0; rest !== 0n; bit++, rest >>= 1n) if (rest & 1n) said.push(names[bit] ?? `bit ${bit}`);
  return said.join(" ");
}

/** A table of bits from "0 PE, 1 MP, 31 PG". */
export function bits(table: string): (string | undefined)[] {
  const names: (string | undefined)[] = [];
  for (const entry of table.split(",")) {
    const [bit, name] = entry.trim().split(" ");
    names[Number(bit)] = name;
  }
  return names;
}

/** Bits `low` to `high` of a value. */
export function bitField(value: number | bigint, low: number, high: number): number {
  return Number((BigInt(value) >> BigInt(low)) & ((1n << BigInt(high - low + 1)) - 1n));
}

/** A number in hex, with zeros in front up to `digits`. */
export function hexText(value: number | bigint, digits = 1): string {
  return "0x" + value.toString(16).padStart(digits, "0");
}
