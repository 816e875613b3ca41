/**
 * The program: its commands, and what becomes of errors.
 *
 * What commands work with is handed in as {@link Tools}, functions that load the heavy part when it is needed: the version
 * and the help must not wait for a decoder.
 * @module
 */
import { CommanderError } from "@commander-js/extra-typings";
import type { OpenBench } from "./bench.ts";
import { type Style, styleFor } from "./colour.ts";
import { completionsCommand } from "./commands/completions.ts";
import { consoleCommand } from "./commands/console.ts";
import type { Convert } from "./commands/convert.ts";
import type { Diff } from "./commands/diff.ts";
import type { Explain } from "./commands/explain.ts";
import type { Extract } from "./commands/extract.ts";
import type { Inspect } from "./commands/inspect.ts";
import { type Pair, pairCommand } from "./commands/pair.ts";
import { type Record, recordCommand, type Replay, replayCommand } from "./commands/record.ts";
import { restoreCommand } from "./commands/restore.ts";
import { runCommand } from "./commands/run.ts";
import type { SalvageTool } from "./commands/salvage.ts";
import { type Attach, saveCommand } from "./commands/save.ts";
import { type Snap, snapCommand } from "./commands/snap.ts";
import { serveCommand } from "./commands/serve.ts";
import type { Verify } from "./commands/verify.ts";
import type { Why } from "./commands/why.ts";
import { type Root, rootCommand, type RootOptions, UsageError } from "./options.ts";
import { describeError, type Output, ReaderGone } from "./output.ts";
import { knownCommand, prepare, usageText } from "./parse.ts";
import { REPORTS } from "./reports.ts";
import type { StepWatch } from "./watch.ts";

/** The rooms the program is built from, behind functions. */
export interface Tools {
  /** "0.1.0". */
  readonly version: string;
  readonly openBench: OpenBench;
  readonly attach: Attach;
  readonly pair: Pair;
  readonly record: Record;
  readonly replay: Replay;
  readonly inspect: Inspect;
  readonly explain: Explain;
  readonly verify: Verify;
  readonly why: Why;
  readonly convert: Convert;
  readonly diff: Diff;
  readonly extract: Extract;
  readonly salvage: SalvageTool;
  readonly snap: Snap;
}

/** What a command works with. */
export interface Context {
  readonly tools: Tools;
  readonly output: Output;
  /** Options given to the root command. */
  options(): RootOptions;
  /** For text on stdout. */
  style(): Style;
  /** For text on stderr. */
  errorStyle(): Style;
  /** Shows how far work is, where somebody can see it. @param label the command's name */
  steps(label: string): Promise<StepWatch | undefined>;
  /**
   * The exit status; 0 when nobody says.
   * @param why what a script is told where the command line has the status alone: two files differ
   */
  finish(status: number, why?: string): void;
  /** The operation failed: one line on stderr, exit status 1. */
  fail(what: string): void;
  /** The command stands on a line of a console or a script: standard input and stdout are not its own. */
  readonly onLine?: boolean;
  /** Aborted by Ctrl-C, where that is not the program's end. */
  readonly signal?: AbortSignal;
}

/** Puts one command into the program. */
export type CommandModule = (root: Root, context: Context) => void;

/** All commands, in the order of the help. */
const COMMANDS: readonly CommandModule[] = [
  consoleCommand,
  runCommand,
  ...REPORTS,
  saveCommand,
  restoreCommand,
  pairCommand,
  recordCommand,
  replayCommand,
  snapCommand,
  serveCommand,
  completionsCommand,
];

/**
 * Run the program.
 * @param args without the program's own name
 * @returns exit status: 0 done, 1 failed, 2 wrong usage; never rejects
 */
export async function runProgram(args: readonly string[], tools: Tools, output: Output): Promise<number> {
  let status = 0;
  const root = rootCommand();
  const context: Context = {
    tools,
    output,
    options: () => root.opts(),
    style: () => styleFor(root.opts().color, Deno.stdout.isTerminal()),
    errorStyle: () => styleFor(root.opts().color, Deno.stderr.isTerminal()),
    steps: (label) => stepsFor(label, context),
    finish: (value) => status = value,
    fail(what) {
      output.err(`miglab: ${what}\n`);
      status = 1;
    },
  };
  root.version(`miglab ${tools.version}`, "--version", "the program's version")
    .helpCommand("help [command]", "help for a command");
  prepare(root, context, COMMANDS);
  try {
    checkHelp(args, root);
    await root.parseAsync([...args], { from: "user" });
    return status;
  } catch (error) {
    return fail(error, root, context);
  }
}

/** Progress where somebody can see it. */
async function stepsFor(label: string, { options, output }: Context): Promise<StepWatch | undefined> {
  if (options().quiet || !Deno.stderr.isTerminal()) return undefined;
  const { stepWatch, terminalColumns } = await import("./watch.ts");
  return stepWatch(output.err, terminalColumns, label);
}

/** commander shows the help of the whole program where it knows no command of that name. */
function checkHelp([first, name]: readonly string[], root: Root): void {
  if (first === "help" && name !== undefined && !name.startsWith("-") && name !== "help") knownCommand(name, root);
}

function fail(error: unknown, root: Root, { output }: Context): number {
  if (error instanceof ReaderGone) return 0;
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return 0;
    output.err(`miglab: ${usageText(error, root)}\n`);
    return 2;
  }
  output.err(`miglab: ${describeError(error, root.opts().verbose ?? false)}\n`);
  return error instanceof UsageError ? 2 : 1;
}
