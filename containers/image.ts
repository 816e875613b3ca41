/**
 * A saved guest as a value, whatever file it is in: what stream it is, its RAM blocks with pages by (block, offset), its
 * sections and devices. An ELF core and a raw image are memory alone.
 *
 *     await using image = await openImage("/tmp/vm.sav");
 *     image.stream.machine, image.ram.blocks, await image.ram.readPage("pc.ram", 0x7c000), image.devices[0].fields
 *
 * Opening reads a sequential stream once; of a mapped-ram file only the headers, the bitmaps and the device state.
 * @module
 */
import { bufferSource, type ByteSource } from "../stream/channel.ts";
import type { StreamError } from "../stream/errors.ts";
import type { ConfigurationRecord } from "../stream/records.ts";
import type { Tables } from "../stream/tables.ts";
import type { VmDescription } from "../stream/vmdesc.ts";
import { type FileSource, fileSource } from "./file_source.ts";
import { FurtherChannels, type ImageChannel } from "./further_channels.ts";
import { ImageDevice } from "./image_device.ts";
import type { ElfCore } from "./elf_core.ts";
import type { ImageRam } from "./image_ram.ts";
import { type LibvirtSave, NOT_RESTORED } from "./libvirt.ts";
import { locate, type Located } from "./locate.ts";
import type { Compression } from "./magic.ts";
import { isMemoryAlone, openMemory } from "./memory_image.ts";
import type { Qcow2Snapshot } from "./qcow2.ts";
import { StoredRam } from "./stored_ram.ts";
import type { RamPass } from "./ram_passes.ts";
import { indexStream } from "./stream_index.ts";
import type { ImageCommand, ImageSection, ImageWarning, StreamIndex } from "./index_result.ts";

export { ImageDevice } from "./image_device.ts";
export type { ImageChannel } from "./further_channels.ts";
export type { ElfCore, MemorySegment } from "./elf_core.ts";
export type { CoreNote } from "./elf_note.ts";
export { type ImageBlock, type ImageRam, MEMORY_BLOCK } from "./image_ram.ts";
export type { LibvirtSave } from "./libvirt.ts";
export type { Compression } from "./magic.ts";
export type { Qcow2Snapshot } from "./qcow2.ts";
export { StoredRam } from "./stored_ram.ts";
export type { ImageCommand, ImageSection, ImageWarning } from "./index_result.ts";

/** How to open. */
export interface OpenImageOptions {
  /** Where the stream, or the container around it, begins in the file. Default 0. */
  readonly offset?: number;
  /** What errors call a file that is opened by its path. Default "main". */
  readonly name?: string;
  /** Internal snapshot of a qcow2 image, by name or id. Default: the one taken last that has VM state. */
  readonly snapshot?: string;
  /** Take a file whose content tells nothing for raw memory: byte N is guest-physical address N. */
  readonly raw?: boolean;
  /** Further channels of a multifd or postcopy-preempt migration. */
  readonly channels?: readonly (string | Uint8Array | ByteSource)[];
  /** Codecs of plugins: XBZRLE deltas, sections with bodies of their own. */
  readonly tables?: Partial<Tables>;
  /** Told every 32 MiB of a sequential stream, and waited for. `total` is unknown on a pipe. */
  readonly onProgress?: (bytes: number, total: number | undefined) => void | Promise<void>;
}

/** What the stream says of itself. */
export interface ImageStream {
  /** Of the file header: 3. */
  readonly version: number;
  /** Versioned machine name; undefined for streams without a configuration section. */
  readonly machine: string | undefined;
  /** Names of the configuration section. */
  readonly capabilities: readonly string[];
  /** log2 of the target page size; undefined where there is no RAM and no word of it. */
  readonly targetPageBits: number | undefined;
  /** Of the configuration section, 16 bytes in printed order. */
  readonly uuid?: Uint8Array;
  /** The end mark was seen and nothing was wrong up to the last byte. */
  readonly complete: boolean;
  /** How RAM travels; null when there is no ram section. */
  readonly ramFormat: "stream" | "mapped-ram" | "multifd" | null;
  /** Doubts that do not stop a reader. */
  readonly warnings: readonly ImageWarning[];
}

