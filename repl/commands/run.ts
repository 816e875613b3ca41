/**
 * `miglab run SCRIPT...`: lines of files, each file on a fresh workbench. And what `-e` and a pipe share with it.
 * @module
 */
import type { Bench } from "../bench.ts";
import { benchOptions, refuseOthers, UsageError } from "../options.ts";
import type { CommandModule, Context } from "../program.ts";
import { onEnding } from "../signals.ts";
import type { Watch } from "../watch.ts";

const DETAILS = `
A line is a command of QEMU's monitor, or QMP when it starts with {. Blank lines and lines that start with # are skipped.
The first line that fails ends the script; what the monitor prints about it goes to stdout as everything else, and
SCRIPT:LINE with the reason to stderr.

migrate waits; one that fails is an error although QEMU's monitor says nothing. Behind migrate -d the next line waits a
quarter of a second at most. What comes in from a file is there before the next line. In the end a migration that still runs,
or that is still awaited, is waited for; quit cancels it.

Reports (inspect, diff, verify ...) stand on a line as on the command line: one that would end with status 1, as a diff of
files that differ, has failed.

--json prints one object for each line: {"script", "hmp", "out", "error"}, or {"script", "qmp", "reply"} for QMP.

Examples:
  miglab run save.hmp check.hmp        each on a fresh guest
  printf 'info status\\n' | miglab run -
  miglab run --ram 1G --incoming defer load.hmp`;

/** Declares `run`. */
export const runCommand: CommandModule = (root, context) => {
  root.command("run")
    .summary("run monitor lines from files")
    .description("Run monitor lines from files, each file on a fresh workbench with the same options.")
    .argument("<script...>", "files with one line a command; - is standard input")
    .option("--keep-going", "go on behind a line that failed, and behind a script that failed")
    .addHelpText("after", DETAILS)
    .action(async (scripts, { keepGoing }) => {
      refuseOthers(root, "run");
      if (scripts.filter((name) => name === "-").length > 1) {
        throw new UsageError("standard input can be read only once");
      }
      let good = true;
      for (const name of scripts) {
        if (!await runOne(name, context, keepGoing ?? false)) good = false;
        if (!good && !keepGoing) break;
      }
      if (!good) context.finish(1);
    });
};

/**
 * Run the lines of a file.
 * @returns whether all went well; what did not was said
 */
export async function runOne(name: string, context: Context, keepGoing: boolean): Promise<boolean> {
  const { readLines, ReadError } = await import("../lines.ts");
  try {
    return await runLines(readLines(name), context, { name, keepGoing });
  } catch (error) {
    if (!(error instanceof ReadError)) throw error;
    context.output.err(`miglab: ${error.message}\n`);
    return false;
  }
}

/**
 * Run lines on a fresh workbench.
 * @returns whether all went well
 */
export async function runLines(
  lines: Iterable<string> | AsyncIterable<string>,
  context: Context,
  how: { readonly name: string; readonly keepGoing: boolean },
): Promise<boolean> {
  const [{ runScript }, { ReportLines }] = await Promise.all([import("../script.ts"), import("../report_line.ts")]);
  const options = context.options();
  await using bench: Bench = await context.tools.openBench(benchOptions(options));
  const silence = bench.session.remote && tellWhatGoesOn(bench, context);
  try {
    return await runScript(lines, bench, context.output, {
      ...how,
      incoming: options.incoming && `--incoming ${options.incoming}`,
      json: options.json,
      verbose: options.verbose,
      watch: await watchFor(context),
      reports: new ReportLines(context),
    });
  } finally {
    silence?.();
  }
}

/** Ctrl-C ends the program alone: a migration of a QEMU is QEMU's, and whoever leaves it there is to know. */
function tellWhatGoesOn({ session }: Bench, { output }: Context): () => void {
  return onEnding((status) => {
    const below = Deno.stderr.isTerminal() ? "\n" : "";
    if (session.outgoing.running) output.err(`${below}miglab: the migration goes on in QEMU; migrate_cancel ends it\n`);
    Deno.exit(status);
  });
}

/** Progress where somebody can see it. */
export async function watchFor({ output, options }: Context): Promise<Watch | undefined> {
  if (options().quiet || !Deno.stderr.isTerminal()) return undefined;
  const { terminalWatch, terminalColumns } = await import("../watch.ts");
  return terminalWatch(output.err, terminalColumns);
}
