/**
 * Migration parameters: those no plugin stands behind, and how each type is read from a line, from QMP, and shown.
 *
 *     size, uint64   HMP: a size with suffix, whatever the unit         QMP: integer modulo 2^64
 *     mib            the same, but a bare number counts MiB
 *     uint8, uint32  C integer, base by prefix
 *     bool           on yes true y / off no false n
 *     enum, string   exact / as it is
 *     list           QMP only
 *
 * Source: QEMU qapi/migration.json, migration/options.c (migrate_params_check), migration/migration-hmp-cmds.c,
 * qapi/string-input-visitor.c.
 * @module
 */
import { CommandError } from "../stream/errors.ts";
import { BITMAP_MAPPING, checkBitmapMapping, type NodeAlias } from "./bitmap_mapping.ts";
import type { Parameter } from "./plugin.ts";
import { enumeration, narrow, notAccepted, type Schema } from "./schema.ts";
import { strtosz } from "./strtosz.ts";

/** QEMU's parameters with the type a script gives. A plugin of yours adds its own by declaration merging. */
export interface ParameterTypes {
  /** Self-announcement after migration: initial. */
  "announce-initial": number;
  /** Self-announcement after migration: max. */
  "announce-max": number;
  /** Self-announcement after migration: rounds. */
  "announce-rounds": number;
  /** Self-announcement after migration: step. */
  "announce-step": number;
  /** Dirty bytes to sent bytes, in percent, that start throttling. */
  "throttle-trigger-threshold": number;
  /** First share of CPU time taken away, in percent. */
  "cpu-throttle-initial": number;
  /** How much more is taken each time, in percent. */
  "cpu-throttle-increment": number;
  /** Throttle gently at the end. */
  "cpu-throttle-tailslow": boolean;
  /** Id of the TLS credentials; empty: no TLS. */
  "tls-creds": string | null;
  /** Host name the certificate must bear. */
  "tls-hostname": string | null;
  /** Id of the object that authorises clients. */
  "tls-authz": string | null;
  /** Bytes per second; 0 is unlimited. */
  "max-bandwidth": number | bigint;
  /** Bandwidth to reckon with at the switchover; 0: estimate it. */
  "avail-switchover-bandwidth": number | bigint;
  /** Longest wanted downtime in ms. */
  "downtime-limit": number;
  /** Delay between COLO checkpoints in ms (unstable). */
  "x-checkpoint-delay": number;
  /** Number of extra channels. */
  "multifd-channels": number;
  /** Bytes of the cache of pages sent before. */
  "xbzrle-cache-size": number | bigint;
  /** Bytes per second in postcopy; 0 is unlimited. */
  "max-postcopy-bandwidth": number | bigint;
  /** Largest share of CPU time taken away, in percent. */
  "max-cpu-throttle": number;
  /** How pages are compressed on multifd channels. */
  "multifd-compression": "none" | "zlib" | "zstd";
  /** zlib level of multifd channels. */
  "multifd-zlib-level": number;
  /** zstd level of multifd channels. */
  "multifd-zstd-level": number;
  /** qatzip level of multifd channels. */
  "multifd-qatzip-level": number;
  /** Names block nodes and dirty bitmaps travel under. */
  "block-bitmap-mapping": readonly NodeAlias[];
  /** Period of the dirty limit in ms (unstable). */
  "x-vcpu-dirty-limit-period": number;
  /** Dirty page rate of a vCPU in MB/s. */
  "vcpu-dirty-limit": number | bigint;
  /** normal, or one of the checkpoint and restart modes. */
  mode: "normal" | "cpr-reboot" | "cpr-transfer";
  /** none: zero pages travel as data; legacy: main thread looks; multifd: channel threads look. */
  "zero-page-detection": "none" | "legacy" | "multifd";
  /** Open extra channels of a mapped-ram file with O_DIRECT. */
  "direct-io": boolean;
}

/** A name `setParameter` accepts. */
export type ParameterName = keyof ParameterTypes;

/** Members of MigrateSetParameters in the order QMP checks their types; others follow. */
const SCHEMA_ORDER =
  ("announce-initial announce-max announce-rounds announce-step throttle-trigger-threshold cpu-throttle-initial " +
    "cpu-throttle-increment cpu-throttle-tailslow tls-creds tls-hostname tls-authz max-bandwidth " +
    "avail-switchover-bandwidth downtime-limit x-checkpoint-delay multifd-channels xbzrle-cache-size " +
    "max-postcopy-bandwidth max-cpu-throttle multifd-compression multifd-zlib-level multifd-qatzip-level " +
    "multifd-zstd-level block-bitmap-mapping x-vcpu-dirty-limit-period vcpu-dirty-limit mode zero-page-detection " +
    "direct-io").split(" ");

