/**
 * One field of two devices: the values plain, and in the words of those who know such devices.
 * @module
 */
import { Buffer } from "node:buffer";
import { plainFields, type PlainValue, type VmLeaf } from "../stream/vmstate.ts";
import type { Ignore } from "./field_pattern.ts";
import { type DescribedField, describeLeaf, type DeviceSymbols } from "./symbols/describe.ts";

/** Bytes of a long value that are shown from the first that differs on. */
const SHOWN = 64;

/** A field that is not the same. */
export interface FieldDifference {
  /** As the description names it: "env.segs[2].base". */
  readonly path: string;
  /** The values, plain: bytes as hex, long ones from the first that differs. */
  readonly a: PlainValue;
  /** As `a`, of the second. */
  readonly b: PlainValue;
  /** Bytes of a long value that are the same and not shown. */
  readonly at?: number;
  /** What the field is called otherwise: "RIP". */
  readonly symbol?: string;
  /** The values as people read them, where more is known of them: "0x46 PF ZF". */
  readonly text?: readonly [a: string, b: string];
  /** Parts of the value that are not the same: registers of a configuration space. */
  readonly parts?: readonly PartDifference[];
}

/** A part of a value that is not the same. */
export interface PartDifference {
  /** "command"; parts of parts behind a dot. */
  readonly path: string;
  /** As people read it; undefined where it has none. */
  readonly a: string | undefined;
  /** As `a`, of the second. */
  readonly b: string | undefined;
}

/** Compare one field; undefined where it is the same. */
export function diffLeaf(
  device: string,
  path: string,
  a: VmLeaf,
  b: VmLeaf,
  ignore: Ignore,
): FieldDifference | undefined {
  if (a.value instanceof Uint8Array && b.value instanceof Uint8Array) {
    if (Buffer.compare(a.value, b.value) === 0) return undefined;
    const counts = (at: number, bits: number) => !ignore({ device, field: path, byte: [at, bits] });
    const at = firstDifference(a.value, b.value, counts);
    if (at === a.value.length && at === b.value.length) return undefined;
    return { path, ...shortened(a.value, b.value, at) };
  }
  return a.value === b.value ? undefined : { path, a: plain(a), b: plain(b) };
}

function plain(leaf: VmLeaf): PlainValue {
  return plainFields([{ ...leaf, name: "value" }]).value;
}

/** Where two values begin to differ. @param counts asked whether a byte that differs does count; default: all do */
export function firstDifference(a: Uint8Array, b: Uint8Array, counts = (_at: number, _bits: number) => true): number {
  const n = Math.min(a.length, b.length);
  for (let at = 0; at < n; at++) if (a[at] !== b[at] && counts(at, a[at] ^ b[at])) return at;
  return n;
}

/** Hex of both from a little before the first difference on; of short values all. */
export function shortened(a: Uint8Array, b: Uint8Array, first: number): { a: string; b: string; at?: number } {
  if (Math.max(a.length, b.length) <= SHOWN) return { a: a.toHex(), b: b.toHex() };
  const cut = (bytes: Uint8Array) => {
    return bytes.subarray(first, first + SHOWN).toHex() + (bytes.length > first + SHOWN ? "..." : "");
  };
  return { a: cut(a), b: cut(b), at: first };
}

/** Whether every byte of a field that differs counts. */
export function allCounts(device: string, path: string, a: VmLeaf, b: VmLeaf, ignore: Ignore): boolean {
  if (!(a.value instanceof Uint8Array && b.value instanceof Uint8Array)) return true;
  const ignored = (at: number, bits: number) => ignore({ device, field: path, byte: [at, bits] });
  return firstDifference(a.value, b.value, ignored) === Math.min(a.value.length, b.value.length);
}

/**
 * What is known of a field that differs; `{}` when nothing is.
 * @param whole every byte of it counts, so that its parts may be told
 */
export function inSymbols(
  symbols: readonly [DeviceSymbols, DeviceSymbols],
  path: string,
  a: VmLeaf,
  b: VmLeaf,
  whole: boolean,
): Pick<FieldDifference, "symbol" | "text" | "parts"> {
  const left = describeLeaf(a, path, symbols[0]), right = describeLeaf(b, path, symbols[1]);
  const known = left.meaning ?? right.meaning ?? left.symbol;
  const alike = left.meaning === right.meaning;
  const text = [alike ? left.text ?? "" : said(left), alike ? right.text ?? "" : said(right)] as const;
  const parts = whole ? diffParts(left, right) : [];
  return {
    ...(left.symbol !== undefined ? { symbol: left.symbol } : {}),
    ...(parts.length === 0 && text[0] !== text[1] && (known || isOwn(left, a)) ? { text } : {}),
    ...(parts.length > 0 ? { parts } : {}),
  };
}

/** Whether a value is said in a unit of its own. */
function isOwn({ text }: DescribedField, { value }: VmLeaf): boolean {
  return !(value instanceof Uint8Array) && text !== String(value) && !text?.endsWith(`(${value})`);
}

function said({ text = "", meaning }: DescribedField): string {
  return meaning ? `${text} ${meaning}` : text;
}

function diffParts(a: DescribedField, b: DescribedField): PartDifference[] {
  const left = flat(a.children), right = flat(b.children);
  const parts: PartDifference[] = [];
  for (const path of new Set([...left.keys(), ...right.keys()])) {
    const mine = left.get(path), theirs = right.get(path);
    if (mine !== theirs) parts.push({ path, a: mine, b: theirs });
  }
  return parts;
}

function flat(
  fields: readonly DescribedField[] = [],
  prefix = "",
  into = new Map<string, string>(),
): Map<string, string> {
  for (const field of fields) {
    const path = prefix + field.name;
    if (field.text !== undefined) into.set(path, said(field));
    flat(field.children, `${path}.`, into);
  }
  return into;
}
