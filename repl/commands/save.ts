/**
 * `miglab save --qmp SOCKET OUT`: a running QEMU saved in one call.
 * @module
 */
import { Argument, InvalidArgumentError, Option } from "@commander-js/extra-typings";
import type { Forecast } from "../../core/forecast.ts";
import type { RestoredFile } from "../../core/restore_job.ts";
import type { SavedFile } from "../../core/save_job.ts";
import { newFile, refuseOthers, sizeArgument, UsageError } from "../options.ts";
import { describeError } from "../output.ts";
import { bytesText, figuresOf, type MigrationFigures } from "../progress.ts";
import type { CommandModule, Context } from "../program.ts";
import { onEnding } from "../signals.ts";

/** How a machine is saved, in the words of the command line. */
export interface SaveRequest {
  readonly format?: "mapped-ram" | "legacy" | "libvirt-sparse";
  readonly channels?: number;
  readonly directIo?: boolean;
  readonly live?: boolean;
  /** A size. */
  readonly offset?: string;
  /** A size, per second. */
  readonly maxBandwidth?: string;
  /** A file. */
  readonly xml?: string;
  readonly onProgress?: (forecast: Forecast) => void;
  readonly signal?: AbortSignal;
}

/** How one is loaded. */
export interface RestoreRequest {
  /** A size. */
  readonly offset?: string;
  readonly channels?: number;
  readonly directIo?: boolean;
  readonly cont?: boolean;
}

/** A running QEMU, as far as jobs need it. */
export interface Machine extends AsyncDisposable {
  save(path: string, request: SaveRequest): Promise<SavedFile>;
  restore(path: string, request: RestoreRequest): Promise<RestoredFile>;
}

/** Attaches to one. */
export type Attach = (address: string) => Promise<Machine>;

const DETAILS = `
The guest is stopped first (--live: it runs until the last pages) and stays stopped behind a save. OUT appears when it is whole
and on the disk. Capabilities and parameters are put back as they were. Ctrl-C cancels: the guest goes on, and nothing is left.

The file is opened here and handed to QEMU, which may not be allowed to open it itself. Without --allow-ffi, or over tcp:, QEMU
opens it by its path.

Examples:
  miglab save --qmp /run/vm.qmp vm.sav
  miglab save --qmp /run/vm.qmp --channels 4 --direct-io vm.sav
  miglab save --qmp /run/vm.qmp --live --max-bandwidth 200M vm.sav
  miglab save --qmp /run/vm.qmp --format libvirt-sparse --xml guest.xml guest.save`;

/** Declares `save`. */
export const saveCommand: CommandModule = (root, context) => {
  root.command("save")
    .summary("save a running QEMU in one call")
    .description("Save a running QEMU, given with --qmp, into a file.")
    .addArgument(new Argument("<out>", "the file to make").argParser(newFile))
    .addOption(
      new Option("--format <name>", "what to write (default mapped-ram)")
        .choices(["mapped-ram", "legacy", "libvirt-sparse"] as const),
    )
    .option("--channels <count>", "multifd channels; mapped-ram only", channelsArgument)
    .option("--direct-io", "pages pass the page cache by")
    .option("--live", "the guest runs meanwhile")
    .addOption(new Option("--stop", "the guest is stopped first (the default)").conflicts("live"))
    .option("--offset <bytes>", "where the stream begins; what OUT has in front of it is kept", sizeArgument)
    .option("--max-bandwidth <bytes>", "a second; default: as fast as it goes", sizeArgument)
    .option("--xml <file>", "the domain XML of a libvirt image")
    .addHelpText("after", DETAILS)
    .action(async (out, { stop: _, ...options }) => {
      refuseOthers(root, "save");
      if (options.xml !== undefined && options.format !== "libvirt-sparse") {
        throw new UsageError("option '--xml' goes with '--format libvirt-sparse' only");
      }
      await job(context, async (machine) => {
        const began = performance.now();
        const saved = await withProgress(context, (how) => machine.save(out, { ...options, ...how }));
        report(context, { ...saved, format: options.format ?? "mapped-ram" }, saveText(saved, began));
      });
    });
};

/** A number of multifd channels. */
export function channelsArgument(text: string): number {
  if (!/^\d+$/.test(text) || Number(text) < 1 || Number(text) > 255) {
    throw new InvalidArgumentError("Expected a number from 1 to 255.");
  }
  return Number(text);
}

/**
 * Attach to the QEMU of `--qmp` and do something; what goes wrong is one line and exit status 1.
 * @throws {UsageError} without `--qmp`
 */
export async function job(context: Context, work: (machine: Machine) => Promise<void>): Promise<void> {
  const { qmp, verbose } = context.options();
  if (qmp === undefined) throw new UsageError("a running QEMU is needed: --qmp SOCKET");
  try {
    await using machine = await context.tools.attach(qmp);
    await work(machine);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    context.output.err(`miglab: ${describeError(error, verbose ?? false)}\n`);
    context.finish(1);
  }
}

/** The result: JSON, or a line. */
export function report(context: Context, value: unknown, text: string): void {
  const { json, quiet } = context.options();
  if (json) context.output.out(JSON.stringify(value, (_, one) => typeof one === "bigint" ? String(one) : one) + "\n");
  else if (!quiet) context.output.out(text + "\n");
}

/** Watch a migration, and let Ctrl-C cancel it: a second one leaves at once. */
export async function withProgress<T>(
  context: Context,
  work: (how: Pick<SaveRequest, "onProgress" | "signal">) => Promise<T>,
): Promise<T> {
  const { watchFor } = await import("./run.ts");
  const watch = await watchFor(context) ?? (<U>(promise: Promise<U>) => promise);
  const abort = new AbortController();
  const stop = onEnding((status) => {
    if (abort.signal.aborted) Deno.exit(status);
    abort.abort();
  });
  let figures: MigrationFigures = {};
  try {
    let told = context.options().quiet || Deno.stderr.isTerminal(); // there the progress line says it
    const onProgress = (forecast: Forecast) => {
      figures = figuresOf(forecast);
      if (told || forecast.converges !== false) return;
      told = true;
      const writes = bytesText(forecast.dirtyBytesPerSecond);
      context.output.err(`miglab: this will not converge: the guest writes ${writes}/s, and it leaves no faster\n`);
    };
    const promise = work({ signal: abort.signal, onProgress });
    return await watch(promise, () => figures);
  } catch (error) {
    if (abort.signal.aborted && error === abort.signal.reason) throw new Error("cancelled before it began");
    throw error;
  } finally {
    stop();
  }
}

function saveText({ path, bytes, info, wasRunning }: SavedFile, began: number): string {
  const ms = info["total-time"] ?? performance.now() - began;
  const { total = 0, transferred = 0 } = info.ram ?? {};
  const stopped = info.downtime === undefined ? "" : `, stopped for ${info.downtime} ms of it`;
  const after = wasRunning ? "; the guest stays stopped: cont lets it go on" : "";
  return `${path}: ${bytesText(total)} of RAM, ${bytesText(transferred)} written, in ${
    (ms / 1000).toFixed(2)
  } s${stopped}, ` +
    `${bytesText(bytes)} long${after}`;
}
