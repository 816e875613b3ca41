/**
 * What a model guest's RAM holds before it runs.
 *
 *     zero                              nothing is touched
 *     pattern[:at=A,bytes=N]            page k of the block begins 4d 49 47 4c 41 42 70 67 ("MIGLABpg"), then k as
 *                                       64 bits little-endian; the rest of the page is zero
 *     random[:N | =P% | :seed=S,bytes=N,percent=P,at=A]
 *                                       splitmix64 (random.ts); with P percent of the pages, spread evenly
 *     file:PATH@ADDRESS                 a file laid at a guest-physical address
 *
 * `N` and `A` are sizes (`64M`, `0x7c00`), rounded to whole pages where pages are meant; left out, `at` is 0 and `bytes`
 * runs to the end of the block. Several contents are laid one over the other, in order.
 * @module
 */
import type { RamBlock } from "./memory.ts";
import { SEGMENT } from "./memory.ts";
import { fillRandom } from "./random.ts";
import { parseSize } from "./size.ts";

/** One layer of content. Offsets and lengths in bytes. */
export type Content =
  | { readonly kind: "zero" }
  | { readonly kind: "pattern"; readonly at?: number; readonly bytes?: number }
  | {
    readonly kind: "random";
    readonly seed?: bigint;
    readonly at?: number;
    readonly bytes?: number;
    readonly percent?: number;
  }
  | { readonly kind: "file"; readonly path: string; readonly address: number };

/** First 8 bytes of a pattern page, as a little-endian number. */
export const PATTERN_MARKER = 0x6770_4241_4c47_494dn;

const PAGE = 4096;

const OPTIONS: Record<string, readonly string[]> = {
  zero: [],
  pattern: ["at", "bytes"],
  random: ["seed", "at", "bytes", "percent"],
};

/**
 * Read the value of a `--content` option.
 * @throws {RangeError} when the text is none, or a number in it is out of range
 */
export function parseContent(text: string): Content {
  const [, kind, separator, rest] = /^([a-z]+)([:=]?)(.*)$/s.exec(text) ?? [];
  if (kind === "file" && separator === ":") return parseFile(text, rest);
  if (!kind || !Object.hasOwn(OPTIONS, kind) || (rest && !separator)) {
    throw new RangeError(`Cannot read content "${text}": expected zero, pattern, random or file:PATH@ADDRESS`);
  }
  const content: Record<string, unknown> = { kind };
  for (const part of rest ? rest.split(",") : []) {
    const [key, value] = optionOf(kind, part);
    if (!OPTIONS[kind].includes(key)) {
      throw new RangeError(`Cannot read content "${text}": ${kind} has no option "${key}"`);
    }
    content[key] = valueOf(text, key, value);
  }
  return content as Content;
}

/** `1G` is bytes, `50%` is percent, else `key=value`. */
function optionOf(kind: string, part: string): [key: string, value: string] {
  const at = part.indexOf("=");
  if (at >= 0) return [part.slice(0, at), part.slice(at + 1)];
  return [kind === "random" && part.endsWith("%") ? "percent" : "bytes", part];
}

function valueOf(text: string, key: string, value: string): number | bigint {
  if (key === "seed") {
    if (!/^(\d+|0x[0-9a-f]+)$/i.test(value)) throw new RangeError(`Cannot read content "${text}": seed "${value}"`);
    return BigInt.asUintN(64, BigInt(value));
  }
  if (key === "percent") {
    const percent = /^\d+%?$/.test(value) ? parseInt(value) : NaN;
    if (!(percent <= 100)) throw new RangeError(`Cannot read content "${text}": expected 0 to 100 percent`);
    return percent;
  }
  const bytes = parseSize(value);
  if (key === "at" && bytes % PAGE !== 0) {
    throw new RangeError(`Cannot read content "${text}": "at" must be a multiple of ${PAGE}`);
  }
  return bytes;
}

function parseFile(text: string, rest: string): Content {
  const at = rest.lastIndexOf("@");
  if (at <= 0) throw new RangeError(`Cannot read content "${text}": expected file:PATH@ADDRESS`);
  return { kind: "file", path: rest.slice(0, at), address: parseSize(rest.slice(at + 1)) };
}

/**
 * Lay a content that needs no file into a block.
 * @throws {RangeError} when it does not fit
 */
export function fillContent(block: RamBlock, content: Exclude<Content, { kind: "file" }>): void {
  if (content.kind === "zero") return;
  const at = content.at ?? 0;
  const end = content.bytes === undefined ? block.usedLength : at + Math.ceil(content.bytes / PAGE) * PAGE;
  if (at > block.usedLength || end > block.usedLength) {
    throw new RangeError(
      `Cannot fill ${block.idstr} from 0x${at.toString(16)} to 0x${end.toString(16)}: ` +
        `the block has 0x${block.usedLength.toString(16)} bytes`,
    );
  }
  if (content.kind === "pattern") return fillPattern(block, at, end);
  const seed = content.seed ?? 0n;
  const percent = content.percent ?? 100;
  if (percent === 100) return fillRandom(block, at, end - at, seed);
  // page k is filled when the running share passes a whole number with it: evenly spread, no page counted twice
  for (let page = 0; at + page * PAGE < end; page++) {
    if (Math.floor((page + 1) * percent / 100) > Math.floor(page * percent / 100)) {
      fillRandom(block, at + page * PAGE, PAGE, seed);
    }
  }
}

function fillPattern(block: RamBlock, at: number, end: number): void {
  for (let done = at; done < end;) {
    const n = Math.min(end - done, SEGMENT - done % SEGMENT);
    const bytes = block.writable(done, n);
    const view = new DataView(bytes.buffer, bytes.byteOffset, n);
    for (let place = 0; place < n; place += PAGE) {
      const page = (done + place) / PAGE;
      view.setUint32(place, 0x4d49474c);
      view.setUint32(place + 4, 0x41427067);
      view.setUint32(place + 8, page, true);
      view.setUint32(place + 12, 0, true);
    }
    done += n;
  }
}
