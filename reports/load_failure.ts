/**
 * Why a machine did not load a file, as far as the two tell: QEMU answers `Invalid argument` and writes the rest to its stderr,
 * which a monitor does not carry.
 *
 *     machine   the type the stream was made by, and that of the machine
 *     file      where it is damaged, or that it ends too early
 *     RAM       blocks of the file that the machine lacks, or has in another size ("info ramblock")
 *
 * @module
 */
import { type Image, openImage, type OpenImageOptions } from "../containers/image.ts";
import type { AssembledWorkbench } from "../core/workbench.ts";

/** Blocks whose size the stream may change, and those a machine makes anew, begin so. */
const RESIZABLE = /^\/rom@/;
/** A row of `info ramblock`: name, page size, offset, used bytes. */
const ROW = /^\s*(\S.*?)\s+\d+ [KMG]iB\s+0x[0-9a-f]+\s+(0x[0-9a-f]+)/;

/**
 * Hold a file against the machine that failed to load it.
 * @param bench the machine
 * @param path  the file
 * @returns what does not go together, in one line; else where to look on; undefined when the machine is gone
 */
export async function loadFailure(
  bench: AssembledWorkbench,
  path: string,
  options: OpenImageOptions,
): Promise<string | undefined> {
  const sizes = await blocksOf(bench).catch(() => undefined);
  if (!sizes) return undefined;
  await using image = await openImage(path, options);
  return [otherMachine(image, bench), damage(image), otherBlock(image, sizes)].find((one) => one !== undefined) ??
    `its stderr says more: miglab why ${path} --error TEXT`;
}

function otherMachine({ stream }: Image, { session }: AssembledWorkbench): string | undefined {
  const { machine } = session.guest.configuration;
  if (!stream.machine || machine === "" || stream.machine === machine) return undefined;
  return `it was saved by a ${stream.machine}, the machine is a ${machine}`;
}

function damage({ complete, fault, bytes }: Image): string | undefined {
  if (fault) return `it is damaged: ${fault.message}`;
  return complete ? undefined : `it ends at 0x${bytes.toString(16)}, before its stream does`;
}

function otherBlock({ ram }: Image, sizes: ReadonlyMap<string, number>): string | undefined {
  for (const { id, bytes } of ram.blocks) {
    const size = sizes.get(id);
    if (size === undefined) return `it has ${hex(bytes)} bytes of RAM block ${id}, the machine has no such block`;
    if (size !== bytes && !RESIZABLE.test(id)) {
      return `it has ${hex(bytes)} bytes of RAM block ${id}, the machine ${hex(size)}`;
    }
  }
  return undefined;
}

const hex = (value: number) => `0x${value.toString(16)}`;

/** Used bytes of the machine's RAM blocks. */
async function blocksOf(bench: AssembledWorkbench): Promise<Map<string, number>> {
  const sizes = new Map<string, number>();
  for (const line of (await bench.hmp("info ramblock")).split("\n").slice(1)) {
    const row = ROW.exec(line);
    if (row) sizes.set(row[1], Number(row[2]));
  }
  return sizes;
}
