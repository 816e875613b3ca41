/**
 * Reports on a line of the console or of a script: `verify vm.sav --against qemu-system-x86_64`. Arguments, texts and errors
 * are those of the command line, for the same commands read them; what belongs to a process stays away: the exit status, and
 * "-" for standard input.
 * @module
 */
import { CommanderError } from "@commander-js/extra-typings";
import { type CommandShape, shapeOf } from "./command_shape.ts";
import { lineWords } from "./line_words.ts";
import { type Root, rootCommand, takes, UsageError } from "./options.ts";
import { describeError, type Output, ReaderGone } from "./output.ts";
import { prepare, usageText } from "./parse.ts";
import type { Context } from "./program.ts";
import { REPORTS } from "./reports.ts";

/** What a line came to. */
export interface ReportAnswer {
  /** The command line would end with a status that is not 0. */
  readonly error: boolean;
  /** What went wrong, one line. */
  readonly failure?: string;
  /** What a script is told where nothing went wrong: the files differ. */
  readonly verdict?: string;
}

/** Words that ask for help. */
const HELP = ["help", "?"];

/** Reports of one console or script. */
export class ReportLines {
  readonly #context: Context;
  #shapes?: readonly CommandShape[];
  /** Modules that were loaded by lines. */
  readonly #plugins: string[] = [];

  /** @param context of the program, whose options hold here too */
  constructor(context: Context) {
    this.#context = context;
  }

  /** The commands, for the Tab key and the help. Read off when first asked for: the prompt does not wait for it. */
  get shapes(): readonly CommandShape[] {
    return this.#shapes ??= shapeOf(this.#parser({ out() {}, err() {} }).root, takes).commands
      .filter(({ name }) => name !== "help");
  }

  /** Whether a line is for a report, or for the help of one. */
  owns(line: string): boolean {
    const { words: [first, second] } = lineWords(line);
    return this.#knows(first) || (HELP.includes(first) && this.#knows(second));
  }

  /** Note what a line that went well changed. */
  heard(line: string): void {
    const { words: [first, module] } = lineWords(line);
    if (first?.replaceAll("-", "_") === "plugin_load" && module !== undefined) this.#plugins.push(module);
  }

  /** The list of `help` with these below it; what a report stands in for is not in it twice. */
  below(list: string): string {
    const others = list.split("\n").filter((line) => !this.#knows(/^\S*/.exec(line)![0]));
    const lines = this.shapes.map(({ name, usage, description }) => `${name} ${usage} -- ${description}\n`);
    return `${others.join("\n")}\n` +
      `Reports on saved guests, as on the command line; help NAME shows their options:\n${lines.join("")}`;
  }

  /**
   * Run a line that is one of a report.
   * @param output of the report's text
   * @param signal aborted by Ctrl-C; absent: Ctrl-C ends the program
   * @throws {ReaderGone}
   */
  async run(line: string, output: Output, signal?: AbortSignal): Promise<ReportAnswer> {
    const { words, open } = lineWords(line);
    if (open !== undefined) return { error: true, failure: `unterminated ${open}` };
    if (words.slice(1).includes("-")) {
      return { error: true, failure: "- is standard input or output, which are not free here; name a file" };
    }
    const pipe = signal && words.slice(1).find(isPipe);
    if (pipe !== undefined) {
      return {
        error: true,
        failure: `${pipe}: a pipe, whose end the console could not wait for; use the command line`,
      };
    }
    const { root, answer } = this.#parser(output, signal);
    try {
      await root.parseAsync(HELP.includes(words[0]) ? [words[1], "--help"] : [...words], { from: "user" });
    } catch (error) {
      if (error instanceof ReaderGone) throw error;
      if (error instanceof CommanderError) {
        return error.exitCode === 0 ? { error: false } : { error: true, failure: usageText(error, root) };
      }
      const verbose = !(error instanceof UsageError) && this.#context.options().verbose;
      return { error: true, failure: describeError(error, verbose ?? false) };
    }
    return answer();
  }

  #knows(name: string | undefined): boolean {
    return this.shapes.some((shape) => shape.name === name);
  }

  #parser(output: Output, signal?: AbortSignal): { readonly root: Root; readonly answer: () => ReportAnswer } {
    const root = rootCommand();
    const program = this.#context;
    const loaded = this.#plugins;
    let answer: ReportAnswer = { error: false };
    const context: Context = {
      ...program,
      output,
      options() {
        const { plugin = [], verbose, ...line } = root.opts();
        const given = program.options();
        return { ...line, verbose: verbose ?? given.verbose, plugin: [...given.plugin ?? [], ...loaded, ...plugin] };
      },
      onLine: true,
      ...(signal ? { signal } : {}),
      finish: (status, verdict) => answer = { ...answer, error: status !== 0, ...(verdict ? { verdict } : {}) },
      fail: (failure) => answer = { error: true, failure },
    };
    prepare(root, context, REPORTS);
    return { root, answer: () => answer };
  }
}

/** Whether opening it may wait for somebody else, who never comes: no key would be heard meanwhile. */
function isPipe(path: string): boolean {
  try {
    return Deno.statSync(path).isFifo ?? false;
  } catch {
    return false; // no such file, or an option
  }
}
