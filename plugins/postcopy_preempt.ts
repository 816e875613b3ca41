/**
 * postcopy-preempt: a second channel for pages the destination asks for urgently.
 *
 * Source: QEMU migration/options.c (migrate_caps_check).
 * @module
 */
import type { Plugin } from "../core/plugin.ts";

/** A channel for urgent pages. */
export const postcopyPreempt: Plugin = Object.freeze<Plugin>({
  name: "postcopy-preempt",
  help: "a second channel for urgent postcopy pages",
  capabilities: [{
    name: "postcopy-preempt",
    ordinal: 18,
    help: "Use a second channel for urgent postcopy pages",
    since: "7.1",
    rules: [
      {
        order: 9,
        check: ({ on }) =>
          on("postcopy-preempt") && !on("postcopy-ram") ? "Postcopy preempt requires postcopy-ram" : undefined,
      },
      {
        order: 10,
        check: ({ on, was, listening }) =>
          on("postcopy-preempt") && !was("postcopy-preempt") && listening
            ? "Postcopy preempt must be set before incoming starts"
            : undefined,
      },
    ],
  }],
});
