/**
 * Keeping a migration stream as it comes, pages where a fast load wants them: the filter of `migrate exec:`.
 *
 *     pipe: header, START ram, { PART ram: pages, some of them again }, devices, EOF
 *     file: header, START ram with a place for every page,              devices, EOF
 *
 * A page that comes again takes the place it had, so that the file of a running guest is no longer than that of a stopped
 * one. Nothing is kept in memory but the bitmaps. The file appears once the stream is whole. With mapped-ram a clear bit says
 * "do not touch": blocks that a receiver fills itself have their zero pages' bits set (as in convert_stream.ts).
 * @module
 */
import { createOutput, type OutputFile } from "../containers/output_file.ts";
import type { ByteSource } from "../stream/channel.ts";
import { encodeConfiguration } from "../stream/configuration.ts";
import * as C from "../stream/constants.ts";
import { StreamDecoder } from "../stream/decode.ts";
import * as encode from "../stream/encode.ts";
import { StreamError, TruncatedStreamError } from "../stream/errors.ts";
import { encodeMappedHeader, layoutMappedBlock } from "../stream/mapped_ram.ts";
import type {
  CommandRecord,
  ConfigurationRecord,
  RamBlockRecord,
  SectionRecord,
  StreamRecord,
} from "../stream/records.ts";
import type { Tables } from "../stream/tables.ts";
import { configurationText, writeVmdescription } from "../stream/vmdesc.ts";
import { StreamWriter } from "../stream/writer.ts";
import { withCapability } from "./convert_stream.ts";
import { PagePlacer } from "./page_placer.ts";

/** How to keep a stream. */
export interface SnapSaveOptions {
  /** Codecs of plugins: deltas, sections with bodies of their own. */
  readonly tables?: Partial<Tables>;
  /** Told about every 32 MiB that came; the total of a pipe is not known. */
  readonly onRead?: (bytes: number, total: number | undefined) => void | Promise<void>;
  /** Ends the work; nothing is left of it then. */
  readonly signal?: AbortSignal;
}

/** What was kept. */
export interface SnapSaved {
  /** What it was kept as. */
  readonly format: "mapped-ram";
  /** Bytes of the file, holes included. */
  readonly bytes: number;
  /** Bytes that came. */
  readonly read: number;
  /** Pages of data. */
  readonly normalPages: number;
  /** Pages that are zero. */
  readonly zeroPages: number;
}

/** Bytes between two calls of `onRead`. */
const STEP = 32 << 20;
/** Commands a file keeps; the others told the journey. */
const KEPT: readonly string[] = ["SWITCHOVER_START", "POSTCOPY_ADVISE"];
/** Commands after which pages come another way. */
const POSTCOPY = /^(POSTCOPY_(LISTEN|RUN|RAM_DISCARD|RESUME)|PACKAGED|RECV_BITMAP|ENABLE_COLO)$/;

/**
 * Keep a stream from its first byte to its last.
 * @param path of the file, which appears when it is whole
 * @throws {StreamError} where the stream is damaged, cut short, or of a kind that is no file: multifd, postcopy
 * @throws {TransportError} when the file cannot be written
 */
export async function snapSave(source: ByteSource, path: string, options: SnapSaveOptions = {}): Promise<SnapSaved> {
  using out = createOutput(path);
  using snap = new SnapSave(source, out, options);
  return await snap.run();
}

class SnapSave implements Disposable {
  readonly #decoder: StreamDecoder;
  readonly #writer: StreamWriter;
  readonly #pages: PagePlacer;
  #configuration: ConfigurationRecord | undefined;
  /** The section of ram that is open. */
  #ram: SectionRecord | undefined;

  constructor(source: ByteSource, readonly out: OutputFile, readonly options: SnapSaveOptions) {
    const { sections } = options.tables ?? {};
    this.#decoder = new StreamDecoder(source, sections ? { sections } : {});
    const { name } = out;
    this.#writer = new StreamWriter({ name, start: 0, write: (view) => out.write(view), seek: (to) => out.seek(to) });
    this.#pages = new PagePlacer(out, options.tables ?? {});
  }

