/**
 * `miglab record --listen URI --forward URI DIR` and `miglab replay DIR URI`: a migration captured on its way, and sent again.
 * @module
 */
import type { Capture } from "../../core/capture.ts";
import type { RecordOptions } from "../../core/recorder.ts";
import type { Replayed, ReplayOptions } from "../../core/replay.ts";
import { newFile, refuseOthers } from "../options.ts";
import { describeError } from "../output.ts";
import { bytesText } from "../progress.ts";
import type { CommandModule, Context } from "../program.ts";
import { onEnding } from "../signals.ts";
import { report } from "./save.ts";

/** Records a migration. */
export type Record = (options: Omit<RecordOptions, "transports">) => Promise<Capture>;

/** Sends a capture. */
export type Replay = (options: Omit<ReplayOptions, "transports">) => Promise<Replayed>;

const RECORD = `
The source connects here, each of its connections is passed on, and what passes in either direction is kept: main.bin is a stream
like any other, ch0.bin and so on are its multifd channels, main.rp.bin is what the destination answered. The recording ends when
all connections are closed, or with Ctrl-C; the exit status is 1 when the migration was cut off before its end: what passed is
kept. tcp: without a host listens for this machine only.

Examples:
  miglab record --listen unix:/tmp/here --forward unix:/tmp/destination capture
  miglab inspect capture/main.bin --channel capture/ch0.bin --channel capture/ch1.bin
  miglab replay capture tcp:localhost:4444`;

const REPLAY = `
The destination must be set up as the recorded one was: the same capabilities, and multifd channels. What it answers is not
understood; the exit status is 1 when it hangs up before everything was sent.

Example:
  qemu-system-x86_64 ... -incoming unix:/tmp/destination
  miglab replay capture unix:/tmp/destination`;

/** Declares `record`. */
export const recordCommand: CommandModule = (root, context) => {
  root.command("record")
    .summary("keep a migration on its way")
    .description("Pass a live migration on from its source to its destination, and keep every channel of it.")
    .argument("<directory>", "a new directory for the capture", newFile)
    .requiredOption("--listen <uri>", "where the source connects: unix:PATH or tcp:HOST:PORT")
    .requiredOption("--forward <uri>", "where the destination is")
    .addHelpText("after", RECORD)
    .action(async (directory, { listen, forward }) => {
      refuseOthers(root, "record");
      await interruptible(context, "recorded", async (signal, onProgress) => {
        const onListening = (uri: string) => {
          if (!context.options().quiet) context.output.err(`miglab: listening on ${uri}\n`);
        };
        const step = (bytes: number) => onProgress(bytes, undefined);
        const capture = await context.tools.record({
          directory,
          listen,
          forward,
          signal,
          onListening,
          onProgress: step,
        });
        report(context, capture, recordText(directory, capture));
        if (!capture.ended) context.fail(partialText(directory, capture));
      });
    });
};

/** Declares `replay`. */
export const replayCommand: CommandModule = (root, context) => {
  root.command("replay")
    .summary("send a recorded migration again")
    .description("Send a recorded migration to a destination.")
    .argument("<directory>", "the capture")
    .argument("<uri>", "where the destination waits")
    .addHelpText("after", REPLAY)
    .action(async (directory, uri) => {
      refuseOthers(root, "replay");
      await interruptible(context, "sent", async (signal, onProgress) => {
        const replayed = await context.tools.replay({ directory, uri, signal, onProgress });
        const end = replayed.accepted ? "the destination hung up behind it" : "the destination stays connected";
        const { bytes, answered, ended } = replayed;
        const part = ended ? "" : "; the capture is partial: no destination can make a guest of it";
        report(
          context,
          replayed,
          `${directory}: ${bytesText(bytes)} sent, ${bytesText(answered)} answered, ${end}${part}`,
        );
      });
    });
};

function recordText(directory: string, { channels }: Capture): string {
  const one = ({ file, bytes, back }: Capture["channels"][number]) =>
    `  ${file.padEnd(12)} ${bytesText(bytes)}` + (back ? `, ${bytesText(back.bytes)} back (${back.file})` : "");
  return [`${directory}: ${channels.length} channel${channels.length === 1 ? "" : "s"}`, ...channels.map(one)].join(
    "\n",
  );
}

/** What a capture is that does not go to the end. */
function partialText(directory: string, { channels }: Capture): string {
  const main = channels.find(({ kind }) => kind === "main") ?? channels[0];
  if (!main) return `${directory}: nothing came, so nothing is recorded`;
  return `${directory}: partial: the migration was cut off at 0x${main.bytes.toString(16)} of ${main.file}; ` +
    `miglab salvage ${directory}/${main.file} -o DIR keeps what is in it`;
}

/** Show how far it is, end it with Ctrl-C, and tell a failure in one line. */
async function interruptible(
  context: Context,
  label: string,
  work: (signal: AbortSignal, onProgress: (bytes: number, total: number | undefined) => void) => Promise<void>,
): Promise<void> {
  const { quiet, verbose } = context.options();
  const { stepWatch, terminalColumns } = await import("../watch.ts");
  const watch = quiet || !Deno.stderr.isTerminal() ? undefined : stepWatch(context.output.err, terminalColumns, label);
  const abort = new AbortController();
  const stop = onEnding(() => abort.abort());
  try {
    await work(abort.signal, (bytes, total) => watch?.step(bytes, total));
  } catch (error) {
    const text = abort.signal.aborted ? "interrupted" : describeError(error, verbose ?? false);
    context.output.err(`miglab: ${text}\n`);
    context.finish(1);
  } finally {
    watch?.end();
    stop();
  }
}
