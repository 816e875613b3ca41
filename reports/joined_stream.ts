/**
 * A migration that went over several channels, as one stream: for those who load a guest from one channel.
 * @module
 */
import * as fs from "node:fs";
import { join } from "node:path";
import { fileSource } from "../containers/file_source.ts";
import type { FoundStream } from "../containers/find_stream.ts";
import { NOT_GIVEN } from "../containers/further_channels.ts";
import { type Image, openImage, type OpenImageOptions } from "../containers/image.ts";
import { UnsupportedError } from "../stream/errors.ts";
import { convertImage } from "./convert.ts";

/**
 * Write the guest once more, into a temporary file without a name that goes away when it is closed.
 * @param path    file of the main channel
 * @param options with the other channels
 * @throws {TransportError} when a file cannot be opened
 * @throws {StreamError} {CommandError} when they are no channels of one migration, or one is missing
 */
export async function joinChannels(path: string, options: OpenImageOptions): Promise<FoundStream> {
  const directory = Deno.makeTempDirSync({ prefix: "miglab-" });
  try {
    await using image = await openImage(path, options);
    if (image.fault) throw image.fault;
    checkAllThere(image);
    const file = join(directory, "joined");
    await convertImage(image, file, "mapped-ram");
    const source = fileSource(file);
    return { source, problem: () => undefined, close: () => source.close() };
  } finally {
    fs.rmSync(directory, { recursive: true, force: true });
  }
}

/** Pages that did not come would be taken for zeros. */
function checkAllThere({ channels, streamOffset, warnings }: Image): void {
  const doubt = warnings.find(({ text }) => text.endsWith(NOT_GIVEN));
  if (!doubt) return;
  throw new UnsupportedError("Cannot join the channels", {
    channel: "main",
    offset: streamOffset,
    found: `${channels.map(({ name }) => name).join(", ")}; ${doubt.text}`,
    expected: "all multifd channels of the migration",
    feature: "multifd",
  });
}
