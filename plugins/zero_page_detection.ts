/**
 * zero-page-detection: who recognises pages of zeros, if anyone.
 *
 * Source: QEMU qapi/migration.json ZeroPageDetection.
 * @module
 */
import type { Plugin } from "../core/plugin.ts";

/** Where zero pages are recognised. */
export const zeroPageDetection: Plugin = Object.freeze<Plugin>({
  name: "zero-page-detection",
  help: "where pages of zeros are recognised",
  parameters: [{
    name: "zero-page-detection",
    ordinal: 27,
    help: "none: zero pages travel as data; legacy: main thread looks; multifd: channel threads look",
    type: "enum",
    values: ["none", "legacy", "multifd"],
    default: "multifd",
  }],
});
