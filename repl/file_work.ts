/**
 * Commands that read files and write new ones: progress on stderr, Ctrl-C that leaves nothing half done, and one line for
 * what went wrong.
 * @module
 */
import { refuseOthers, UsageError } from "./options.ts";
import type { Root } from "./options.ts";
import { describeError, ReaderGone } from "./output.ts";
import type { Context } from "./program.ts";

/** What work is told and may tell. */
export interface FileWork {
  /** How far reading is; `total` is unknown on a pipe. */
  readonly onRead: (bytes: number, total: number | undefined) => void;
  /** How far writing or comparing is. */
  readonly onProgress: (bytes: number, total: number) => void;
  /** Aborted by Ctrl-C, from {@link FileWork.guard} on; before that Ctrl-C simply ends the program. */
  readonly signal: AbortSignal;
  /** Something is about to be written that must not stay behind. */
  readonly guard: () => void;
}

/** Modules of plugins and where in a file a stream begins: what all these commands take. */
export interface FileRequest {
  /** A size. */
  readonly offset?: string;
  /** Further channels of the migration. */
  readonly channels?: readonly string[];
  /** Internal snapshot of a qcow2 image. */
  readonly snapshot?: string;
  readonly plugins?: readonly string[];
}

const SIGNALS = ["SIGINT", "SIGTERM"] as const;

/**
 * Run a command's work. What it throws becomes one line on stderr and exit status 1.
 * @param file  stands in front of what went wrong
 * @param label what is being done, for progress: "convert"
 * @param work  answers what is wrong with the file, where it went through all the same
 */
export async function fileWork(
  root: Root,
  context: Context,
  label: string,
  file: string,
  work: (work: FileWork) => Promise<string | undefined | void>,
): Promise<void> {
  refuseOthers(root, label);
  const { stepWatch, terminalColumns } = await import("./watch.ts");
  const quiet = context.options().quiet || !Deno.stderr.isTerminal();
  const watch = quiet ? undefined : stepWatch(context.output.err, terminalColumns, label);
  const abort = new AbortController();
  const stop = () => abort.abort(new Error("interrupted"));
  let guarded = false;
  let failure: string | undefined | void;
  try {
    failure = await work({
      onRead: (bytes, total) => watch?.step(bytes, total),
      onProgress: (bytes, total) => watch?.step(bytes, total),
      signal: abort.signal,
      guard() {
        if (guarded) return;
        guarded = true;
        for (const signal of SIGNALS) Deno.addSignalListener(signal, stop);
      },
    });
  } catch (error) {
    if (error instanceof ReaderGone || error instanceof UsageError) throw error;
    failure = describeError(error, root.opts().verbose ?? false);
  } finally {
    watch?.end();
    if (guarded) { for (const signal of SIGNALS) Deno.removeSignalListener(signal, stop); }
  }
  if (!failure) return;
  const name = file === "-"
    ? "standard input: "
    : failure.includes(`'${file}'`) || failure.startsWith(file)
    ? ""
    : `${file}: `;
  context.output.err(`miglab: ${name}${failure}\n`);
  context.finish(1);
}

/** Bytes of the result to stdout, not through text. @throws {ReaderGone} when nobody reads them any more */
export function writeBytes(bytes: Uint8Array): void {
  try {
    for (let done = 0; done < bytes.length;) done += Deno.stdout.writeSync(bytes.subarray(done));
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) throw new ReaderGone();
    throw error;
  }
}

/** For options that may be given several times. */
export function repeatable(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}
