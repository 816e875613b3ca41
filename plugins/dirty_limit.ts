/**
 * dirty-limit: vCPUs are throttled to a dirty page rate, which needs KVM's dirty ring.
 *
 * Source: QEMU migration/options.c (migrate_caps_check, migrate_params_check).
 * @module
 */
import type { Plugin } from "../core/plugin.ts";

/** A dirty page rate for each vCPU. */
export const dirtyLimit: Plugin = Object.freeze<Plugin>({
  name: "dirty-limit",
  help: "throttle vCPUs to a dirty page rate",
  capabilities: [{
    name: "dirty-limit",
    ordinal: 20,
    help: "Throttle vCPUs to a dirty page rate",
    since: "8.1",
    rules: [
      {
        order: 13,
        check: ({ on }) =>
          on("dirty-limit") && on("auto-converge")
            ? "dirty-limit conflicts with auto-converge either of then available currently"
            : undefined,
      },
      {
        order: 14,
        check: ({ on, accelerator, dirtyRing }) =>
          on("dirty-limit") && !(accelerator === "kvm" && dirtyRing)
            ? "dirty-limit requires KVM with accelerator property 'dirty-ring-size' set"
            : undefined,
      },
    ],
  }],
  parameters: [
    {
      name: "x-vcpu-dirty-limit-period",
      ordinal: 24,
      help: "Period of the dirty limit in ms (unstable)",
      type: "uint64",
      default: 1000,
      unit: "ms",
      order: 19,
      check: (value: number | bigint) =>
        value < 1 || value > 1000
          ? "Parameter 'x-vcpu-dirty-limit-period' expects a value between 1 and 1000"
          : undefined,
    },
    {
      name: "vcpu-dirty-limit",
      ordinal: 25,
      help: "Dirty page rate of a vCPU in MB/s",
      type: "uint64",
      default: 1,
      unit: "MB/s",
      order: 20,
      check: (value: number | bigint) =>
        value < 1 ? "Parameter 'vcpu_dirty_limit' must be greater than 1 MB/s" : undefined,
    },
  ],
});