/** A saved guest. */
export interface Image extends AsyncDisposable {
  /** What kind of file it is, whatever it is packed with. */
  readonly format: "qemu-stream" | "libvirt-save" | "qcow2" | "elf-core" | "raw";
  /** As it was opened; undefined for bytes and sources. */
  readonly path: string | undefined;
  /** Size of the file; on a pipe what was read. */
  readonly bytes: number;
  /**
   * Where QEVM, or what the stream is packed with, stands in the file. Other offsets of a packed stream count its unpacked
   * bytes, those of a qcow2 image the bytes of its VM state.
   */
  readonly streamOffset: number;
  /** Passes of the source over RAM, in stream order; none of mapped-ram and of images that are no stream. */
  readonly passes: readonly RamPass[];
  /** Where the last byte that was understood ends. */
  readonly streamEnd: number;
  /** What the file or the stream in it is packed with, outermost first. */
  readonly compressions: readonly Compression[];
  /** What libvirt put in front. */
  readonly libvirt?: LibvirtSave;
  /** Internal snapshots of a qcow2 image. */
  readonly snapshots?: readonly Qcow2Snapshot[];
  /** The one that was opened. */
  readonly snapshot?: Qcow2Snapshot;
  /** What an ELF core says of itself. */
  readonly core?: ElfCore;
  /** What the stream says of itself; of memory alone only `complete` and `warnings`. */
  readonly stream: ImageStream;
  /** Blocks and their pages. */
  readonly ram: ImageRam;
  /** In stream order. */
  readonly sections: readonly ImageSection[];
  /** FULL sections, in stream order. */
  readonly devices: readonly ImageDevice[];
  /** The configuration section as it was sent; absent where none was. */
  readonly configuration?: ConfigurationRecord;
  /** Further channels that were given, multifd ones by their number. */
  readonly channels: readonly ImageChannel[];
  /** Commands of the main channel, in stream order. */
  readonly commands: readonly ImageCommand[];
  /** Sections end in footers. */
  readonly footers: boolean;
  /** Sections that are in the file and not in `sections`: there are too many. */
  readonly unlistedSections: number;
  /** The description behind the end, where it was found. */
  readonly description: VmDescription | undefined;
  /** Same as `stream.warnings`. */
  readonly warnings: readonly ImageWarning[];
  /** The stream is complete, and libvirt does not say otherwise. */
  readonly complete: boolean;
  /** What is wrong with the file. Everything before it is here. */
  readonly fault: StreamError | undefined;
  /** The bytes themselves, for those who go through them again; with `readAt` where the file can seek. */
  readonly source: ByteSource;
}

/**
 * Open a saved guest.
 *
 * @param input path, "-" for standard input, the bytes themselves, or a source
 * @throws {TransportError} when the file cannot be opened or read
 * @throws {StreamError} when it does not begin as a stream; faults further on are in {@link Image.fault}
 */
export async function openImage(
  input: string | Uint8Array | ByteSource,
  options: OpenImageOptions = {},
): Promise<Image> {
  const start = options.offset ?? 0;
  if (!Number.isSafeInteger(start) || start < 0) {
    throw new RangeError(`Cannot open at offset ${start}: expected a whole number of bytes`);
  }
  let file: FileSource | undefined;
  let source: ByteSource;
  if (typeof input === "string") source = file = fileSource(input, { name: options.name });
  else if (input instanceof Uint8Array) source = bufferSource(input);
  else source = input;
  let found: Located | undefined;
  let channels: FurtherChannels | undefined;
  try {
    const { tables = {}, onProgress, snapshot } = options;
    if (options.channels?.length) channels = new FurtherChannels(options.channels, tables);
    await channels?.identify();
    const where = { offset: start, ...(snapshot !== undefined ? { snapshot } : {}) };
    found = await locate(source, { ...where, memory: options.raw ? "raw" : "elf-core" });
    const path = typeof input === "string" && input !== "-" ? input : undefined;
    if (isMemoryAlone(found)) {
      channels?.close();
      return await openMemory(found, { path, bytes: source.size?.(), file });
    }
    const index = await indexStream(found.source, { tables, channels, onProgress });
    if (index.ramFormat === "multifd") channels?.expectMultifd();
    return new StreamImage(found, index, tables, { path, bytes: source.size?.(), file }, channels);
  } catch (error) {
    channels?.close();
    found?.close();
    file?.close();
    throw error;
  }
}

