/**
 * `-global migration.NAME=VALUE`: properties of QEMU's migration object, and what older machine types set them to.
 * Source: QEMU migration/options.c (migration_properties), hw/core/machine.c (hw_compat_8_2, hw_compat_9_2).
 * @module
 */
import { CommandError } from "../stream/errors.ts";
import type { StreamGlobals } from "../guest/guest.ts";
import { parseParameter } from "./parameters.ts";
import type { Registry } from "./registry.ts";

/** Properties beside capabilities and parameters. */
export interface MigrationGlobals extends StreamGlobals {
  /** `-only-migratable`: devices that cannot migrate are refused. */
  onlyMigratable: boolean;
  /** Pages one clearing of the dirty log covers, as a power of two. */
  clearBitmapShift: number;
}

/** What a list of properties comes to. */
export interface AppliedGlobals {
  readonly globals: Partial<MigrationGlobals>;
  readonly capabilities: readonly { capability: string; state: boolean }[];
  readonly parameters: Readonly<Record<string, unknown>>;
}

const FLAGS: Readonly<Record<string, keyof StreamGlobals>> = {
  "store-global-state": "storeGlobalState",
  "send-configuration": "sendConfiguration",
  "send-section-footer": "sendSectionFooter",
  "send-switchover-start": "sendSwitchoverStart",
  "multifd-flush-after-each-section": "multifdFlushAfterEachSection",
};

/** Properties that change nothing a monitor or a stream of ours shows. */
const IGNORED = ["x-preempt-pre-7-2", "multifd-clean-tls-termination"];

/** Capabilities without a property of their own. */
const NO_PROPERTY = [
  "pause-before-switchover",
  "dirty-bitmaps",
  "postcopy-blocktime",
  "late-block-activate",
  "x-ignore-shared",
  "validate-uuid",
];

/** Parameters whose property has an `x-` the parameter has not. */
const EXPERIMENTAL = [
  "throttle-trigger-threshold",
  "cpu-throttle-initial",
  "cpu-throttle-increment",
  "cpu-throttle-tailslow",
  "max-bandwidth",
  "downtime-limit",
];

function capabilityOf(property: string, registry: Registry): string | undefined {
  return registry.capabilities.find(({ name }) => {
    if (NO_PROPERTY.includes(name)) return false;
    const own = name === "mapped-ram" || name.startsWith("x-") ? name : "x-" + name;
    return property === own;
  })?.name;
}

/**
 * Read properties, `{"x-multifd": "on", "multifd-channels": "7"}`.
 * @throws {CommandError} with QEMU's text for one that does not exist or a value that does not fit
 */
export function readGlobals(properties: Readonly<Record<string, string>>, registry: Registry): AppliedGlobals {
  const globals: Partial<MigrationGlobals> = {};
  const capabilities: { capability: string; state: boolean }[] = [];
  const parameters: Record<string, unknown> = {};
  for (const [property, text] of Object.entries(properties)) {
    const fail = (why: string) => new CommandError(`can't apply global migration.${property}=${text}: ${why}`);
    const flag = () => {
      if (["on", "yes", "true", "y"].includes(text)) return true;
      if (["off", "no", "false", "n"].includes(text)) return false;
      throw fail(`Parameter '${property}' expects 'on' or 'off'`);
    };
    const capability = capabilityOf(property, registry);
    const parameter = registry.parameters.find(({ name, type }) =>
      type !== "list" && property === (EXPERIMENTAL.includes(name) ? "x-" + name : name)
    );
    if (property in FLAGS) globals[FLAGS[property]] = flag();
    else if (property === "x-clear-bitmap-shift") {
      if (!/^\d+$/.test(text) || Number(text) > 255) throw fail(`Parameter '${property}' expects uint8_t`);
      globals.clearBitmapShift = Number(text);
    } else if (IGNORED.includes(property)) flag();
    else if (capability) capabilities.push({ capability, state: flag() });
    else if (parameter) {
      try {
        // a property counts bytes where the monitor's command counts MiB
        parameters[parameter.name] = parseParameter(
          { ...parameter, type: bytesType(parameter.type), name: property },
          text,
        );
      } catch (error) {
        throw error instanceof CommandError ? fail(error.message) : error;
      }
    } else throw fail(`Property 'migration.${property}' not found`);
  }
  return { globals, capabilities, parameters };
}

function bytesType<T extends string>(type: T): T | "size" {
  return type === "mib" ? "size" : type;
}

/**
 * What a versioned machine type of an older QEMU changes.
 * @param machine "pc-i440fx-8.2"; names without a version are the newest
 */
export function machineDefaults(machine: string): AppliedGlobals {
  const version = /-(\d+)\.(\d+)$/.exec(machine);
  const number = version ? Number(version[1]) * 100 + Number(version[2]) : Infinity;
  return {
    globals: number <= 902 ? { sendSwitchoverStart: false } : {},
    capabilities: [],
    parameters: number <= 802 ? { "zero-page-detection": "legacy" } : {},
  };
}