  async run(): Promise<SnapSaved> {
    const { reader } = this.#decoder;
    const { onRead, signal } = this.options;
    let told = 0;
    for await (const record of this.#decoder.records()) {
      signal?.throwIfAborted();
      await this.#apply(record);
      if (reader.offset - told < STEP) continue;
      told = reader.offset;
      await onRead?.(told, undefined);
    }
    if (!this.#decoder.eofSeen) {
      throw new TruncatedStreamError("Cannot keep the stream", {
        ...this.#here(reader.offset),
        found: "the end of the bytes",
        expected: "the mark that ends a stream",
      });
    }
    await this.#writer.flush();
    await this.#pages.finish();
    const bytes = this.#writer.offset;
    this.out.finish(bytes);
    const { normalPages, zeroPages } = this.#pages;
    return { format: "mapped-ram", bytes, read: reader.offset, normalPages, zeroPages };
  }

  async #apply(record: StreamRecord): Promise<void> {
    const writer = this.#writer;
    switch (record.kind) {
      case "configuration":
        this.#configuration = record;
        return await this.#configured(record);
      case "section":
        return await this.#section(record);
      case "ram-block":
        return await this.#block(record);
      case "ram-pages":
        return await this.#pages.put(record);
      case "ram-mark":
        if (!(record.flags & C.RAM_SAVE_FLAG_EOS)) {
          this.#refuse(record.offset, "a mark of multifd", "pages in the stream");
        }
        return this.#ram?.type === "part" ? undefined : await encode.encodeRecord(writer, record);
      case "footer": {
        const part = this.#ram?.type === "part";
        this.#ram = undefined;
        return part ? undefined : await encode.encodeRecord(writer, record);
      }
      case "command":
        return await this.#command(record);
      case "vmdescription":
        return await this.#description();
      case "opaque":
        return; // behind the end
      case "mapped-bitmap":
      case "mapped-pages":
        return this.#refuse(record.offset, "mapped-ram", "a stream: copy this file as it is");
      default:
        return await encode.encodeRecord(writer, record);
    }
  }

  async #configured(record: ConfigurationRecord): Promise<void> {
    const { capabilities = [], offset } = record;
    for (const name of ["mapped-ram", "x-ignore-shared"]) {
      if (capabilities.includes(name)) this.#refuse(offset, `capability ${name}`, "a stream that holds all of RAM");
    }
    await encodeConfiguration(this.#writer, withCapability(record, true));
  }

  async #section(section: SectionRecord): Promise<void> {
    this.#ram = section.idstr === "ram" ? section : undefined;
    if (!this.#ram) return await encode.encodeSection(this.#writer, section);
    if (!this.#configuration) {
      this.#refuse(section.offset, "no configuration section", "one, which says that the file is mapped-ram");
    }
    if (section.type !== "part") await encode.encodeSection(this.#writer, section);
  }

  async #block({ block }: RamBlockRecord): Promise<void> {
    const writer = this.#writer;
    const { idstr, usedLength } = block;
    await encode.encodeRamBlock(writer, { idstr, usedLength });
    const layout = layoutMappedBlock(writer.offset, usedLength, this.#decoder.ram.framing.pageSize);
    await writer.room(C.MAPPED_RAM_HDR_SIZE);
    encodeMappedHeader(writer, layout);
    this.#pages.add(idstr, usedLength, layout);
    await writer.seek(layout.pagesOffset + usedLength);
  }

  async #command(record: CommandRecord): Promise<void> {
    const { name, payload, offset } = record;
    if (POSTCOPY.test(name)) this.#refuse(offset, `command ${name}`, "a migration that sends all of RAM here");
    // of POSTCOPY_ADVISE only the form that says "bitmaps of disks follow" is about the guest
    if (KEPT.includes(name) && payload.length === 0) await encode.encodeRecord(this.#writer, record);
  }

  async #description(): Promise<void> {
    const { description } = this.#decoder;
    if (!description) return;
    const text = writeVmdescription({
      configurationText: configurationText(withCapability(this.#configuration!, true)),
      pageSize: description.pageSize ?? this.#decoder.ram.framing.pageSize,
      deviceTexts: description.devices.map((device) => device.text),
    });
    await encode.encodeVmdescription(this.#writer, new TextEncoder().encode(text));
  }

  #here(offset: number) {
    return { channel: this.#decoder.reader.source.name, offset };
  }

  #refuse(offset: number, found: string, expected: string): never {
    throw new StreamError("Cannot keep the stream", { ...this.#here(offset), found, expected });
  }

  [Symbol.dispose](): void {
    this.#pages[Symbol.dispose]();
  }
}