class StreamImage implements Image {
  readonly format: Image["format"];
  readonly path: string | undefined;
  readonly bytes: number;
  readonly streamOffset: number;
  readonly streamEnd: number;
  readonly compressions: readonly Compression[];
  readonly libvirt?: LibvirtSave;
  readonly snapshots?: readonly Qcow2Snapshot[];
  readonly snapshot?: Qcow2Snapshot;
  readonly stream: ImageStream;
  readonly ram: StoredRam;
  readonly passes: readonly RamPass[];
  readonly sections: readonly ImageSection[];
  readonly devices: readonly ImageDevice[];
  readonly configuration?: ConfigurationRecord;
  readonly commands: readonly ImageCommand[];
  readonly footers: boolean;
  readonly unlistedSections: number;
  readonly description: VmDescription | undefined;
  readonly fault: StreamError | undefined;
  readonly source: ByteSource;
  readonly channels: readonly ImageChannel[];
  readonly #found: Located;
  readonly #channels: FurtherChannels | undefined;
  readonly #file: FileSource | undefined;

  constructor(
    found: Located,
    index: StreamIndex,
    tables: Partial<Tables>,
    file: { path: string | undefined; bytes: number | undefined; file: FileSource | undefined },
    channels: FurtherChannels | undefined,
  ) {
    const { source } = found;
    const { configuration, ramFormat, pageSize } = index;
    this.#found = found;
    this.#file = file.file;
    this.source = source;
    this.format = found.format;
    this.path = file.path;
    this.bytes = file.bytes ?? index.end;
    this.streamOffset = found.streamOffset;
    this.streamEnd = index.end;
    this.compressions = found.compressions;
    if (found.libvirt) this.libvirt = found.libvirt;
    if (found.snapshots) this.snapshots = found.snapshots;
    if (found.snapshot) this.snapshot = found.snapshot;
    const problem = found.problem();
    if (problem && index.fault) index.fault.message += `; ${problem}`;
    const bits = configuration?.targetPageBits ?? (ramFormat === null ? undefined : Math.log2(pageSize));
    this.stream = {
      version: index.version,
      machine: configuration?.machine,
      capabilities: configuration?.capabilities ?? [],
      targetPageBits: bits,
      ...(configuration?.uuid ? { uuid: configuration.uuid } : {}),
      complete: index.complete,
      ramFormat,
      warnings: [
        ...[...found.warnings, ...labelWarnings(found, ramFormat), ...(problem ? [problem] : [])]
          .map((text) => ({ text })),
        ...index.warnings,
      ],
    };
    this.#channels = channels;
    this.channels = channels?.channels ?? [];
    this.ram = new StoredRam(channels?.join(source) ?? source, index, tables, found.reopen);
    this.passes = index.passes;
    this.sections = index.sections;
    if (configuration) this.configuration = configuration;
    this.commands = index.commands;
    this.footers = index.footers;
    this.unlistedSections = index.unlisted;
    this.description = index.description;
    this.fault = index.fault;
    this.devices = index.devices.map((device) => new ImageDevice(source, device, index.description));
  }

  get warnings(): readonly ImageWarning[] {
    return this.stream.warnings;
  }

  get complete(): boolean {
    return this.stream.complete && this.libvirt?.complete !== false;
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.ram.close();
    this.#channels?.close();
    this.#found.close();
    this.#file?.close();
    return Promise.resolve();
  }
}

/** libvirt restores by the label; which of the two kinds of stream it is, only the stream says. */
function labelWarnings({ libvirt }: Located, ramFormat: StreamIndex["ramFormat"]): string[] {
  const mapped = ramFormat === "mapped-ram";
  if (!libvirt || ramFormat === null || (libvirt.format === "sparse") === mapped) return [];
  return [
    `labelled ${libvirt.format}, but the stream is ${mapped ? "" : "not "}mapped-ram: ${NOT_RESTORED}`,
  ];
}
