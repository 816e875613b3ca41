/**
 * How pages of a multifd packet are packed: one compressed stream a channel for its whole life, flushed at the end of each
 * packet, so that a packet can be unpacked when it is there, but only behind all those before it.
 *
 * Source: QEMU migration/multifd-zlib.c, multifd-zstd.c.
 * @module
 */
import type { ZlibStep, ZlibStream } from "./zlib_stream.ts";

/** One compression, found by the bits of a packet's flags or by the value of `multifd-compression`. */
export interface MultifdCodec {
  /** MULTIFD_FLAG_*: bits 1 to 5. */
  readonly flag: number;
  /** Value of `multifd-compression`. */
  readonly name: string;
  /** URL of the module that exports the plugin with this codec, for threads that have to bring it themselves. */
  readonly module?: string;
  /** Name of the migration parameter that is its level. */
  readonly level?: string;
  /** Begin to unpack a channel. */
  decoder(): MultifdDecoder;
  /** Begin to pack a channel. @param parameter value of a migration parameter: the level */
  encoder(parameter: (name: string) => unknown): MultifdEncoder;
}

/** Unpacks one channel. */
export interface MultifdDecoder {
  /**
   * Unpack the payload of the next packet.
   * @param into   filled from its start; longer than `length`
   * @param length bytes there must be
   * @returns QEMU's sentence, without the channel in front, when it is not so
   */
  unpack(payload: Uint8Array, into: Uint8Array, length: number): string | undefined;
  /** Give back what it holds. */
  close(): void;
}

/** Packs one channel. */
export interface MultifdEncoder {
  /** Pack the pages of the next packet. @returns bytes landed in `into`, or -1 when there was too little room */
  pack(pages: Uint8Array, into: Uint8Array): number;
  /** Give back what it holds. */
  close(): void;
}

/**
 * A decoder over a synchronous stream.
 * @param damaged QEMU's words for data that are wrong
 * @param few     its words for too little output
 */
export function streamDecoder(
  stream: ZlibStream,
  damaged: (error: NonNullable<ZlibStep["error"]>) => string,
  few: string,
): MultifdDecoder {
  return {
    unpack(payload, into, length) {
      const { used, made, error } = stream.step(payload, into);
      if (error) return damaged(error);
      if (made < length) return few;
      if (made > length || used < payload.length) return `packet size received ${made} size expected ${length}`;
      return undefined;
    },
    close: () => stream.close(),
  };
}

/** An encoder over a synchronous stream. */
export function streamEncoder(stream: ZlibStream): MultifdEncoder {
  return {
    pack(pages, into) {
      const { used, made, error } = stream.step(pages, into);
      return error || used < pages.length || made === into.length ? -1 : made;
    },
    close: () => stream.close(),
  };
}
