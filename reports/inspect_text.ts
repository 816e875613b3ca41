/**
 * `inspect` for people: one page that fits a terminal.
 *
 *     vm.sav: QEMU stream of pc-i440fx-10.0, complete, 3.81 MiB
 *
 *     RAM  12.3 MiB in 6 blocks, pages of 4 KiB
 *       pc.ram                    12 MiB  [:.+.....:...............]  178 data, 2894 zero
 *     ...
 *     Sections
 *       ram: start, 12 parts, end, 3.71 MiB, 7 passes
 *       devices: 30, 11.8 KiB
 *     ...
 *
 * A bar has a cell per 1/24 of the block: how dark it is says how much of that part is data.
 * @module
 */
import type { Image, ImageBlock } from "../containers/image.ts";
import { hex } from "../stream/errors.ts";
import { isMemoryAlone } from "../containers/memory_image.ts";
import { corePage } from "./inspect_core_text.ts";
import type { InspectReport } from "./inspect.ts";
import { type InspectStyle, printable, size } from "./text.ts";

export { type InspectStyle, printable } from "./text.ts";

/** How to print. */
export interface InspectTextOptions {
  /** Default: no colours. */
  readonly style?: InspectStyle;
  /** Columns of the terminal. Default 100. */
  readonly width?: number;
}

const same = (text: string) => text;
const PLAIN: InspectStyle = { bold: same, dim: same, red: same, green: same, yellow: same, cyan: same };
const CELLS = 24;
/** From nothing to all of it. */
const SHADES = [".", ":", "+", "#"];
/** Lines of devices before the rest is only counted. */
const DEVICE_ROWS = 12;
/** Longest list of blocks. */
const BLOCK_ROWS = 24;

/** The page, ending in a line feed. */
export function inspectText(image: Image, report: InspectReport, options: InspectTextOptions = {}): string {
  const style = options.style ?? PLAIN;
  const width = Math.max(60, options.width ?? 100);
  const paragraphs = [
    heading(image, report, style),
    configuration(report),
    ...(report.core ? corePage(report.core, style, width) : []),
    ram(image, report, style),
    sections(image, report, style),
    devices(report, style, width),
    remarks(report, style),
  ];
  return paragraphs.filter((lines) => lines.length > 0).map((lines) => lines.join("\n") + "\n").join("\n");
}

const FORMATS: Readonly<Record<string, string>> = {
  "qemu-stream": "QEMU stream",
  "libvirt-save": "libvirt save image",
  "qcow2": "qcow2 image with a snapshot",
  "elf-core": "ELF core",
  "raw": "raw memory",
};

function heading(image: Image, report: InspectReport, style: InspectStyle): string[] {
  const { path, bytes, format, streamOffset, stream } = report;
  const name = path === "-" ? "standard input" : path;
  const state = image.complete ? style.green("complete") : style.red("incomplete");
  const packed = image.compressions.length > 0 ? ` (${image.compressions.join(", ")})` : "";
  const machine = report.core?.machine ?? stream.machine;
  const of = machine === null ? "" : ` of ${style.bold(printable(machine) || "(no name)")}`;
  const at = streamOffset > 0 ? `, stream at ${hex(streamOffset)}` : "";
  return [`${style.bold(printable(name))}: ${FORMATS[format] ?? format}${packed}${of}, ${state}, ${size(bytes)}${at}`];
}

function configuration({ stream, libvirt, snapshot, snapshots }: InspectReport): string[] {
  const facts: [string, string][] = [];
  if (libvirt) {
    const { version, format, byteOrder, wasRunning, dataBytes, xmlBytes, cookieBytes } = libvirt;
    const order = byteOrder === "little" ? "" : `, ${byteOrder}-endian header`;
    facts.push([
      "libvirt",
      `version ${version}, format ${format}${order}; ${wasRunning ? "runs" : "stays paused"} when restored`,
    ]);
    const cookie = cookieBytes > 0 ? `, cookie ${size(cookieBytes)}` : "";
    facts.push(["", `XML ${size(xmlBytes)}${cookie}, in ${size(dataBytes)}`]);
  }
  for (const each of snapshots ?? []) {
    const { id, name, date, vmStateBytes } = each;
    const read = id === snapshot?.id ? ", read here" : "";
    const state = vmStateBytes > 0 ? size(vmStateBytes) + read : "no VM state";
    facts.push([
      "Snapshot",
      `${printable(id)} ${JSON.stringify(printable(name))}, ${date.replace(/\.000Z$/, "Z")}, ${state}`,
    ]);
  }
  if (stream.machine === null && stream.version > 0) facts.push(["Configuration", "none sent"]);
  if (stream.capabilities.length > 0) facts.push(["Capabilities", stream.capabilities.join(", ")]);
  if (stream.uuid) facts.push(["UUID", stream.uuid]);
  if (stream.ramFormat && stream.ramFormat !== "stream") facts.push(["RAM format", stream.ramFormat]);
  return facts.map(([name, value]) => `${name.padEnd(14)}${value}`);
}

