/**
 * Files of every format that is written here, and ways to damage them, for tests of those who read.
 * @module
 */
import fc from "fast-check";
import { openImage } from "../containers/image.ts";
import { convertImage } from "../reports/convert.ts";
import { loadFixture } from "./fixtures.ts";

/** Formats in which a small machine is written. */
export const DAMAGED_FORMATS = ["legacy", "mapped-ram", "libvirt-raw", "libvirt-sparse", "elf"] as const;
/** One of them. */
export type DamagedFormat = typeof DAMAGED_FORMATS[number];

/** What is done to a file. */
export interface Damage {
  /** Where it is cut off; null: nowhere. */
  readonly end: number | null;
  /** Bits that are turned over. */
  readonly flips: readonly (readonly [at: number, bits: number])[];
}

/** The capture that is written in each: the one of the fewest devices. */
const SOURCE = "microvm-file";
const XML = "<domain type='qemu'>\n  <name>small</name>\n</domain>\n";
/** Where a file's structure is rather than its pages: in front, and at the end. */
const NEAR = 0x600;

/** The small machine's file. */
export async function wholeFile(format: DamagedFormat): Promise<Uint8Array<ArrayBuffer>> {
  const path = Deno.makeTempFileSync({ prefix: "miglab-whole-" });
  try {
    await using image = await openImage(await loadFixture(SOURCE));
    await convertImage(image, path, format, { xml: XML });
    return Deno.readFileSync(path);
  } finally {
    Deno.removeSync(path);
  }
}

/**
 * Damages of a file: cuts anywhere, flips mostly where its structure is.
 * @param places where that is besides the beginning and the end
 */
export function damages(length: number, places: readonly number[] = []): fc.Arbitrary<Damage> {
  const near = (place: number) => fc.integer({ min: Math.max(0, place - 64), max: Math.min(length, place + NEAR) - 1 });
  const at = fc.oneof(near(0), near(length - NEAR), fc.nat(length - 1), ...places.map(near));
  const flips = fc.array(fc.tuple(at, fc.integer({ min: 1, max: 255 })), { minLength: 0, maxLength: 4 });
  return fc.record({ end: fc.option(fc.oneof(at, fc.nat(length)), { freq: 2 }), flips });
}

/** Run with the damaged bytes; the whole ones are as they were afterwards. */
export async function withDamage<T>(
  whole: Uint8Array<ArrayBuffer>,
  { end, flips }: Damage,
  run: (bytes: Uint8Array<ArrayBuffer>) => Promise<T>,
): Promise<T> {
  for (const [at, bits] of flips) whole[at] ^= bits;
  try {
    return await run(end === null ? whole : whole.subarray(0, end));
  } finally {
    for (const [at, bits] of flips) whole[at] ^= bits;
  }
}
