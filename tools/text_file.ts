/**
 * Small text files the command line names: a domain's XML.
 * @module
 */
import { Buffer } from "node:buffer";
import { TransportError } from "../stream/errors.ts";

/** No domain is described in more: 16 MiB. */
const LIMIT = 1 << 24;

/**
 * All of a text file.
 * @throws {TransportError} when it cannot be read, or is too long to be one
 */
export async function textFile(path: string): Promise<string> {
  const [{ fileSource }, { readFully }] = await Promise.all([
    import("../containers/file_source.ts"),
    import("../containers/sources.ts"),
  ]);
  const file = fileSource(path);
  try {
    const bytes = Buffer.alloc(Math.min(file.size?.() ?? LIMIT, LIMIT) + 1);
    const length = await readFully(file, bytes);
    if (length > LIMIT) throw new TransportError(`Could not read '${path}': longer than 16 MiB`);
    return bytes.toString("utf8", 0, length);
  } finally {
    file.close();
  }
}
