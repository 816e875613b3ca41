/**
 * A QEMU for a script: started, waited for, its stderr kept, and gone when the script leaves the block.
 *
 *     await using vm = await Qemu.launch({ args: ["-machine", "q35", "-m", "256", "-S"] });
 *     await vm.execute("query-status");
 *     await using bench = await Workbench.open({ qmp: vm.qmp });
 *
 * It has two monitors: one that is this object's own, and a socket for whoever wants to attach. QEMU connects to us for the
 * first, so there is no moment at which it is "not there yet".
 * @module
 */
import fs from "node:fs";
import { CommandError, TransportError } from "../stream/errors.ts";
import { errnoText } from "./errno.ts";
import type { MonitorEvent } from "./events.ts";
import { QmpClient } from "./qmp_client.ts";
import { connWire } from "./qmp_wire.ts";

/** Milliseconds a QEMU may take to start, and to end after `quit`. */
const START_MS = 30_000;
const QUIT_MS = 5000;
/** Characters of stderr that are kept: the last ones. */
const MAX_STDERR = 1 << 20;
/** ms its last words may come behind its end: a child of it (`exec:`) may hold its stderr for ever. */
const LAST_WORDS_MS = 500;

/** How QEMU is started. */
export interface LaunchOptions {
  /** Its arguments, behind those added here: `-nodefaults`, `-display none`, an accelerator, the monitors. */
  readonly args?: readonly string[];
  /** The program. Default "qemu-system-x86_64". */
  readonly binary?: string;
  /** "kvm" or "tcg" and nothing else. Default: KVM where there is one, else TCG; "none": `args` say it. */
  readonly accel?: "kvm" | "tcg" | "none";
  /** ms it may take to start. Default 30000. */
  readonly startMs?: number;
}

/** A running QEMU. */
export class Qemu implements AsyncDisposable {
  /** Socket of a monitor nobody is attached to yet. */
  readonly qmp: string;
  /** A directory that goes away with it. */
  readonly directory: string;
  /** How the process ended, once it has. */
  readonly status: Promise<Deno.CommandStatus>;
  readonly #child: Deno.ChildProcess;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #stderr: Promise<void>;
  readonly #unload = () => this.#abandon();
  #client: QmpClient | undefined;
  #text = "";
  #ended = false;
  #gone: Promise<void> | undefined;

