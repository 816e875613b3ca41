/**
 * A result that appears whole or not at all: written under a temporary name beside the asked-for one, renamed at the end.
 *
 *     using out = createOutput("vm.raw");      .vm.raw.1f3a9c.part
 *     out.writeAt(bytes, 0x100000);            what is never written is a hole
 *     out.finish(size);                        vm.raw
 *
 * Without `finish` the temporary file goes away. What is no regular file (a device, a pipe) is written in place, in order;
 * holes are then written as zeros.
 * @module
 */
import * as fs from "node:fs";
import { basename, dirname, join } from "node:path";
import type { ByteSink } from "../stream/channel.ts";
import { TransportError } from "../stream/errors.ts";
import { mayStartWorkers } from "../threads/may_start.ts";
import { type PieceWriter, WriteAtOnce, WriteBehind } from "../threads/write_behind.ts";
import { errorText } from "./file_source.ts";

const ZEROS = new Uint8Array(1 << 20);
/** Bytes from which on it pays to write in a second thread. */
const WORTHWHILE = 64 << 20;
/** A guest's memory is nobody else's business. */
const MODE = 0o600;

/** A file being made. Reads as zero where nothing was written. */
export interface OutputFile extends ByteSink, Disposable {
  writeAt(view: Uint8Array, position: number): void;
  seek(position: number): void;
  /** Read back what was written; only where {@link OutputFile.regular}. @returns bytes landed */
  readAt(view: Uint8Array, position: number): number;
  /** False for pipes and devices: positions may only go forward. */
  readonly regular: boolean;
  /**
   * For much data: buffers of `size` bytes to fill, written while others are filled. Drain it before `finish`.
   * @param expected bytes that will be written
   */
  pieces(size: number, expected: number): PieceWriter;
  /** Make it `size` bytes long and give it its name. */
  finish(size: number): void;
}

/**
 * Begin a file.
 * @param path what it will be called; what is there by that name stays until the end, and gives the new one its mode
 * @throws {TransportError} `Could not open 'PATH': Permission denied`
 */
export function createOutput(path: string): OutputFile {
  const { there, real } = lookAt(path);
  if (there?.isDirectory()) throw new TransportError(`Could not open '${path}': Is a directory`);
  if (there && !there.isFile()) return new InPlace(path);
  return new Renamed(real, path, there ? there.mode & 0o777 : MODE);
}

/** What is there by that name, and where that is once links are followed. */
function lookAt(path: string): { there: fs.Stats | undefined; real: string } {
  try {
    const there = fs.statSync(path, { throwIfNoEntry: false });
    return { there, real: there ? fs.realpathSync(path) : path };
  } catch (error) {
    throw new TransportError(`Could not open '${path}': ${errorText(error)}`, { cause: error });
  }
}

/** What is written in order to a descriptor that is open: standard output. It stays open. */
export function outputOver(fd: number, name: string): OutputFile {
  return new InPlace(name, fd);
}

class Renamed implements OutputFile {
  readonly name: string;
  readonly start = 0;
  readonly regular = true;
  readonly #path: string;
  readonly #part: string;
  readonly #fd: number;
  #position = 0;
  #open = true;

  constructor(path: string, shown: string, mode: number) {
    this.name = shown;
    this.#path = path;
    const mark = crypto.getRandomValues(new Uint8Array(4)).toHex();
    this.#part = join(dirname(path), `.${basename(path).slice(0, 200)}.${mark}.part`);
    this.#fd = open(this.#part, "wx+", mode, shown);
  }

  write(view: Uint8Array): void {
    this.writeAt(view, this.#position);
    this.#position += view.length;
  }

  writeAt(view: Uint8Array, position: number): void {
    writeAll(this.#fd, view, position, this.name);
  }

  seek(position: number): void {
    this.#position = position;
  }

  readAt(view: Uint8Array, position: number): number {
    let done = 0;
    while (done < view.length) {
      const n = fs.readSync(this.#fd, view, done, view.length - done, position + done);
      if (n === 0) break;
      done += n;
    }
    return done;
  }

  pieces(size: number, expected: number): PieceWriter {
    if (expected >= WORTHWHILE && mayStartWorkers()) {
      try {
        return new WriteBehind(this.#part, size, (error) => cannotWrite(this.name, error));
      } catch {
        // no leave for a Worker: write here
      }
    }
    return new WriteAtOnce((view, position) => this.writeAt(view, position), size);
  }

  finish(size: number): void {
    try {
      fs.ftruncateSync(this.#fd, size);
      this.#close();
      fs.renameSync(this.#part, this.#path);
    } catch (error) {
      this[Symbol.dispose]();
      fs.rmSync(this.#part, { force: true });
      throw cannotWrite(this.name, error);
    }
  }

  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#close();
    fs.rmSync(this.#part, { force: true });
  }

  #close(): void {
    this.#open = false;
    fs.closeSync(this.#fd);
  }
}

class InPlace implements OutputFile {
  readonly name: string;
  readonly start = 0;
  readonly regular = false;
  readonly #fd: number;
  #position = 0;
  #end = 0;
  #open: boolean;

  /** @param fd somebody else's descriptor, which stays open */
  constructor(path: string, fd?: number) {
    this.name = path;
    this.#open = fd === undefined;
    this.#fd = fd ?? open(path, "w", MODE, path);
  }

  write(view: Uint8Array): void {
    this.writeAt(view, this.#position);
    this.#position += view.length;
  }

  writeAt(view: Uint8Array, position: number): void {
    if (position < this.#end) {
      throw new TransportError(`Could not write '${this.name}': it cannot seek, and this format goes back`);
    }
    this.#fill(position);
    writeAll(this.#fd, view, null, this.name);
    this.#end += view.length;
  }

  seek(position: number): void {
    this.#position = position;
  }

  readAt(): number {
    return 0;
  }

  pieces(size: number): PieceWriter {
    return new WriteAtOnce((view, position) => this.writeAt(view, position), size);
  }

  finish(size: number): void {
    this.#fill(size);
    this[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    if (this.#open) fs.closeSync(this.#fd);
    this.#open = false;
  }

  #fill(position: number): void {
    while (this.#end < position) {
      const n = Math.min(ZEROS.length, position - this.#end);
      writeAll(this.#fd, ZEROS.subarray(0, n), null, this.name);
      this.#end += n;
    }
  }
}

function open(path: string, flags: string, mode: number, shown: string): number {
  try {
    return fs.openSync(path, flags, mode);
  } catch (error) {
    throw new TransportError(`Could not open '${shown}': ${errorText(error)}`, { cause: error });
  }
}

function writeAll(fd: number, view: Uint8Array, position: number | null, name: string): void {
  try {
    for (let done = 0; done < view.length;) {
      done += fs.writeSync(fd, view, done, view.length - done, position === null ? null : position + done);
    }
  } catch (error) {
    throw cannotWrite(name, error);
  }
}

function cannotWrite(name: string, error: unknown): TransportError {
  return new TransportError(`Could not write '${name}': ${errorText(error)}`, { cause: error });
}
