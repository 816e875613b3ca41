/**
 * Parts of `inspect` that are asked for by name: a line for each section, and a device's fields.
 *
 *     offset      bytes  section
 *     0x33           26  start ram id 1 instance 0 version 4
 *
 *     slirp/cpu instance 0 version 12, 0x91 bytes at 0x1a0400
 *       env.regs            [0, 0x663, ...]
 * @module
 */
import { hex } from "../stream/errors.ts";
import type { InspectDevice, InspectReport } from "./inspect.ts";
import { printable } from "./inspect_text.ts";

/** Columns for a field's name. */
const NAME_WIDTH = 28;
/** Longest value on one line, in characters. */
const VALUE_WIDTH = 200;

/** A line for each section, ending in a line feed. */
export function sectionsText({ sections = [] }: InspectReport): string {
  const lines = sections.map(({ type, id, name, instanceId, version, offset, bytes }) =>
    `${hex(offset).padStart(12)} ${String(bytes).padStart(11)}  ${type.padEnd(5)} ${id} ${printable(name)}` +
    (type === "start" || type === "full" ? ` instance ${instanceId} version ${version}` : "")
  );
  return ["      offset       bytes  section", ...lines].join("\n") + "\n";
}

/** Every field of each device, ending in a line feed; "" without devices. */
export function devicesText({ devices }: InspectReport): string {
  return devices.map(deviceText).join("\n");
}

function deviceText({ name, instanceId, version, offset, bytes, fields, problem }: InspectDevice): string {
  const lines = [
    `${printable(name)} instance ${instanceId} version ${version}, ${bytes} bytes at ${hex(offset)}`,
    ...fieldLines(fields, "  "),
  ];
  if (problem) lines.push(`  (${problem})`);
  return lines.join("\n") + "\n";
}

function* fieldLines(fields: object, indent: string): Generator<string> {
  for (const [name, value] of Object.entries(fields)) {
    if (isPlainObject(value)) {
      yield `${indent}${printable(name)}`;
      yield* fieldLines(value, indent + "  ");
    } else {
      const text = typeof value === "string" ? printable(value) : JSON.stringify(value);
      const shown = text.length > VALUE_WIDTH ? `${text.slice(0, VALUE_WIDTH)}... (--json has all)` : text;
      yield `${indent}${printable(name).padEnd(NAME_WIDTH)} ${shown}`;
    }
  }
}

function isPlainObject(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
