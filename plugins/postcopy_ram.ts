/**
 * postcopy-ram: the guest may start on the destination before all of its RAM has arrived.
 *
 * Source: QEMU migration/options.c (migrate_caps_check), qapi/migration.json.
 * @module
 */
import type { Plugin } from "../core/plugin.ts";

/** Guest first, RAM later. */
export const postcopyRam: Plugin = Object.freeze<Plugin>({
  name: "postcopy-ram",
  help: "the guest starts on the destination before all RAM has arrived",
  capabilities: [{
    name: "postcopy-ram",
    ordinal: 5,
    help: "Start the guest on the destination before all RAM has arrived",
    since: "2.6",
    rules: [
      {
        order: 2,
        check: ({ on, was, incoming, host }) =>
          on("postcopy-ram") && !was("postcopy-ram") && incoming && host?.noUserfaultfd !== undefined
            ? `Postcopy is not supported: ${host.noUserfaultfd}`
            : undefined,
      },
      {
        order: 3,
        check: ({ on }) =>
          on("postcopy-ram") && on("x-ignore-shared") ? "Postcopy is not compatible with ignore-shared" : undefined,
      },
      {
        order: 4,
        check: ({ on }) =>
          on("postcopy-ram") && on("multifd") ? "Postcopy is not yet compatible with multifd" : undefined,
      },
    ],
  }],
  parameters: [{
    name: "max-postcopy-bandwidth",
    ordinal: 17,
    help: "Bytes per second in postcopy; 0 is unlimited",
    type: "size",
    default: 0,
  }],
});
