/**
 * multifd-compression=zstd: pages of a channel are one zstd frame (RFC 8878) that never ends, each packet ends in a flush.
 *
 * Source: QEMU migration/multifd-zstd.c.
 * @module
 */
import type { Plugin } from "../core/plugin.ts";
import { streamDecoder, streamEncoder } from "../stream/multifd_codec.ts";
import { ZlibStream } from "../stream/zlib_stream.ts";

const MULTIFD_FLAG_ZSTD = 0x04;

/** zstd on multifd channels. */
export const multifdZstd: Plugin = Object.freeze<Plugin>({
  name: "multifd-zstd",
  help: "pages on multifd channels packed by zstd",
  tables: {
    multifd: {
      [MULTIFD_FLAG_ZSTD]: {
        flag: MULTIFD_FLAG_ZSTD,
        name: "zstd",
        module: import.meta.url,
        level: "multifd-zstd-level",
        decoder: () =>
          streamDecoder(
            ZlibStream.unzstd(),
            ({ message }) => `decompressStream returned ${message.replace(/^Zstd decompress error: /, "")}`,
            "decompressStream buffer too small",
          ),
        encoder: (parameter) => streamEncoder(ZlibStream.zstd(Number(parameter("multifd-zstd-level")))),
      },
    },
  },
});
