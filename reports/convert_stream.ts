/**
 * A guest written once more as a stream: pages where the target format wants them, everything else as the bytes it is.
 *
 *     header [configuration] [POSTCOPY_ADVISE of dirty bitmaps]
 *     START ram, other STARTs, early devices      in the order of the source
 *     legacy       PART ram: each page once       mapped-ram   pages at fixed offsets, behind each block's bitmap
 *     other PARTs, [SWITCHOVER_START], END ram, other ENDs, devices, EOF, [VMDESCRIPTION]
 *
 * A page of data that is zero all the same becomes a zero page of a legacy stream. A page that was never sent is left out of a legacy stream, as the source left it out. With mapped-ram a clear bit says "do
 * not touch", so pages that were sent as zero into memory the receiver fills itself (fw_cfg blobs, option ROMs) get
 * their bit set over a hole. Source: QEMU migration/ram.c (save_zero_page, mapped_ram_setup_ramblock), savevm.c.
 * @module
 */
import { Buffer } from "node:buffer";
import { Breath, type LongWork } from "../containers/breath.ts";
import type { Image, ImageBlock, ImageDevice, ImageSection } from "../containers/image.ts";
import type { OutputFile } from "../containers/output_file.ts";
import { encodeConfiguration } from "../stream/configuration.ts";
import * as C from "../stream/constants.ts";
import * as encode from "../stream/encode.ts";
import { layoutMappedBlock } from "../stream/mapped_ram.ts";
import { configurationText, writeVmdescription } from "../stream/vmdesc.ts";
import type { ConfigurationRecord } from "../stream/records.ts";
import { StreamWriter } from "../stream/writer.ts";
import { exchangeInto, type PieceWriter } from "../threads/write_behind.ts";
import { dataBytes } from "./ram_copy.ts";

/** Bytes read at once. */
const STEP = 1 << 20;
/** Staging of the writer: a step of pages with their heads, down to pages of 1 KiB. */
const STAGING = STEP + STEP / 64 + 1024;
/** The largest page there is, zero. */
const ZEROS = Buffer.alloc(65536);
/** Blocks whose content a receiver makes itself before it loads. */
export const OWN_CONTENT = /^\/rom@|\.rom$/;

/** Formats a stream can have. */
export type StreamFormat = "legacy" | "mapped-ram";

/** What was written. */
export interface WrittenStream {
  /** Where the last byte ends. */
  readonly end: number;
  /** Pages of data. */
  readonly normalPages: number;
  /** Zero pages. */
  readonly zeroPages: number;
}

/**
 * Write a guest as a stream. Its RAM must be readable and its stream complete (see `conversionProblems`).
 * @param start where in the file the stream begins
 */
export async function writeStream(
  image: Image,
  out: OutputFile,
  format: StreamFormat,
  start: number,
  work: LongWork = {},
): Promise<WrittenStream> {
  using copy = new StreamCopy(image, out, format, start, work);
  return await copy.run();
}

class StreamCopy implements Disposable {
  readonly #writer: StreamWriter;
  readonly #breath: Breath;
  readonly #pieces: PieceWriter;
  readonly #buffer = new Uint8Array(STEP);
  readonly #devices = new Map<number, ImageDevice>();
  #ram: "none" | "listed" | "sent" | "ended" = "none";
  #ramSection!: ImageSection;
  #named: ImageBlock | undefined;
  #staged: Buffer | undefined;
  #normalPages = 0;
  #zeroPages = 0;

