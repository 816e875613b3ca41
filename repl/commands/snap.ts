/**
 * `miglab snap save|load IMAGE`: a filter at the end of QEMU's `exec:`.
 * @module
 */
import { Argument } from "@commander-js/extra-typings";
import { type FileRequest, fileRequest, OFFSET, SNAPSHOT } from "../file_options.ts";
import { type FileWork, fileWork } from "../file_work.ts";
import { UsageError } from "../options.ts";
import { oneLine } from "../output.ts";
import type { CommandModule } from "../program.ts";
import { bytesText } from "../progress.ts";

/** What was kept. */
export interface SnapKept {
  readonly format: string;
  readonly bytes: number;
  readonly read: number;
  readonly normalPages: number;
  readonly zeroPages: number;
}

/** Both directions. */
export interface Snap {
  /** Standard input into a file. */
  readonly save: (image: string, request: Pick<FileRequest, "plugins">, work: FileWork) => Promise<SnapKept>;
  /** A file to standard output. */
  readonly load: (image: string, request: FileRequest, work: FileWork) => Promise<void>;
}

const DETAILS = `
save keeps the stream on standard input as a mapped-ram file: each page at a place of its own, so that a page that is sent
again takes no more room, and a restore is fast. IMAGE appears when the stream is whole; nothing is left of one that is not.
Multifd and postcopy send pages another way: turn them off.

load writes any file that inspect reads to standard output as a plain stream, each page once.

At QEMU's monitor:
  (qemu) migrate "exec:miglab snap save /srv/vm.snap"
  (qemu) migrate_incoming "exec:miglab snap load /srv/vm.snap"        started with -incoming defer

With background-snapshot on, the guest goes on while it is saved.`;

/** Declares `snap`. */
export const snapCommand: CommandModule = (root, context) => {
  root.command("snap")
    .summary("keep a migration that comes on a pipe, and give it back")
    .description("A filter for migrate exec: and migrate_incoming exec:.")
    .addArgument(new Argument("<what>", "the direction").choices(["save", "load"] as const))
    .argument("<image>", "the file")
    .option(...OFFSET)
    .option(...SNAPSHOT)
    .addHelpText("after", DETAILS)
    .action(async (what, image, options) => {
      if (image === "-") throw new UsageError("argument 'image' is a file: the stream itself is on the pipe");
      if (what === "load") {
        if (Deno.stdout.isTerminal()) throw new UsageError("standard output is a terminal: a stream goes into a pipe");
        return await fileWork(root, context, "snap", image, async (work) => {
          await context.tools.snap.load(image, fileRequest(options, context), work);
        });
      }
      const misplaced = (["offset", "snapshot"] as const).find((name) => options[name] !== undefined);
      if (misplaced) throw new UsageError(`option '--${misplaced}' is for snap load`);
      if (Deno.stdin.isTerminal()) throw new UsageError("standard input is a terminal: a stream comes from a pipe");
      await fileWork(root, context, "snap", "-", async (work) => {
        const kept = await context.tools.snap.save(image, fileRequest({}, context), work);
        work.hide();
        if (context.options().json) return context.output.out(JSON.stringify(kept) + "\n");
        if (context.options().quiet) return;
        const { format, bytes, normalPages, zeroPages } = kept;
        context.output.out(
          `${oneLine(image)}: ${format}, ${bytesText(bytes)}, ${normalPages} pages of data, ${zeroPages} zero\n`,
        );
      });
    });
};
