/**
 * Device state of two images, section by section and field by field.
 * @module
 */
import { Buffer } from "node:buffer";
import type { Image, ImageDevice, ImageSection } from "../containers/image.ts";
import { type VmLeaf, vmLeaves } from "../stream/vmstate.ts";
import { allCounts, diffLeaf, type FieldDifference, firstDifference, inSymbols, shortened } from "./diff_fields.ts";
import type { Ignore } from "./field_pattern.ts";
import { DeviceSymbols } from "./symbols/describe.ts";

/** Bytes compared at once. */
const STEP = 1 << 16;

/** A field, or a subsection with its fields, that one of the two has. */
export interface LayoutDifference {
  /** Field, or subsection. */
  readonly path: string;
  /** The one that has it. */
  readonly in: "a" | "b";
}

/** A device that is not the same in both. */
export interface DeviceDifference {
  /** idstr of the section. */
  readonly name: string;
  /** Tells devices of one name apart. */
  readonly instanceId: number;
  /** "added": only in the second; "removed": only in the first; "data": an iterable section. */
  readonly change: "added" | "removed" | "version" | "layout" | "fields" | "data";
  /** Versions of the section, where they differ. */
  readonly versions?: readonly [a: number, b: number];
  /** Fields of both that have different values. */
  readonly fields?: readonly FieldDifference[];
  /** What one of them has alone. */
  readonly layout?: readonly LayoutDifference[];
  /** Bytes of the body where no description says what they are, or of an iterable's data. */
  readonly bytes?: readonly [a: number, b: number];
}

/** Compare the FULL sections, then the iterables other than ram. Devices of equal bytes cost nothing more. */
export function diffDevices(a: Image, b: Image, ignore: Ignore): DeviceDifference[] {
  const differences: DeviceDifference[] = [];
  const second = keyed(b.devices);
  for (const [key, device] of keyed(a.devices)) {
    const { name, instanceId } = device;
    const other = second.get(key);
    second.delete(key);
    if (ignore({ device: name })) continue;
    if (!other) differences.push({ name, instanceId, change: "removed" });
    else {
      const difference = diffDevice(device, other, ignore);
      if (difference) differences.push(difference);
    }
  }
  for (const { name, instanceId } of second.values()) {
    if (!ignore({ device: name })) differences.push({ name, instanceId, change: "added" });
  }
  return [...differences, ...diffIterables(a, b, ignore)];
}

/** By name and instance; what repeats is told apart by its turn. */
function keyed<T extends { readonly name: string; readonly instanceId: number }>(all: readonly T[]): Map<string, T> {
  const map = new Map<string, T>();
  for (const each of all) {
    let key = `${each.instanceId} ${each.name}`;
    while (map.has(key)) key += " again";
    map.set(key, each);
  }
  return map;
}

function diffDevice(a: ImageDevice, b: ImageDevice, ignore: Ignore): DeviceDifference | undefined {
  const { name, instanceId } = a;
  const bodyA = a.body(), bodyB = b.body();
  const sameVersion = a.version === b.version;
  const sameBytes = Buffer.compare(bodyA, bodyB) === 0;
  const walkedA = a.walk(), walkedB = b.walk();
  const versions = sameVersion ? {} : { versions: [a.version, b.version] as const };
  if (!walkedA || !walkedB) {
    if (sameVersion && sameBytes) return undefined;
    const at = firstDifference(bodyA, bodyB);
    const field = { path: "(bytes)", ...shortened(bodyA, bodyB, at) };
    const fields = sameBytes || ignore({ device: name, field: field.path }) ? [] : [field];
    if (sameVersion && !fields.length) return undefined;
    return {
      name,
      instanceId,
      change: sameVersion ? "fields" : "version",
      ...versions,
      fields,
      bytes: [a.bytes, b.bytes],
    };
  }
  const left = leaves(walkedA.nodes), right = leaves(walkedB.nodes);
  const fields: FieldDifference[] = [], layout: LayoutDifference[] = [];
  const symbols = [new DeviceSymbols(name, walkedA.nodes), new DeviceSymbols(name, walkedB.nodes)] as const;
  for (const [path, leaf] of left) {
    const other = right.get(path);
    if (ignore({ device: name, field: path, type: leaf.type })) continue;
    if (!other) layout.push({ path, in: "a" });
    else if (!sameBytes || !sameVersion) {
      const difference = diffLeaf(name, path, leaf, other, ignore);
      if (difference) {
        fields.push({
          ...difference,
          ...inSymbols(symbols, path, leaf, other, allCounts(name, path, leaf, other, ignore)),
        });
      }
    }
  }
  for (const [path, leaf] of right) {
    if (!left.has(path) && !ignore({ device: name, field: path, type: leaf.type })) layout.push({ path, in: "b" });
  }
  // bytes behind what the description accounts for
  const restA = bodyA.subarray(walkedA.consumed), restB = bodyB.subarray(walkedB.consumed);
  if (Buffer.compare(restA, restB) !== 0 && !ignore({ device: name, field: "(rest)" })) {
    fields.push({ path: "(rest)", ...shortened(restA, restB, firstDifference(restA, restB)) });
  }
  if (sameVersion && !fields.length && !layout.length) return undefined;
  const change = !sameVersion ? "version" : layout.length ? "layout" : "fields";
  return {
    name,
    instanceId,
    change,
    ...versions,
    ...(fields.length ? { fields } : {}),
    ...(layout.length ? { layout: folded(layout) } : {}),
  };
}