  constructor(
    readonly image: Image,
    readonly out: OutputFile,
    readonly format: StreamFormat,
    start: number,
    work: LongWork,
  ) {
    out.seek(start);
    this.#pieces = out.pieces(STAGING, dataBytes(image.ram.blocks));
    this.#writer = format === "legacy" ? this.#streamWriter(start) : new StreamWriter({
      name: out.name,
      start,
      write: (view) => out.write(view),
      seek: (to) => out.seek(to),
    }, STAGING);
    this.#breath = new Breath(image.ram.totalBytes, work);
    for (const device of image.devices) this.#devices.set(device.offset, device);
  }

  /** A writer whose full buffers are written while it goes on with another. */
  #streamWriter(start: number): StreamWriter {
    return new StreamWriter({ name: this.out.name, start, exchange: exchangeInto(this.#pieces, start), write() {} });
  }

  async run(): Promise<WrittenStream> {
    const { image } = this;
    const writer = this.#writer;
    await encode.encodeHeader(writer);
    const configuration = this.#configuration();
    if (configuration) await encodeConfiguration(writer, configuration);
    const bitmapsOnly = ({ name, bytes }: Image["commands"][number]) => name === "POSTCOPY_ADVISE" && bytes === 0;
    if (image.commands.some(bitmapsOnly)) await this.#command("POSTCOPY_ADVISE");
    for (const section of image.sections) await this.#section(section);
    await this.#endRam();
    await writer.room(1);
    writer.u8(C.QEMU_VM_EOF);
    const { description } = image;
    if (description) {
      const text = writeVmdescription({
        ...(configuration ? { configurationText: configurationText(configuration) } : {}),
        pageSize: description.pageSize ?? image.ram.pageBytes,
        deviceTexts: description.devices.map(({ text }) => text),
      });
      await encode.encodeVmdescription(writer, new TextEncoder().encode(text));
    }
    await writer.flush();
    await this.#pieces.drain();
    this.#breath.end();
    return { end: writer.offset, normalPages: this.#normalPages, zeroPages: this.#zeroPages };
  }

  /** The configuration with the capabilities the new format has. */
  #configuration() {
    const { configuration } = this.image;
    return configuration && withCapability(configuration, this.format === "mapped-ram");
  }

  async #section(section: ImageSection): Promise<void> {
    const { type, name } = section;
    if (name === "ram") {
      if (type === "start" || type === "full") return await this.#startRam(section);
      if (type === "end") await this.#endRam();
      return;
    }
    const device = type === "full" ? this.#devices.get(section.offset) : undefined;
    if (device && !device.early) await this.#endRam();
    await encode.encodeSection(this.#writer, wire(section));
    if (device) await this.#writer.put(device.body());
    else await this.#copy(section.offset, section.bytes);
    await this.#footer(section.id);
  }

  /** Bytes of the source, as they are. */
  async #copy(offset: number, bytes: number): Promise<void> {
    for (let done = 0; done < bytes;) {
      const view = this.#buffer.subarray(0, Math.min(STEP, bytes - done));
      this.image.source.readAt!(view, offset + done);
      await this.#writer.put(view);
      done += view.length;
    }
  }

  async #startRam(section: ImageSection): Promise<void> {
    const { ram } = this.image;
    const writer = this.#writer;
    this.#ramSection = section;
    await encode.encodeSection(writer, wire({ ...section, type: "start" }));
    await writer.room(8);
    writer.u64(BigInt(ram.totalBytes) | BigInt(C.RAM_SAVE_FLAG_MEM_SIZE));
    for (const block of ram.blocks) {
      const { id, bytes, address } = block;
      await encode.encodeRamBlock(writer, {
        idstr: id,
        usedLength: bytes,
        ...(address !== undefined ? { address } : {}),
      });
      if (this.format === "mapped-ram") await this.#mappedBlock(block);
    }
    await this.#eos(section.id);
    this.#ram = "listed";
  }

  async #endRam(): Promise<void> {
    if (this.#ram !== "listed") return;
    const section = this.#ramSection;
    if (this.format === "legacy") {
      await encode.encodeSection(this.#writer, wire({ ...section, type: "part" }));
      for (const block of this.image.ram.blocks) await this.#legacyBlock(block);
      await this.#eos(section.id);
    }
    if (this.image.commands.some(({ name }) => name === "SWITCHOVER_START")) await this.#command("SWITCHOVER_START");
    await encode.encodeSection(this.#writer, wire({ ...section, type: "end" }));
    await this.#eos(section.id);
    this.#ram = "ended";
  }

  async #legacyBlock(block: ImageBlock): Promise<void> {
    const { ram } = this.image;
    for (let at = 0; at < block.bytes;) {
      const run = ram.run(block, at);
      for (const end = at + Math.abs(run); at < end;) {
        const n = Math.min(STEP, end - at);
        const pages = Math.ceil(n / block.pageBytes);
        const room = this.#writer.room(n + pages * 9 + 300);
        if (room) await room;
        if (run > 0) this.#dataPages(block, at, n);
        else this.#zeros(block, at, pages);
        at += n;
        const pause = this.#breath.taken(n);
        if (pause) await pause;
      }
    }
  }

  /** Read pages behind the place where their records go, then move each to its head. */
  #dataPages(block: ImageBlock, offset: number, length: number): void {
    const writer = this.#writer;
    const { buf } = writer;
    const { pageBytes } = block;
    const pages = length / pageBytes;
    let from = writer.pos + pages * 8 + 300;
    this.image.ram.readRange(block, offset, buf.subarray(from, from + length));
    const staged = this.#stagedOver(buf);
    for (let i = 0; i < pages; i++) {
      const at = offset + i * pageBytes;
      if (staged.compare(ZEROS, 0, pageBytes, from, from + pageBytes) === 0) this.#zero(block, at);
      else {
        this.#head(block, at, C.RAM_SAVE_FLAG_PAGE);
        buf.copyWithin(writer.pos, from, from + pageBytes);
        writer.pos += pageBytes;
        this.#normalPages++;
      }
      from += pageBytes;
    }
  }

  #zeros(block: ImageBlock, offset: number, pages: number): void {
    const { ram } = this.image;
    const { missingPages, pageBytes } = block;
    for (let i = 0; i < pages; i++) {
      const at = offset + i * pageBytes;
      if (missingPages > 0 && !ram.isSent(block, at)) continue;
      this.#zero(block, at);
    }
  }

  #zero(block: ImageBlock, offset: number): void {
    this.#head(block, offset, C.RAM_SAVE_FLAG_ZERO);
    this.#writer.u8(0);
    this.#zeroPages++;
  }

  /** The staging buffer as something that compares by memcmp. */
  #stagedOver(buf: Uint8Array<ArrayBuffer>): Buffer {
    if (this.#staged?.buffer !== buf.buffer) this.#staged = Buffer.from(buf.buffer, buf.byteOffset, buf.length);
    return this.#staged!;
  }

  #head(block: ImageBlock, offset: number, flag: number): void {
    const writer = this.#writer;
    if (this.#named === block) return writer.u64(offset + flag + C.RAM_SAVE_FLAG_CONTINUE);
    writer.u64(offset + flag);
    writer.str8(block.id);
    this.#named = block;
  }

  async #mappedBlock(block: ImageBlock): Promise<void> {
    const { ram } = this.image;
    const writer = this.#writer;
    const { bytes, pageBytes } = block;
    const mapped = layoutMappedBlock(writer.offset, bytes, pageBytes);
    await writer.room(C.MAPPED_RAM_HDR_SIZE);
    writer.u32(mapped.version);
    writer.u64(mapped.pageSize);
    writer.u64(mapped.bitmapOffset);
    writer.u64(mapped.pagesOffset);
    await writer.put(this.#bitmap(block, mapped.bitmapBytes));
    await writer.flush();
    for (let at = 0; at < bytes;) {
      const run = ram.run(block, at);
      const end = at + Math.abs(run);
      if (run < 0) at = end;
      while (at < end) {
        const n = Math.min(STEP, end - at);
        ram.readRange(block, at, this.#pieces.buffer.subarray(0, n));
        this.#pieces.list(0, n, mapped.pagesOffset + at);
        const full = this.#pieces.next();
        if (full) await full;
        at += n;
        const pause = this.#breath.taken(n);
        if (pause) await pause;
      }
    }
    await writer.seek(mapped.pagesOffset + bytes);
  }

  /** Bit i (LSB first) is page i. */
  #bitmap(block: ImageBlock, bitmapBytes: number): Uint8Array {
    const { ram, stream } = this.image;
    const { bytes, pageBytes } = block;
    const bitmap = new Uint8Array(bitmapBytes);
    const zerosCount = stream.ramFormat !== "mapped-ram" && OWN_CONTENT.test(block.id);
    for (let at = 0; at < bytes;) {
      const run = ram.run(block, at);
      const end = at + Math.abs(run);
      if (run < 0 && !zerosCount) {
        this.#zeroPages += Math.ceil(-run / pageBytes);
        at = end;
        continue;
      }
      for (let page = at / pageBytes; page * pageBytes < end; page++) {
        const set = run > 0 || (zerosCount && ram.isSent(block, page * pageBytes));
        if (set) bitmap[page >> 3] |= 1 << (page & 7);
        if (run > 0) this.#normalPages++;
        else this.#zeroPages++;
      }
      at = end;
    }
    return bitmap;
  }

  async #command(name: C.MigCommandName): Promise<void> {
    await encode.encodeCommand(this.#writer, C.MIG_CMD.indexOf(name), new Uint8Array());
  }

  async #eos(sectionId: number): Promise<void> {
    await this.#writer.room(8);
    this.#writer.u64(C.RAM_SAVE_FLAG_EOS);
    await this.#footer(sectionId);
  }

  [Symbol.dispose](): void {
    this.#pieces[Symbol.dispose]();
  }

  async #footer(sectionId: number): Promise<void> {
    if (this.image.footers) await encode.encodeFooter(this.#writer, sectionId);
  }
}

/** A configuration as it was sent, but with mapped-ram among its capabilities, or without. */
export function withCapability(
  { machine, targetPageBits, uuid, capabilities = [] }: Pick<
    ConfigurationRecord,
    "machine" | "targetPageBits" | "uuid" | "capabilities"
  >,
  mapped: boolean,
) {
  const wanted: string[] = capabilities.filter((name) => name !== "mapped-ram");
  if (mapped) wanted.push("mapped-ram");
  const inOrder = C.MIGRATION_CAPABILITIES.filter((name) => wanted.includes(name));
  return {
    machine,
    ...(targetPageBits !== undefined ? { targetPageBits } : {}),
    ...(inOrder.length ? { capabilities: inOrder } : {}),
    ...(uuid ? { uuid } : {}),
  };
}

function wire({ type, id, name, instanceId, version }: ImageSection) {
  return { type, sectionId: id, idstr: name, instanceId, versionId: version };
}
