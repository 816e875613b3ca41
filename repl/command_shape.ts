/**
 * The shape of the command line: commands, their options and arguments. Read off the program itself, for those who complete
 * it: shells, and the console.
 * @module
 */
import type { CommandUnknownOpts } from "@commander-js/extra-typings";

/** How the description of an option ends that may be given several times. */
const REPEATABLE = "; repeatable";

/** An option as the command line has it. */
export interface OptionShape {
  /** As the program calls it: "keepGoing". */
  readonly name: string;
  readonly short?: string;
  readonly long?: string;
  readonly description: string;
  /** A value follows; its name. */
  readonly value?: string;
  readonly choices?: readonly string[];
  /** The value is the name of a file. */
  readonly file: boolean;
  readonly repeatable: boolean;
}

/** A command: all options it takes, and what its arguments may be. */
export interface CommandShape {
  readonly name: string;
  readonly description: string;
  readonly options: readonly OptionShape[];
  /** Values of the argument, where they are few; else files when `files`. */
  readonly choices: readonly string[];
  readonly files: boolean;
  /** "[options] <file>" */
  readonly usage: string;
}

/** The whole program. */
export interface ProgramShape extends CommandShape {
  readonly commands: readonly CommandShape[];
}

/** Values of these names are files. */
const FILES = ["file", "module", "script", "a", "b", "in", "out", "dir", "directory", "qemu", "program"];

/**
 * Read the shape off a program.
 * @param takes whether a command takes an option of the root, by the names of both
 */
export function shapeOf(root: CommandUnknownOpts, takes: (command: string, option: string) => boolean): ProgramShape {
  const everywhere = optionsOf(root);
  const commands = root.commands.map((command): CommandShape => {
    const own = optionsOf(command).filter(({ name }) => name !== "help");
    const shared = everywhere.filter(({ name }) =>
      takes(command.name(), name) && !own.some((option) => option.name === name)
    );
    return { ...commandShape(command), options: [...own, ...shared] };
  });
  const help = {
    name: "help",
    description: "help for a command",
    options: [],
    choices: names(commands),
    files: false,
    usage: "[command]",
  };
  return { ...commandShape(root), options: everywhere, commands: [...commands, help] };
}

/** Names of commands. */
export const names = (commands: readonly CommandShape[]) => commands.map(({ name }) => name);

function commandShape(command: CommandUnknownOpts): Omit<CommandShape, "options"> {
  const values = command.registeredArguments;
  return {
    name: command.name(),
    description: firstSentence(command.summary() || command.description()),
    choices: values.flatMap((argument) => argument.argChoices ?? []),
    files: values.some((argument) => FILES.includes(argument.name())),
    usage: command.usage(),
  };
}

function optionsOf(command: CommandUnknownOpts): OptionShape[] {
  return command.createHelp().visibleOptions(command).map((option) => {
    const value = option.required ? /<([^>]+)>/.exec(option.flags)![1] : undefined;
    return {
      name: option.attributeName(),
      short: option.short,
      long: option.long,
      description: firstSentence(option.description),
      value,
      choices: option.argChoices,
      file: value !== undefined && FILES.includes(value),
      repeatable: option.description.endsWith(REPEATABLE),
    };
  });
}

function firstSentence(text: string): string {
  return text.replace(/[.;:].*$/s, "").replace(/\s+/g, " ");
}