/** Lines of `info migrate_parameters`; others follow. */
const LISTING_ORDER =
  ("announce-initial announce-max announce-rounds announce-step throttle-trigger-threshold cpu-throttle-initial " +
    "cpu-throttle-increment cpu-throttle-tailslow max-cpu-throttle tls-creds tls-hostname max-bandwidth " +
    "avail-switchover-bandwidth downtime-limit x-checkpoint-delay multifd-channels multifd-compression " +
    "zero-page-detection xbzrle-cache-size max-postcopy-bandwidth tls-authz block-bitmap-mapping " +
    "x-vcpu-dirty-limit-period vcpu-dirty-limit mode direct-io").split(" ");

/** Parameters in one of the two orders above. */
export function ordered(parameters: readonly Parameter[], by: "schema" | "listing"): Parameter[] {
  const order = by === "schema" ? SCHEMA_ORDER : LISTING_ORDER;
  const rank = ({ name }: Parameter) => order.includes(name) ? order.indexOf(name) : order.length;
  return parameters.toSorted((a, b) => rank(a) - rank(b));
}

function range(name: string, low: number, high: number, text: string): (value: number | bigint) => string | undefined {
  return (value) => value < low || value > high ? `Parameter '${name}' expects ${text}` : undefined;
}

function announce(
  what: string,
  ordinal: number,
  fallback: number,
  limits: readonly [number, number],
  unit?: string,
): Parameter {
  const [low, high] = limits;
  return {
    name: `announce-${what}`,
    ordinal,
    help: `Self-announcement after migration: ${what}`,
    type: "size",
    default: fallback,
    unit,
    order: 12 + ordinal,
    // QEMU's text says 0 even where 1 is the least
    check: range(`announce_${what}`, low, high, `a value between 0 and ${high}`),
  };
}

function throttle(
  name: string,
  ordinal: number,
  fallback: number,
  high: number,
  order: number,
  help: string,
): Parameter {
  const check = range(name.replaceAll("-", "_"), 1, high, `an integer in the range of 1 to ${high}`);
  return { name, ordinal, help, type: "uint8", default: fallback, order, check };
}

/** Parameters declared here and not in a plugin. */
export const CORE_PARAMETERS: readonly Parameter[] = Object.freeze<Parameter[]>([
  announce("initial", 0, 50, [0, 100000], "ms"),
  announce("max", 1, 550, [0, 100000], "ms"),
  announce("rounds", 2, 5, [0, 1000]),
  announce("step", 3, 100, [1, 10000], "ms"),
  throttle("throttle-trigger-threshold", 4, 50, 100, 0, "Dirty bytes to sent bytes, in percent, that start throttling"),
  throttle("cpu-throttle-initial", 5, 20, 99, 1, "First share of CPU time taken away, in percent"),
  throttle("cpu-throttle-increment", 6, 10, 99, 2, "How much more is taken each time, in percent"),
  { name: "cpu-throttle-tailslow", ordinal: 7, help: "Throttle gently at the end", type: "bool", default: false },
  { name: "tls-creds", ordinal: 8, help: "Id of the TLS credentials; empty: no TLS", type: "string", default: "" },
  { name: "tls-hostname", ordinal: 9, help: "Host name the certificate must bear", type: "string", default: "" },
  { name: "tls-authz", ordinal: 10, help: "Id of the object that authorises clients", type: "string", default: "" },
  {
    name: "max-bandwidth",
    ordinal: 11,
    help: "Most bytes per second; 0 is unlimited",
    type: "mib",
    default: 128 << 20,
    unit: "bytes/second",
  },
  {
    name: "avail-switchover-bandwidth",
    ordinal: 12,
    help: "Bandwidth to reckon with at the switchover; 0: estimate it",
    type: "mib",
    default: 0,
    unit: "bytes/second",
  },
  {
    name: "downtime-limit",
    ordinal: 13,
    help: "Longest wanted downtime in ms",
    type: "uint64",
    default: 300,
    unit: "ms",
    order: 5,
    check: range("downtime_limit", 0, 2000000, "an integer in the range of 0 to (2000 * 1000) ms"),
  },
  {
    name: "x-checkpoint-delay",
    ordinal: 14,
    help: "Delay between COLO checkpoints in ms (unstable)",
    type: "uint32",
    default: 20000,
    unit: "ms",
  },
  {
    name: "max-cpu-throttle",
    ordinal: 18,
    help: "Largest share of CPU time taken away, in percent",
    type: "uint8",
    default: 99,
    order: 11,
    check: (value: number, all) =>
      value < (all("cpu-throttle-initial") as number) || value > 99
        ? "Parameter 'max_cpu_throttle' expects an integer in the range of cpu_throttle_initial to 99"
        : undefined,
  },
  {
    name: "block-bitmap-mapping",
    ordinal: 23,
    help: "Names block nodes and dirty bitmaps travel under",
    type: "list",
    default: undefined,
    order: 16,
    check: (value: readonly NodeAlias[] | undefined) => value && checkBitmapMapping(value),
  },
  {
    name: "mode",
    ordinal: 26,
    help: "normal, or one of the checkpoint and restart modes",
    type: "enum",
    values: ["normal", "cpr-reboot", "cpr-transfer"],
    default: "normal",
  },
]);

