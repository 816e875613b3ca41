/**
 * `miglab extract FILE`: RAM out of a saved guest.
 * @module
 */
import { InvalidArgumentError, Option } from "@commander-js/extra-typings";
import { CHANNEL, type FileRequest, fileRequest, OFFSET, RAW, SNAPSHOT } from "../file_options.ts";
import { type FileWork, fileWork, writeBytes } from "../file_work.ts";
import { sizeArgument, UsageError } from "../options.ts";
import { oneLine } from "../output.ts";
import { bytesText } from "../progress.ts";
import type { CommandModule, Context } from "../program.ts";

/** What is asked for. */
export type ExtractWhat =
  | { readonly kind: "block"; readonly block: string | undefined }
  | { readonly kind: "range"; readonly block: string; readonly at: string; readonly length: string | undefined }
  | { readonly kind: "elf" }
  | { readonly kind: "xml" };

/** What came out. */
export interface Extracted {
  /** Bytes of the file, or those handed out. */
  readonly bytes: number;
  /** Those that are no holes, of a file. */
  readonly dataBytes?: number;
}

/**
 * Takes something out of a file.
 * @param output the new file; undefined: bytes go to `put`
 */
export type Extract = (
  file: string,
  what: ExtractWhat,
  output: string | undefined,
  put: (bytes: Uint8Array) => void,
  request: FileRequest,
  work: FileWork,
) => Promise<Extracted>;

const DETAILS = `
Sizes and offsets take suffixes: 0x1000, 4k, 1.5M. Without -o bytes go to stdout, which then must not be a terminal. Zero
pages are holes in the new file, which appears when it is complete.

The block "memory" is guest-physical memory: its offsets are addresses. An ELF core and raw memory have no other.

Examples:
  miglab extract vm.sav --block pc.ram -o pc.ram.raw
  miglab extract vm.sav --format elf -o vm.core && gdb -c vm.core
  miglab extract vm.sav --page pc.ram:0x7c000 | xxd
  miglab extract vm.sav --range pc.ram:1M+64k -o kernel.bin
  miglab extract dump.elf --range memory:0xf0000+64k -o bios.bin
  miglab extract dump.elf --format raw -o memory.raw
  miglab extract saved.img --xml`;

/** Declares `extract`. */
export const extractCommand: CommandModule = (root, context) => {
  root.command("extract")
    .summary("RAM out of a saved guest")
    .description("Write one RAM block, a piece of it, or all of guest-physical memory as an ELF core.")
    .argument("<file>", "a saved guest")
    .option("--block <id>", "the block: pc.ram")
    .addOption(
      new Option("--format <format>", "raw: a block, the only one unless named; elf: all memory").choices(
        ["raw", "elf"] as const,
      ),
    )
    .option("--page <block:offset>", "the page that holds this byte", placeArgument)
    .option("--range <block:offset+length>", "a piece of a block", rangeArgument)
    .option("--xml", "the domain's XML of a libvirt image")
    .option("-o, --output <file>", "the new file")
    .option(...OFFSET)
    .option(...CHANNEL)
    .option(...SNAPSHOT)
    .option(...RAW)
    .addHelpText("after", DETAILS)
    .action(async (file, { block, format, page, range, xml, output, ...options }) => {
      const wanted: ExtractWhat[] = [];
      if (format === "elf") wanted.push({ kind: "elf" });
      if (block !== undefined) wanted.push({ kind: "block", block });
      if (page) wanted.push({ kind: "range", ...page, length: undefined });
      if (range) wanted.push({ kind: "range", ...range });
      if (xml) wanted.push({ kind: "xml" });
      if (format === "raw" && !wanted.length) wanted.push({ kind: "block", block: undefined });
      if (wanted.length !== 1) {
        throw new UsageError("extract: give one of --block, --page, --range, --format and --xml");
      }
      const [what] = wanted;
      const target = output === "-" ? undefined : output;
      if (target === undefined && what.kind === "elf") throw new UsageError("extract: --format elf needs -o FILE");
      if (target === undefined && what.kind !== "xml" && (context.onLine || Deno.stdout.isTerminal())) {
        throw new UsageError(
          `extract: memory does not go to a ${context.onLine ? "console" : "terminal"}; give -o FILE`,
        );
      }
      await fileWork(root, context, "extract", file, async (work) => {
        const request = fileRequest(options, context);
        const put = context.onLine ? putText(context) : writeBytes;
        const { bytes, dataBytes } = await context.tools.extract(file, what, target, put, request, work);
        work.hide();
        if (target === undefined || context.options().quiet) return;
        if (context.options().json) {
          return context.output.out(
            JSON.stringify({ file: target, bytes, ...(dataBytes !== undefined ? { dataBytes } : {}) }) + "\n",
          );
        }
        const data = dataBytes === undefined ? "" : `, ${bytesText(dataBytes)} of it data`;
        context.output.out(`${oneLine(target)}: ${bytesText(bytes)}${data}\n`);
      });
    });
};

/** XML among the texts of a console. */
function putText({ output }: Context): (bytes: Uint8Array) => void {
  return (bytes) => output.out(new TextDecoder().decode(bytes).replace(/\n?$/, "\n"));
}

/** BLOCK:OFFSET; names of blocks have colons too. */
function placeArgument(text: string): { readonly block: string; readonly at: string } {
  const colon = text.lastIndexOf(":");
  if (colon <= 0) throw new InvalidArgumentError("Expected BLOCK:OFFSET such as pc.ram:0x7c000.");
  return { block: text.slice(0, colon), at: sizeArgument(text.slice(colon + 1)) };
}

/** BLOCK:OFFSET+LENGTH. */
function rangeArgument(text: string): { readonly block: string; readonly at: string; readonly length: string } {
  const plus = text.lastIndexOf("+");
  if (plus <= 0) throw new InvalidArgumentError("Expected BLOCK:OFFSET+LENGTH such as pc.ram:1M+64k.");
  return { ...placeArgument(text.slice(0, plus)), length: sizeArgument(text.slice(plus + 1)) };
}
