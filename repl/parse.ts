/**
 * commander as this program uses it: it throws instead of ending the process, and complains in our words.
 * @module
 */
import type { CommanderError } from "@commander-js/extra-typings";
import { handDown, type Root, UsageError } from "./options.ts";
import { oneLine } from "./output.ts";
import type { CommandModule, Context } from "./program.ts";
import { nearest } from "./similar.ts";

/** Put commands into a root command, which then throws instead of ending the process. */
export function prepare(root: Root, context: Context, commands: readonly CommandModule[]): void {
  const { output } = context;
  root
    .exitOverride()
    .configureOutput({
      writeOut: output.out,
      writeErr: output.err,
      outputError: () => {}, // said by fail()
      // commander would read the environment, and so ask for leave to
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    })
    .hook("preAction", handDown);
  for (const command of commands) command(root, context);
}

/** commander's complaint in our words: one line, and a mistyped command is called one. */
export function usageText(error: CommanderError, root: Root): string {
  const [name] = root.args;
  if (
    error.code === "commander.excessArguments" && name !== undefined && !root.commands.some((c) => c.name() === name)
  ) {
    return unknownCommand(name, root);
  }
  return oneLine(error.message.replace(/^error: /, "")).replace("(Did you mean", "(did you mean");
}

/** @throws {UsageError} when the program has no command of that name */
export function knownCommand(name: string, root: Root): void {
  if (!root.commands.some((command) => command.name() === name)) throw new UsageError(unknownCommand(name, root));
}

function unknownCommand(name: string, root: Root): string {
  const meant = nearest(name, root.commands.map((command) => command.name()));
  return `unknown command '${name}'` + (meant ? ` (did you mean ${meant}?)` : "; try miglab --help");
}
