/**
 * How x86 rules are written: a table of field names, each with what says its value.
 *
 *     ["env.cr[0]", register("CR0", flags("0 PE, 1 MP, 31 PG"))]
 *     ["env.star", msr("STAR", 0xc0000081)]
 *
 * @module
 */
import type { VmLeaf } from "../../stream/vmvalue.ts";
import { bitField, type DeviceView, hexText, integer, type Meaning } from "./rule.ts";

/** Where a value stands. */
export interface FieldPlace {
  /** Of the element, where the table has []; 0 elsewhere. */
  readonly index: number;
  /** Bytes of the value. */
  readonly bytes: number;
  /** Whose it is. */
  readonly device: DeviceView;
}

/** Words behind a value, which is unsigned; "" and undefined say nothing. */
export type Words = (value: bigint, place: FieldPlace) => string | undefined;
/** What is known of a field. */
export type FieldSymbol = (value: bigint, place: FieldPlace) => Meaning | undefined;
/** By field name; an element of an array as "env.regs[]". */
export type FieldTable = readonly (readonly [name: string, symbol: FieldSymbol])[];

/**
 * Names of the bits that are set, lowest first.
 * @param table "0 CF, 1 -, 2 PF, 12-13 IOPL": a bit, a bit of which nothing is said, some bits as "IOPL=3"
 * @param prefix of each name
 */
export function flags(table: string, prefix = ""): (value: bigint) => string {
  const entries = table.split(",").map((entry) => {
    const [at, name] = entry.trim().split(" ");
    const [low, high = low] = at.split("-").map(Number);
    return { low, high, name };
  });
  return (value) => {
    const said: [bit: number, words: string][] = [];
    let rest = value;
    for (const { low, high, name } of entries) {
      const field = bitField(value, low, high);
      rest &= ~(((1n << BigInt(high - low + 1)) - 1n) << BigInt(low));
      if (field !== 0 && name !== "-") said.push([low, prefix + (high > low ? `${name}=${field}` : name)]);
    }
    for (let bit = 0; rest !== 0n; bit++, rest >>= 1n) if (rest & 1n) said.push([bit, `bit ${bit}`]);
    return said.sort(([a], [b]) => a - b).map(([, words]) => words).join(" ");
  };
}

/** A number in hex with all its digits. */
export function wide(value: bigint, { bytes }: Pick<FieldPlace, "bytes">): string {
  return hexText(value, bytes * 2);
}

/** A register: its name, with [] the element's number, and the value with all digits. */
export function register(name: string, words?: Words): FieldSymbol {
  return (value, place) => ({
    symbol: name.replace("[]", String(place.index)),
    text: wide(value, place),
    meaning: words?.(value, place),
  });
}

/** A model-specific register: the same, with its number; of an array the first one's, the others `step` apart. */
export function msr(name: string, number: number, words?: Words, step = 1): FieldSymbol {
  return register(name, (value, place) => {
    const said = words?.(value, place);
    const which = `MSR ${hexText(number + place.index * step)}`;
    return said ? `${said} (${which})` : which;
  });
}

/** A field that is no register: its value with all digits and words. */
export function hexField(words?: Words): FieldSymbol {
  return (value, place) => ({ text: wide(value, place), meaning: words?.(value, place) });
}

/** A field that is a plain number with words. */
export function plain(words: Words): FieldSymbol {
  return (value, place) => ({ text: value.toString(), meaning: words(value, place) });
}

/** Bit 0 switches on, the rest is an address of `align` bytes. */
export function enabledAt(align: bigint): (value: bigint) => string {
  return (value) => value & 1n ? `at ${hexText(value & -align)}` : value === 0n ? "" : "off";
}

/** A number of another field of the same device. */
export function number({ device }: FieldPlace, path: string): bigint | undefined {
  return integer(device.value(path));
}

/** What a table knows of fields. */
export class FieldSymbols {
  readonly #fields: ReadonlyMap<string, FieldSymbol>;

  constructor(...tables: readonly FieldTable[]) {
    this.#fields = new Map(tables.flat());
  }

  /** @param path of a leaf; subsections of `owner` in front of its name count for nothing */
  of(leaf: VmLeaf, path: string, owner: string, device: DeviceView): Meaning | undefined {
    const at = path.lastIndexOf(`${owner}/`);
    const own = at < 0 || (at > 0 && path[at - 1] !== ".") ? 0 : path.indexOf(".", at) + 1;
    const name = path.slice(own);
    const named = this.#fields.get(name);
    const element = named ? undefined : /^(.*)\[(\d{1,5})\]$/.exec(name);
    const symbol = named ?? (element ? this.#fields.get(`${element[1]}[]`) : undefined);
    const value = integer(leaf.value);
    if (!symbol || value === undefined || leaf.length < 1 || leaf.length > 8) return undefined;
    const unsigned = BigInt.asUintN(leaf.length * 8, value);
    const index = element ? Number(element[2]) : 0;
    const meaning = symbol(unsigned, { index, bytes: leaf.length, device });
    return meaning && tidy(meaning);
  }
}

/** Without what says nothing. */
function tidy({ symbol, text, meaning, parts }: Meaning): Meaning {
  return {
    ...(symbol !== undefined ? { symbol } : {}),
    ...(text !== undefined ? { text } : {}),
    ...(meaning ? { meaning } : {}),
    ...(parts ? { parts } : {}),
  };
}
