/**
 * `miglab explain FILE`: every byte of a saved guest, with what it means and where the rule is written.
 * @module
 */
import { InvalidArgumentError } from "@commander-js/extra-typings";
import type { Style } from "../colour.ts";
import { CHANNEL, type FileRequest, fileRequest, OFFSET, SNAPSHOT } from "../file_options.ts";
import { type FileWork, fileWork } from "../file_work.ts";
import { isSize, sizeArgument, UsageError } from "../options.ts";
import { oneLine } from "../output.ts";
import type { CommandModule, Context } from "../program.ts";

/** What is asked of a file. */
export interface ExplainRequest extends FileRequest {
  /** Offset in the file, CHANNEL:OFFSET or BLOCK:OFFSET. */
  readonly at?: string;
  /** Guest-physical address: a size. */
  readonly address?: string;
  readonly limit?: number;
  readonly section?: string;
  /** A line for each page record. */
  readonly pages?: boolean;
}

/** One field. */
export interface ExplainedLine {
  /** The value of `--json`; a heading has none. */
  readonly json?: object;
  /** Without a line feed. */
  text(style: Style): string;
}

/** Reads a file; "-" is standard input. The last value says what is wrong with it. */
export type Explain = (
  path: string,
  request: ExplainRequest,
  work: FileWork,
) => AsyncGenerator<ExplainedLine, string | undefined>;

/** Lines when a place was asked for and no number of them. */
const LINES_AT = 16;
/** Characters written at once. */
const CHUNK = 1 << 16;

const DETAILS = `
A line is offset, length, the first bytes, the field with its value, what it means, and where the rule is written: a file and
a function of QEMU. The lengths add up to the file; bytes nobody claims, and all that follows a fault, are opaque. Of a stream
that is packed the unpacked bytes are counted.

--at OFFSET begins with the line that holds that byte and prints ${LINES_AT} lines, or --limit. --at BLOCK:OFFSET and --address go
the other way: what in the file holds that page of RAM.

The files of --channel follow the main one, each under its name (in --json each line has it as "channel"); --at CHANNEL:OFFSET
begins in one, named by its path or the last part of that. --section ram shows those packets and records that carry RAM. A
channel that is FILE itself is explained, too, as far as it goes without the main one.

Examples:
  miglab explain vm.sav | less
  miglab explain vm.sav --at 0x2100000 --limit 1      which page is that?
  miglab explain vm.sav --at pc.ram:0x2000000         where is that page?
  miglab explain vm.sav --section cpu
  miglab explain main.bin --channel ch0.bin --channel ch1.bin --at ch0.bin:0x40
  miglab explain vm.sav --json | jq -s 'map(.length) | add'`;

/** Declares `explain`. */
export const explainCommand: CommandModule = (root, context) => {
  root.command("explain")
    .summary("every byte of a saved guest, named")
    .description("Print what every byte of a saved guest is, from first to last.")
    .argument("<file>", "a saved guest; - is standard input")
    .option(
      "--at <place>",
      "begin there: an offset in the file, CHANNEL:OFFSET in another; BLOCK:OFFSET: what holds that page",
      placeArgument,
    )
    .option("--address <address>", "what holds the page at this guest-physical address", sizeArgument)
    .option("--limit <lines>", "so many lines", linesArgument)
    .option("--section <name>", "only sections of this name")
    .option("--pages", "a line for each page record (always with --json)")
    .option(...CHANNEL)
    .option(...SNAPSHOT)
    .option(...OFFSET)
    .addHelpText("after", DETAILS)
    .action(async (file, options) => {
      if (options.at !== undefined && options.address !== undefined) {
        throw new UsageError("option '--at' cannot be used with option '--address'");
      }
      const limit = options.limit ?? (options.at === undefined ? undefined : LINES_AT);
      const request = fileRequest({ ...options, limit }, context);
      await fileWork(root, context, "explain", file, (work) => explain(file, request, work, context));
    });
};

/** OFFSET, or with a name in front; names of blocks have colons too. */
function placeArgument(text: string): string {
  const colon = text.lastIndexOf(":");
  if (colon === 0 || !isSize(text.slice(colon + 1))) {
    throw new InvalidArgumentError("Expected OFFSET or BLOCK:OFFSET such as 0x2100000 or pc.ram:0x2000.");
  }
  return text;
}

function linesArgument(text: string): number {
  if (!/^[1-9]\d*$/.test(text)) throw new InvalidArgumentError("Expected a number of lines.");
  return Number(text);
}

/** @returns what is wrong with the file */
async function explain(
  file: string,
  request: ExplainRequest,
  work: FileWork,
  context: Context,
): Promise<string | undefined> {
  const { output, tools } = context;
  const { json } = context.options();
  const style = context.style();
  const lines = tools.explain(file, { ...request, pages: request.pages || json }, work);
  let text = "";
  try {
    for (;;) {
      const { value, done } = await lines.next();
      if (done) return value === undefined ? undefined : oneLine(value);
      if (!json) text += value.text(style) + "\n";
      else if (value.json) text += JSON.stringify(value.json) + "\n";
      if (text.length < CHUNK) continue;
      const ready = text;
      text = "";
      work.hide();
      output.out(ready);
    }
  } finally {
    await lines.return(undefined);
    work.hide();
    if (text !== "") output.out(text);
  }
}
