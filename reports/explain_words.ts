/**
 * What `inspect --device` knows of a value, as the words of a line; and a line for each part of a value whose parts have bytes.
 *
 *     sections[12].hpet.timer[0].qemu_timer = 4004032116   4.004032116 s, in 802.089 us (timer)
 *     sections[38]["0000:00:05.0/uhci"].dev.config[0].command     IO MEMORY MASTER, of config[0] (pci config)
 *
 * @module
 */
import type { VmLeaf, VmValue } from "../stream/vmvalue.ts";
import { type ExplainLine, FieldLines, member, plainNumber, RAW_LIMIT } from "./explain_lines.ts";
import type { Meaning, Part } from "./symbols/rule.ts";

/** Most parts of a part that are said. */
const PARTS_SAID = 8;

/** "RFLAGS: PF ZF", "1.5 s, in 3 ms"; "" when nothing is known. Numbers and bytes that the line shows anyway are not said. */
export function words({ symbol, text, meaning }: Meaning, value: VmValue): string {
  const plain = text === undefined || /^-?(0x[0-9a-f]+|\d+)( \(\d+\))?$/.test(text) ||
    /^[0-9a-f]{2}( [0-9a-f]{2})*$/.test(text) ||
    value instanceof Uint8Array && JSON.stringify(asText(value)) === text;
  const said = [plain ? undefined : text, meaning].filter((word) => word).join(", ");
  return [symbol, said].filter((word) => word).join(": ");
}

/** A line for each part of a value, and for what lies between them. */
export function partLines(
  { name, offset, length, type }: VmLeaf,
  { parts = [], ...whole }: Meaning,
  path: string,
  base: number,
  body: Uint8Array,
  source: string,
): ExplainLine[] {
  const fields = new FieldLines(base + offset, path, source);
  const bytes = body.subarray(offset, offset + length);
  const said = words(whole, bytes);
  const of = `of ${name} (${type})`;
  let end = 0;
  const add = (place: string, to: number, meaning: string, value?: ExplainLine["value"]) => {
    const own = bytes.subarray(end, to);
    // what the value is as a whole stands where it begins
    fields.add(place, to - end, own.subarray(0, RAW_LIMIT), end === 0 && said ? `${meaning}: ${said}` : meaning, value);
    end = to;
  };
  for (const part of parts) {
    const { offset: from = 0, length: size = 0, value } = part;
    if (from > end) add(`["${end}..${from - 1}"]`, from, of);
    const own = bytes.subarray(from, from + size);
    const shown = typeof value === "bigint" ? plainNumber(value) : value ?? (size === 1 ? own[0] : undefined);
    add(member(part.name).replace(/^[.]/, ""), from + size, `${partWords(part, own)}, ${of}`, shown);
  }
  if (end < length) add(`["${end}..${length - 1}"]`, length, of);
  return fields.lines;
}

/** What a part says, or those that it has in turn. */
function partWords(part: Part, bytes: Uint8Array): string {
  const inner = part.parts?.map(({ name, text = "", meaning }) => `${name} ${text}${meaning ? ` ${meaning}` : ""}`) ??
    [];
  return words(part, bytes) || inner.slice(0, PARTS_SAID).join(", ") || part.name;
}

/** Parts that have bytes, by their place; none where they do not lie one behind the other inside of the value. */
export function placedParts(parts: readonly Part[] = [], size: number): readonly Part[] {
  const found = parts.filter(({ offset, length }) => offset !== undefined && length !== undefined)
    .sort((a, b) => a.offset! - b.offset!);
  let end = 0;
  for (const { offset = 0, length = 0 } of found) {
    if (offset < end || length <= 0) return [];
    end = offset + length;
  }
  return end <= size ? found : [];
}

/** Bytes that are a text padded with NULs, such as a run state. */
export function asText(bytes: Uint8Array): string | undefined {
  const end = bytes.findIndex((byte) => byte < 0x20 || byte > 0x7e);
  if (end < 3 || bytes.length > 256 || bytes.subarray(end).some((byte) => byte !== 0)) return undefined;
  return String.fromCharCode(...bytes.subarray(0, end));
}
