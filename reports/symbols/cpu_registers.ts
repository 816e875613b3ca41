/**
 * Registers of one kind of processor: a table of fields, and what values of them say.
 *
 *     "env.pc": ["PC"]                               one register
 *     "env.gpr[]": [["zero", "ra", ...]]             an array, a name for each element
 *     "env.msr": ["MSR", layout("0 LE, 15 EE")]      with words for its value
 *
 * Every architecture calls its section "cpu": a table counts only where a field that no other architecture has is there.
 * @module
 */
import { bitField, type DeviceView, hexText, integer, type SymbolRule } from "./rule.ts";
import type { VmLeaf, VmValue } from "../../stream/vmvalue.ts";

/** What a register's value says; undefined or "" when nothing. `index` is 0 where it is no array. */
export type Says = (value: bigint, device: DeviceView, index: number) => string | undefined;
/** A name, one for each element, or one by the element's number; undefined where it has none. */
export type RegisterName = string | readonly string[] | ((index: number, device: DeviceView) => string | undefined);
/** A register: what it is called, and what values of it say. */
export type Register = readonly [name: RegisterName, says?: Says];

/** Most bytes a number has. */
const NUMBER_BYTES = 8;

/** @param mark a field only this architecture has */
export function cpuRegisters(mark: string, table: Readonly<Record<string, Register>>): SymbolRule {
  const registers = new Map(Object.entries(table));
  return {
    device: /^cpu$/,
    field: /^(.*?)(?:\[(\d+)\])?$/s,
    describe(value, [path, array, index], device, leaf) {
      // "env.xregs[2]" may also be the name of a field
      const element = index !== undefined && leaf.name === index;
      const register = registers.get(element ? array + "[]" : path);
      if (!register || device.value(mark) === undefined) return undefined;
      const number = registerValue(value, leaf);
      if (number === undefined) return undefined;
      const [name, says] = register;
      const at = element ? Number(index) : 0;
      const symbol = nameOf(name, at, device);
      const meaning = says?.(number, device, at);
      return {
        ...(symbol ? { symbol } : {}),
        text: hexText(number, leaf.length * 2),
        ...(meaning ? { meaning } : {}),
      };
    },
  };
}

/** Of any type a register has on the wire, bytes included (put_cpsr and others), unsigned; undefined for what is no number. */
export function registerValue(value: VmValue, { length }: VmLeaf): bigint | undefined {
  if (length === 0 || length > NUMBER_BYTES) return undefined;
  if (value instanceof Uint8Array) return value.length === length ? BigInt("0x" + value.toHex()) : undefined;
  const number = integer(value);
  return number === undefined ? undefined : BigInt.asUintN(length * 8, number);
}

function nameOf(name: RegisterName, index: number, device: DeviceView): string | undefined {
  return typeof name === "function" ? name(index, device) : typeof name === "string" ? name : name[index];
}

/** "R0", "R1", ... */
export function numbered(prefix: string, count: number, digits = 1): string[] {
  return Array.from({ length: count }, (_, i) => prefix + String(i).padStart(digits, "0"));
}

/**
 * Words for a register made of bits and fields, lowest first, those that are zero left out, bits without a name as "bit 7";
 * none where all of it is zero.
 * @param table "0 M, 5:2 ASID, 9:8 RMode=RN/RP/RM/RZ": bits, fields with their number in hex, fields whose values have names
 */
export function layout(table: string): (value: bigint) => string {
  const fields = table.split(",").map((entry) => {
    const [, high, low = high, name, values] = /^\s*(\d+)(?::(\d+))? ([^=]+?)(?:=(.*))?$/s.exec(entry)!;
    return { low: Number(low), high: Number(high), name, values: values?.split("/") };
  });
  fields.sort((a, b) => a.low - b.low);
  let known = 0n;
  for (const { low, high } of fields) known |= ((1n << BigInt(high - low + 1)) - 1n) << BigInt(low);
  return (value) => {
    if (value === 0n) return "";
    const said: string[] = [];
    for (const { low, high, name, values } of fields) {
      const part = bitField(value, low, high);
      if (values) said.push(...(values[part] === "" ? [] : [`${name}=${values[part] ?? hexText(part)}`]));
      else if (part !== 0) said.push(low === high ? name : `${name}=${hexText(part)}`);
    }
    const rest = BigInt.asUintN(64, value) & ~known;
    for (let bit = 0; rest >> BigInt(bit) !== 0n; bit++) if (rest >> BigInt(bit) & 1n) said.push(`bit ${bit}`);
    return said.join(" ");
  };
}

/** "-Z--": a letter for each bit that is set, a dash for each that is not. @param names from bit `high` down */
export function letters(value: bigint, high: number, names: string): string {
  return [...names].map((name, i) => value >> BigInt(high - i) & 1n ? name : "-").join("");
}
