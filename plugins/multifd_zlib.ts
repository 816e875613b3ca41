/**
 * multifd-compression=zlib: pages of a channel are one deflate stream (RFC 1950), each packet ends in a sync flush.
 *
 * Source: QEMU migration/multifd-zlib.c.
 * @module
 */
import type { Plugin } from "../core/plugin.ts";
import { streamDecoder, streamEncoder } from "../stream/multifd_codec.ts";
import { ZlibStream } from "../stream/zlib_stream.ts";

const MULTIFD_FLAG_ZLIB = 0x02;

/** zlib on multifd channels. */
export const multifdZlib: Plugin = Object.freeze<Plugin>({
  name: "multifd-zlib",
  help: "pages on multifd channels packed by zlib",
  tables: {
    multifd: {
      [MULTIFD_FLAG_ZLIB]: {
        flag: MULTIFD_FLAG_ZLIB,
        name: "zlib",
        module: import.meta.url,
        level: "multifd-zlib-level",
        decoder: () =>
          streamDecoder(
            ZlibStream.inflate(),
            ({ number }) => `inflate returned ${number} instead of Z_OK`,
            "inflate generated too few output",
          ),
        encoder: (parameter) => streamEncoder(ZlibStream.deflate(Number(parameter("multifd-zlib-level")))),
      },
    },
  },
});
