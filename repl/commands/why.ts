/**
 * `miglab why FILE`: what a failed load points at in this file.
 * @module
 */
import { InvalidArgumentError } from "@commander-js/extra-typings";
import type { Style } from "../colour.ts";
import { CHANNEL, type FileRequest, fileRequest, OFFSET, SNAPSHOT } from "../file_options.ts";
import { type FileWork, fileWork } from "../file_work.ts";
import { UsageError } from "../options.ts";
import type { CommandModule, Context } from "../program.ts";

/** What is asked. */
export interface WhyRequest extends FileRequest {
  /** What QEMU or libvirt said; absent: `qemu` is to say it. */
  readonly error?: string;
  /** A program that is to load the file. */
  readonly qemu?: string;
  /** Its arguments: the machine. */
  readonly args?: readonly string[];
  /** Longest time for that, in seconds. */
  readonly timeout?: number;
}

/** What came out. */
export interface Explained {
  /** The value of `--json`. */
  readonly report: object;
  /** Something is known: a sentence, or damage. */
  readonly known: boolean;
  /** The page for people, ending in a line feed. */
  text(style: Style): string;
}

/** Explains a failure. */
export type Why = (path: string, request: WhyRequest, work: FileWork) => Promise<Explained>;

/** Most of standard input that is read, in bytes. */
const INPUT_LIMIT = 1 << 20;

const DETAILS = `
Give the lines QEMU or libvirt printed, all of them: --error, or standard input. Or let a QEMU load the file, stopped: --qemu
and behind -- the arguments of the machine, without -incoming.

Examples:
  miglab why vm.sav --error "Machine type received is 'pc-q35-9.2' and local is 'pc-q35-10.0'"
  virsh restore vm.sav 2>&1 | miglab why vm.sav
  miglab why vm.sav --qemu qemu-system-x86_64 -- -machine pc -m 256 -nodefaults`;

/** Declares `why`. */
export const whyCommand: CommandModule = (root, context) => {
  root.command("why")
    .summary("what a failed load points at")
    .description("Say what in a saved guest a failed load points at, the likely cause, and what to do.")
    .argument("<file>", "the saved guest")
    .argument("[arguments...]", "of the QEMU of --qemu, behind --")
    .option("--error <text>", "what QEMU or libvirt said (default: standard input)")
    .option("--qemu <program>", "let this QEMU load the file, and explain what it says")
    .option("--timeout <seconds>", "give that QEMU so long (default 60)", secondsArgument)
    .option(...CHANNEL)
    .option(...SNAPSHOT)
    .option(...OFFSET)
    .addHelpText("after", DETAILS)
    .action(async (file, args, options) => {
      if (options.error !== undefined && options.qemu !== undefined) {
        throw new UsageError("option '--error' cannot be used with option '--qemu'");
      }
      if (args.length > 0 && options.qemu === undefined) throw new UsageError("arguments of a QEMU without --qemu");
      if (file === "-") throw new UsageError("the saved guest has to be a file");
      const request = { ...fileRequest(options, context), args };
      await fileWork(root, context, "why", file, (work) => why(file, request, work, context));
    });
};

function secondsArgument(text: string): number {
  const seconds = Number(text);
  if (!(seconds > 0 && seconds <= 3600)) throw new InvalidArgumentError("Expected seconds, at most 3600.");
  return seconds;
}

async function why(file: string, request: WhyRequest, work: FileWork, context: Context): Promise<void> {
  const { output, tools } = context;
  const error = request.qemu === undefined ? request.error ?? await standardInput(context) : undefined;
  const { report, text, known } = await tools.why(
    file,
    { ...request, ...(error !== undefined ? { error } : {}) },
    work,
  );
  work.hide();
  output.out(
    context.options().json
      ? JSON.stringify(report, undefined, Deno.stdout.isTerminal() ? 2 : undefined) + "\n"
      : text(context.style()),
  );
  if (!known) context.finish(1, `nothing is known of what ${file} was refused for`);
}

async function standardInput({ onLine }: Context): Promise<string> {
  if (onLine) throw new UsageError("what did it say? --error TEXT or --qemu PROGRAM");
  if (Deno.stdin.isTerminal()) throw new UsageError("what did it say? --error TEXT, --qemu PROGRAM, or standard input");
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of Deno.stdin.readable) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > INPUT_LIMIT) break;
  }
  return text;
}
