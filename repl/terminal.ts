/**
 * The terminal a console runs on: what Ctrl-Z, `fg` and signals from outside do to it.
 *
 * While lines are read the terminal is in raw mode, so Ctrl-Z is a key and not a signal: the mode is put back by hand,
 * then the whole job is stopped, as the terminal would have done. `deno task` around the program is part of the job and
 * catches SIGTSTP, so it takes SIGSTOP, and that only where a shell is there to continue the job.
 * SIGTERM and SIGHUP would leave the user's shell with a raw terminal; here they end the console in order.
 * @module
 */
import { readFileSync } from "node:fs";
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

/** Somebody can continue this job: its leader's parent is in the same session, but not in the job (proc(5), "stat"). */
function shellWaits(): boolean {
  const stat = (pid: number | "self") => {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    const [parent, group, session] = text.slice(text.lastIndexOf(")") + 4).split(" ").map(Number);
    return { parent, group, session };
  };
  try {
    const self = stat("self");
    const shell = stat(stat(self.group).parent);
    return shell.session === self.session && shell.group !== self.group;
  } catch {
    return false;
  }
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
      if (Deno.permissions.querySync({ name: "run" }).state !== "granted" || !shellWaits()) return;
      input.setRawMode(false);
      process.kill(0, "SIGSTOP");
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
