/**
 * Byte sources made of others: standing elsewhere, looked into ahead, kept in a temporary file.
 * @module
 */
import { Buffer } from "node:buffer";
import * as fs from "node:fs";
import { join } from "node:path";
import type { ByteSource } from "../stream/channel.ts";
import { type FileSource, fileSource } from "./file_source.ts";

const CHUNK = 1 << 20;
const ZEROS = new Uint8Array(CHUNK);

/** The same source, standing at `start` of its own offsets. On a pipe what is in front is read over. */
export async function startAt(source: ByteSource, start: number): Promise<ByteSource> {
  const { name, readAt, size, fd, extent } = source;
  if (readAt) {
    let position = start;
    const read = (view: Uint8Array) => {
      const got = readAt.call(source, view, position);
      position += got;
      return got;
    };
    return {
      name,
      start,
      read,
      readAt: readAt.bind(source),
      ...(size ? { size: size.bind(source) } : {}),
      ...(fd === undefined ? {} : { fd }),
      ...(extent ? { extent } : {}),
    };
  }
  await skip(source, start - (source.start ?? 0));
  return { name, start, read: source.read.bind(source) };
}

/** The same source by another name. */
export function renamed(source: ByteSource, name: string): ByteSource {
  const { start, readAt, size } = source;
  return {
    name,
    ...(start !== undefined ? { start } : {}),
    read: source.read.bind(source),
    ...(readAt ? { readAt: readAt.bind(source) } : {}),
    ...(size ? { size: size.bind(source) } : {}),
  };
}

/** Read over `length` bytes, or up to the end. */
export async function skip(source: ByteSource, length: number): Promise<void> {
  const waste = new Uint8Array(Math.max(0, Math.min(length, CHUNK)));
  for (let left = length; left > 0;) {
    const got = await source.read(left < waste.length ? waste.subarray(0, left) : waste);
    if (got <= 0) return;
    left -= got;
  }
}

/** Fill `view`, or as much of it as there is. @returns bytes landed */
export async function readFully(source: ByteSource, view: Uint8Array): Promise<number> {
  let done = 0;
  while (done < view.length) {
    const got = await source.read(view.subarray(done));
    if (got <= 0) break;
    done += got;
  }
  return done;
}

/**
 * The next `length` bytes, and a source that still gives them first.
 * @returns fewer bytes only at the end
 */
export async function peek(source: ByteSource, length: number): Promise<{ head: Uint8Array; source: ByteSource }> {
  const start = source.start ?? 0;
  const head = new Uint8Array(length);
  if (source.readAt) return { head: head.subarray(0, source.readAt(head, start)), source };
  const landed = await readFully(source, head);
  let given = 0;
  const read = (view: Uint8Array) => {
    if (given === landed) return source.read(view);
    const n = Math.min(view.length, landed - given);
    view.set(head.subarray(given, given + n));
    given += n;
    return n;
  };
  return { head: head.subarray(0, landed), source: { name: source.name, start, read } };
}

/**
 * Write all of a source to a temporary file without a name, each byte at its own offset; runs of zeros become holes.
 * @returns a source that can be read at any position; closing it gives the space back
 */
export async function spool(source: ByteSource): Promise<FileSource> {
  const directory = Deno.makeTempDirSync({ prefix: "miglab-" });
  const path = join(directory, "spool");
  const fd = fs.openSync(path, "wx+", 0o600);
  fs.rmSync(directory, { recursive: true });
  try {
    const chunk = Buffer.allocUnsafe(CHUNK);
    let position = source.start ?? 0;
    for (;;) {
      const got = await readFully(source, chunk);
      if (got > 0 && chunk.compare(ZEROS, 0, got, 0, got) !== 0) writeAll(fd, chunk, got, position);
      position += got;
      if (got < CHUNK) break;
    }
    fs.ftruncateSync(fd, position);
  } catch (error) {
    fs.closeSync(fd);
    throw error;
  }
  const file = fileSource(fd, { name: source.name, start: source.start ?? 0 });
  let open = true;
  return Object.assign(file, {
    close() {
      if (open) fs.closeSync(fd);
      open = false;
    },
  });
}

function writeAll(fd: number, chunk: Buffer, length: number, position: number): void {
  for (let done = 0; done < length;) done += fs.writeSync(fd, chunk, done, length - done, position + done);
}
