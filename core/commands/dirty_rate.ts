/**
 * Dirty page rates: measuring one, limiting it. Source: QEMU migration/dirtyrate.c, system/dirtylimit.c.
 * @module
 */
import { CommandError } from "../../stream/errors.ts";
import { type Command, PlainError } from "../command.ts";
import type { DirtyRateMode } from "../dirty_rate.ts";
import { enumeration, INT, object, UINT64 } from "../schema.ts";

const UNITS = enumeration(["second", "millisecond"]);

const calcDirtyRate: Command = {
  hmp: {
    name: "calc_dirty_rate",
    params: "[-r] [-b] second [sample_pages_per_GB]",
    help: "start a round of guest dirty rate measurement (using -r to\n\t\t\t specify dirty ring as the method of " +
      "calculation and\n\t\t\t -b to specify dirty bitmap as method of calculation)",
    args: [
      { name: "ring", type: "flag", letter: "r" },
      { name: "bitmap", type: "flag", letter: "b" },
      { name: "second", type: "long" },
      { name: "samples", type: "long", optional: true },
    ],
    toArguments({ ring, bitmap, second, samples }) {
      if (second === 0n) throw new PlainError("Incorrect period length specified!");
      if (ring && bitmap) throw new PlainError("Either dirty ring or dirty bitmap can be specified!");
      return {
        "calc-time": Number(second as bigint),
        ...(samples === undefined || samples === -1n ? {} : { "sample-pages": Number(samples as bigint) }),
        mode: bitmap ? "dirty-bitmap" : ring ? "dirty-ring" : "page-sampling",
      };
    },
    format: (_value, { second }) =>
      `Starting dirty rate measurement with period ${second} seconds\n` +
      "[Please use 'info dirty_rate' to check results]\n",
  },
  qmp: {
    name: "calc-dirty-rate",
    arguments: object({
      "calc-time": INT,
      "*calc-time-unit": UNITS,
      "*sample-pages": INT,
      "*mode": enumeration(["page-sampling", "dirty-ring", "dirty-bitmap"]),
    }),
  },
  run(session, args) {
    session.dirtyRate.start({
      ms: Number(args["calc-time"]) * (args["calc-time-unit"] === "millisecond" ? 1 : 1000),
      samplePages: args["sample-pages"] as number | undefined,
      mode: (args.mode ?? "page-sampling") as DirtyRateMode,
    });
  },
};

interface DirtyRateInfo {
  readonly "dirty-rate"?: number;
  readonly status: string;
  readonly "start-time": number;
  readonly "calc-time": number;
  readonly "calc-time-unit": string;
  readonly "sample-pages": number;
  readonly mode: DirtyRateMode;
  readonly "vcpu-dirty-rate"?: readonly { readonly id: number; readonly "dirty-rate": number }[];
}

const infoDirtyRate: Command = {
  hmp: {
    name: "info dirty_rate",
    params: "",
    help: "show dirty rate information",
    format(info: DirtyRateInfo) {
      const rate = info["dirty-rate"];
      return [
        `Status: ${info.status}`,
        // QEMU's unit; the number is seconds
        `Start Time: ${info["start-time"]} (ms)`,
        ...(info.mode === "page-sampling" ? [`Sample Pages: ${info["sample-pages"]} (per GB)`] : []),
        `Period: ${info["calc-time"]} (sec)`,
        `Mode: ${info.mode}`,
        `Dirty rate: ${rate === undefined ? "(not ready)" : `${rate} (MB/s)`}`,
        ...(info["vcpu-dirty-rate"] ?? []).map((one) => `vcpu[${one.id}], Dirty rate: ${one["dirty-rate"]} (MB/s)`),
      ].map((line) => line + "\n").join("");
    },
  },
  qmp: { name: "query-dirty-rate", arguments: object({ "*calc-time-unit": UNITS }) },
  run({ dirtyRate }, args): DirtyRateInfo {
    const unit = (args["calc-time-unit"] ?? "second") as string;
    const rate = dirtyRate.rate;
    return {
      status: dirtyRate.status,
      "sample-pages": dirtyRate.samplePages,
      ...(rate === undefined ? {} : { "dirty-rate": rate }),
      mode: dirtyRate.mode,
      "calc-time-unit": unit,
      "start-time": dirtyRate.startTime,
      "calc-time": unit === "second" ? Math.floor(dirtyRate.ms / 1000) : dirtyRate.ms,
      ...(rate !== undefined && dirtyRate.mode === "dirty-ring"
        ? { "vcpu-dirty-rate": [{ id: 0, "dirty-rate": rate }] }
        : {}),
    };
  },
};

const NO_RING = "dirty page limit feature requires KVM with accelerator property 'dirty-ring-size' set'";

const CPU_INDEX = { name: "cpu_index", type: "long", optional: true } as const;

const setLimit: Command = {
  hmp: {
    name: "set_vcpu_dirty_limit",
    params: "dirty_rate [cpu_index]",
    help: "set dirty page rate limit, use cpu_index to set limit\n\t\t\t\t\t on a specified virtual cpu",
    args: [{ name: "dirty_rate", type: "long" }, CPU_INDEX],
    toArguments({ dirty_rate, cpu_index }) {
      if ((dirty_rate as bigint) < 0n) throw new CommandError(`invalid dirty page limit ${dirty_rate}`);
      return { "dirty-rate": dirty_rate, ...(cpu_index === undefined ? {} : { "cpu-index": cpu_index }) };
    },
  },
  qmp: { name: "set-vcpu-dirty-limit", arguments: object({ "*cpu-index": INT, "dirty-rate": UINT64 }) },
  run({ options }) {
    if (options.accelerator !== "kvm" || !options.dirtyRing) throw new CommandError(NO_RING);
    throw new CommandError("Cannot limit the dirty rate: a model guest has no vCPU to throttle");
  },
};

const cancelLimit: Command = {
  hmp: {
    name: "cancel_vcpu_dirty_limit",
    params: "[cpu_index]",
    help: "cancel dirty page rate limit, use cpu_index to cancel\n\t\t\t\t\t limit on a specified virtual cpu",
    args: [CPU_INDEX],
    toArguments: ({ cpu_index }) => cpu_index === undefined ? {} : { "cpu-index": cpu_index },
    format: () => "[Please use 'info vcpu_dirty_limit' to query dirty limit for virtual CPU]\n",
  },
  qmp: { name: "cancel-vcpu-dirty-limit", arguments: object({ "*cpu-index": INT }) },
  // there is never a limit in force, and QEMU is content with that too
  run: () => undefined,
};

/** QAPI DirtyLimitInfo. */
interface VcpuLimit {
  readonly "cpu-index": number;
  readonly "limit-rate": number;
  readonly "current-rate": number;
}

const infoLimit: Command = {
  hmp: {
    name: "info vcpu_dirty_limit",
    params: "",
    help: "show dirty page limit information of all vCPU",
    format: (limits: readonly VcpuLimit[]) =>
      limits.length === 0
        ? "Dirty page limit not enabled!\n"
        : limits.map((one) =>
          `vcpu[${one["cpu-index"]}], limit rate ${one["limit-rate"]} (MB/s), current rate ${
            one["current-rate"]
          } (MB/s)\n`
        ).join(""),
  },
  qmp: { name: "query-vcpu-dirty-limit" },
  run: () => [],
};

/** Commands of this file. */
export const DIRTY_RATE_COMMANDS: readonly Command[] = [calcDirtyRate, infoDirtyRate, setLimit, cancelLimit, infoLimit];
