/**
 * x-ignore-shared: memory that is shared and reachable from the destination is left out.
 *
 * Source: QEMU qapi/migration.json; migration/savevm.c (should_validate_capability).
 * @module
 */
import type { Plugin } from "../core/plugin.ts";

/** Shared memory stays where it is. */
export const ignoreShared: Plugin = Object.freeze<Plugin>({
  name: "x-ignore-shared",
  help: "memory the destination can reach by itself is left out",
  capabilities: [{
    name: "x-ignore-shared",
    ordinal: 14,
    help: "Leave out memory that is shared and reachable from the destination (unstable)",
    since: "4.0",
    validated: true,
  }],
});
