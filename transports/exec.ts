/**
 * `exec:COMMAND`: a command's standard input and output, both always, whichever way the migration runs.
 *
 * A URI runs `/bin/sh -c COMMAND`; an address runs its `args` as they stand, the program being a path. Standard error
 * is this process's own. Outgoing, what the command prints is read by nobody but a return path: a command that copies
 * its input to its output stops when that pipe is full. The exit status decides nothing, as in QEMU; a bad one is told.
 * Source: QEMU migration/exec.c, io/channel-command.c.
 * @module
 */
import { errnoText } from "../core/errno.ts";
import type { MigrateAddress, Transport, TransportContext } from "../core/transport.ts";
import { CommandError, TransportError } from "../stream/errors.ts";
import { arrivesWithFirstByte, ReadyListener } from "./listener.ts";
import { StreamChannel, type Wire } from "./stream_channel.ts";

type ExecAddress = Extract<MigrateAddress, { transport: "exec" }>;

const SHELL = ["/bin/sh", "-c"] as const;
/** Milliseconds between asking a command to go and making it go. */
const PATIENCE = 500;

/** The `exec:` transport. */
export const execTransport: Transport = Object.freeze<Transport>({
  scheme: "exec",
  help: "exec:COMMAND  a shell command that takes the stream on its input, or gives it on its output",
  kind: "exec",
  owns: (address) => address.transport === "exec",
  parse: (rest) => ({ transport: "exec", args: [...SHELL, rest] }),

  format(address) {
    const { args } = address as ExecAddress;
    const isShell = args.length === 3 && args[0] === SHELL[0] && args[1] === SHELL[1];
    return "exec:" + (isShell ? args[2] : args.map(quote).join(" "));
  },

  connect: (address, context) => run(address as ExecAddress, context, "out"),

  listen(address, context) {
    const channel = run(address as ExecAddress, context, "in");
    return new ReadyListener(arrivesWithFirstByte(channel, () => {
      context.report("exec: the command ended without writing a byte");
      return false; // not noticed by QEMU either: there is nothing to read
    }));
  },
});

/** A word of a shell command. */
function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

function run({ args }: ExecAddress, context: TransportContext, direction: "in" | "out"): StreamChannel {
  if (args.length === 0) throw new CommandError("exec: the list of arguments is empty");
  return new StreamChannel(new CommandWire(spawn(args), context, direction), "command", true);
}

function spawn([program, ...args]: readonly string[]): Deno.ChildProcess {
  // looked up by path only: a bare name means a file in the working directory
  const path = program.includes("/") ? program : `./${program}`;
  try {
    // a group of its own, so that all of a pipeline can be ended
    return new Deno.Command(path, { args, stdin: "piped", stdout: "piped", stderr: "inherit", detached: true }).spawn();
  } catch (error) {
    throw new TransportError(`Failed to execute child process “${program}” (${errnoText(error)})`, { cause: error });
  }
}

/** The two pipes of a running command. */
class CommandWire implements Wire {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #direction: "in" | "out";
  readonly #context: TransportContext;
  #leftover?: Uint8Array;
  #aborted = false;

  constructor(child: Deno.ChildProcess, context: TransportContext, direction: "in" | "out") {
    this.#child = child;
    this.#context = context;
    this.#direction = direction;
    this.#writer = child.stdin.getWriter();
    this.#writer.closed.catch(() => {}); // told by the write that fails
    this.#reader = child.stdout.getReader();
    this.#reader.closed.catch(() => {});
  }

  async pull(view: Uint8Array): Promise<number> {
    while (!this.#leftover?.length) {
      const { value, done } = await this.#reader.read();
      if (done) return 0;
      this.#leftover = value;
    }
    const n = Math.min(view.length, this.#leftover.length);
    view.set(this.#leftover.subarray(0, n));
    this.#leftover = this.#leftover.subarray(n);
    return n;
  }

  push(view: Uint8Array): Promise<void> {
    return this.#writer.write(view);
  }

  abort(): void {
    if (this.#aborted) return;
    this.#aborted = true;
    this.#kill("SIGTERM");
    const timer = setTimeout(() => this.#kill("SIGKILL"), PATIENCE);
    this.#child.status.finally(() => clearTimeout(timer));
  }

  /** End of input, no more output, and wait for the command to end. */
  async close(): Promise<void> {
    const pipes = Promise.allSettled([this.#writer.close(), this.#reader.cancel()]);
    if (!this.#aborted) await pipes;
    const { code, signal } = await this.#child.status;
    if (this.#aborted) return;
    if (signal === "SIGPIPE" && this.#direction === "in") return; // it had more than was wanted
    if (signal) this.#context.report(`exec: the command was ended by ${signal}`);
    else if (code !== 0) this.#context.report(`exec: the command ended with status ${code}`);
  }

  #kill(signal: Deno.Signal): void {
    try {
      Deno.kill(-this.#child.pid, signal);
    } catch {
      // all of it has ended
    }
  }
}
