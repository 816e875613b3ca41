/**
 * The differences of two images for people, in the order of a stream.
 *
 *     machine            pc-i440fx-10.0 | pc-i440fx-9.2
 *     cpu 0              env.eip  983407 | 983409
 *     0000:00:03.0/e1000 0 only in the second
 *     pc.ram             12 pages differ (3 filled, 1 emptied, 8 rewritten): 0x1000-0x3fff, 0x9000
 *
 * @module
 */
import { hex } from "../stream/errors.ts";
import type { BlockDifference, DeviceDifference, DiffReport } from "./diff.ts";
import type { FieldDifference } from "./diff_fields.ts";
import { printable } from "./inspect_text.ts";

/** Fields and ranges shown of one device or block; the JSON has all. */
const SHOWN = 16;

/** Lines that each end in a line feed; "" when nothing differs. */
export function diffText({ configuration, devices, ram }: DiffReport): string {
  const lines: string[] = [];
  for (const { name, a, b } of configuration) lines.push(`${name}  ${plain(a)} | ${plain(b)}`);
  for (const device of devices) lines.push(...deviceLines(device));
  for (const block of ram) lines.push(blockLine(block));
  return lines.map((line) => `${line}\n`).join("");
}

function plain(value: unknown): string {
  if (Array.isArray(value)) return value.length ? value.join(" ") : "none";
  return value === null ? "none" : printable(String(value));
}

function* deviceLines(device: DeviceDifference): Generator<string> {
  const { name, instanceId, change, versions, fields = [], layout = [], bytes } = device;
  const title = `${printable(name)} ${instanceId}`;
  if (change === "added" || change === "removed") {
    yield `${title}  only in the ${change === "added" ? "second" : "first"}`;
    return;
  }
  const notes = [
    ...(versions ? [`version ${versions[0]} | ${versions[1]}`] : []),
    ...(bytes ? [bytes[0] === bytes[1] ? `${bytes[0]} bytes` : `${bytes[0]} | ${bytes[1]} bytes`] : []),
    ...(change === "data" ? ["data differs"] : []),
  ];
  yield notes.length ? `${title}  ${notes.join(", ")}` : title;
  for (const { path, in: side } of layout.slice(0, SHOWN)) {
    yield `  ${printable(path)}  only in the ${side === "a" ? "first" : "second"}`;
  }
  if (layout.length > SHOWN) yield `  and ${layout.length - SHOWN} more of the layout`;
  for (const field of fields.slice(0, SHOWN)) yield* fieldLines(field);
  if (fields.length > SHOWN) yield `  and ${fields.length - SHOWN} more fields`;
}

function* fieldLines({ path, a, b, at, symbol, text, parts = [] }: FieldDifference): Generator<string> {
  const name = `  ${printable(path)}${symbol === undefined ? "" : ` ${printable(symbol)}`}`;
  if (parts.length > 0) {
    yield name;
    for (const { path, a = "none", b = "none" } of parts.slice(0, SHOWN)) {
      yield `    ${printable(path)}  ${printable(a)} | ${printable(b)}`;
    }
    if (parts.length > SHOWN) yield `    and ${parts.length - SHOWN} more parts`;
    return;
  }
  const from = at === undefined ? "" : ` from byte ${at} on`;
  const values = text?.map(printable) ?? [JSON.stringify(a), JSON.stringify(b)];
  yield `${name}${from}  ${values.join(" | ")}`;
}

function blockLine(difference: BlockDifference): string {
  const { block, change, changedPages, ranges, unlistedRanges = 0, filled, emptied, rewritten, bytes } = difference;
  const id = printable(block);
  if (change === "added" || change === "removed") {
    return `RAM block ${id}  only in the ${change === "added" ? "second" : "first"}`;
  }
  const length = bytes ? `${bytes[0]} | ${bytes[1]} bytes` : "";
  const alone = [[difference.onlyA, "first"], [difference.onlyB, "second"]] as const;
  const only = alone.filter(([list]) => list?.length)
    .map(([list, side]) => `${someRanges(list!, 0, difference.pageBytes)} only in the ${side}`);
  if (changedPages === 0) return `RAM block ${id}  ${[length, ...only].filter(Boolean).join(", ")}`;
  const kinds = [[filled, "filled"], [emptied, "emptied"], [rewritten, "rewritten"]]
    .filter(([count]) => count !== 0).map(([count, word]) => `${count} ${word}`).join(", ");
  const where = someRanges(ranges, unlistedRanges, difference.pageBytes);
  const changed = `${changedPages} ${changedPages === 1 ? "page differs" : "pages differ"} (${kinds}): ${where}`;
  return `RAM block ${id}  ${[length, changed, ...only].filter(Boolean).join(", ")}`;
}

function someRanges(ranges: readonly (readonly [number, number])[], unlisted: number, pageBytes: number): string {
  const shown = ranges.slice(0, SHOWN).map((range) => rangeText(range, pageBytes)).join(", ");
  const more = ranges.length + unlisted - SHOWN;
  return shown + (more > 0 ? ` and ${more} more ranges` : "");
}

function rangeText([first, count]: readonly [number, number], pageBytes: number): string {
  const begin = hex(first * pageBytes);
  return count === 1 ? begin : `${begin}-${hex((first + count) * pageBytes - 1)}`;
}
