/**
 * The captured streams under `fixtures/streams/`, unpacked for tests.
 *
 *     NAME = "pc-file-stopped"              the capture's `stream` or `main` file
 *          | "pc-multifd-2.ch0[.bin[.gz]]"  one file of a capture
 *          | "bad/legacy-magic"             a corrupted variant
 *
 * A file with `extents` holds only those pieces; it is `size` bytes long and zero elsewhere.
 * What the manifests say is described in `fixtures/streams/README.md`.
 * @module
 */
import { Buffer } from "node:buffer";
import { gunzipSync } from "node:zlib";

/** One file of a capture or variant. */
export interface FixtureFile {
  readonly file: string;
  readonly role: string;
  /** Multifd channel number. */
  readonly channel?: number;
  /** Bytes unpacked, holes included. */
  readonly size: number;
  /** Of the unpacked bytes, holes included. */
  readonly sha256: string;
  /** `[offset, length]` of the pieces in the gz; absent: all of it. */
  readonly extents?: readonly (readonly [number, number])[];
}

/** One device field whose value is known from elsewhere than the stream. */
export interface DeviceCheck {
  readonly section: string;
  readonly instance: number;
  readonly path: readonly (string | number)[];
  readonly value: string;
  readonly type: string;
  /** In the file. */
  readonly offset: number;
  /** Hex of the field's bytes, or of some of them from `byte_offset`. */
  readonly raw: string;
  readonly byte_offset?: number;
}

/** One FULL section: where its body is in the file. */
export interface FixtureSection {
  readonly name: string;
  readonly instance: number;
  readonly version: number;
  readonly offset: number;
  readonly size: number;
}

/** One capture as the manifest describes it; further members are listed in the README beside it. */
export interface Capture {
  readonly name: string;
  readonly group: string;
  readonly files: readonly FixtureFile[];
  readonly stream_offset?: number;
  readonly capabilities: Readonly<Record<string, boolean>>;
  readonly sections?: readonly FixtureSection[];
  readonly device_checks?: readonly DeviceCheck[];
  // deno-lint-ignore no-explicit-any -- a reader's findings, of a shape of their own per group
  readonly [member: string]: any;
}

/** One corrupted variant, with a real QEMU's verdict in `qemu`. */
export interface BadVariant {
  readonly name: string;
  readonly base: string;
  readonly what: string;
  readonly files: readonly FixtureFile[];
  // deno-lint-ignore no-explicit-any -- verdicts differ in shape
  readonly [member: string]: any;
}

const ROOT = new URL("./fixtures/streams/", import.meta.url);
/** Longest file that is built in memory. */
const MEMORY_LIMIT = 256 * 1024 * 1024;

let captures: readonly Capture[] | undefined;
let variants: readonly BadVariant[] | undefined;
let directory: string | undefined;
const paths = new Map<string, string>();

function readGz(path: string): Uint8Array {
  return gunzipSync(Deno.readFileSync(new URL(path, ROOT)));
}

/** Every capture. Read once per process. */
export function manifest(): readonly Capture[] {
  captures ??= JSON.parse(Buffer.from(readGz("manifest.json.gz")).toString()).captures as Capture[];
  return captures;
}

/** Every corrupted variant. Read once per process. */
export function badManifest(): readonly BadVariant[] {
  variants ??= JSON.parse(Buffer.from(readGz("bad/manifest.json.gz")).toString()).variants as BadVariant[];
  return variants;
}

/** One capture by its name. */
export function capture(name: string): Capture {
  const found = manifest().find((entry) => entry.name === name);
  if (!found) throw new Error(`No capture is named "${name}"`);
  return found;
}

/** The file a name stands for, and where its gz is under `fixtures/streams/`. */
export function fixtureFile(name: string): FixtureFile & { readonly gz: string } {
  const bad = name.startsWith("bad/");
  const plain = name.replace(/^bad\//, "").replace(/\.gz$/, "").replace(/\.bin$/, "");
  for (const entry of bad ? badManifest() : manifest()) {
    const file = entry.name === plain
      ? entry.files.find((each) => each.role === "stream" || each.role === "main")
      : entry.files.find((each) => each.file === `${plain}.bin.gz`);
    if (file) return { ...file, gz: (bad ? "bad/" : "") + file.file };
  }
  throw new Error(`No fixture is named "${name}"`);
}

/**
 * All bytes of a fixture, holes as zeros.
 * @throws for a file over 256 MiB; {@link fixturePath} serves those
 */
// deno-lint-ignore require-await -- asynchronous, so that it can come from elsewhere one day
export async function loadFixture(name: string): Promise<Uint8Array<ArrayBuffer>> {
  const file = fixtureFile(name);
  if (file.size > MEMORY_LIMIT) throw new Error(`Cannot hold "${name}" in memory: ${file.size} bytes; use fixturePath`);
  const packed = readGz(file.gz);
  if (!file.extents) return new Uint8Array(packed);
  const bytes = new Uint8Array(file.size);
  let at = 0;
  for (const [offset, length] of file.extents) {
    bytes.set(packed.subarray(at, at + length), offset);
    at += length;
  }
  return bytes;
}

/**
 * The fixture as a file: sparse where the fixture has extents, made once per process, removed when it ends.
 * Tests must not change it.
 */
export async function fixturePath(name: string): Promise<string> {
  const file = fixtureFile(name);
  const made = paths.get(file.gz);
  if (made) return made;
  const path = `${temporaryDirectory()}/${file.gz.replaceAll("/", "-").replace(/\.gz$/, "")}`;
  const packed = readGz(file.gz);
  using out = await Deno.open(path, { write: true, create: true });
  await out.truncate(file.size);
  let at = 0;
  for (const [offset, length] of file.extents ?? [[0, file.size]]) {
    await out.seek(offset, Deno.SeekMode.Start);
    const end = at + length;
    while (at < end) at += await out.write(packed.subarray(at, end));
  }
  paths.set(file.gz, path);
  return path;
}

function temporaryDirectory(): string {
  if (directory === undefined) {
    const made = Deno.makeTempDirSync({ prefix: "miglab-fixtures-" });
    globalThis.addEventListener("unload", () => Deno.removeSync(made, { recursive: true }));
    directory = made;
  }
  return directory;
}
