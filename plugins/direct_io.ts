/**
 * direct-io: extra channels of mapped-ram with multifd bypass the page cache. Silently ignored otherwise.
 *
 * Source: QEMU qapi/migration.json, migration/file.c (file_send_channel_create).
 * @module
 */
import type { Plugin } from "../core/plugin.ts";

/** Channels past the page cache. */
export const directIo: Plugin = Object.freeze<Plugin>({
  name: "direct-io",
  help: "extra channels of a mapped-ram file bypass the page cache",
  parameters: [{
    name: "direct-io",
    ordinal: 28,
    help: "Open extra channels of a mapped-ram file with O_DIRECT",
    type: "bool",
    default: false,
  }],
});
