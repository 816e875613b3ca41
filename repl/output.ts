/**
 * Where words go: the result to stdout, everything else to stderr. Written at once and whole, so that what was said
 * before a crash is seen, and in the order it was said.
 *
 * A reader that went away (`miglab inspect FILE | head`) is no fault of ours: {@link ReaderGone} ends the program quietly.
 * @module
 */

/** The two ways out. Text carries its own line feeds. */
export interface Output {
  out(text: string): void;
  err(text: string): void;
}

/** Nobody reads this output any more. */
export class ReaderGone extends Error {
  override name = "ReaderGone";
}

const encoder = new TextEncoder();

/** stdout and stderr of this process. */
export const PROCESS_OUTPUT: Output = {
  out: (text) => writeAll(Deno.stdout, text),
  err(text) {
    try {
      writeAll(Deno.stderr, text);
    } catch {
      // nobody listens to complaints (EPIPE; EIO where the terminal went away): what is under way is brought to its end
    }
  },
};

function writeAll(file: { writeSync(bytes: Uint8Array): number }, text: string): void {
  let bytes = encoder.encode(text);
  while (bytes.length > 0) {
    try {
      bytes = bytes.subarray(file.writeSync(bytes));
    } catch (error) {
      if (error instanceof Deno.errors.BrokenPipe) throw new ReaderGone();
      if (!(error instanceof Deno.errors.WouldBlock)) throw error;
      // The pipe is full and its other holder made it non-blocking: let the reader work.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2);
    }
  }
}

/** The story in one line; with `verbose` the stack, and what caused it. */
export function describeError(error: unknown, verbose: boolean): string {
  if (!(error instanceof Error)) return String(error);
  if (!verbose) return oneLine(error.message || error.name);
  const cause = error.cause === undefined ? "" : `\ncaused by: ${describeError(error.cause, true)}`;
  return (error.stack ?? `${error.name}: ${error.message}`) + cause;
}

/** Line feeds become blanks, other control characters are spelled out: an error is one line, whatever a file is called. */
export function oneLine(text: string): string {
  // deno-lint-ignore no-control-regex
  return text.trim().replace(/\s*[\r\n]+\s*/g, " ").replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/g, (control) => {
    return "\\x" + control.charCodeAt(0).toString(16).padStart(2, "0");
  });
}
