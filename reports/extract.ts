/**
 * RAM out of an image: a block as a raw file with holes, or any range of it.
 * @module
 */
import { Breath, type LongWork } from "../containers/breath.ts";
import { type Image, type ImageBlock, type ImageRam, MEMORY_BLOCK } from "../containers/image.ts";
import { createOutput } from "../containers/output_file.ts";
import { physicalRanges } from "../containers/physical_ram.ts";
import { PhysicalRam } from "../containers/physical_view.ts";
import { MemoryFaultError } from "../stream/errors.ts";
import { noBlock, noPage } from "./place.ts";
import { RamCopy } from "./ram_copy.ts";
import { ramProblems, refuse, RefusedError } from "./readable.ts";

/** Bytes handed out at once. */
const STEP = 1 << 20;

/** What was written. */
export interface ExtractedBlock {
  /** QEMU's name of the block. */
  readonly block: string;
  /** Bytes of the file: the block's used length. */
  readonly bytes: number;
  /** Bytes of it that are data; the rest are holes. */
  readonly dataBytes: number;
}

/**
 * Write one RAM block as a raw file: byte N of the file is byte N of the block, zero pages are holes.
 * @param id   QEMU's name: "pc.ram"; "memory": guest-physical memory, byte N of the file is address N
 * @param path of the new file, which appears when it is whole
 * @throws {MemoryFaultError} when there is no such block; the message names those there are
 * @throws {RefusedError} when its pages are not in the file
 */
export async function extractBlock(
  image: Image,
  id: string,
  path: string,
  work: LongWork = {},
): Promise<ExtractedBlock> {
  await image.ram.prepare();
  const { ram, block } = placeNamed(image, id);
  refuse(`extract ${id}`, ramProblems(image));
  using out = createOutput(path);
  const breath = new Breath(block.bytes, work);
  using copy = new RamCopy(ram, out, breath);
  await copy.copy(block, 0, block.bytes, 0);
  await copy.drain();
  breath.end();
  out.finish(block.bytes);
  return { block: id, bytes: block.bytes, dataBytes: copy.written };
}

/**
 * Hand out a range of a block in pieces of at most 1 MiB.
 * @param put takes a piece; it is borrowed until the call is done
 * @throws {MemoryFaultError} when there is no such block, or it ends before
 */
export async function extractRange(
  image: Image,
  id: string,
  offset: number,
  length: number,
  put: (piece: Uint8Array) => void,
  work: LongWork = {},
): Promise<void> {
  const { ram, block } = placeNamed(image, id);
  if (offset + length > block.bytes) {
    const end = `0x${(offset + length).toString(16)}`;
    throw new MemoryFaultError(
      `Cannot extract up to ${end} of ${id}: it has 0x${block.bytes.toString(16)}`,
      id,
      offset,
    );
  }
  await image.ram.prepare();
  refuse(`extract from ${id}`, ramProblems(image));
  const breath = new Breath(length, work);
  const buffer = new Uint8Array(Math.min(STEP, length));
  for (let done = 0; done < length;) {
    const view = buffer.subarray(0, Math.min(STEP, length - done));
    ram.readRange(block, offset + done, view);
    put(view);
    done += view.length;
    const pause = breath.taken(view.length);
    if (pause) await pause;
  }
  breath.end();
}

/**
 * A block by its name; "memory" is guest-physical memory, where it is known how the machine lays it out.
 * @throws {MemoryFaultError} naming the blocks there are
 */
export function blockNamed(image: Image, id: string): ImageBlock {
  return placeNamed(image, id).block;
}

/** Name of the block of an image that has one. @throws {MemoryFaultError} naming the blocks there are */
export function onlyBlock({ ram }: Image): string {
  if (ram.blocks.length === 1) return ram.blocks[0].id;
  const names = ram.blocks.slice(0, 40).map(({ id }) => id);
  throw new MemoryFaultError(`No RAM block is named: give one of ${names.join(", ") || "none"}`, "", 0);
}

function placeNamed(image: Image, id: string): { readonly ram: ImageRam; readonly block: ImageBlock } {
  const block = image.ram.block(id);
  if (block) return { ram: image.ram, block };
  const ranges = id === MEMORY_BLOCK ? physicalRanges(image) : undefined;
  if (ranges?.length) {
    const ram = new PhysicalRam(image.ram, ranges);
    return { ram, block: ram.blocks[0] };
  }
  throw new MemoryFaultError(noBlock(id, image.ram.blocks.map(({ id }) => id)), id, 0);
}

/** The page that holds a byte. @throws {MemoryFaultError} when the block ends before */
export function pageAt({ id, bytes, pageBytes }: ImageBlock, at: number): { offset: number; length: number } {
  if (at >= bytes) {
    throw new MemoryFaultError(noPage(id, at, bytes), id, at);
  }
  const offset = at - at % pageBytes;
  return { offset, length: Math.min(pageBytes, bytes - offset) };
}

/** Domain XML of a libvirt image, with a line feed at its end. @throws {RefusedError} when the image is no such */
export function domainXml({ libvirt }: Image): string {
  if (!libvirt) throw new RefusedError("extract the domain's XML", ["this is no libvirt save image"]);
  return libvirt.xml.endsWith("\n") ? libvirt.xml : libvirt.xml + "\n";
}
