/**
 * `buffer:NAME`: a file that lives in this process, for tests and examples. The same name is the same bytes everywhere in
 * the process, as with QIOChannelBuffer there is nothing behind it. Seekable both ways; holes read as zero and cost nothing.
 * A source empties the buffer first; a destination needs one that exists.
 * @module
 */
import { errnoText, strerror } from "../core/errno.ts";
import type { Channel, MigrateAddress, Transport } from "../core/transport.ts";
import { CommandError, TransportError } from "../stream/errors.ts";
import { arrived, ReadyListener } from "./listener.ts";

type BufferAddress = Extract<MigrateAddress, { transport: "buffer" }>;

const PIECE = 1 << 20;

/** Bytes in pieces of 1 MiB, made when first written. */
class SparseBytes {
  readonly #pieces = new Map<number, Uint8Array>();
  length = 0;

  write(view: Uint8Array, position: number): void {
    for (let done = 0; done < view.length;) {
      const at = position + done;
      const n = Math.min(view.length - done, PIECE - at % PIECE);
      this.#piece(Math.floor(at / PIECE)).set(view.subarray(done, done + n), at % PIECE);
      done += n;
    }
    if (view.length > 0) this.length = Math.max(this.length, position + view.length);
  }

  read(view: Uint8Array, position: number): number {
    const length = Math.max(0, Math.min(view.length, this.length - position));
    for (let done = 0; done < length;) {
      const at = position + done;
      const n = Math.min(length - done, PIECE - at % PIECE);
      const piece = this.#pieces.get(Math.floor(at / PIECE));
      if (piece) view.set(piece.subarray(at % PIECE, at % PIECE + n), done);
      else view.fill(0, done, done + n);
      done += n;
    }
    return length;
  }

  truncate(length: number): void {
    this.length = length;
    for (const [index, piece] of this.#pieces) {
      if (index * PIECE >= length) this.#pieces.delete(index);
      else if ((index + 1) * PIECE > length) piece.fill(0, length % PIECE);
    }
  }

  #piece(index: number): Uint8Array {
    let piece = this.#pieces.get(index);
    if (!piece) this.#pieces.set(index, piece = new Uint8Array(PIECE));
    return piece;
  }
}

const buffers = new Map<string, SparseBytes>();

/** The `buffer:` transport. */
export const bufferTransport: Transport = Object.freeze<Transport>({
  scheme: "buffer",
  help: "buffer:NAME  bytes in this process",
  kind: "buffer",
  owns: (address) => address.transport === "buffer",

  parse(rest) {
    if (rest === "") throw new CommandError("invalid buffer address");
    return { transport: "buffer", name: rest };
  },

  format: (address) => `buffer:${(address as BufferAddress).name}`,

  connect(address): Channel {
    const buffer = new SparseBytes();
    buffers.set((address as BufferAddress).name, buffer);
    return new BufferChannel(buffer, true);
  },

  connectExtra: (address) => new BufferChannel(buffers.get((address as BufferAddress).name)!, true),

  listen(address, { extra }) {
    const { name } = address as BufferAddress;
    const buffer = buffers.get(name);
    if (!buffer) throw new TransportError(`Could not open buffer '${name}': ${strerror("ENOENT")}`);
    const channels = Array.from({ length: 1 + (extra?.count ?? 0) }, () => new BufferChannel(buffer, false));
    return new ReadyListener(...channels.map(arrived));
  },
});

/** A copy of what a buffer holds, or undefined when there is none of that name. */
export function bufferBytes(name: string): Uint8Array<ArrayBuffer> | undefined {
  const buffer = buffers.get(name);
  if (!buffer) return undefined;
  const bytes = new Uint8Array(buffer.length);
  buffer.read(bytes, 0);
  return bytes;
}

/** Make a buffer (or replace it) with a copy of `bytes`. */
export function setBuffer(name: string, bytes: Uint8Array): void {
  const buffer = new SparseBytes();
  buffer.write(bytes, 0);
  buffers.set(name, buffer);
}

/** Forget a buffer; channels on it keep working. */
export function dropBuffer(name: string): void {
  buffers.delete(name);
}

class BufferChannel implements Channel {
  readonly name = "main";
  readonly noun = "buffer";
  readonly start = 0;
  readonly seekable = true;
  readonly returnPath = false;
  readonly read?: (view: Uint8Array) => number;
  readonly readAt?: (view: Uint8Array, position: number) => number;
  readonly write?: (view: Uint8Array) => void;
  readonly writeAt?: (view: Uint8Array, position: number) => void;
  readonly truncate?: (length: number) => void;
  #position = 0;
  #dead?: string;

  constructor(private readonly buffer: SparseBytes, writes: boolean) {
    // a source may look at what it wrote: positions of pages are known only then
    this.readAt = (view, position) => this.#alive("read from", () => buffer.read(view, position));
    if (!writes) {
      this.read = (view) => {
        const n = this.readAt!(view, this.#position);
        this.#position += n;
        return n;
      };
      return;
    }
    this.writeAt = (view, position) => this.#alive("write to", () => buffer.write(view, position));
    this.write = (view) => {
      this.writeAt!(view, this.#position);
      this.#position += view.length;
    };
    this.truncate = (length) => this.#alive("truncate", () => buffer.truncate(length));
  }

  size(): number {
    return this.buffer.length;
  }

  seek(position: number): void {
    this.#position = position;
  }

  abort(): void {
    this.#dead ??= strerror("ECANCELED");
  }

  close(): void {
    this.#dead = strerror("EBADF");
  }

  #alive<T>(action: string, operation: () => T): T {
    try {
      if (this.#dead !== undefined) throw new Error(this.#dead);
      return operation();
    } catch (error) {
      throw new TransportError(`Unable to ${action} buffer: ${errnoText(error)}`, { cause: error });
    }
  }
}
