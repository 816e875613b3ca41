/**
 * `convert`: the same guest in another file format.
 *
 *     legacy          QEMU stream, pages as records, each page once
 *     mapped-ram      QEMU stream, each page at a fixed offset
 *     libvirt-raw     libvirt save image around the first
 *     libvirt-sparse  libvirt save image around the second
 *     raw             guest-physical memory: byte N of the file is address N
 *     elf             guest-physical memory and registers as an ELF core
 *
 * The streams keep device state, iterable sections and the description byte for byte; what belongs to the journey and not
 * to the guest (return path, postcopy's commands, a second copy of a page) is left behind. Memory in use does not depend
 * on the guest's.
 * @module
 */
import { Breath, type LongWork } from "../containers/breath.ts";
import type { Image } from "../containers/image.ts";
import { encodeLibvirtFront } from "../containers/libvirt_writer.ts";
import { isMemoryAlone } from "../containers/memory_image.ts";
import { createOutput, type OutputFile } from "../containers/output_file.ts";
import { physicalRanges } from "../containers/physical_ram.ts";
import { readGlobalState } from "../guest/global_state.ts";
import { type StreamFormat, writeStream } from "./convert_stream.ts";
import { machineProblems, mapProblems, writeCore } from "./elf.ts";
import { RamCopy } from "./ram_copy.ts";
import { ramProblems, refuse, streamProblems } from "./readable.ts";

/** Formats an image can be written in. */
export const CONVERT_FORMATS = ["legacy", "mapped-ram", "libvirt-raw", "libvirt-sparse", "raw", "elf"] as const;
/** One of {@link CONVERT_FORMATS}. */
export type ConvertFormat = typeof CONVERT_FORMATS[number];

/** How to convert. */
export interface ConvertOptions extends LongWork {
  /** Where in the new file a stream begins; what is before it is zero. Default 0. */
  readonly offset?: number;
  /** Domain XML of a libvirt image. Default: that of the image, where it is one. */
  readonly xml?: string;
  /** Whether libvirt starts the guest after a restore. Default: as libvirt's header, or the guest, has it. */
  readonly running?: boolean;
}

/** What was written. */
export interface Converted {
  /** As it was asked for. */
  readonly format: ConvertFormat;
  /** Bytes of the new file, holes included. */
  readonly bytes: number;
  /** Where the stream begins in it; absent without a stream. */
  readonly streamOffset?: number;
  /** Pages of data; absent without a stream. */
  readonly normalPages?: number;
  /** Pages that are zero; absent without a stream. */
  readonly zeroPages?: number;
  /** What was left behind, each a sentence. */
  readonly left: readonly string[];
}

/**
 * Write an image in another format.
 * @param path of the new file, which appears when it is whole
 * @throws {RefusedError} naming every reason why it cannot be; nothing was written then
 * @throws {TransportError} when the file cannot be written
 */
export async function convertImage(
  image: Image,
  path: string,
  format: ConvertFormat,
  options: ConvertOptions = {},
): Promise<Converted> {
  await image.ram.prepare();
  refuse(`convert to ${format}`, conversionProblems(image, format, options));
  using out = createOutput(path);
  switch (format) {
    case "raw":
      return { format, bytes: await writePhysical(image, out, options), left: ["device state"] };
    case "elf": {
      const { bytes } = await writeCore(image, out, options);
      return { format, bytes, left: ["device state, but for the processors' registers"] };
    }
    default:
      return await convertStream(image, out, format, options);
  }
}

/**
 * Every reason why an image cannot be written in a format; none: it can. Its RAM must be prepared.
 */
export function conversionProblems(image: Image, format: ConvertFormat, options: ConvertOptions = {}): string[] {
  const { offset = 0, xml } = options;
  if (format === "raw" || format === "elf") {
    const misplaced = offset !== 0 ? [`${format} has no place for an offset`] : [];
    const unknown = format === "elf" ? machineProblems(image) : [];
    return [...ramProblems(image), ...(image.ram.blocks.length ? mapProblems(image) : []), ...unknown, ...misplaced];
  }
  if (isMemoryAlone(image)) return ["it is memory alone: a stream needs the devices too"];
  const problems = [...streamProblems(image), ...carriedProblems(image, streamFormat(format))];
  if (format.startsWith("libvirt")) {
    if (offset !== 0) problems.push("a libvirt image begins where its file does");
    if (xml === undefined && image.libvirt === undefined) {
      problems.push("a libvirt image needs the domain's XML, and this file has none: give one");
    }
    if (xml !== undefined && !xml.includes("<domain")) problems.push("the XML that was given describes no domain");
    for (const [what, text] of [["XML", xml ?? image.libvirt?.xml], ["cookie", image.libvirt?.cookie]] as const) {
      if (text?.includes("\0")) problems.push(`the ${what} has a NUL in it`);
    }
  }
  return problems;
}

