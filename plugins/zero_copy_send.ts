/**
 * zero-copy-send: multifd sends pages without copying them (Linux sockets); ignored for files.
 *
 * Source: QEMU migration/options.c (migrate_caps_check, migrate_params_check).
 * @module
 */
import type { Plugin } from "../core/plugin.ts";

const ONLY = "Zero copy only available for non-compressed non-TLS multifd migration";

/** Pages without a copy. */
export const zeroCopySend: Plugin = Object.freeze<Plugin>({
  name: "zero-copy-send",
  help: "multifd sends without copying",
  capabilities: [{
    name: "zero-copy-send",
    ordinal: 17,
    help: "multifd sends pages without copying them",
    since: "7.1",
    rules: [{
      order: 8,
      check: ({ on, parameter }) => {
        const usable = on("multifd") && !on("xbzrle") && parameter("multifd-compression") === "none" &&
          parameter("tls-creds") === "";
        return on("zero-copy-send") && !usable ? ONLY : undefined;
      },
    }],
  }],
  parameterRules: [{
    order: 17,
    check: ({ on, value }) =>
      on("zero-copy-send") && (value("multifd-compression") !== "none" || value("tls-creds") !== "") ? ONLY : undefined,
  }],
});