  private constructor(child: Deno.ChildProcess, directory: string, qmp: string) {
    this.#child = child;
    this.directory = directory;
    this.qmp = qmp;
    this.#reader = child.stderr.getReader();
    this.#stderr = this.#collect();
    this.status = child.status.then((status) => {
      this.#ended = true;
      return status;
    });
    globalThis.addEventListener("unload", this.#unload);
  }

  /**
   * Start one and wait until it can be asked.
   * @throws {TransportError} when it cannot be started, with what it wrote to stderr
   * @throws {CommandError} for -daemonize: nobody could end that one
   */
  static async launch(options: LaunchOptions = {}): Promise<Qemu> {
    if (options.args?.some((arg) => /^--?daemonize$/.test(arg))) {
      throw new CommandError("Cannot launch with -daemonize: the process would not end with the script");
    }
    const directory = await Deno.makeTempDir({ prefix: "miglab-qemu-" }); // its owner's alone
    const { binary = "qemu-system-x86_64", accel, args = [], startMs = START_MS } = options;
    const machine = accel === "none" ? [] : accel ? ["-accel", accel] : ["-accel", "kvm", "-accel", "tcg"];
    const [own, free] = [`${directory}/own`, `${directory}/qmp`];
    const monitors = ["-qmp", `unix:${own}`, "-qmp", `unix:${free},server=on,wait=off`];
    const listener = Deno.listen({ transport: "unix", path: own });
    try {
      const child = spawn(binary, ["-nodefaults", "-display", "none", ...machine, ...monitors, ...args]);
      const vm = new Qemu(child, directory, free);
      try {
        await vm.#connect(listener, binary, startMs);
        return vm;
      } catch (error) {
        await vm[Symbol.asyncDispose]();
        throw error;
      }
    } catch (error) {
      fs.rmSync(directory, { recursive: true, force: true });
      throw error;
    } finally {
      listener.close();
    }
  }

  /** Its process. */
  get pid(): number {
    return this.#child.pid;
  }

  /** What it wrote to stderr so far. */
  get stderr(): string {
    return this.#text.trim();
  }

  /** This object's own connection. */
  get client(): QmpClient {
    return this.#client!;
  }

  /** A file in {@link Qemu.directory}. */
  path(name: string): string {
    return `${this.directory}/${name}`;
  }

  /** Run a QMP command. @throws {CommandError} {TransportError} */
  async execute(name: string, args?: Readonly<Record<string, unknown>>): Promise<unknown> {
    try {
      return await this.client.execute(name, args);
    } catch (error) {
      if (this.#ended && error instanceof TransportError) throw new TransportError(`${error.message}${this.#words()}`);
      throw error;
    }
  }

  /** Run a line of its human monitor. @returns text with single line feeds */
  async hmp(line: string): Promise<string> {
    return String(await this.execute("human-monitor-command", { "command-line": line })).replaceAll("\r\n", "\n");
  }

  /** Hear its events. @returns call it to stop */
  on(listener: (event: MonitorEvent) => void): () => void {
    return this.client.events.on(listener);
  }

  /** Let it end by itself; it is killed when it does not. */
  async quit(): Promise<Deno.CommandStatus> {
    try {
      if (!this.#ended) await this.client.execute("quit", undefined, { timeoutMs: QUIT_MS });
    } catch {
      // it ends faster than it answers, or not at all
    }
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, QUIT_MS));
    await Promise.race([this.status, late]);
    clearTimeout(timer);
    this.kill();
    return await this.status;
  }

  /** End it at once, as a crash would. */
  kill(): void {
    try {
      if (!this.#ended) this.#child.kill("SIGKILL");
    } catch {
      // it ended by itself meanwhile
    }
  }

  /** End it and remove its directory. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#gone ??= this.#dispose();
  }

  async #dispose(): Promise<void> {
    this.#client?.close();
    this.kill();
    await this.status;
    await this.#lastWords();
    globalThis.removeEventListener("unload", this.#unload);
    await Deno.remove(this.directory, { recursive: true }).catch(() => {});
  }

  async #connect(listener: Deno.Listener, binary: string, startMs: number): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        const what = this.#client ? "is not ready" : "did not open its monitor";
        reject(new TransportError(`${binary} ${what} within ${startMs} ms${this.#words()}`));
      }, startMs);
    });
    const open = async () => {
      const wire = connWire(await listener.accept());
      this.#client = await QmpClient.open(`process ${this.pid}`, { wire, handshakeMs: startMs });
    };
    const opened = open();
    opened.catch(() => {});
    const dead = this.status.then(async ({ code, signal }) => {
      await this.#lastWords();
      throw new TransportError(`${binary} ended with ${signal ?? `status ${code}`} at its start${this.#words()}`);
    });
    dead.catch(() => {});
    try {
      // it connects before it looks at its devices: the greeting comes when they are there
      await Promise.race([opened, late, dead]);
    } catch (error) {
      // its last words come behind the end of its connection
      if (this.#client === undefined && !this.#ended) await Promise.race([dead, late]);
      throw error;
    } finally {
      clearTimeout(timer);
      late.catch(() => {});
    }
  }

  #words(): string {
    const lines = this.stderr.split("\n").map((line) => line.trim()).filter((line) => line !== "");
    return lines.length > 0 ? `: ${lines.slice(-5).join("; ")}` : "";
  }

  async #collect(): Promise<void> {
    const decoder = new TextDecoder();
    for (;;) {
      const { value, done } = await this.#reader.read();
      if (done) return;
      this.#text = (this.#text + decoder.decode(value, { stream: true })).slice(-MAX_STDERR);
    }
  }

  /** It has ended: read what there is still to read. */
  async #lastWords(): Promise<void> {
    const timer = setTimeout(() => this.#reader.cancel(), LAST_WORDS_MS);
    await this.#stderr;
    clearTimeout(timer);
  }

  /** The program ends without having left the block. */
  #abandon(): void {
    this.kill();
    fs.rmSync(this.directory, { recursive: true, force: true });
  }
}

function spawn(binary: string, args: readonly string[]): Deno.ChildProcess {
  try {
    return new Deno.Command(binary, { args: [...args], stdin: "null", stdout: "null", stderr: "piped" }).spawn();
  } catch (error) {
    throw new TransportError(`Cannot start ${binary}: ${errnoText(error)}`, { cause: error });
  }
}
