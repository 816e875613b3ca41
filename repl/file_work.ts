/**
 * Commands that read files and write new ones: progress on stderr, Ctrl-C that leaves nothing half done, and one line for
 * what went wrong.
 * @module
 */
import { refuseOthers, type Root, UsageError } from "./options.ts";
import { describeError, oneLine, ReaderGone } from "./output.ts";
import type { Context } from "./program.ts";
import { onEnding } from "./signals.ts";

/** What work is told and may tell. */
export interface FileWork {
  /**
   * How far reading is; `total` is unknown on a pipe.
   * @returns a pause to wait for, where a console wants to hear its keys
   * @throws the reason of the signal, once it is aborted
   */
  readonly onRead: (bytes: number, total: number | undefined) => void | Promise<void>;
  /** How far writing or comparing is. */
  readonly onProgress: (bytes: number, total: number) => void;
  /**
   * Aborted by Ctrl-C: on a line of the console at any time, else from {@link FileWork.guard} on; before that Ctrl-C simply
   * ends the program.
   */
  readonly signal: AbortSignal;
  /** Something is about to be written that must not stay behind. */
  readonly guard: () => void;
  /** Something is about to be printed: take the progress off the screen. */
  readonly hide: () => void;
  /** What goes wrong from here on is about this file, of several. */
  readonly about: (file: string) => void;
}

/** Complaints that are about something else than the file, and name it. */
const OTHER = /^(Could not|Cannot) \w+ '|^Cannot load plugin /;
/** Milliseconds of reading between two turns of the event loop. */
const TURN_MS = 50;

/**
 * Run a command's work. What it throws becomes one line on stderr and exit status 1.
 * @param file  stands in front of what went wrong, unless the work says it is about another
 * @param label the command's name; stands before the progress
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
  const steps = await context.steps(label);
  const abort = new AbortController();
  const stop = () => abort.abort(new Error("interrupted"));
  let unguard: (() => void) | undefined;
  let turned = performance.now();
  let failure: string | undefined | void;
  context.signal?.addEventListener("abort", stop);
  try {
    failure = await work({
      onRead(bytes, total) {
        steps?.step(bytes, total);
        abort.signal.throwIfAborted();
        if (!context.signal || performance.now() - turned < TURN_MS) return;
        return new Promise((resolve) =>
          setTimeout(() => {
            turned = performance.now();
            resolve();
          }, 0)
        );
      },
      onProgress: (bytes, total) => steps?.step(bytes, total),
      signal: abort.signal,
      hide: () => steps?.end(),
      about: (other) => file = other,
      guard() {
        if (!context.signal) unguard ??= onEnding(stop);
      },
    });
  } catch (error) {
    if (error instanceof ReaderGone || error instanceof UsageError) throw error;
    failure = abort.signal.aborted ? "interrupted" : describeError(error, context.options().verbose ?? false);
  } finally {
    steps?.end();
    context.signal?.removeEventListener("abort", stop);
    unguard?.();
  }
  if (!failure) return;
  const name = file === "-" ? "standard input" : oneLine(file);
  const named = failure.includes(`'${name}'`) || failure.startsWith(name) || OTHER.test(failure);
  context.fail(named && file !== "-" ? failure : `${name}: ${failure}`);
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
