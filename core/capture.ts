/**
 * A captured migration: a directory with a file for each channel and each direction, and a list of them.
 *
 *     main.bin      what the source sent on the main channel: a stream as any other
 *     ch0.bin       multifd channel 0, and so on; read beside main.bin
 *     preempt.bin   the channel of urgent pages in postcopy
 *     main.rp.bin   what the destination answered: the return path
 *     capture.json  {"capture": 1, "channels": [{"file", "kind", "bytes", "opened", "closed", "back"?, "id"?}], "complete",
 *                   "ended"}
 *
 * A recovered postcopy opens main channels again: main.1.bin. Times are ms from the first connection.
 * @module
 */
import fs from "node:fs";
import { join } from "node:path";
import { MULTIFD_MAGIC, QEMU_VM_FILE_MAGIC } from "../stream/constants.ts";
import { TransportError } from "../stream/errors.ts";
import { errnoText } from "./errno.ts";

/** What a channel carries. */
export type CapturedKind = "main" | "multifd" | "preempt";

/** One channel of a capture. */
export interface CapturedChannel {
  /** In the directory. */
  readonly file: string;
  /** Which of the migration's connections it was. */
  readonly kind: CapturedKind;
  /** Number of a multifd channel. */
  readonly id?: number;
  /** From the source. */
  readonly bytes: number;
  /** ms. */
  readonly opened: number;
  /** ms. */
  readonly closed: number;
  /** What went the other way, if anything did. */
  readonly back?: { readonly file: string; readonly bytes: number };
}

/** The list. */
export interface Capture {
  /** Version of this format. */
  readonly capture: 1;
  /** In the order they were opened. */
  readonly channels: readonly CapturedChannel[];
  /** Every byte that passed is in the files. */
  readonly complete: boolean;
  /** The source sent its stream to the end; false: the migration was cut off, and this is what had passed by then. */
  readonly ended: boolean;
}

/** Bytes needed to tell what a channel carries: a multifd channel says its number in byte 24. */
export const HEAD_BYTES = 25;
const ID_AT = 24;
const LIST = "capture.json";
const PART = "capture.json.part";
/** Room that is kept for a list: that of 255 multifd channels has 50 KiB. */
const RESERVED = 64 << 10;
/** Bytes of a list anybody needs: some hundred channels have 40 KiB. */
const MAX_LIST = 1 << 20;

/** What a channel carries, from its first bytes. */
export function kindOfChannel(head: Uint8Array): { readonly kind: CapturedKind; readonly id?: number } {
  const magic = head.length < 4 ? 0 : new DataView(head.buffer, head.byteOffset).getUint32(0);
  if (magic === QEMU_VM_FILE_MAGIC) return { kind: "main" };
  if (magic === MULTIFD_MAGIC && head.length > ID_AT) return { kind: "multifd", id: head[ID_AT] };
  return { kind: "preempt" };
}

/**
 * Make the directory of a new capture.
 * @returns call it when nothing came of it: what was made goes away
 * @throws {TransportError} when there is something in it
 */
export function makeCaptureDirectory(path: string): () => void {
  try {
    const made = fs.mkdirSync(path, { recursive: true, mode: 0o700 }) !== undefined;
    if (fs.readdirSync(path).length > 0) throw new TransportError(`Cannot record into '${path}': it is not empty`);
    return () => {
      for (const name of [PART, LIST]) fs.rmSync(join(path, name), { force: true });
      if (made && fs.readdirSync(path).length === 0) fs.rmdirSync(path);
    };
  } catch (error) {
    if (error instanceof TransportError) throw error;
    throw new TransportError(`Cannot record into '${path}': ${errnoText(error)}`, { cause: error });
  }
}

/** Keep room for the list, so that it can be written when the files have filled the disk. @throws {TransportError} */
export function reserveCapture(path: string): void {
  try {
    fs.writeFileSync(join(path, PART), " ".repeat(RESERVED), { mode: 0o600, flag: "wx" });
  } catch (error) {
    fs.rmSync(join(path, PART), { force: true });
    throw new TransportError(`Cannot record into '${path}': ${errnoText(error)}`, { cause: error });
  }
}

/** Write the list, into the room that was kept. @throws {TransportError} when there is more to say than it holds, and no room */
export function writeCapture(path: string, capture: Capture): void {
  const bytes = new TextEncoder().encode(JSON.stringify(capture, undefined, 2) + "\n");
  const part = join(path, PART);
  try {
    const fd = fs.openSync(part, "r+");
    try {
      for (let done = 0; done < bytes.length;) done += fs.writeSync(fd, bytes, done, bytes.length - done, done);
      fs.ftruncateSync(fd, bytes.length);
    } finally {
      fs.closeSync(fd);
    }
    fs.renameSync(part, join(path, LIST));
  } catch (error) {
    throw new TransportError(`Cannot record into '${path}': ${errnoText(error)}`, { cause: error });
  }
}

/** Read it. @throws {TransportError} when there is none, or it is none */
export function readCapture(path: string): Capture {
  const file = join(path, LIST);
  try {
    if (fs.statSync(file).size > MAX_LIST) throw new TransportError(`Cannot read '${file}': it is too long for a list`);
    const capture = JSON.parse(fs.readFileSync(file, "utf8")) as Capture;
    const good = capture?.capture === 1 && Array.isArray(capture.channels) &&
      capture.channels.every(({ file }) => typeof file === "string" && /^[\w.]+$/.test(file));
    if (!good) throw new TransportError(`Cannot read '${file}': it is no list of a capture`);
    return capture;
  } catch (error) {
    if (error instanceof TransportError) throw error;
    const reason = error instanceof SyntaxError ? "it is no list of a capture" : errnoText(error);
    throw new TransportError(`Cannot read '${file}': ${reason}`, { cause: error });
  }
}
