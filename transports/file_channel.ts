/**
 * A channel on an open file. All I/O is synchronous: it is the fast kind, and nobody waits for a regular file.
 *
 * The position is the kernel's as long as nobody seeks, because others may share it: a descriptor passed by a script
 * stands behind the stream when the save is done, and an O_APPEND one appends. After `seek` the channel counts itself
 * (there is no lseek to call) and every write names its position.
 *
 * Regular files can seek; a block device can where it is read. Anything else behind a path (a terminal, /dev/zero) flows.
 * Source of the texts: QEMU io/channel-file.c.
 * @module
 */
import fs from "node:fs";
import { errnoText } from "../core/errno.ts";
import type { Channel } from "../core/transport.ts";
import { TransportError } from "../stream/errors.ts";
import { canRead, canWrite, kindOfStat } from "./held.ts";

/** Above 2 GiB the calls of node:fs fail or wrap. */
const LARGEST_CALL = 1 << 30;

/** How to make a {@link FileChannel}. */
export interface FileChannelOptions {
  /** A number that node:fs accepts. */
  readonly fd: number;
  /** Flags it was opened with. */
  readonly flags: number;
  /** Offset of the first byte of the stream; the kernel's position must be there, unless `seek` is set. */
  readonly start: number;
  /** The kernel's position is elsewhere: go to `start` first. */
  readonly seek?: boolean;
  /** What a Worker can open. */
  readonly path?: string;
  /** Called once by `close` and `abort`: closes the descriptor or ends its use. */
  readonly release: () => void;
  readonly name?: string;
}

/** A file as a channel; see the module for what it can do. */
export class FileChannel implements Channel {
  readonly name: string;
  readonly noun = "file";
  readonly seekable: boolean;
  readonly returnPath: boolean;
  readonly start: number;
  readonly file?: { readonly path: string; readonly flags: number };
  readonly read?: (view: Uint8Array) => number;
  readonly write?: (view: Uint8Array) => void;
  readonly readAt?: (view: Uint8Array, position: number) => number;
  readonly writeAt?: (view: Uint8Array, position: number) => void;
  readonly seek?: (position: number) => void;
  readonly truncate?: (length: number) => void;
  readonly size?: () => number;
  readonly #fd: number;
  readonly #release: () => void;
  /** Own position once somebody sought; null while the kernel's counts. */
  #position: number | null = null;
  #dead?: string;

  constructor(options: FileChannelOptions) {
    const kind = kindOfStat(fs.fstatSync(options.fd));
    const reads = canRead(options.flags);
    const writes = canWrite(options.flags);
    this.#fd = options.fd;
    this.#release = options.release;
    this.name = options.name ?? "main";
    this.start = options.start;
    this.seekable = kind === "file" || (kind === "block" && !writes);
    this.returnPath = reads && writes;
    if (options.seek) this.#position = options.start;
    if (reads) this.read = (view) => this.#read(view);
    if (writes) this.write = (view) => this.#write(view);
    if (!this.seekable) return;
    if (options.path !== undefined) this.file = { path: options.path, flags: options.flags };
    this.seek = (position) => {
      this.#position = position;
    };
    if (writes) {
      this.writeAt = (view, position) => this.#put(view, position);
      this.truncate = (length) => this.#truncate(length);
    }
    if (reads) this.readAt = (view, position) => this.#fill(view, position);
    const size = kind === "block" ? blockDeviceSize(options.fd) : undefined;
    this.size = () => size ?? this.#size();
  }

  /** Wakes nobody, as nobody waits: later calls fail. The descriptor is let go by `close`. */
  abort(): void {
    this.#dead ??= "Operation canceled";
  }

  close(): void {
    if (this.#dead === "Bad file descriptor") return;
    this.#dead = "Bad file descriptor";
    this.#release();
  }

  #read(view: Uint8Array): number {
    try {
      this.#alive();
      const n = this.#readSome(view, 0, this.#position);
      if (this.#position !== null) this.#position += n;
      return n;
    } catch (error) {
      throw failure("read from", error);
    }
  }

  #write(view: Uint8Array): void {
    if (this.#position === null) return this.#put(view, null);
    this.#put(view, this.#position);
    this.#position += view.length;
  }

  #fill(view: Uint8Array, position: number): number {
    try {
      this.#alive();
      let done = 0;
      while (done < view.length) {
        const n = this.#readSome(view, done, position + done);
        if (n === 0) break;
        done += n;
      }
      return done;
    } catch (error) {
      throw failure("read from", error);
    }
  }

  #put(view: Uint8Array, position: number | null): void {
    try {
      this.#alive();
      for (let done = 0; done < view.length;) {
        const n = Math.min(view.length - done, LARGEST_CALL);
        done += fs.writeSync(this.#fd, view, done, n, position === null ? null : position + done);
      }
    } catch (error) {
      throw failure("write to", error);
    }
  }

  #readSome(view: Uint8Array, from: number, position: number | null): number {
    const n = Math.min(view.length - from, LARGEST_CALL);
    // no byte can lie at 2^53 and beyond: no file system here is that large
    if (n === 0 || (position !== null && position >= Number.MAX_SAFE_INTEGER)) return 0;
    return fs.readSync(this.#fd, view, from, n, position);
  }

  #truncate(length: number): void {
    try {
      this.#alive();
      fs.ftruncateSync(this.#fd, length);
    } catch (error) {
      throw failure("truncate", error);
    }
  }

  #size(): number {
    try {
      this.#alive();
      return fs.fstatSync(this.#fd).size;
    } catch (error) {
      throw failure("read from", error);
    }
  }

  #alive(): void {
    if (this.#dead !== undefined) throw new Error(this.#dead);
  }
}

/** QEMU's sentence around a system error. */
function failure(action: string, error: unknown): TransportError {
  return new TransportError(`Unable to ${action} file: ${errnoText(error)}`, { cause: error });
}

/** Bytes of a block device, found by reading single bytes: `stat` says 0. */
function blockDeviceSize(fd: number): number {
  const byte = new Uint8Array(1);
  const has = (position: number) => {
    try {
      return fs.readSync(fd, byte, 0, 1, position) === 1;
    } catch {
      return false;
    }
  };
  if (!has(0)) return 0;
  let low = 0;
  let high = 1;
  while (high < 2 ** 52 && has(high)) [low, high] = [high, high * 2];
  while (high - low > 1) {
    const middle = low + Math.floor((high - low) / 2);
    if (has(middle)) low = middle;
    else high = middle;
  }
  return high;
}