function leaves(nodes: Parameters<typeof vmLeaves>[0]): Map<string, VmLeaf> {
  const map = new Map<string, VmLeaf>();
  for (const { path, leaf } of vmLeaves(nodes)) if (leaf.kind === "leaf") map.set(path, leaf);
  return map;
}

/** A subsection that is in one only is told by its name, not by each of its fields. */
function folded(layout: readonly LayoutDifference[]): LayoutDifference[] {
  const seen = new Set<string>();
  return layout.map(({ path, in: side }): LayoutDifference => {
    const subsection = /^(.*?)(?=\.|\[|$)/.exec(path)![0];
    return { path: subsection.includes("/") ? subsection : path, in: side };
  }).filter(({ path, in: side }) => !seen.has(side + path) && seen.add(side + path));
}

/** Data of iterable sections: all bodies of one type end to end, since PARTs are cut by chance. */
function diffIterables(a: Image, b: Image, ignore: Ignore): DeviceDifference[] {
  const differences: DeviceDifference[] = [];
  const left = iterables(a), right = iterables(b);
  for (const key of new Set([...left.keys(), ...right.keys()])) {
    const mine = left.get(key), theirs = right.get(key);
    const { name, instanceId, version } = (mine ?? theirs!)[0];
    if (ignore({ device: name })) continue;
    if (!mine || !theirs) {
      differences.push({ name, instanceId, change: mine ? "removed" : "added" });
      continue;
    }
    if (version !== theirs[0].version) {
      differences.push({ name, instanceId, change: "version", versions: [version, theirs[0].version] });
    }
    const bytes = [total(mine), total(theirs)] as const;
    if (bytes[0] !== bytes[1] || !sameData(a, mine, b, theirs)) {
      differences.push({ name, instanceId, change: "data", bytes });
    }
  }
  return differences;
}

function iterables(image: Image): Map<string, ImageSection[]> {
  const bodies = new Set(image.devices.map(({ offset }) => offset));
  const map = new Map<string, ImageSection[]>();
  for (const section of image.sections) {
    if (section.name === "ram" || (section.type === "full" && bodies.has(section.offset))) continue;
    const key = `${section.instanceId} ${section.name}`;
    const known = map.get(key);
    if (known) known.push(section);
    else map.set(key, [section]);
  }
  return map;
}

function total(sections: readonly ImageSection[]): number {
  return sections.reduce((sum, { bytes }) => sum + bytes, 0);
}

function sameData(a: Image, left: readonly ImageSection[], b: Image, right: readonly ImageSection[]): boolean {
  const one = reader(a, left), two = reader(b, right);
  const mine = new Uint8Array(STEP), theirs = new Uint8Array(STEP);
  for (;;) {
    const n = one(mine), m = two(theirs);
    if (n !== m || Buffer.compare(mine.subarray(0, n), theirs.subarray(0, m)) !== 0) return false;
    if (n === 0) return true;
  }
}

/** Fills a buffer from the bodies, one after another. Packed files cannot be read again: they answer nothing. */
function reader({ source }: Image, sections: readonly ImageSection[]): (view: Uint8Array) => number {
  let index = 0, at = 0;
  return (view) => {
    let done = 0;
    while (done < view.length && index < sections.length && source.readAt) {
      const { offset, bytes } = sections[index];
      const n = Math.min(view.length - done, bytes - at);
      if (n > 0) source.readAt(view.subarray(done, done + n), offset + at);
      done += n;
      at += n;
      if (at < bytes) continue;
      index++;
      at = 0;
    }
    return done;
  };
}
