/**
 * background-snapshot: the stream shows the machine as it was when the migration began, while the guest goes on running.
 *
 * Source: QEMU migration/options.c (incompatible_caps_bs, migrate_caps_check).
 * @module
 */
import type { Plugin } from "../core/plugin.ts";

/** What it cannot go with, in the order QEMU asks. */
const INCOMPATIBLE = [
  "postcopy-ram",
  "dirty-bitmaps",
  "postcopy-blocktime",
  "late-block-activate",
  "return-path",
  "multifd",
  "pause-before-switchover",
  "auto-converge",
  "release-ram",
  "rdma-pin-all",
  "xbzrle",
  "x-colo",
  "validate-uuid",
  "zero-copy-send",
];

/** A snapshot of a running guest. */
export const backgroundSnapshot: Plugin = Object.freeze<Plugin>({
  name: "background-snapshot",
  help: "the stream shows the machine as it was when the migration began",
  capabilities: [{
    name: "background-snapshot",
    ordinal: 16,
    help: "Save the machine as it was at the start while the guest keeps running",
    since: "6.0",
    rules: [
      {
        order: 5,
        check: ({ on, host }) =>
          on("background-snapshot") && host?.noWriteProtect
            ? "Background-snapshot is not supported by host kernel"
            : undefined,
      },
      {
        order: 6,
        check: ({ on, host }) =>
          on("background-snapshot") && host?.untrackableMemory
            ? "Background-snapshot is not compatible with guest memory configuration"
            : undefined,
      },
      {
        order: 7,
        check: ({ on }) => {
          const other = on("background-snapshot") ? INCOMPATIBLE.find(on) : undefined;
          return other && `Background-snapshot is not compatible with ${other}`;
        },
      },
    ],
  }],
});
