/**
 * libvirt's save images under `fixtures/libvirt/`, unpacked for tests. The README beside them says what they are.
 * @module
 */
import { Buffer } from "node:buffer";
import { gunzipSync } from "node:zlib";

/** One image as the manifest describes it. */
export interface LibvirtFixture {
  readonly name: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly restore: string;
  /** SHA-256 of each RAM block, from the stopped process. */
  readonly ram_truth: Readonly<Record<string, string>>;
  readonly patch?: {
    readonly base: string;
    readonly offset: number;
    readonly length: number;
    readonly edits: readonly (readonly [number, string])[];
  };
  // deno-lint-ignore no-explicit-any -- header, xml, cookie and stream: what another reader found
  readonly [member: string]: any;
}

const ROOT = new URL("./fixtures/libvirt/", import.meta.url);
let images: readonly LibvirtFixture[] | undefined;

function readGz(name: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(gunzipSync(Deno.readFileSync(new URL(name, ROOT))));
}

/** Every image. Read once per process. */
export function libvirtManifest(): readonly LibvirtFixture[] {
  return images ??= JSON.parse(Buffer.from(readGz("manifest.json.gz")).toString()).images;
}

/** All bytes of an image. */
export function loadLibvirt(name: string): Uint8Array<ArrayBuffer> {
  const image = libvirtManifest().find((entry) => entry.name === name);
  if (!image) throw new Error(`No libvirt image is named "${name}"`);
  if (!image.patch) return readGz(`${name}.gz`);
  const { base, offset, length, edits } = image.patch;
  const bytes = readGz(`${base}.gz`).slice(offset, offset + length);
  for (const [at, hex] of edits) bytes.set(Uint8Array.fromHex(hex), at);
  return bytes;
}
