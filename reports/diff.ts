/**
 * `diff`: what is not the same in two saved guests, whatever files they are in.
 *
 *     { equal, configuration: [{ name, a, b }], devices: [...], ram: [{ block, changedPages, ranges: [[first, count]] }] }
 *
 * How RAM travels is not a difference: a mapped-ram file and a plain stream of the same guest are equal, and so are a stream
 * that sends a page twice and one that sends it once.
 * Memory alone, an ELF core or a raw image, is compared as memory; see diff_memory.ts.
 * @module
 */
import type { LongWork } from "../containers/breath.ts";
import type { Image } from "../containers/image.ts";
import { isMemoryAlone } from "../containers/memory_image.ts";
import { type DeviceDifference, diffDevices } from "./diff_devices.ts";
import { diffMemory } from "./diff_memory.ts";
import { type BlockDifference, diffRam } from "./diff_ram.ts";
import { type Ignore, ignorePatterns } from "./field_pattern.ts";
import { uuidText } from "./inspect.ts";
import { ramProblems, refuse } from "./readable.ts";

export type { DeviceDifference, LayoutDifference } from "./diff_devices.ts";
export type { FieldDifference, PartDifference } from "./diff_fields.ts";
export type { BlockDifference } from "./diff_ram.ts";

/** Capabilities that say how a guest travels and not what it is. */
const FORMAT_CAPABILITIES = ["mapped-ram"];

/** How to compare. */
export interface DiffOptions extends LongWork {
  /** Patterns of devices, fields and blocks that do not count; see field_pattern.ts. */
  readonly ignore?: readonly string[];
  /** Leave RAM's content alone; its blocks and their lengths are still compared. */
  readonly withoutRam?: boolean;
  /** RAM block of a stream that a raw image is compared with. Default: the one of its size. */
  readonly block?: string;
}

/** A line of the configuration that is not the same. */
export interface ConfigurationDifference {
  /** "machine", "targetPageBits", "uuid", "capabilities", "complete". */
  readonly name: string;
  /** Of the first; null where it says nothing. */
  readonly a: string | number | boolean | readonly string[] | null;
  /** Of the second. */
  readonly b: string | number | boolean | readonly string[] | null;
}

/** The whole report: `diff --json`. */
export interface DiffReport {
  /** Nothing differs but what was to be ignored. */
  readonly equal: boolean;
  /** What the streams say of themselves. */
  readonly configuration: readonly ConfigurationDifference[];
  /** Device sections, in the order of the first. */
  readonly devices: readonly DeviceDifference[];
  /** Blocks that differ. */
  readonly ram: readonly BlockDifference[];
}

/**
 * Compare two images.
 * @throws {RefusedError} when RAM of one of them is not in its file
 */
export async function diffImages(a: Image, b: Image, options: DiffOptions = {}): Promise<DiffReport> {
  const ignore = ignorePatterns(options.ignore ?? []);
  if (isMemoryAlone(a) || isMemoryAlone(b) || options.block !== undefined) {
    await prepare(a, b);
    const { devices, ram } = await diffMemory(a, b, ignore, options);
    return { equal: !devices.length && !ram.length, configuration: [], devices, ram };
  }
  const configuration = diffConfiguration(a, b, ignore);
  const devices = diffDevices(a, b, ignore);
  const ram = options.withoutRam ? diffBlocks(a, b, ignore) : await comparePages(a, b, ignore, options);
  return { equal: !configuration.length && !devices.length && !ram.length, configuration, devices, ram };
}

function diffConfiguration(a: Image, b: Image, ignore: Ignore): ConfigurationDifference[] {
  const left = describe(a), right = describe(b);
  return Object.keys(left)
    .filter((name) => JSON.stringify(left[name]) !== JSON.stringify(right[name]))
    .filter((field) => !ignore({ device: "configuration", field }))
    .map((name) => ({ name, a: left[name], b: right[name] }));
}

function describe({ stream, complete }: Image): Record<string, ConfigurationDifference["a"]> {
  return {
    machine: stream.machine ?? null,
    targetPageBits: stream.targetPageBits ?? null,
    uuid: stream.uuid ? uuidText(stream.uuid) : null,
    capabilities: stream.capabilities.filter((name) => !FORMAT_CAPABILITIES.includes(name)),
    complete,
  };
}

async function comparePages(a: Image, b: Image, ignore: Ignore, work: LongWork): Promise<BlockDifference[]> {
  await prepare(a, b);
  return await diffRam(a, b, ignore, work);
}

/** RAM of both can be read. */
async function prepare(a: Image, b: Image): Promise<void> {
  for (const image of [a, b]) {
    await image.ram.prepare();
    // shared memory that is in neither file, and pages a stop left out, are the same to both
    const problems = ramProblems(image).filter((each) => each.includes("multifd") || each.includes("pipe"));
    refuse(`compare RAM of ${image.path ?? "standard input"}`, problems);
  }
}

/** Blocks by name and length alone. */
function diffBlocks(a: Image, b: Image, ignore: Ignore): BlockDifference[] {
  const differences: BlockDifference[] = [];
  const nothing = { changedPages: 0, ranges: [], filled: 0, emptied: 0, rewritten: 0 };
  const ids = new Set([...a.ram.blocks, ...b.ram.blocks].map(({ id }) => id));
  for (const id of ids) {
    const one = a.ram.block(id), two = b.ram.block(id);
    if (ignore({ device: "ram", field: id }) || one?.bytes === two?.bytes) continue;
    const { pageBytes } = (one ?? two)!;
    const change = !one ? "added" : !two ? "removed" : "length";
    const bytes = one && two ? { bytes: [one.bytes, two.bytes] as const } : {};
    differences.push({ block: id, change, ...nothing, ...bytes, pageBytes });
  }
  return differences;
}
