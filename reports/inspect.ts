/**
 * `inspect`: what an image holds, as one JSON value.
 *
 *     { path, bytes, format, streamOffset, stream, ram: { blocks }, sections, devices }
 *
 * Offsets are in the file. A section's `offset` and `bytes` are those of its body; its header begins at `headerOffset`.
 * 64-bit values that do not fit a JSON number are decimal strings, bytes are hex.
 * @module
 */
import type { RamPass } from "../containers/ram_passes.ts";
import type {
  Compression,
  Image,
  ImageBlock,
  ImageChannel,
  ImageDevice,
  ImageSection,
  ImageWarning,
  LibvirtSave,
  Qcow2Snapshot,
} from "../containers/image.ts";
import { hex } from "../stream/errors.ts";
import type { PlainFields } from "../stream/vmstate.ts";
import { hashBlocks } from "./hash_blocks.ts";
import type { DescribedField } from "./symbols/describe.ts";
import { type InspectCore, inspectCore } from "./inspect_core.ts";

/** Most ranges listed of one block. */
const RANGE_LIMIT = 1 << 16;

/** What to put into the report. */
export interface InspectOptions {
  /** Add the SHA-256 of each block's full content. */
  readonly hash?: boolean;
  /** List sections. Default true. */
  readonly sections?: boolean;
  /** Only devices whose idstr is this, or ends in "/" and this; their fields also with units and symbols. */
  readonly device?: string;
  /** Add to each block the ranges of pages that are data, and what each pass over RAM brought. */
  readonly pages?: boolean;
  /** Told while hashing: bytes of all blocks done so far. */
  readonly onProgress?: (bytes: number, total: number) => void;
}

/** A block of the report. */
export interface InspectBlock {
  /** Name. */
  readonly id: string;
  /** Used length. */
  readonly bytes: number;
  /** Bytes of a target page. */
  readonly pageBytes: number;
  /** Pages last sent as data. */
  readonly normalPages: number;
  /** The others. */
  readonly zeroPages: number;
  /** Of `zeroPages`: never sent; left out when 0. */
  readonly missingPages?: number;
  /** mapped-ram: of page 0, in the file. */
  readonly pagesOffset?: number;
  /** mapped-ram: of the bitmap, in the file. */
  readonly bitmapOffset?: number;
  /** Host page size, for blocks on huge pages. */
  readonly hostPageBytes?: number;
  /** Guest-physical address (x-ignore-shared). */
  readonly address?: number | string;
  /** Of the full content, with `hash`. */
  readonly sha256?: string;
  /** Pages that are data: `[first, count]`. */
  readonly pages?: readonly (readonly [number, number])[];
}

/** One pass of the source over RAM. */
export interface InspectPass {
  /** Of its first page record, in the file. */
  readonly offset: number;
  /** Blocks of which pages came. */
  readonly blocks: readonly {
    readonly id: string;
    /** Pages that came as data. */
    readonly normalPages: number;
    /** Pages that came as zero. */
    readonly zeroPages: number;
    /** Pages that came as a difference (xbzrle). */
    readonly deltaPages: number;
  }[];
}

/** A device of the report. */
export interface InspectDevice {
  /** idstr of its section. */
  readonly name: string;
  /** Tells devices of one name apart. */
  readonly instanceId: number;
  /** Version of its layout. */
  readonly version: number;
  /** Id of its section in this stream. */
  readonly sectionId: number;
  /** Of the body, in the file. */
  readonly offset: number;
  /** Of the body. */
  readonly bytes: number;
  /** By name; 64-bit values that do not fit are decimal strings, bytes are hex. */
  readonly fields: PlainFields;
  /** The same with units and symbols, where a device was asked for by name. */
  readonly described?: readonly DescribedField[];
  /** Why `fields` is not all of it. */
  readonly problem?: string;
}

/** An internal snapshot of the report. */
export interface InspectSnapshot {
  /** Unique, a decimal number. */
  readonly id: string;
  /** As given to savevm. */
  readonly name: string;
  /** 0 for snapshots of the disk alone. */
  readonly vmStateBytes: number;
  /** ISO 8601, UTC. */
  readonly date: string;
  /** Nanoseconds the guest had run. */
  readonly vmClock: number | string;
}

/** The whole report: `inspect --json`. */
export interface InspectReport {
  /** As it was opened; empty for bytes and sources. */
  readonly path: string;
  /** Size of the file. */
  readonly bytes: number;
  /** "qemu-stream" and others: what kind of file it is. */
  readonly format: string;
  /** Where QEVM stands in the file. */
  readonly streamOffset: number;
  /** Further channels that were given. */
  readonly channels?: readonly ImageChannel[];
  /** What it is packed with, outermost first. */
  readonly compressions?: readonly Compression[];
  /** libvirt's header; the XML behind it is left out, for it may hold passwords. */
  readonly libvirt?: Omit<LibvirtSave, "xml" | "cookie">;
  /** Of a qcow2 image: the internal snapshot that was read. */
  readonly snapshot?: InspectSnapshot;
  /** Of a qcow2 image: all of them. */
  readonly snapshots?: readonly InspectSnapshot[];
  /** Of an ELF core: what it says of itself. */
  readonly core?: InspectCore;
  /** What the stream says of itself. */
  readonly stream: {
    readonly version: number;
    readonly machine: string | null;
    readonly capabilities: readonly string[];
    readonly targetPageBits: number | null;
    readonly uuid?: string;
    readonly complete: boolean;
    readonly ramFormat: "stream" | "mapped-ram" | "multifd" | null;
    readonly warnings: readonly string[];
    /** What is wrong, and where. */
    readonly fault?: { readonly offset: number; readonly message: string };
  };
  /** RAM blocks with their pages by kind. */
  readonly ram: {
    readonly pageBytes: number;
    readonly totalBytes: number;
    readonly blocks: readonly InspectBlock[];
    /** With `pages`; none of mapped-ram, where every page has its one place. */
    readonly passes?: readonly InspectPass[];
  };
  /** All sections, unless they were not asked for. */
  readonly sections?: readonly ImageSection[];
  /** FULL sections with their fields. */
  readonly devices: readonly InspectDevice[];
}

