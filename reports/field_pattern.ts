/**
 * Which differences do not count: patterns for devices, fields and RAM blocks.
 *
 *     cpu_common            a device, or its name behind the path: 0000:00:03.0/e1000 is also e1000
 *     cpu:env.tsc           a field of a device; elements of an array too: env.regs also matches env.regs[3]
 *     :env.tsc*             that field of every device
 *     ram:pc.ram            a RAM block
 *     machine               a line of the configuration
 *     timers                a word for everything that goes on ticking: timers, clocks and time stamps; see clock_fields.ts
 *
 * `*` stands for any characters, `?` for one.
 * @module
 */
import { clockBits, isClock } from "./clock_fields.ts";

/** What a pattern is held against. */
export interface PatternSubject {
  /** idstr of the device; "ram" for a block; "configuration". */
  readonly device: string;
  /** Path of the field, id of the block, or name of the line. */
  readonly field?: string;
  /** The description's type of the field. */
  readonly type?: string;
  /** A byte of a field of bytes that differs: its index, and the bits that do. */
  readonly byte?: readonly [at: number, bits: number];
}

/** Decides for one subject. */
export type Ignore = (subject: PatternSubject) => boolean;

/** Put patterns together. @returns true for what one of them matches */
export function ignorePatterns(patterns: readonly string[]): Ignore {
  const rules = patterns.map(rule);
  return rules.length ? (subject) => rules.some((each) => each(subject)) : () => false;
}

function rule(pattern: string): Ignore {
  if (pattern === "timers") {
    return ({ device, field, type, byte }) => {
      if (field === undefined || device === "ram") return false;
      if (isClock(device, field, type)) return true;
      return byte !== undefined && (byte[1] & ~clockBits(device, field, byte[0])) === 0;
    };
  }
  const colon = separator(pattern);
  const device = glob(colon < 0 ? pattern : pattern.slice(0, colon) || "*");
  const field = colon < 0 ? undefined : glob(pattern.slice(colon + 1));
  return (subject) => {
    const last = subject.device.slice(subject.device.lastIndexOf("/") + 1);
    if (field === undefined) {
      if (subject.device === "configuration") return device(subject.field ?? "");
      return subject.device !== "ram" && (device(subject.device) || device(last));
    }
    if (!device(subject.device) && !device(last)) return false;
    return subject.field !== undefined && prefixes(subject.field).some(field);
  };
}

/** The colon between device and field: PCI addresses have colons too, followed by hex digits. */
function separator(pattern: string): number {
  const path = /^[0-9a-f*?]{4}:[0-9a-f*?]{2}:[0-9a-f*?]{2}\.[0-9a-f*?](\/[0-9a-f*?]{2}\.[0-9a-f*?])*\/[^:]*/i.exec(
    pattern,
  );
  return pattern.indexOf(":", path?.[0].length ?? 0);
}

/** A path and everything it lies in: "a.b[2].c" is in "a.b[2]", "a.b" and "a". */
function prefixes(path: string): string[] {
  const found = [path];
  for (let at = path.length - 1; at > 0; at--) {
    if (path[at] === "." || path[at] === "[") found.push(path.slice(0, at));
  }
  return found;
}

function glob(pattern: string): (text: string) => boolean {
  const source = pattern.replace(/[.+^${}()|[\]\\]/g, "\\$&").replace(/\*+/g, ".*").replace(/\?/g, ".");
  const expression = new RegExp(`^${source}$`, "s");
  return (text) => expression.test(text);
}
