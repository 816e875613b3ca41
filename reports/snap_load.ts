/**
 * A saved guest as a plain stream into a pipe: what `migrate_incoming exec:` reads.
 * @module
 */
import type { LongWork } from "../containers/breath.ts";
import type { Image } from "../containers/image.ts";
import type { OutputFile } from "../containers/output_file.ts";
import { conversionProblems } from "./convert.ts";
import { writeStream } from "./convert_stream.ts";
import { refuse } from "./readable.ts";

/**
 * Write a guest in the order a receiver reads it, each page once.
 * @param out need not be able to seek
 * @throws {RefusedError} naming every reason why it cannot be; nothing was written then
 * @throws {TransportError} when nobody reads any more
 */
export async function snapLoad(image: Image, out: OutputFile, work: LongWork = {}): Promise<void> {
  await image.ram.prepare();
  refuse("load", conversionProblems(image, "legacy"));
  const { end } = await writeStream(image, out, "legacy", 0, work);
  out.finish(end);
}
