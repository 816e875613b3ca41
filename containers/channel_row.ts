/**
 * The bytes of several channels as one long row, so that a page has one number for its place, whichever file it is in:
 *
 *     the main channel from 0, channel k from (k + 1) * 16 TiB, pages that had to be unpacked behind them in a temporary file
 *
 * @module
 */
import { Buffer } from "node:buffer";
import * as fs from "node:fs";
import { join } from "node:path";
import type { ByteSource } from "../stream/channel.ts";
import { hex, StreamError, UnsupportedError } from "../stream/errors.ts";
import { MULTIFD_PACKET_SIZE, type MultifdPacket } from "../stream/multifd.ts";
import type { MultifdDecoder } from "../stream/multifd_codec.ts";
import type { Tables } from "../stream/tables.ts";

/** Where the bytes of channel k begin. */
const REGION = 2 ** 44;

/** A channel whose packets may be packed. */
export interface PackedChannel {
  /** Name in errors. */
  readonly name: string;
  /** Number of the channel. */
  readonly id: number;
  /** Made with the first packet that is packed. */
  decoder?: MultifdDecoder;
}

/** Files beside a main one, and a temporary one. */
export class ChannelRow {
  readonly #sources: ByteSource[] = [];
  readonly #tables: Partial<Tables>;
  #scratch?: number;
  #scratchEnd = 0;
  #unpacked?: Uint8Array<ArrayBuffer>;

  constructor(tables: Partial<Tables>) {
    this.#tables = tables;
  }

  /** One more channel. @returns where its bytes begin */
  add(source: ByteSource): number {
    return this.#sources.push(source) * REGION;
  }

  /**
   * Unpack a payload into the temporary file.
   * @param offset of the payload in its channel
   * @returns its place
   * @throws {UnsupportedError} when nobody knows how; {StreamError} when it cannot be
   */
  unpack(channel: PackedChannel, packet: MultifdPacket, data: Uint8Array, offset: number, pageSize: number): number {
    const { id, name } = channel;
    const codec = this.#tables.multifd?.[packet.compression!];
    if (!codec) {
      throw new UnsupportedError("Cannot unpack multifd packet", {
        channel: name,
        offset,
        found: `compression ${hex(packet.compression!)}`,
        expected: "zlib, zstd, or a plugin that owns it",
        feature: "multifd-compression",
      });
    }
    channel.decoder ??= codec.decoder();
    const length = packet.normal * pageSize;
    const into = this.#unpacked ??= new Uint8Array(MULTIFD_PACKET_SIZE + pageSize);
    const refused = channel.decoder.unpack(data, into.subarray(0, length + pageSize), length);
    if (refused) {
      throw new StreamError("Cannot unpack multifd packet", {
        channel: name,
        offset,
        found: `${data.length} bytes of ${codec.name} that are not ${packet.normal} pages`,
        qemu: [`multifd ${id}: ${refused}`],
      });
    }
    return this.keep(into.subarray(0, length));
  }

  /** Put bytes into the temporary file. @returns their place */
  keep(bytes: Uint8Array): number {
    this.#scratch ??= scratchFile();
    const at = this.#scratchEnd;
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let done = 0; done < buffer.length;) {
      done += fs.writeSync(this.#scratch, buffer, done, buffer.length - done, at + done);
    }
    this.#scratchEnd = at + bytes.length;
    return (this.#sources.length + 1) * REGION + at;
  }

  /** The row with a main channel in front. */
  join(main: ByteSource): ByteSource {
    const readAt = (view: Uint8Array, position: number): number => {
      const region = Math.floor(position / REGION);
      if (region <= 0) return main.readAt ? main.readAt(view, position) : 0;
      if (region > this.#sources.length) return fs.readSync(this.#scratch!, view, 0, view.length, position % REGION);
      const source = this.#sources[region - 1];
      if (source.readAt) return source.readAt(view, position % REGION);
      throw new StreamError("Cannot use as a further channel", {
        channel: source.name,
        offset: 0,
        found: "a pipe",
        expected: "a file that can be read at any position",
      });
    };
    return { name: main.name, start: main.start, read: main.read.bind(main), readAt };
  }

  /** Give the temporary file back. */
  close(): void {
    if (this.#scratch !== undefined) fs.closeSync(this.#scratch);
    this.#scratch = undefined;
  }
}

/** A temporary file without a name. */
function scratchFile(): number {
  const directory = Deno.makeTempDirSync({ prefix: "miglab-" });
  try {
    return fs.openSync(join(directory, "pages"), "wx+", 0o600);
  } finally {
    fs.rmSync(directory, { recursive: true });
  }
}
