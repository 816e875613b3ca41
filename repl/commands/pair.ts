/**
 * `miglab pair --src SOCKET --dst SOCKET`: two QEMUs set alike, one migrated into the other, and compared.
 * @module
 */
import { Option } from "@commander-js/extra-typings";
import type { Forecast } from "../../core/forecast.ts";
import type { Paired } from "../../core/pair_job.ts";
import { refuseOthers, sizeArgument, UsageError } from "../options.ts";
import { describeError } from "../output.ts";
import { bytesText } from "../progress.ts";
import type { CommandModule } from "../program.ts";
import { channelsArgument, report, withProgress } from "./save.ts";

/** How two machines are paired, in the words of the command line. */
export interface PairRequest {
  readonly src: string;
  readonly dst: string;
  readonly uri?: string;
  readonly channels?: number;
  readonly compression?: "none" | "zlib" | "zstd";
  /** A size, per second. */
  readonly maxBandwidth?: string;
  readonly onProgress?: (forecast: Forecast) => void;
  readonly signal?: AbortSignal;
}

/** Pairs two machines. */
export type Pair = (request: PairRequest) => Promise<Paired>;

const DETAILS = `
The destination waits (-incoming defer) with the same machine. It gets the source's capabilities and what both must agree about;
behind the migration both stand still while guest-physical memory and what the monitor shows of CPUs, interrupts, PCI and the
memory map are compared. Then the destination runs, if the source ran. What was set is put back. The exit status is 1 when
something differs. Ctrl-C, or a failure: the source goes on as before, and the destination must be started anew.

Example:
  miglab pair --src /run/a.qmp --dst /run/b.qmp --channels 4 --compression zstd`;

/** Declares `pair`. */
export const pairCommand: CommandModule = (root, context) => {
  root.command("pair")
    .summary("migrate one QEMU into another and compare them")
    .description("Set two running QEMUs alike, migrate one into the other, and say what differs.")
    .requiredOption("--src <socket>", "monitor of the source")
    .requiredOption("--dst <socket>", "monitor of the destination, which waits")
    .option("--uri <uri>", "where the destination listens (default: a Unix socket of our own)")
    .option("--channels <count>", "multifd channels", channelsArgument)
    .addOption(new Option("--compression <name>", "of multifd channels").choices(["none", "zlib", "zstd"] as const))
    .option("--max-bandwidth <bytes>", "a second; default: what the source has", sizeArgument)
    .addHelpText("after", DETAILS)
    .action(async (options) => {
      refuseOthers(root, "pair");
      if (options.src === options.dst) throw new UsageError("options '--src' and '--dst' name the same socket");
      try {
        const paired = await withProgress(context, (how) => context.tools.pair({ ...options, ...how }));
        report(context, paired, pairText(paired));
        if (!paired.equal) context.finish(1);
      } catch (error) {
        context.output.err(`miglab: ${describeError(error, root.opts().verbose ?? false)}\n`);
        context.finish(1);
      }
    });
};

function pairText({ info, compared, memory, clocks, devices, runState }: Paired): string {
  const { transferred = 0 } = info.ram ?? {};
  return [
    `migrated in ${info["total-time"]} ms, ${bytesText(transferred)} sent, stopped for ${info.downtime} ms`,
    ...memory.map(({ address, pages }) =>
      `memory differs at 0x${address.toString(16)}: ${pages} page${pages > 1 ? "s" : ""}`
    ),
    ...clocks.map(({ address }) =>
      `in the page at 0x${address.toString(16)} only KVM's clock differs, as the host of each side writes its own`
    ),
    ...devices.flatMap(({ command, source, destination }) => [
      `${command} differs:`,
      `  source       ${source}`,
      `  destination  ${destination}`,
    ]),
    memory.length + devices.length === 0
      ? `${bytesText(compared)} of memory and the devices' state are equal; the destination is ${runState}`
      : `the destination is ${runState}`,
  ].join("\n");
}
