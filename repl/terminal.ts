/**
 * The terminal a console runs on: what Ctrl-Z, `fg` and signals from outside do to it.
 *
 * While lines are read the terminal is in raw mode, so Ctrl-Z is a key and not a signal: the mode is put back by hand,
 * then the whole job is stopped, as the terminal would have done (a `deno task` around the program is part of the job).
 * SIGTERM and SIGHUP would leave the user's shell with a raw terminal; here they end the console in order.
 * @module
 */
import process from "node:process";
import type { ReadStream, WriteStream } from "node:tty";

/** Signals that end the program from outside, and their numbers. */
const ENDINGS = { SIGHUP: 1, SIGTERM: 15 } as const;

/** What the console needs of its terminal. */
export interface Terminal {
  readonly input: ReadStream;
  /** The screen as the line editor sees it. */
  readonly output: WriteStream;
  /** While true the line editor draws nothing: what is typed ahead shows when it is its turn. */
  muted: boolean;
  /** Stop the job; it goes on here when the shell says so. */
  suspend(): void;
  /** Called when the job goes on. */
  onResume(listener: () => void): void;
  /** Called with the exit status when a signal asks the program to end. */
  onEnd(listener: (status: number) => void): void;
  /** Take all listeners away. */
  release(): void;
}

/** The terminal at stdin and stdout; both must be one. */
export function openTerminal(): Terminal {
  const input = process.stdin as ReadStream;
  const listeners: [Deno.Signal, () => void][] = [];
  const listen = (signal: Deno.Signal, listener: () => void) => {
    Deno.addSignalListener(signal, listener);
    listeners.push([signal, listener]);
  };
  const screen: WriteStream = process.stdout;
  const output: WriteStream = Object.create(screen, {
    write: { value: (...args: Parameters<WriteStream["write"]>) => terminal.muted || screen.write(...args) },
  });
  const terminal: Terminal = {
    input,
    output,
    muted: false,
    suspend() {
      if (Deno.permissions.querySync({ name: "run" }).state !== "granted") return; // signalling would ask for it
      input.setRawMode(false);
      process.kill(0, "SIGTSTP");
    },
    onResume: (listener) =>
      listen("SIGCONT", () => {
        input.setRawMode(true);
        listener();
      }),
    onEnd(listener) {
      for (const [signal, number] of Object.entries(ENDINGS)) {
        listen(signal as Deno.Signal, () => listener(128 + number));
      }
    },
    release() {
      for (const [signal, listener] of listeners) Deno.removeSignalListener(signal, listener);
    },
  };
  return terminal;
}
