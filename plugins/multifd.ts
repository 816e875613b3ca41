/**
 * multifd: several channels in parallel. With mapped-ram all of them write one file; over sockets each carries packets,
 * whose pages may be compressed (multifd-compression).
 *
 * Source: QEMU migration/options.c, qapi/migration.json.
 * @module
 */
import type { Plugin } from "../core/plugin.ts";

const COMPRESSIONS = ["none", "zlib", "zstd"];

/** Several channels in parallel. */
export const multifd: Plugin = Object.freeze<Plugin>({
  name: "multifd",
  help: "several channels in parallel",
  capabilities: [{
    name: "multifd",
    ordinal: 10,
    help: "Use several channels in parallel",
    since: "4.0",
    rules: [
      {
        order: 11,
        check: ({ on, was, listening }) =>
          on("multifd") && !was("multifd") && listening ? "Multifd must be set before incoming starts" : undefined,
      },
      {
        order: 15,
        check: ({ on }) => on("multifd") && on("xbzrle") ? "Multifd is not compatible with xbzrle" : undefined,
      },
    ],
  }],
  parameters: [
    {
      name: "multifd-channels",
      ordinal: 15,
      help: "Number of extra channels",
      type: "uint8",
      default: 2,
      order: 6,
      check: (value: number) =>
        value < 1 ? "Parameter 'multifd_channels' expects a value between 1 and 255" : undefined,
    },
    {
      name: "multifd-compression",
      ordinal: 19,
      help: "How pages are compressed on multifd channels",
      type: "enum",
      values: COMPRESSIONS,
      default: "none",
    },
    {
      name: "multifd-zlib-level",
      ordinal: 20,
      help: "zlib level of multifd channels",
      type: "uint8",
      default: 1,
      hidden: true,
      order: 7,
      check: (value: number) =>
        value > 9 ? "Parameter 'multifd_zlib_level' expects a value between 0 and 9" : undefined,
    },
    {
      name: "multifd-zstd-level",
      ordinal: 21,
      help: "zstd level of multifd channels",
      type: "uint8",
      default: 1,
      hidden: true,
      order: 9,
      check: (value: number) =>
        value > 20 ? "Parameter 'multifd_zstd_level' expects a value between 0 and 20" : undefined,
    },
    {
      name: "multifd-qatzip-level",
      ordinal: 22,
      help: "qatzip level of multifd channels",
      type: "uint8",
      default: 1,
      hidden: true,
      order: 8,
      check: (value: number) =>
        value < 1 || value > 9 ? "Parameter 'multifd_qatzip_level' expects a value between 1 and 9" : undefined,
    },
  ],
});
