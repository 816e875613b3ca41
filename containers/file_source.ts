/**
 * Files as byte sources: a path, an open descriptor, or standard input. Reads are synchronous, which is the fast way here.
 *
 *     regular file   read() in order, readAt() anywhere, size() as it was when opened
 *     anything else  read() only: a pipe, a terminal, a device
 *
 * @module
 */
import { Buffer } from "node:buffer";
import * as fs from "node:fs";
import type { ByteSource } from "../stream/channel.ts";
import { TransportError } from "../stream/errors.ts";
import { fileExtents } from "./file_extents.ts";

/** Most bytes of one read: the kernel stops short of 2 GiB, and lengths beyond wrap in `node:fs`. */
const READ_LIMIT = 1 << 30;
/** Milliseconds between looks at a descriptor that has nothing yet. */
const POLL_MS = 5;

/** A {@link ByteSource} over a descriptor. */
export interface FileSource extends ByteSource {
  /** Give the descriptor back; one that was handed in stays open. */
  close(): void;
}

/** How to open. */
export interface FileSourceOptions {
  /** Stands in errors; default "main". */
  readonly name?: string;
  /** Offset in the file of the first byte `read` gives; only where the file can seek. Default 0. */
  readonly start?: number;
}

/**
 * Open a file, or take an open descriptor; "-" is standard input.
 * @throws {TransportError} in QEMU's words: `Could not open 'PATH': No such file or directory`
 */
export function fileSource(file: string | number, options: FileSourceOptions = {}): FileSource {
  const { name = "main", start = 0 } = options;
  const own = typeof file === "string" && file !== "-";
  const fd = own ? open(file) : typeof file === "number" ? file : 0;
  const stat = fs.fstatSync(fd);
  if (stat.isDirectory()) {
    if (own) fs.closeSync(fd);
    throw new TransportError(`Could not open '${file}': Is a directory`);
  }
  let open_ = true;
  const close = () => {
    if (own && open_) fs.closeSync(fd);
    open_ = false;
  };
  if (!stat.isFile()) return { name, start: 0, read: (view) => readSome(fd, view, null), close };
  const extent = fileExtents(fd);
  let position = start;
  return {
    name,
    start,
    read(view) {
      const n = readSome(fd, view, position) as number;
      position += n;
      return n;
    },
    readAt(view, at) {
      let done = 0;
      while (done < view.length) {
        const n = readSome(fd, done ? view.subarray(done) : view, at + done) as number;
        if (n === 0) break;
        done += n;
      }
      return done;
    },
    size: () => stat.size,
    fd,
    ...(extent ? { extent } : {}),
    close,
  };
}

function open(path: string): number {
  try {
    return fs.openSync(path, "r");
  } catch (error) {
    throw new TransportError(`Could not open '${path}': ${errorText(error)}`, { cause: error });
  }
}

/** One read. A promise only where a descriptor that does not block has nothing yet. */
function readSome(fd: number, view: Uint8Array, position: number | null): number | Promise<number> {
  const length = Math.min(view.length, READ_LIMIT);
  try {
    const into = Buffer.from(view.buffer as ArrayBuffer, view.byteOffset, length);
    return fs.readSync(fd, into, 0, length, position);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EOF") return 0;
    if (code === "EAGAIN" && position === null) {
      return new Promise<void>((resolve) => setTimeout(resolve, POLL_MS)).then(() => readSome(fd, view, position));
    }
    const where = position === null ? "" : ` at offset 0x${position.toString(16)}`;
    throw new TransportError(`Cannot read${where}: ${errorText(error)}`, { cause: error });
  }
}

/** The C library's sentence of a system error: "ENOENT: no such file or directory, open 'x'" has it in the middle. */
export function errorText(error: unknown): string {
  const { message } = error as Error;
  const text = /^[A-Z0-9]+: ([^,(]+)/.exec(message)?.[1].trim() ??
    message.split("\n")[0].replace(/ \(os error \d+\)$/, "");
  return text.charAt(0).toUpperCase() + text.slice(1);
}