/** Reasons that lie in the stream itself. */
function carriedProblems(image: Image, format: StreamFormat): string[] {
  const { stream, ram, configuration, source, sections, devices } = image;
  const problems: string[] = [];
  const shared = stream.capabilities.includes("x-ignore-shared");
  if (ram.blocks.length > 0) {
    const found = ramProblems(image);
    // a plain stream can go on leaving shared memory out
    problems.push(
      ...(shared && format === "legacy" ? found.filter((each) => !each.includes("x-ignore-shared")) : found),
    );
  }
  if (format === "mapped-ram") {
    if (shared) problems.push("x-ignore-shared does not go with mapped-ram: QEMU cannot load the two together");
    if (!configuration) problems.push("without a configuration section nothing can say that it is mapped-ram");
    if (ram.blocks.length === 0) problems.push("there is no RAM to map");
  }
  const bodies = new Set(devices.map((device) => device.offset));
  const others = sections.filter(({ name, offset, bytes }) => name !== "ram" && bytes > 0 && !bodies.has(offset));
  if (!source.readAt && others.length) {
    const names = [...new Set(others.map(({ name }) => name))];
    problems.push(`sections ${names.join(", ")} cannot be read again from a packed file: unpack it first`);
  }
  return problems;
}

function streamFormat(format: ConvertFormat): StreamFormat {
  return format === "mapped-ram" || format === "libvirt-sparse" ? "mapped-ram" : "legacy";
}

async function convertStream(
  image: Image,
  out: OutputFile,
  format: ConvertFormat,
  options: ConvertOptions,
): Promise<Converted> {
  let start = options.offset ?? 0;
  if (format.startsWith("libvirt")) {
    const { libvirt } = image;
    const front = encodeLibvirtFront({
      format: format === "libvirt-sparse" ? "sparse" : "raw",
      xml: options.xml ?? libvirt!.xml,
      ...(libvirt ? { cookie: libvirt.cookie, dataBytes: libvirt.dataBytes } : {}),
      wasRunning: options.running ?? libvirt?.wasRunning ?? wasRunning(image),
    });
    out.writeAt(front, 0);
    start = front.length;
  }
  const { end, normalPages, zeroPages } = await writeStream(image, out, streamFormat(format), start, options);
  out.finish(end);
  return { format, bytes: end, streamOffset: start, normalPages, zeroPages, left: leftBehind(image) };
}

/** What a guest was doing, by its `globalstate`. */
function wasRunning(image: Image): boolean {
  const state = image.devices.find(({ name }) => name === "globalstate");
  return state !== undefined && readGlobalState(state.body()) === "running";
}

/** Commands that told the journey and not the guest. */
function leftBehind(image: Image): string[] {
  const kept = ["SWITCHOVER_START"];
  const names = new Set(
    image.commands
      .filter(({ name, bytes }) => !kept.includes(name) && !(name === "POSTCOPY_ADVISE" && bytes === 0))
      .map(({ name }) => name),
  );
  const hugePages = image.ram.blocks.some(({ hostPageBytes }) => hostPageBytes !== undefined);
  return [...(names.size ? [`commands ${[...names].join(", ")}`] : []), ...(hugePages ? ["sizes of huge pages"] : [])];
}

/** All guest-physical memory, each byte at its address. @returns bytes of the file */
async function writePhysical(image: Image, out: OutputFile, work: LongWork): Promise<number> {
  const ranges = physicalRanges(image)!;
  const breath = new Breath(ranges.reduce((sum, { length }) => sum + length, 0), work);
  using copy = new RamCopy(image.ram, out, breath);
  let end = 0;
  for (const { base, length, idstr, blockOffset } of ranges) {
    await copy.copy(image.ram.block(idstr)!, blockOffset, length, base);
    end = Math.max(end, base + length);
  }
  await copy.drain();
  breath.end();
  out.finish(end);
  return end;
}
