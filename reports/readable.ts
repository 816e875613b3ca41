/**
 * What stands in the way of reading an image's RAM, all of it said at once.
 * @module
 */
import { NOT_GIVEN } from "../containers/further_channels.ts";
import type { Image, ImageBlock } from "../containers/image.ts";
import { printable, UnsupportedError } from "../stream/errors.ts";

/** Pages of this block that never came are elsewhere, and not zero: in a file of its own, or still with the source. */
export function contentElsewhere({ stream, commands }: Image, { missingPages, bytes }: ImageBlock): boolean {
  return missingPages > 0 && bytes > 0 &&
    (stream.capabilities.includes("x-ignore-shared") || commands.some(({ name }) => name === "POSTCOPY_RAM_DISCARD"));
}

/** Reasons why the content of RAM is not, or not wholly, in this file. RAM must be prepared. */
export function ramProblems(image: Image): string[] {
  const { ram, stream, commands, sections } = image;
  const problems: string[] = [];
  const block = ram.blocks.find(({ bytes }) => bytes > 0);
  if (!block) return ["it has no RAM"];
  try {
    ram.readRange(block, 0, new Uint8Array(Math.min(block.pageBytes, block.bytes)));
  } catch (error) {
    if (!(error instanceof UnsupportedError)) throw error;
    problems.push(`its pages are not to be had (${error.feature}): ${error.found}, expected ${error.expected}`);
  }
  const notGiven = image.warnings.find(({ text }) => text.endsWith(NOT_GIVEN));
  if (notGiven) problems.push(notGiven.text.replace(NOT_GIVEN, "of pages are on multifd channels that were not given"));
  const missing = ram.blocks.filter((block) => contentElsewhere(image, block));
  if (stream.capabilities.includes("x-ignore-shared")) {
    for (const { id } of missing) problems.push(`block ${id} is in a shared memory file of its own (x-ignore-shared)`);
  }
  if (missing.length && commands.some(({ name }) => name === "POSTCOPY_RAM_DISCARD")) {
    const pages = missing.reduce((sum, { missingPages }) => sum + missingPages, 0);
    problems.push(`${pages} pages did not come on this channel: postcopy had not ended, or sent them on another`);
  }
  const ended = sections.some(({ name, type }) => name === "ram" && type === "end");
  if (stream.ramFormat === "mapped-ram" && !ended && ram.blocks.every(({ normalPages }) => normalPages === 0)) {
    problems.push("its bitmaps are empty, so that all of RAM counts as zero: the save was not finished, see salvage");
  }
  return problems;
}

/** Reasons why the stream as a whole cannot be carried over; what libvirt thinks of the file around it is none. */
export function streamProblems(image: Image): string[] {
  const { fault, stream: { complete }, unlistedSections } = image;
  const problems: string[] = [];
  if (fault) problems.push(fault.message);
  else if (!complete) problems.push("the stream is incomplete");
  if (unlistedSections > 0) problems.push(`it has ${unlistedSections} sections too many`);
  return problems;
}

/** What was asked for cannot be done with this image. Nothing was written. */
export class RefusedError extends Error {
  /** Of the class, as for every error. */
  override name = "RefusedError";
  /**
   * All reasons at once.
   * @param what     was asked for: "convert to elf"
   * @param problems every reason, each a sentence
   */
  constructor(what: string, readonly problems: readonly string[]) {
    super(printable(`Cannot ${what}: ${problems.join("; ")}`));
  }
}

/** @throws {RefusedError} naming every reason, when there is one */
export function refuse(what: string, problems: readonly string[]): void {
  if (problems.length > 0) throw new RefusedError(what, problems);
}
