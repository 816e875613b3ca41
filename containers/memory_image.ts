/**
 * Images that are memory alone: an ELF core, or a raw file. They have no stream, no sections and no devices; their RAM is one
 * block, "memory", whose offsets are guest-physical addresses.
 * @module
 */
import type { ByteSource } from "../stream/channel.ts";
import type { StreamError } from "../stream/errors.ts";
import { type ElfCore, readElfCore } from "./elf_core.ts";
import type { FileSource } from "./file_source.ts";
import { FlatRam } from "./flat_ram.ts";
import type { Image, ImageStream } from "./image.ts";
import type { Located } from "./locate.ts";
import type { Compression } from "./magic.ts";
import { spool } from "./sources.ts";

/** Whether an image is memory alone. */
export function isMemoryAlone({ format }: Pick<Image, "format">): boolean {
  return format === "elf-core" || format === "raw";
}

/**
 * Open what {@link locate} found to be memory. A pipe, and what is packed, is kept in a temporary file.
 * @throws {StreamError} when the headers of a core are broken
 */
export async function openMemory(
  found: Located,
  file: {
    readonly path: string | undefined;
    readonly bytes: number | undefined;
    readonly file: FileSource | undefined;
  },
): Promise<Image> {
  const spooled = found.source.readAt && found.source.size ? undefined : await spool(found.source);
  try {
    return new MemoryImage(found, spooled ?? found.source, file, () => {
      spooled?.close();
      found.close();
      file.file?.close();
    });
  } catch (error) {
    spooled?.close();
    throw error;
  }
}

class MemoryImage implements Image {
  readonly format: Image["format"];
  readonly path: string | undefined;
  readonly bytes: number;
  readonly streamOffset: number;
  readonly streamEnd: number;
  readonly compressions: readonly Compression[];
  readonly core?: ElfCore;
  readonly stream: ImageStream;
  readonly ram: FlatRam;
  readonly passes = [];
  readonly sections = [];
  readonly devices = [];
  readonly channels = [];
  readonly commands = [];
  readonly footers = false;
  readonly unlistedSections = 0;
  readonly description = undefined;
  readonly fault: StreamError | undefined;
  readonly source: ByteSource;
  readonly #close: () => void;

  constructor(
    found: Located,
    source: ByteSource,
    { path, bytes }: { readonly path: string | undefined; readonly bytes: number | undefined },
    close: () => void,
  ) {
    const { format, streamOffset, compressions } = found;
    const start = source.start ?? 0, end = source.size!();
    this.format = format;
    this.path = path;
    this.bytes = bytes ?? end;
    this.streamOffset = streamOffset;
    this.streamEnd = end;
    this.compressions = compressions;
    this.source = source;
    this.#close = close;
    if (format === "elf-core") this.core = readElfCore(source);
    const all = { address: 0, length: end - start, offset: start, fileBytes: end - start };
    this.ram = new FlatRam(source, this.core?.segments ?? [all]);
    this.fault = this.core?.fault;
    const problem = found.problem();
    this.stream = {
      version: 0,
      machine: undefined,
      capabilities: [],
      targetPageBits: undefined,
      complete: this.fault === undefined && problem === undefined,
      ramFormat: null,
      warnings: [...found.warnings, ...(problem ? [problem] : []), ...this.core?.warnings ?? []]
        .map((text) => ({ text })),
    };
  }

  get warnings(): ImageStream["warnings"] {
    return this.stream.warnings;
  }

  get complete(): boolean {
    return this.stream.complete;
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#close();
    return Promise.resolve();
  }
}