/** The shape QMP wants. */
export function schemaOf({ type, values }: Parameter): Schema {
  switch (type) {
    case "size":
    case "mib":
    case "uint64":
      return { type: "uint64" };
    case "string":
      return { type: "strOrNull" };
    case "enum":
      return enumeration(values ?? []);
    case "list":
      return BITMAP_MAPPING;
    default:
      return { type };
  }
}

const SIZE_HINT = [
  "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-",
  "and exabytes, respectively.",
];

/** Largest value HMP lets through where QEMU stores it signed. */
const INT64_MAX = (1n << 63n) - 1n;

/**
 * Read a value from a line, as QMP would have it.
 * @throws {CommandError} with QEMU's text
 */
export function parseParameter(parameter: Parameter, text: string): unknown {
  const { name, type, values } = parameter;
  switch (type) {
    case "size":
    case "uint64":
      return parseSize(name, text);
    case "mib": {
      const size = strtosz(text, "M");
      if (!size.ok || size.value > INT64_MAX) throw new CommandError(`Invalid size ${text}`);
      return narrow(size.value);
    }
    case "uint8":
    case "uint32":
      return parseInteger(name, type, text);
    case "bool": {
      if (["on", "yes", "true", "y"].includes(text)) return true;
      if (["off", "no", "false", "n"].includes(text)) return false;
      throw new CommandError(`Parameter '${name}' expects 'on' or 'off'`);
    }
    case "enum":
      if (!values?.includes(text)) throw notAccepted(name, text);
      return text;
    case "string":
      return text;
    case "list":
      throw new CommandError(`The ${name} parameter can only be set through QMP`);
  }
}

function parseSize(name: string, text: string): number | bigint {
  const size = strtosz(text);
  if (!size.ok) {
    if (size.error === "ERANGE") throw new CommandError(`Value '${text}' is out of range for parameter '${name}'`);
    throw new CommandError(`Parameter '${name}' expects a non-negative number below 2^64`, SIZE_HINT);
  }
  // QEMU keeps the XBZRLE cache size in an int64 here, and only here
  if (name === "xbzrle-cache-size" && size.value > INT64_MAX) throw new CommandError(`Invalid size ${text}`);
  return narrow(size.value);
}

/** strtoull with base 0: blanks and a sign in front, nothing behind, a negative number wraps. */
function parseInteger(name: string, type: "uint8" | "uint32", text: string): number {
  const match = /^[ \t-\r]*([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)$/.exec(text);
  const digits = match?.[2] ?? "";
  const octal = /^0[0-7]/.test(digits);
  const value = match ? BigInt(octal ? "0o" + digits.slice(1) : digits) : -1n;
  if (value < 0n || value >= 1n << 64n) throw new CommandError(`Parameter '${name}' expects uint64`);
  const wrapped = match![1] === "-" ? BigInt.asUintN(64, -value) : value;
  if (wrapped >> BigInt(type.slice(4))) throw new CommandError(`Parameter '${name}' expects ${type}_t`);
  return Number(wrapped);
}

/** The line (or lines) of `info migrate_parameters`; "" for one that is not shown. */
export function parameterLine({ name, type, unit, hidden }: Parameter, value: unknown): string {
  if (hidden || value === undefined) return "";
  switch (type) {
    case "bool":
      return `${name}: ${value ? "on" : "off"}\n`;
    case "string":
      return `${name}: '${value}'\n`;
    case "list":
      return `${name}:\n` +
        (value as readonly NodeAlias[]).map((node) =>
          `  '${node["node-name"]}' -> '${node.alias}'\n` +
          node.bitmaps.map((bitmap) => `    '${bitmap.name}' -> '${bitmap.alias}'\n`).join("")
        ).join("");
    default:
      return `${name}: ${value}${unit ? " " + unit : ""}\n`;
  }
}
