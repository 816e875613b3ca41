/**
 * A saved guest as a value: what stream it is, its RAM blocks with pages by (block, offset), its sections and devices.
 *
 *     await using image = await openImage("/tmp/vm.sav");
 *     image.stream.machine, image.ram.blocks, await image.ram.readPage("pc.ram", 0x7c000), image.devices[0].fields
 *
 * Opening reads a sequential stream once; of a mapped-ram file only the headers, the bitmaps and the device state.
 * @module
 */
import { bufferSource, type ByteSource } from "../stream/channel.ts";
import { type StreamError, UnsupportedError } from "../stream/errors.ts";
import type { SectionType } from "../stream/records.ts";
import type { Tables } from "../stream/tables.ts";
import type { VmDescription } from "../stream/vmdesc.ts";
import { type PlainFields, walkDevice, type WalkedDevice } from "../stream/vmstate.ts";
import { type FileSource, fileSource } from "./file_source.ts";
import { StoredRam } from "./stored_ram.ts";
import { type ImageCommand, type ImageSection, type ImageWarning, indexStream, type StreamIndex } from "./stream_index.ts";

export { StoredRam } from "./stored_ram.ts";
export type { ImageBlock } from "./stored_ram.ts";
export type { ImageCommand, ImageSection, ImageWarning } from "./stream_index.ts";

/** How to open. */
export interface OpenImageOptions {
  /** Where the stream begins in the file. Default 0. */
  readonly offset?: number;
  /** Further channels of a multifd or postcopy-preempt migration. */
  readonly channels?: readonly (string | Uint8Array | ByteSource)[];
  /** Codecs of plugins: XBZRLE deltas, sections with bodies of their own. */
  readonly tables?: Partial<Tables>;
  /** Told every 32 MiB of a sequential stream. `total` is unknown on a pipe. */
  readonly onProgress?: (bytes: number, total: number | undefined) => void;
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
  readonly warnings: readonly ImageWarning[];
}

/** A saved guest. */
export interface Image extends AsyncDisposable {
  /** What kind of file it is. */
  readonly format: "qemu-stream";
  /** As it was opened; undefined for bytes and sources. */
  readonly path: string | undefined;
  /** Size of the file; on a pipe what was read. */
  readonly bytes: number;
  /** Where QEVM stands in the file. */
  readonly streamOffset: number;
  /** Where the last byte that was understood ends. */
  readonly streamEnd: number;
  readonly stream: ImageStream;
  readonly ram: StoredRam;
  /** In stream order. */
  readonly sections: readonly ImageSection[];
  /** FULL sections, in stream order. */
  readonly devices: readonly ImageDevice[];
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
  /** Same as `stream.complete`. */
  readonly complete: boolean;
  /** What is wrong with the file. Everything before it is here. */
  readonly fault: StreamError | undefined;
  /** The bytes themselves, for those who go through them again; with `readAt` where the file can seek. */
  readonly source: ByteSource;
}

/**
 * Open a saved guest.
 *
 * @param input path, "-" for standard input, the bytes themselves, or a source that stands where the stream begins
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
  if (options.channels?.length) {
    throw new UnsupportedError("Cannot open further channels", {
      channel: "main",
      offset: start,
      found: `${options.channels.length} of them`,
      expected: "the main channel alone",
      feature: "multifd",
    });
  }
  let file: FileSource | undefined;
  let source: ByteSource;
  if (typeof input === "string") source = file = fileSource(input, { start });
  else if (input instanceof Uint8Array) source = bufferSource(input, { start });
  else source = input;
  try {
    if ((source.start ?? 0) !== start) source = await startAt(source, start);
    const { tables = {}, onProgress } = options;
    const index = await indexStream(source, { tables, ...(onProgress ? { onProgress } : {}) });
    const path = typeof input === "string" && input !== "-" ? input : undefined;
    return new StreamImage(source, index, tables, path, start, file);
  } catch (error) {
    file?.close();
    throw error;
  }
}

/** The same source, standing at `start`. On a pipe what is in front is read over. */
async function startAt(source: ByteSource, start: number): Promise<ByteSource> {
  const { name, readAt, size } = source;
  if (readAt) {
    let position = start;
    const read = (view: Uint8Array) => {
      const got = readAt.call(source, view, position);
      position += got;
      return got;
    };
    return { name, start, read, readAt: readAt.bind(source), ...(size ? { size: size.bind(source) } : {}) };
  }
  const begin = source.start ?? 0;
  const waste = new Uint8Array(Math.min(Math.max(0, start - begin), 1 << 20));
  for (let left = start - begin; left > 0;) {
    const got = await source.read(left < waste.length ? waste.subarray(0, left) : waste);
    if (got <= 0) break;
    left -= got;
  }
  return { name, start, read: source.read.bind(source) };
}

