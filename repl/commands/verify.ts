/**
 * `miglab verify FILE`: every invariant of a saved guest, and whether a QEMU would load it.
 * @module
 */
import type { Style } from "../colour.ts";
import { refuseOthers, sizeArgument } from "../options.ts";
import { describeError, ReaderGone } from "../output.ts";
import type { CommandModule, Context } from "../program.ts";

/** What is asked of a file. */
export interface VerifyRequest {
  /** Where in it the stream begins: a size. */
  readonly offset?: string;
  /** Internal snapshot of a qcow2 image. */
  readonly snapshot?: string;
  /** Further channels of the migration. */
  readonly channels?: readonly string[];
  /** The way back, recorded: a file. */
  readonly returnPath?: string;
  /** A QEMU program, or a file of `-dump-vmstate`. */
  readonly against?: string;
  /** Modules of plugins. */
  readonly plugins?: readonly string[];
  readonly onProgress?: (bytes: number, total: number | undefined) => void;
}

/** What came out. */
export interface Verified {
  /** The value of `--json`. */
  readonly report: { readonly ok: boolean };
  /** A line for each finding, ending in a line feed. */
  text(style: Style): string;
}

/** Looks through a file; "-" is standard input. */
export type Verify = (path: string, request: VerifyRequest) => Promise<Verified>;

const DETAILS = `
A line is severity, offset, the field, and what is wrong. An error makes the file unfit to be trusted, although QEMU may load
it; a warning is worth knowing. The exit status is 1 when there are errors.

--against asks a QEMU for its machine types, capabilities and device layouts, or reads what its -dump-vmstate wrote, and says
for each device whether it would be taken.

Examples:
  miglab verify vm.sav
  miglab verify --against qemu-system-x86_64 vm.sav
  miglab verify --json vm.sav | jq '.findings[] | select(.severity == "error")'`;

/** Declares `verify`. */
export const verifyCommand: CommandModule = (root, context) => {
  root.command("verify")
    .summary("check every invariant of a saved guest")
    .description("Check every invariant of a saved guest; list each violation with its offset.")
    .argument("<file>", "a saved guest; - is standard input")
    .option("--against <qemu>", "will this QEMU load it: a program, or a file of -dump-vmstate")
    .option("--channel <file>", "a further channel of the migration; repeatable", (file, before: string[] = []) => [
      ...before,
      file,
    ])
    .option("--return-path <file>", "a recording of the way back")
    .option("--snapshot <name>", "internal snapshot of a qcow2 image, by name or id")
    .option("--offset <bytes>", "where in the file the stream begins", sizeArgument)
    .addHelpText("after", DETAILS)
    .action(async (file, { channel, ...options }) => {
      refuseOthers(root, "verify");
      try {
        if (!await verify(file, { ...options, channels: channel, plugins: root.opts().plugin }, context)) {
          context.finish(1);
        }
      } catch (error) {
        if (error instanceof ReaderGone) throw error;
        const failure = describeError(error, root.opts().verbose ?? false);
        const name = file === "-" ? "standard input: " : failure.includes("'") ? "" : `${file}: `;
        context.output.err(`miglab: ${name}${failure}\n`);
        context.finish(1);
      }
    });
};

/** @returns whether there are no errors */
async function verify(file: string, request: VerifyRequest, context: Context): Promise<boolean> {
  const { output, tools } = context;
  const { stepWatch, terminalColumns } = await import("../watch.ts");
  const quiet = context.options().quiet || !Deno.stderr.isTerminal();
  const watch = quiet ? undefined : stepWatch(output.err, terminalColumns, "read");
  const verified = await tools.verify(file, { ...request, onProgress: watch?.step }).finally(watch?.end);
  output.out(
    context.options().json
      ? JSON.stringify(verified.report, undefined, Deno.stdout.isTerminal() ? 2 : undefined) + "\n"
      : verified.text(context.style()),
  );
  return verified.report.ok;
}
