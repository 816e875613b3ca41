/**
 * switchover-ack: the source waits for the destination's agreement before it stops the guest.
 *
 * Source: QEMU migration/options.c (migrate_caps_check).
 * @module
 */
import type { Plugin } from "../core/plugin.ts";

/** The destination agrees first. */
export const switchoverAck: Plugin = Object.freeze<Plugin>({
  name: "switchover-ack",
  help: "wait for the destination's agreement before stopping the guest",
  capabilities: [{
    name: "switchover-ack",
    ordinal: 19,
    help: "Wait for the destination's agreement before stopping the guest",
    since: "8.1",
    rules: [{
      order: 12,
      check: ({ on }) =>
        on("switchover-ack") && !on("return-path")
          ? "Capability 'switchover-ack' requires capability 'return-path'"
          : undefined,
    }],
  }],
});
