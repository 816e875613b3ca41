/**
 * `miglab` without a command: the console, the lines of `-e`, or the lines of a pipe.
 * @module
 */
import type { Bench } from "../bench.ts";
import { benchOptions, type RootOptions, UsageError } from "../options.ts";
import { bytesText } from "../progress.ts";
import type { CommandModule, Context } from "../program.ts";
import type { Style } from "../colour.ts";
import { runLines, runOne, watchFor } from "./run.ts";

/** Declares what the root command does by itself. */
export const consoleCommand: CommandModule = (root, context) => {
  root.action(async ({ execute, events, json }) => {
    const interactive = !execute && Deno.stdin.isTerminal() && Deno.stdout.isTerminal();
    if (events && !interactive) throw new UsageError("option '--events' needs a console");
    if (json && interactive) throw new UsageError("option '--json' does not go with a console; see run and -e");
    if (execute) {
      if (!await runLines(execute, context, { name: "-e", keepGoing: false })) context.finish(1);
    } else if (interactive) {
      context.finish(await converse(context));
    } else if (!await runOne("-", context, true)) {
      context.finish(1);
    }
  });
};

/** ms a QEMU may take before it is said that it is waited for: a monitor has room for one. */
const SILENT_MS = 700;

async function converse(context: Context): Promise<number> {
  const [{ runConsole }, { ReportLines }, { openTerminal }, { History, historyPath }] = await Promise.all([
    import("../console.ts"),
    import("../report_line.ts"),
    import("../terminal.ts"),
    import("../history.ts"),
  ]);
  const { output, tools } = context;
  const options = context.options();
  const waiting = options.qmp && !options.quiet
    ? setTimeout(() => output.err(`waiting for ${options.qmp}: is somebody else attached to it?\n`), SILENT_MS)
    : undefined;
  await using bench: Bench = await tools.openBench(benchOptions(options)).finally(() => clearTimeout(waiting));
  const terminal = openTerminal();
  const style = context.style();
  return await runConsole({
    bench,
    output,
    style,
    terminal,
    history: new History(historyPath()),
    watch: await watchFor(context) ?? ((work) => work),
    reports: new ReportLines(context),
    banner: options.quiet ? undefined : banner(tools.version, bench, options, style),
    events: options.events || options.verbose,
    verbose: options.verbose,
  });
}

/** Two lines to begin with. */
function banner(version: string, { session }: Bench, options: RootOptions, { bold, dim }: Style): string {
  const { incoming } = options;
  const file = options.qmp ?? options.guest;
  const { configuration, memory } = session.guest;
  const ram = session.remote?.ramBytes ?? memory.blocks.find(({ idstr }) => idstr === "pc.ram")?.usedLength ??
    memory.totalBytes;
  const what = session.options.incoming
    ? `${session.remote ? `${file}, ` : ""}a destination ${
      incoming === undefined || incoming === "defer" ? "that waits for migrate_incoming" : `for ${incoming}`
    }`
    : `${file ?? "model guest"}, ${configuration.machine}, ${bytesText(ram)}`;
  return `${bold(`miglab ${version}`)}: ${what}, ${session.runState}\n` +
    dim(`help lists the commands, Tab completes, Ctrl-D leaves${session.remote ? "; quit ends QEMU" : ""}`);
}
