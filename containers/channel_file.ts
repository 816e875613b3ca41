/**
 * The file of a further channel, which may be packed as a whole: kept captures often are.
 * @module
 */
import type { ByteSource } from "../stream/channel.ts";
import type { FileSource } from "./file_source.ts";
import { DETECT_BYTES, detectContent, isCompression } from "./magic.ts";
import { spool } from "./sources.ts";
import { unpack } from "./unpack.ts";

/**
 * Unpack a channel's file into a temporary one without a name.
 * @returns its bytes under the same name, to be closed; undefined where the file is not packed, or is a pipe
 * @throws {TransportError} when a program is needed and not installed
 */
export async function unpackChannel(source: ByteSource): Promise<FileSource | undefined> {
  if (!source.readAt) return undefined;
  const head = new Uint8Array(DETECT_BYTES);
  const start = source.start ?? 0;
  const content = detectContent(head.subarray(0, source.readAt(head, start)));
  if (!isCompression(content)) return undefined;
  let at = start;
  const read = (view: Uint8Array) => {
    const got = source.readAt!(view, at);
    at += got;
    return got;
  };
  const packed = unpack({ name: source.name, start, read }, content);
  try {
    return Object.assign(await spool(packed), { name: source.name });
  } finally {
    packed.close();
  }
}