function ram(image: Image, { ram }: InspectReport, style: InspectStyle): string[] {
  const { blocks } = ram;
  if (blocks.length === 0) return [];
  const lines = [
    `${style.bold("RAM")}  ${size(ram.totalBytes)} in ${plural(blocks.length, "block")}, pages of ${
      size(ram.pageBytes)
    }`,
  ];
  const shown = image.ram.blocks.slice(0, BLOCK_ROWS);
  const names = shown.map((block) => printable(block.id));
  const wide = Math.max(...names.map((name) => name.length));
  for (const [i, block] of shown.entries()) {
    const { bytes, normalPages, zeroPages, missingPages } = block;
    const counts = [`${normalPages} data`, `${zeroPages - missingPages} zero`];
    if (missingPages > 0) {
      counts.push(isMemoryAlone(image) ? `${missingPages} where none is` : style.yellow(`${missingPages} never sent`));
    }
    const cells = bar(image, block);
    const name = names[i].padEnd(wide);
    const room = "".padEnd(CELLS - cells.length);
    lines.push(`  ${name}  ${size(bytes).padStart(9)}  [${style.cyan(cells)}]${room}  ${counts.join(", ")}`);
    if (ram.blocks[i].sha256) lines.push(style.dim(`  ${"".padEnd(wide)}  sha256 ${ram.blocks[i].sha256}`));
  }
  if (blocks.length > shown.length) lines.push(`  and ${blocks.length - shown.length} more`);
  return lines;
}

/** How much of each part of the block is data. */
function bar({ ram }: Image, block: ImageBlock): string {
  const pages = block.normalPages + block.zeroPages;
  const cells = Math.min(CELLS, pages);
  const data = new Float64Array(cells);
  const cellBytes = block.bytes / cells;
  for (let at = 0; at < block.bytes;) {
    const run = ram.run(block, at);
    const end = at + Math.abs(run);
    if (run > 0) {
      for (let cell = Math.floor(at / cellBytes); cell < cells && cell * cellBytes < end; cell++) {
        data[cell] += Math.min(end, (cell + 1) * cellBytes) - Math.max(at, cell * cellBytes);
      }
    }
    at = end;
  }
  const top = SHADES.length - 1;
  let text = "";
  for (const bytes of data) text += SHADES[bytes === 0 ? 0 : Math.max(1, Math.floor(bytes / cellBytes * top + 1e-9))];
  return text;
}

function sections(image: Image, { sections = [], devices }: InspectReport, style: InspectStyle): string[] {
  const iterable = new Map<string, { counts: Map<string, number>; bytes: number }>();
  for (const { type, name, bytes } of sections) {
    if (type === "full") continue;
    const entry = iterable.get(name) ?? { counts: new Map(), bytes: 0 };
    entry.counts.set(type, (entry.counts.get(type) ?? 0) + 1);
    entry.bytes += bytes;
    iterable.set(name, entry);
  }
  const lines = [...iterable].map(([name, { counts, bytes }]) => {
    const passes = name === "ram" && image.passes.length > 1 ? `, ${image.passes.length} passes` : "";
    const types = [...counts].map(([type, count]) => count > 1 ? `${count} ${type}s` : type).join(", ");
    return `  ${printable(name)}: ${types}, ${size(bytes)}${passes}`;
  });
  const deviceBytes = devices.reduce((sum, { bytes }) => sum + bytes, 0);
  if (devices.length > 0) lines.push(`  devices: ${devices.length}, ${size(deviceBytes)}`);
  return lines.length > 0 ? [style.bold("Sections"), ...lines] : [];
}

/** Names with versions in stream order, instances of one name together. */
function devices({ devices }: InspectReport, style: InspectStyle, width: number): string[] {
  if (devices.length === 0) return [];
  const groups = new Map<string, { text: string; count: number }>();
  for (const { name, version } of devices) {
    const text = `${printable(name)} v${version}`;
    const group = groups.get(text);
    if (group) group.count++;
    else groups.set(text, { text, count: 1 });
  }
  const rows: string[] = [];
  let row = " ";
  for (const { text, count } of groups.values()) {
    const word = count > 1 ? `${text} (${count})` : text;
    if (row.length + 3 + word.length > width && row !== " ") {
      rows.push(row + ",");
      row = " ";
    }
    row += row === " " ? " " + word : ", " + word;
  }
  rows.push(row);
  const shown = rows.slice(0, DEVICE_ROWS);
  if (rows.length > shown.length) {
    shown.push(`  and more: ${rows.length - shown.length} lines of names (--json has all)`);
  }
  return [style.bold("Devices"), ...shown];
}

function remarks({ stream, devices }: InspectReport, style: InspectStyle): string[] {
  const lines = stream.warnings.map((text) => `${style.yellow("warning:")} ${printable(text)}`);
  for (const { name, problem } of devices) {
    if (problem && !/^no description/.test(problem)) {
      lines.push(`${style.yellow("warning:")} ${printable(name)}: ${problem}`);
    }
  }
  return lines;
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
