/**
 * The program's command line: options every command takes, the guest's options, and what goes for all of them.
 *
 * Options stand before or behind the command. Wrong usage is a {@link UsageError}, one line, exit status 2.
 * @module
 */
import { Command, type CommandUnknownOpts, InvalidArgumentError, Option } from "@commander-js/extra-typings";
import type { BenchOptions } from "./bench.ts";

/** The person's command line makes no sense. */
export class UsageError extends Error {
  override name = "UsageError";
}

/** For options that may be given several times. */
export function repeatable(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

function collected<Flags extends string>(flags: Flags, description: string) {
  return [flags, description + "; repeatable", repeatable] as const;
}

/** Suffixes of a size, each 1024 of the one before it. */
const SUFFIXES = "bkmgtpe";

/** Whether a text is a size in bytes, with or without a suffix, that a number holds exactly. */
export function isSize(text: string): boolean {
  const [, digits, suffix = "b"] = /^(0x[0-9a-f]+|\d+(?:\.\d*)?|\.\d+)([bkmgtpe])?$/i.exec(text) ?? [];
  return digits !== undefined && Number(digits) * 1024 ** SUFFIXES.indexOf(suffix.toLowerCase()) < 2 ** 53;
}

/** A size in bytes with a suffix; checked here for its form, for what it means by whoever uses it. */
export function sizeArgument(text: string): string {
  if (!isSize(text)) throw new InvalidArgumentError("Expected a size such as 256M or 0x11000.");
  return text;
}

/** A file or directory that is to be made: "-" does not stand for standard output. */
export function newFile(text: string): string {
  if (text === "-") throw new InvalidArgumentError("Expected a file; it is made under another name and then moved.");
  return text;
}

const EXAMPLES = `
Examples:
  miglab                                          a console on a model guest of 256 MiB; type help
  miglab -e 'migrate file:/tmp/vm.sav' -e 'info migrate'
  miglab run save.hmp                             lines of a file; - is standard input
  miglab --incoming file:/tmp/vm.sav -e 'info status'
  miglab --guest vm.sav -e 'migrate_set_capability mapped-ram on' -e 'migrate file:new.sav'
  miglab --qmp /run/vm.qmp                        the same console on a running QEMU
  miglab inspect vm.sav                           what a saved guest holds
  source <(miglab completions bash)               the Tab key in the shell

Commands at the prompt are those of QEMU's monitor, answered as QEMU 10.0 answers them; a line that starts with { is
QMP. Lines from a pipe (miglab < FILE) run as miglab run --keep-going - does: no prompt, no echo, on behind an error.

Exit status: 0 done, 1 the operation failed (a line of a script too), 2 wrong usage.`;

/** The root command with its options, without commands and without an action. */
// deno-lint-ignore explicit-module-boundary-types
export function rootCommand() {
  return new Command("miglab")
    .description("A scriptable workbench for QEMU migration streams. Without a command: the console.")
    .usage("[options] [command]")
    .optionsGroup("Guest:")
    .option("--ram <size>", "RAM of the model guest; what comes in must then fit (default 256M)", sizeArgument)
    .option("--guest <file>", "begin with a saved guest instead of the model")
    .option("--offset <bytes>", "where in that file the stream begins", sizeArgument)
    .option(...collected("--channel <file>", "a further channel of that guest's migration"))
    .option("--snapshot <name>", "internal snapshot of that qcow2 image, by name or id (default the last)")
    .option("--qmp <socket>", "drive a running QEMU by its monitor: PATH, unix:PATH or tcp:HOST:PORT")
    .option("-S, --stopped", "do not start the guest, as QEMU's -S")
    .option("--incoming <uri>", "be a destination: a URI such as unix:/tmp/m.sock, or defer")
    .option(...collected("--content <spec>", "what RAM holds: zero, pattern, random[:SIZE | :P%], file:PATH@ADDRESS"))
    .addOption(
      new Option("--accel <name>", "whose rules capabilities follow").choices(["tcg", "kvm"] as const),
    )
    .optionsGroup("Lines:")
    .option(...collected("-e, --execute <line>", "run this line instead of a console"))
    .option("--events", "show QMP events as they come (the console)")
    .optionsGroup("Everywhere:")
    .option(...collected("--plugin <module>", "load a plugin, a path or a URL"))
    .option("--json", "the result as JSON; one object a line for lines that are run")
    .addOption(
      new Option("--color <when>", "colours").choices(["auto", "always", "never"] as const).default("auto" as const),
    )
    .option("-v, --verbose", "say more; a stack trace where something fails")
    .option("-q, --quiet", "no banner, no progress")
    .helpOption("-h, --help", "this help; miglab help COMMAND for one command")
    .addHelpText("after", EXAMPLES);
}

/** The root command. */
export type Root = ReturnType<typeof rootCommand>;

/** Values of its options. */
export type RootOptions = ReturnType<Root["opts"]>;

/** Those of {@link RootOptions} that only mean something where a guest is opened. */
const GUEST_OPTIONS: readonly string[] = [
  "ram",
  "guest",
  "offset",
  "channel",
  "snapshot",
  "qmp",
  "stopped",
  "incoming",
  "content",
  "accel",
  "execute",
  "events",
] satisfies (keyof RootOptions)[];

/** What commands that open a guest do not take after all. */
const REFUSED: Readonly<Record<string, readonly string[]>> = {
  run: ["execute", "events"],
  serve: ["execute", "events"],
  save: GUEST_OPTIONS.filter((name) => name !== "qmp"),
  restore: GUEST_OPTIONS.filter((name) => name !== "qmp"),
};

/** Whether an option of the root means something to a command. */
export function takes(command: string, option: string): boolean {
  return !(REFUSED[command] ?? GUEST_OPTIONS).includes(option);
}

/** Options of the program that a command has too are the command's, wherever they stand. Before its action. */
export function handDown(root: CommandUnknownOpts, command: CommandUnknownOpts): void {
  if (root === command) return;
  for (const option of command.options) {
    const name = option.attributeName();
    if (root.getOptionValueSource(name) !== "cli" || !root.options.some((other) => other.long === option.long)) {
      continue;
    }
    command.setOptionValueWithSource(name, root.getOptionValue(name), "cli");
    root.setOptionValueWithSource(name, undefined, "default");
  }
}

/** @throws {UsageError} when an option was given that means nothing to this command */
export function refuseOthers(root: Root, command: string): void {
  for (const option of root.options) {
    const name = option.attributeName() as keyof RootOptions;
    if (takes(command, name) || root.getOptionValueSource(name) !== "cli") continue;
    throw new UsageError(`option '${option.long}' does not go with '${command}'`);
  }
}

/**
 * The guest's options as a workbench takes them.
 * @throws {UsageError} when two of them contradict each other
 */
export function benchOptions(options: RootOptions): BenchOptions {
  const { ram, guest, offset, channel, snapshot, qmp, stopped, incoming, content, accel, plugin } = options;
  if (qmp !== undefined) {
    const machine = {
      "--ram": ram,
      "--guest": guest,
      "--stopped": stopped,
      "--incoming": incoming,
      "--content": content,
      "--accel": accel,
    };
    for (const [flag, given] of Object.entries(machine)) {
      if (given !== undefined) throw new UsageError(`option '--qmp' cannot be used with option '${flag}'`);
    }
  }
  if (guest !== undefined) {
    for (const [flag, given] of Object.entries({ "--ram": ram, "--content": content, "--incoming": incoming })) {
      if (given !== undefined) throw new UsageError(`option '--guest' cannot be used with option '${flag}'`);
    }
  }
  if (guest === undefined) {
    for (const [flag, given] of Object.entries({ "--offset": offset, "--channel": channel, "--snapshot": snapshot })) {
      if (given !== undefined) throw new UsageError(`option '${flag}' needs option '--guest' or a command`);
    }
  }
  const saved = { guest, offset, channels: channel, snapshot };
  return { ram, ...saved, qmp, stopped, incoming, content, accel, plugins: plugin };
}
