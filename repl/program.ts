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
import { type Convert, convertCommand } from "./commands/convert.ts";
import { type Diff, diffCommand } from "./commands/diff.ts";
import { type Explain, explainCommand } from "./commands/explain.ts";
import { type Extract, extractCommand } from "./commands/extract.ts";
import { type Inspect, inspectCommand } from "./commands/inspect.ts";
import { type Pair, pairCommand } from "./commands/pair.ts";
import { type Record, recordCommand, type Replay, replayCommand } from "./commands/record.ts";
import { restoreCommand } from "./commands/restore.ts";
import { runCommand } from "./commands/run.ts";
import { salvageCommand, type SalvageTool } from "./commands/salvage.ts";
import { type Attach, saveCommand } from "./commands/save.ts";
import { serveCommand } from "./commands/serve.ts";
import { type Verify, verifyCommand } from "./commands/verify.ts";
import { type Why, whyCommand } from "./commands/why.ts";
import { type Root, rootCommand, type RootOptions, UsageError } from "./options.ts";
import { describeError, oneLine, type Output, ReaderGone } from "./output.ts";
import { nearest } from "./similar.ts";

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
  /** The exit status; 0 when nobody says. */
  finish(status: number): void;
}

/** Puts one command into the program. */
export type CommandModule = (root: Root, context: Context) => void;

/** All commands, in the order of the help. */
const COMMANDS: readonly CommandModule[] = [
  consoleCommand,
  runCommand,
  inspectCommand,
  explainCommand,
  verifyCommand,
  whyCommand,
  saveCommand,
  restoreCommand,
  serveCommand,
  pairCommand,
  recordCommand,
  replayCommand,
  diffCommand,
  convertCommand,
  extractCommand,
  salvageCommand,
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
    finish: (value) => status = value,
  };
  prepare(root, context);
  try {
    await root.parseAsync([...args], { from: "user" });
    return status;
  } catch (error) {
    return fail(error, root, context);
  }
}

/** Everything of {@link runProgram} but the run: for shell completion, which reads the program's own shape. */
function prepare(root: Root, context: Context): void {
  const { output, tools } = context;
  root
    .version(`miglab ${tools.version}`, "--version", "the program's version")
    .exitOverride()
    .configureOutput({
      writeOut: output.out,
      writeErr: output.err,
      outputError: () => {}, // said by fail()
      // commander would read the environment, and so ask for leave to
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    })
    .helpCommand("help [command]", "help for a command");
  for (const command of COMMANDS) command(root, context);
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

/** commander's complaint in our words: one line, and a mistyped command is called one. */
function usageText(error: CommanderError, root: Root): string {
  const [name] = root.args;
  if (
    error.code === "commander.excessArguments" && name !== undefined && !root.commands.some((c) => c.name() === name)
  ) {
    const meant = nearest(name, root.commands.map((command) => command.name()));
    return `unknown command '${name}'` + (meant ? ` (did you mean ${meant}?)` : "; try miglab --help");
  }
  return oneLine(error.message.replace(/^error: /, "")).replace("(Did you mean", "(did you mean");
}
