/**
 * The file a machine in another process saves into: opened here, handed over as descriptors of an fdset, and given its name
 * when it is whole and on the disk.
 *
 *     OUT.1f3a9c.partial    while it is written: what stands in front of the stream is ours, the rest QEMU's
 *     OUT                   after fsync and rename
 *
 * QEMU asks a set for a descriptor whose access mode fits: write-only to save, and with direct-io a second one that was opened
 * with O_DIRECT. What is no regular file (a block device) is written in place.
 * Source: QEMU util/osdep.c (qemu_open_internal), migration/file.c (file_send_channel_create).
 * @module
 */
import fs from "node:fs";
import { basename, dirname, join } from "node:path";
import { TransportError } from "../stream/errors.ts";
import { errnoText } from "./errno.ts";
import { holdPath } from "./fds.ts";
import type { HeldFd } from "./transport.ts";

const PIECE = 1 << 20;
/** A guest's memory is nobody else's business. */
const MODE = 0o600;

/** A file being made. */
export class TargetFile {
  /** Where it is written now; absolute. */
  readonly path: string;
  readonly #asked: string;
  readonly #final: string | undefined;
  readonly #fd: number;
  #open = true;

  private constructor(asked: string, path: string, final: string | undefined, fd: number) {
    this.#asked = asked;
    this.path = path;
    this.#final = final;
    this.#fd = fd;
  }

  /**
   * Begin it.
   * @param front what stands in front of the stream. A number: so many bytes of what is there by that name, else zeros
   * @throws {TransportError} `Could not open 'PATH': Permission denied`
   */
  static create(path: string, front: Uint8Array | number): TargetFile {
    try {
      const there = fs.statSync(path, { throwIfNoEntry: false });
      if (there && !there.isFile()) {
        if (!there.isBlockDevice()) throw new TransportError(`Could not open '${path}': not a file`);
        const target = new TargetFile(path, fs.realpathSync(path), undefined, fs.openSync(path, "r+"));
        if (typeof front !== "number") target.#write(front, 0);
        return target;
      }
      const final = there ? fs.realpathSync(path) : join(fs.realpathSync(dirname(path)), basename(path));
      const part = `${final}.${crypto.getRandomValues(new Uint8Array(3)).toHex()}.partial`;
      const fd = fs.openSync(part, "wx+", there ? there.mode & 0o777 : MODE);
      const target = new TargetFile(path, part, final, fd);
      try {
        if (typeof front !== "number") target.#write(front, 0);
        else target.#reserve(there ? final : undefined, front);
      } catch (error) {
        target.discard();
        throw error;
      }
      return target;
    } catch (error) {
      if (error instanceof TransportError) throw error;
      throw new TransportError(`Could not open '${path}': ${errnoText(error)}`, { cause: error });
    }
  }

  /** A descriptor to hand over: write-only. @param direct with O_DIRECT */
  hold(direct: boolean): HeldFd {
    const { O_WRONLY, O_DIRECT } = fs.constants;
    try {
      return holdPath(this.path, direct ? O_WRONLY | O_DIRECT : O_WRONLY);
    } catch (error) {
      const how = direct ? " with O_DIRECT" : "";
      throw new TransportError(`Could not open '${this.#asked}'${how}: ${errnoText(error)}`, { cause: error });
    }
  }

  /** Bytes so far. */
  get bytes(): number {
    return fs.fstatSync(this.#fd).size;
  }

  /**
   * It is whole: put it on the disk and give it its name.
   * @param front replaces what stands in front of the stream
   */
  async finish(front?: Uint8Array): Promise<void> {
    try {
      if (front) this.#write(front, 0);
      await new Promise<void>((resolve, reject) => fs.fsync(this.#fd, (error) => error ? reject(error) : resolve()));
      this.#close();
      if (this.#final === undefined) return;
      fs.renameSync(this.path, this.#final);
      syncDirectory(dirname(this.#final));
    } catch (error) {
      throw new TransportError(`Could not write '${this.#asked}': ${errnoText(error)}`, { cause: error });
    }
  }

  /** It will not be finished, but what is there may be worth a look. @returns its name */
  abandon(): string {
    this.#close();
    return this.path;
  }

  /** It is not wanted. */
  discard(): void {
    this.#close();
    if (this.#final !== undefined) fs.rmSync(this.path, { force: true });
  }

  #close(): void {
    if (this.#open) fs.closeSync(this.#fd);
    this.#open = false;
  }

  #write(bytes: Uint8Array, position: number): void {
    for (let done = 0; done < bytes.length;) {
      done += fs.writeSync(this.#fd, bytes, done, bytes.length - done, position + done);
    }
  }

  /** Room for what others keep in front of a stream: as it is in the old file, and zeros behind its end. */
  #reserve(old: string | undefined, bytes: number): void {
    if (bytes === 0) return;
    fs.ftruncateSync(this.#fd, bytes);
    if (old === undefined) return;
    const from = fs.openSync(old, "r");
    try {
      const piece = new Uint8Array(Math.min(PIECE, bytes));
      for (let at = 0; at < bytes;) {
        const got = fs.readSync(from, piece, 0, Math.min(piece.length, bytes - at), at);
        if (got === 0) break;
        this.#write(piece.subarray(0, got), at);
        at += got;
      }
    } finally {
      fs.closeSync(from);
    }
  }
}

/** The name is on the disk too, where the system lets one ask for it. */
function syncDirectory(path: string): void {
  let fd: number | undefined;
  try {
    fd = fs.openSync(path, "r");
    fs.fsyncSync(fd);
  } catch {
    // a file system without
  } finally {
    if (fd !== undefined) fs.closeSync(fd);
  }
}