/**
 * Report on an open image. Reads device state; RAM only where hashes are asked for.
 * @throws {StreamError} with `hash`: when pages cannot be read
 */
export async function inspectImage(image: Image, options: InspectOptions = {}): Promise<InspectReport> {
  const { stream, ram, fault } = image;
  const warnings = stream.warnings.map(warningText);
  const hashes = options.hash ? await hashBlocks(image, warnings, { onProgress: options.onProgress }) : undefined;
  const { device } = options;
  const devices = device === undefined
    ? image.devices.map(inspectDevice)
    : await described(image, image.devices.filter(({ name }) => name === device || name.endsWith("/" + device)));
  return {
    path: image.path ?? "-",
    bytes: image.bytes,
    format: image.format,
    streamOffset: image.streamOffset,
    ...(image.channels.length > 0 ? { channels: image.channels } : {}),
    ...(image.compressions.length > 0 ? { compressions: image.compressions } : {}),
    ...(image.libvirt ? { libvirt: libvirtFacts(image.libvirt) } : {}),
    ...(image.snapshots
      ? { snapshot: snapshotFacts(image.snapshot!), snapshots: image.snapshots.map(snapshotFacts) }
      : {}),
    ...(image.core ? { core: inspectCore(image.core) } : {}),
    stream: {
      version: stream.version,
      machine: stream.machine ?? null,
      capabilities: stream.capabilities,
      targetPageBits: stream.targetPageBits ?? null,
      ...(stream.uuid ? { uuid: uuidText(stream.uuid) } : {}),
      complete: stream.complete,
      ramFormat: stream.ramFormat,
      warnings,
      ...(fault ? { fault: { offset: fault.offset, message: fault.message } } : {}),
    },
    ram: {
      pageBytes: ram.pageBytes,
      totalBytes: ram.totalBytes,
      blocks: ram.blocks.map((block, i) => inspectBlock(image, block, hashes?.[i], options.pages ?? false)),
      ...(options.pages ? { passes: image.passes.map((pass) => inspectPass(image, pass)) } : {}),
    },
    ...(options.sections === false ? {} : { sections: image.sections }),
    devices,
  };
}

function libvirtFacts(save: LibvirtSave): Omit<LibvirtSave, "xml" | "cookie"> {
  const { xml: _xml, cookie: _cookie, ...facts } = save;
  return facts;
}

function snapshotFacts({ id, name, vmStateBytes, date, vmClock }: Qcow2Snapshot): InspectSnapshot {
  return { id, name, vmStateBytes, date: new Date(date * 1000).toISOString(), vmClock: jsonNumber(vmClock) };
}

function jsonNumber(value: bigint): number | string {
  return value <= Number.MAX_SAFE_INTEGER ? Number(value) : value.toString();
}

/** A warning as one line. */
export function warningText({ text, offset }: ImageWarning): string {
  return offset === undefined ? text : `${text} (at offset ${hex(offset)})`;
}

/** 16 bytes as they are printed. */
export function uuidText(uuid: Uint8Array): string {
  return uuid.toHex().replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

function inspectBlock(image: Image, block: ImageBlock, sha256: string | undefined, pages: boolean): InspectBlock {
  const { missingPages, address, ...rest } = block;
  return {
    ...rest,
    ...(missingPages > 0 ? { missingPages } : {}),
    ...(address !== undefined ? { address: jsonNumber(address) } : {}),
    ...(sha256 !== undefined ? { sha256 } : {}),
    ...(pages ? { pages: dataRanges(image, block) } : {}),
  };
}

function inspectPass({ ram }: Image, { offset, blocks }: RamPass): InspectPass {
  return { offset, blocks: blocks.map(({ block, ...pages }) => ({ id: ram.blocks[block].id, ...pages })) };
}

function dataRanges({ ram }: Image, block: ImageBlock): [number, number][] {
  const ranges: [number, number][] = [];
  for (let at = 0; at < block.bytes && ranges.length < RANGE_LIMIT;) {
    const run = ram.run(block, at);
    if (run > 0) ranges.push([at / block.pageBytes, Math.ceil(run / block.pageBytes)]);
    at += Math.abs(run);
  }
  return ranges;
}

function inspectDevice(device: ImageDevice): InspectDevice {
  const { name, instanceId, version, sectionId, offset, bytes, fields, problem } = device;
  return { name, instanceId, version, sectionId, offset, bytes, fields, ...(problem ? { problem } : {}) };
}

/** Devices with the meaning of their fields. What knows it is much to load, and is loaded for this alone. */
async function described(image: Image, devices: readonly ImageDevice[]): Promise<InspectDevice[]> {
  const [{ describeDevice }, { virtualClock }] = await Promise.all([
    import("./symbols/describe.ts"),
    import("./symbols/time.ts"),
  ]);
  const clock = virtualClock(image.devices);
  return devices.map((device) => {
    return { ...inspectDevice(device), described: describeDevice(device.name, device.walk()?.nodes ?? [], clock) };
  });
}