class StreamImage implements Image {
  readonly format = "qemu-stream" as const;
  readonly bytes: number;
  readonly streamEnd: number;
  readonly stream: ImageStream;
  readonly ram: StoredRam;
  readonly sections: readonly ImageSection[];
  readonly devices: readonly ImageDevice[];
  readonly commands: readonly ImageCommand[];
  readonly footers: boolean;
  readonly unlistedSections: number;
  readonly description: VmDescription | undefined;
  readonly fault: StreamError | undefined;

  constructor(
    readonly source: ByteSource,
    index: StreamIndex,
    tables: Partial<Tables>,
    readonly path: string | undefined,
    readonly streamOffset: number,
    readonly file: FileSource | undefined,
  ) {
    const { configuration, ramFormat, pageSize } = index;
    this.bytes = source.size?.() ?? index.end;
    this.streamEnd = index.end;
    const bits = configuration?.targetPageBits ?? (ramFormat === null ? undefined : Math.log2(pageSize));
    this.stream = {
      version: index.version,
      machine: configuration?.machine,
      capabilities: configuration?.capabilities ?? [],
      targetPageBits: bits,
      ...(configuration?.uuid ? { uuid: configuration.uuid } : {}),
      complete: index.complete,
      ramFormat,
      warnings: index.warnings,
    };
    this.ram = new StoredRam(source, index, tables);
    this.sections = index.sections;
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
    return this.stream.complete;
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.file?.close();
    return Promise.resolve();
  }
}

/** The state of one device. */
export class ImageDevice {
  /** idstr of the section: "0000:00:01.1/ide". */
  readonly name: string;
  readonly instanceId: number;
  readonly version: number;
  readonly sectionId: number;
  readonly type: SectionType;
  /** Of the body, in the file. */
  readonly offset: number;
  /** Bytes of the body. */
  readonly bytes: number;
  /** Written before RAM (early_setup). */
  readonly early: boolean;
  /** How its length was found: by the description, by the footer after it, or taken to the end. */
  readonly bounds: "description" | "footer" | "rest";
  readonly #source: ByteSource;
  readonly #copy: Uint8Array | undefined;
  readonly #description: VmDescription | undefined;
  #walked: WalkedDevice | undefined;

  constructor(source: ByteSource, device: StreamIndex["devices"][number], description: VmDescription | undefined) {
    const { section } = device;
    this.name = section.name;
    this.instanceId = section.instanceId;
    this.version = section.version;
    this.sectionId = section.id;
    this.type = section.type;
    this.offset = section.offset;
    this.bytes = section.bytes;
    this.early = device.early;
    this.bounds = device.bounds;
    this.#source = source;
    this.#copy = device.body;
    this.#description = description;
  }

  /** The bytes of the body, as they stand in the stream. */
  body(): Uint8Array {
    if (this.#copy) return this.#copy;
    const body = new Uint8Array(this.bytes);
    return body.subarray(0, this.#source.readAt!(body, this.offset));
  }

  /** The fields as a tree with offsets; undefined where no description says how they are laid out. */
  walk(): WalkedDevice | undefined {
    const vmsd = this.#description?.device(this.name, this.instanceId);
    if (!vmsd) return undefined;
    return this.#walked ??= walkDevice(vmsd, this.body(), {
      channel: this.#source.name,
      offset: this.offset,
      partial: true,
    });
  }

  /** Fields by name, decoded when first asked for; empty where no description says how they are laid out. */
  get fields(): PlainFields {
    return this.walk()?.fields ?? {};
  }

  /** Why `fields` is not all of it. */
  get problem(): string | undefined {
    const walked = this.walk();
    if (!walked) return "no description of its fields";
    if (walked.problem) return walked.problem.message;
    return walked.consumed < this.bytes ? `${this.bytes - walked.consumed} bytes behind the last field` : undefined;
  }
}
