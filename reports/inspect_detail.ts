/**
 * Parts of `inspect` that are asked for by name: a line for each section, and a device's fields.
 *
 *     offset      bytes  section
 *     0x33           26  start ram id 1 instance 0 version 4
 *
 *     cpu instance 0 version 12, 1842 bytes at 0xad596
 *       env.regs
 *         RAX                    0x0000000000000000
 *       env.eflags RFLAGS        0x0000000000000046  PF ZF
 * @module
 */
import { hex } from "../stream/errors.ts";
import type { InspectDevice, InspectPass, InspectReport } from "./inspect.ts";
import { printable } from "./inspect_text.ts";
import type { DescribedField } from "./symbols/describe.ts";

/** Columns for a field's name. */
const NAME_WIDTH = 28;
/** Most columns of a struct that stands on one line. */
const LINE_WIDTH = 120;
/** Passes that are listed, blocks of one, and ranges of pages of a block. */
const PASSES = 64, PASS_BLOCKS = 8, RANGES = 24;
/** Elements of an array that have a line each, of those without a name. */
const ELEMENTS = 64;

/** A line for each section, ending in a line feed. */
export function sectionsText({ sections = [] }: InspectReport): string {
  const lines = sections.map(({ type, id, name, instanceId, version, offset, bytes }) =>
    `${hex(offset).padStart(12)} ${String(bytes).padStart(11)}  ${type.padEnd(5)} ${id} ${printable(name)}` +
    (type === "start" || type === "full" ? ` instance ${instanceId} version ${version}` : "")
  );
  return ["      offset       bytes  section", ...lines].join("\n") + "\n";
}

/** What each pass over RAM brought, and where each block has data; ending in a line feed. Of a report with `pages`. */
export function pagesText({ ram }: InspectReport): string {
  const { passes = [], blocks } = ram;
  const lines = passes.length > 0 ? ["Passes over RAM"] : [];
  for (const [i, { offset, blocks }] of passes.slice(0, PASSES).entries()) {
    const said = blocks.slice(0, PASS_BLOCKS).map(passBlock);
    if (blocks.length > PASS_BLOCKS) said.push(`and ${blocks.length - PASS_BLOCKS} more blocks`);
    lines.push(`  ${String(i + 1).padStart(4)}  from ${hex(offset)}: ${said.join("; ")}`);
  }
  if (passes.length > PASSES) lines.push(`  and ${passes.length - PASSES} more (--json has all)`);
  lines.push("Pages of data, in hex");
  for (const { id, pages = [] } of blocks) {
    const said = pages.slice(0, RANGES).map(([first, count]) => {
      return count === 1 ? first.toString(16) : `${first.toString(16)}-${(first + count - 1).toString(16)}`;
    });
    if (pages.length > RANGES) said.push(`and ${pages.length - RANGES} more ranges (--json has all)`);
    lines.push(`  ${printable(id)}: ${said.join(" ") || "none"}`);
  }
  return lines.join("\n") + "\n";
}

function passBlock({ id, normalPages, zeroPages, deltaPages }: InspectPass["blocks"][number]): string {
  const counts: [number, string][] = [[normalPages, "data"], [zeroPages, "zero"], [deltaPages, "xbzrle"]];
  return `${printable(id)} ${
    counts.filter(([count]) => count > 0).map(([count, kind]) => `${count} ${kind}`).join(", ")
  }`;
}

/** Every field of each device, ending in a line feed; "" without devices. */
export function devicesText({ devices }: InspectReport): string {
  return devices.map(deviceText).join("\n");
}

function deviceText({ name, instanceId, version, offset, bytes, described = [], problem }: InspectDevice): string {
  const lines = [
    `${printable(name)} instance ${instanceId} version ${version}, ${bytes} bytes at ${hex(offset)}`,
    ...fieldLines(described, "  "),
  ];
  if (problem) lines.push(`  (${problem})`);
  return lines.join("\n") + "\n";
}

function* fieldLines(fields: readonly DescribedField[], indent: string): Generator<string> {
  for (const field of fields) {
    const { children, text, meaning } = field;
    const name = (indent + nameOf(field)).padEnd(NAME_WIDTH);
    const short = children && text === undefined ? inline(children) : undefined;
    const shown = [text === undefined ? short : printable(text), meaning && printable(meaning)];
    yield `${name} ${shown.filter((part) => part !== undefined).join("  ")}`.trimEnd();
    if (children && short === undefined) yield* elementLines(children, indent + "  ");
  }
}

/** Elements that are alike, one after the other, share a line; what has a name of its own always has one. */
function* elementLines(fields: readonly DescribedField[], indent: string): Generator<string> {
  let told = 0, left = 0;
  for (let at = 0; at < fields.length;) {
    let end = at + 1;
    while (end < fields.length && isElement(fields[at]) && same(fields[at], fields[end])) end++;
    const first = fields[at];
    const field = end - at > 1 ? { ...first, name: `${first.name}..${fields[end - 1].name}` } : first;
    if (isElement(first) && told++ >= ELEMENTS) left += end - at;
    else yield* fieldLines([field], indent);
    at = end;
  }
  if (left > 0) yield `${indent}... ${left} more (--json has all)`;
}

function isElement({ name, symbol }: DescribedField): boolean {
  return symbol === undefined && /^\d+$/.test(name);
}

function same(a: DescribedField, b: DescribedField): boolean {
  return isElement(b) && a.text === b.text && a.meaning === b.meaning &&
    JSON.stringify(a.children) === JSON.stringify(b.children);
}

/** A small struct on one line: "selector 0x10 (16), base 0, ..."; undefined where it takes more. */
function inline(fields: readonly DescribedField[]): string | undefined {
  if (fields.some(({ children, text }) => children || text === undefined)) return undefined;
  if (fields.length === 0) return "(none)";
  const line = fields.map((field) => {
    const { text, meaning } = field;
    return printable(`${nameOf(field)} ${text}${meaning ? `: ${meaning}` : ""}`);
  }).join(", ");
  return line.length <= LINE_WIDTH && !fields.every(isElement) ? line : undefined;
}

/** "RAX", "env.eip RIP". */
function nameOf({ name, symbol }: DescribedField): string {
  if (symbol === undefined) return printable(name);
  return /^\d+$/.test(name) ? symbol : `${printable(name)} ${symbol}`;
}
