/**
 * `miglab restore --qmp SOCKET IN`: a QEMU that waits is given a saved guest.
 * @module
 */
import { refuseOthers, sizeArgument } from "../options.ts";
import type { CommandModule, Context } from "../program.ts";
import { onEnding } from "../signals.ts";
import { channelsArgument, job, report } from "./save.ts";

const DETAILS = `
QEMU must have been started with -incoming defer, with the machine the guest was saved from. Format, offset and capabilities are
found in the file: a stream, mapped-ram, or a libvirt image of either. Capabilities and parameters are put back as they were.

A guest that was stopped when it was saved stays stopped, unless --cont; one that ran goes on, unless QEMU was started with -S.

QEMU cannot be interrupted while it loads: Ctrl-C is answered when it is done, a second one leaves it with the settings of the load.

Examples:
  qemu-system-x86_64 ... -qmp unix:/run/vm.qmp,server=on,wait=off -incoming defer
  miglab restore --qmp /run/vm.qmp --channels 4 vm.sav`;

/** Declares `restore`. */
export const restoreCommand: CommandModule = (root, context) => {
  root.command("restore")
    .summary("load a saved guest into a QEMU that waits")
    .description("Load a saved guest into a QEMU, given with --qmp, that waits for it.")
    .argument("<in>", "the saved guest")
    .option("--channels <count>", "multifd channels; mapped-ram only", channelsArgument)
    .option("--direct-io", "pages pass the page cache by")
    .option("--offset <bytes>", "where in the file the stream begins", sizeArgument)
    .option("--cont", "let the guest run, whatever it did when it was saved")
    .addHelpText("after", DETAILS)
    .action(async (file, options) => {
      refuseOthers(root, "restore");
      await job(context, async (machine) => {
        const { watchFor } = await import("./run.ts");
        const watch = await watchFor(context) ?? (<T>(promise: Promise<T>) => promise);
        const began = performance.now();
        // QEMU reads a file in one go and answers nobody meanwhile
        const loading = () => watch(machine.restore(file, options), () => ({ status: "QEMU loads" }));
        const restored = await unhurried(context, loading);
        const seconds = ((performance.now() - began) / 1000).toFixed(2);
        const hint = restored.runState === "paused" ? "; cont starts it" : "";
        report(context, restored, `${file}: loaded in ${seconds} s, the guest is ${restored.runState}${hint}`);
      });
    });
};

/** Work that is done with before Ctrl-C is answered, so that everything is put back; a second one leaves at once. */
async function unhurried<T>({ output }: Context, work: () => Promise<T>): Promise<T> {
  let asked = 0;
  const stop = onEnding((status) => {
    if (asked++ > 0) Deno.exit(status);
    const below = Deno.stderr.isTerminal() ? "\n" : "";
    output.err(`${below}miglab: QEMU cannot be interrupted while it loads; once more leaves it to itself\n`);
  });
  try {
    return await work();
  } finally {
    stop();
  }
}
