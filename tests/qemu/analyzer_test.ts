/**
 * Device fields of the captures beside those of QEMU's own analyzer, scripts/analyze-migration.py, wherever it can read them.
 *
 * The script is in QEMU's source package, as is its Python library: MIGLAB_QEMU_PYTHON names the directory of the library, and
 * the script is in it or in `../scripts`. `.ci/qemu-python DIRECTORY` brings both.
 * @module
 */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { openImage } from "../../containers/image.ts";
import { inspectImage } from "../../reports/inspect.ts";
import { type Capture, fixturePath, manifest } from "../fixtures.ts";

const WHERE = Deno.env.get("MIGLAB_QEMU_PYTHON");
const SCRIPT = WHERE === undefined
  ? undefined
  : [`${WHERE}/analyze-migration.py`, `${WHERE}/../scripts/analyze-migration.py`]
    .find((path) => existsSync(path));

/** Captures whose device state the script reads, to its own word. */
const CAPTURES = manifest().filter(({ analyze_migration_py: verdict }) => verdict?.state === "ok");

/** Fields by name; lists for arrays; "0x" numbers, bytes "00 ff", booleans. */
type Theirs = string | boolean | readonly Theirs[] | { readonly [name: string]: Theirs };

/** What the script prints: sections by "NAME (ID)". */
async function analyze(path: string): Promise<Readonly<Record<string, Theirs>>> {
  const { code, stdout, stderr } = await new Deno.Command("python3", { args: [SCRIPT!, "-f", path] }).output();
  const text = new TextDecoder();
  assert.equal(code, 0, text.decode(stderr));
  return JSON.parse(text.decode(stdout));
}

/** Every place where the two do not say the same. */
function disagreements(path: string, theirs: Theirs | undefined, ours: unknown): string[] {
  if (typeof theirs === "object" && typeof ours === "object" && ours !== null) {
    const names = new Set([...Object.keys(theirs), ...Object.keys(ours)]);
    const member = (value: unknown, name: string) => (value as Record<string, never>)[name];
    return [...names].flatMap((name) => disagreements(`${path}.${name}`, member(theirs, name), member(ours, name)));
  }
  return says(theirs, ours) ? [] : [`${path}: ${JSON.stringify(theirs)} and ${JSON.stringify(ours)}`];
}

/** One value, as they print it and as it is here. */
function says(theirs: Theirs | undefined, ours: unknown): boolean {
  if (typeof theirs !== "string") return theirs === ours;
  if (theirs === "nullptr") return ours === null;
  const number = /^0x([0-9a-f]+)(?: \(-\d+\))?$/.exec(theirs)?.[1];
  if (number) return isNumber(ours) && BigInt.asUintN(4 * number.length, BigInt(ours)) === BigInt(`0x${number}`);
  const bytes = theirs.replaceAll(" ", "");
  return bytes === ours || [false, true].some((queue) => madeOf(bytes, leaves(ours, queue)));
}

/** Where they print bytes of a type they do not know, timers and structs among them, ours are the numbers in them. */
function madeOf(bytes: string, values: readonly (number | string)[]): boolean {
  let ends = new Set([0]);
  for (const value of values) {
    const next = new Set<number>();
    for (const at of ends) {
      for (const digits of [2, 4, 8, 16]) {
        const there = bytes.slice(at, at + digits);
        const same = there.length === digits && BigInt.asUintN(4 * digits, BigInt(value)) === BigInt(`0x${there}`);
        if (same) next.add(at + digits);
      }
    }
    ends = next;
  }
  return ends.has(bytes.length);
}

/** Numbers of a value in the order of its bytes; those of a list as QEMU sends a queue: 1 before each element, 0 at the end. */
function leaves(value: unknown, queue: boolean): (number | string)[] {
  if (typeof value === "boolean") return [Number(value)];
  if (isNumber(value)) return [value];
  if (typeof value !== "object" || value === null) return [];
  const members = Object.values(value).map((member) => leaves(member, queue));
  return Array.isArray(value) && queue ? [...members.flatMap((each) => [1, ...each]), 0] : members.flat();
}

function isNumber(value: unknown): value is number | string {
  return typeof value === "number" || (typeof value === "string" && /^-?\d+$/.test(value));
}

async function compare({ name }: Capture): Promise<number> {
  const path = await fixturePath(name);
  await using image = await openImage(path);
  const { sections, devices } = JSON.parse(JSON.stringify(await inspectImage(image)));
  const theirs = await analyze(path);
  let compared = 0;
  for (const { id, name: device, type, offset } of sections) {
    const ours = devices.find((each: { offset: number }) => each.offset === offset);
    if (type !== "full" || !ours) continue;
    const found = theirs[`${device} (${id})`];
    assert(found !== undefined, `${name}: the script has no ${device} (${id})`);
    assert.deepEqual(disagreements(`${name}: ${device}`, found, ours.fields), []);
    compared++;
  }
  assert.equal(compared, Object.keys(theirs).filter((key) => !/^ram \(|^s390-storage_attributes \(/.test(key)).length);
  return compared;
}

const what = "device fields are those of QEMU's own analyzer";
Deno.test({
  name: SCRIPT ? what : `${what} (needs scripts/analyze-migration.py of QEMU's sources: MIGLAB_QEMU_PYTHON=DIRECTORY)`,
  ignore: SCRIPT === undefined,
  async fn() {
    assert(CAPTURES.length >= 30, `${CAPTURES.length} captures`);
    let sections = 0;
    for (const capture of CAPTURES) sections += await compare(capture);
    assert(sections >= 20 * CAPTURES.length, `${sections} sections`);
  },
});
