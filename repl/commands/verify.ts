/**
 * `miglab verify FILE`: every invariant of a saved guest, and whether a QEMU would load it.
 * @module
 */
import type { Style } from "../colour.ts";
import { CHANNEL, type FileRequest, fileRequest, OFFSET, SNAPSHOT } from "../file_options.ts";
import { type FileWork, fileWork } from "../file_work.ts";
import type { CommandModule } from "../program.ts";

/** What is asked of a file. */
export interface VerifyRequest extends FileRequest {
  /** The way back, recorded: a file. */
  readonly returnPath?: string;
  /** A QEMU program, or a file of `-dump-vmstate`. */
  readonly against?: string;
}

/** What came out. */
export interface Verified {
  /** The value of `--json`. */
  readonly report: { readonly ok: boolean };
  /** A line for each finding, ending in a line feed. */
  text(style: Style): string;
}

/** Looks through a file; "-" is standard input. */
export type Verify = (path: string, request: VerifyRequest, work: FileWork) => Promise<Verified>;

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
    .option(...CHANNEL)
    .option("--return-path <file>", "a recording of the way back")
    .option(...SNAPSHOT)
    .option(...OFFSET)
    .addHelpText("after", DETAILS)
    .action(async (file, options) => {
      const request = fileRequest(options, context);
      await fileWork(root, context, "verify", file, async (work) => {
        const { report, text } = await context.tools.verify(file, request, work);
        work.hide();
        context.output.out(
          context.options().json
            ? JSON.stringify(report, undefined, Deno.stdout.isTerminal() ? 2 : undefined) + "\n"
            : text(context.style()),
        );
        if (!report.ok) context.finish(1, `${file} breaks rules of its format`);
      });
    });
};
