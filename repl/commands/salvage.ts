/**
 * `miglab salvage FILE -o DIR`: what a damaged file still holds.
 * @module
 */
import { CHANNEL, type FileRequest, fileRequest, OFFSET } from "../file_options.ts";
import { type FileWork, fileWork } from "../file_work.ts";
import { newFile } from "../options.ts";
import type { CommandModule } from "../program.ts";

/** What is asked for. */
export type SalvageRequest = Pick<FileRequest, "offset" | "channels" | "plugins">;

/** What came out. */
export interface Salvaged {
  /** The value of `--json`. */
  readonly report: {
    readonly ram: readonly { readonly recoveredPages: number }[];
    readonly devices: readonly unknown[];
  };
  /** The account for people. */
  text(): string;
}

/** Recovers into a new directory. */
export type SalvageTool = (
  file: string,
  directory: string,
  request: SalvageRequest,
  work: FileWork,
) => Promise<Salvaged>;

const DETAILS = `
DIR gets ram/BLOCK.raw, devices/NAME.INSTANCE.bin with its fields as JSON beside it, and the account printed here as
salvage.txt and salvage.json: which pages and devices are lost, and where the file is damaged. DIR appears when it is complete.

Pages behind a damaged place are found again by what records look like. A mapped-ram save that was cut off has no bitmaps:
every slot that is not zero counts as a page. Exit status 0: something was recovered, 1: nothing.

Pages on further channels are taken in the order of their sync points. Of a channel that is damaged or cut, packets behind the
damaged place are found again; pages that are packed go on from one packet to the next, so behind it there are none of those.

Examples:
  miglab salvage broken.sav -o rescued
  miglab salvage broken.sav -o rescued --json | jq .lost
  miglab salvage main.bin --channel ch0.bin --channel ch1.bin -o rescued`;

/** Declares `salvage`. */
export const salvageCommand: CommandModule = (root, context) => {
  root.command("salvage")
    .summary("what a damaged file still holds")
    .description("Recover every page and device that a damaged or truncated file still holds.")
    .argument("<file>", "a migration stream or libvirt save image; - is standard input")
    .requiredOption("-o, --output <dir>", "a new directory", newFile)
    .option(...CHANNEL)
    .option(...OFFSET)
    .addHelpText("after", DETAILS)
    .action(async (file, { output, ...options }) => {
      await fileWork(root, context, "salvage", file, async (work) => {
        const { report, text } = await context.tools.salvage(file, output, fileRequest(options, context), work);
        work.hide();
        context.output.out(context.options().json ? JSON.stringify(report) + "\n" : text());
        const nothing = report.devices.length === 0 && report.ram.every(({ recoveredPages }) => recoveredPages === 0);
        return nothing ? "nothing could be recovered" : undefined;
      });
    });
};
