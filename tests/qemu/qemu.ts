/**
 * A real QEMU for a test: started, asked over QMP, and ended whatever happens.
 *
 *     await using vm = await launchQemu(["-machine", "q35", "-m", "64", "-S"]);
 *     await vm.migrate(`file:${vm.path("saved")}`);
 *     const ram = await vm.pmemsave(0, 64 << 20);
 *
 * QEMU connects to a Unix socket of ours, so there is no moment at which its monitor is "not there yet". Memory and
 * registers are read through QEMU's own commands: they are the ruler.
 * @module
 */
import { QEMU } from "./available.ts";
import { bounded, type Json, QmpConnection } from "./qmp.ts";

/** Milliseconds a QEMU may take to start, and a migration to end. */
const START_MS = 30_000;
const MIGRATION_MS = 120_000;
const POLL_MS = 10;
const AT_REST = ["completed", "failed", "cancelled"];

/** How QEMU is started. */
export interface LaunchOptions {
  /** Shell redirections for the process, `9>out`: with `-add-fd fd=9,set=1` QEMU has a descriptor it did not open. */
  readonly redirect?: string;
  /** "kvm" or "tcg" and nothing else; default: KVM where there is one, else TCG. */
  readonly accel?: "kvm" | "tcg";
  /** The program, for other processors than x86: "qemu-system-ppc64". */
  readonly program?: string;
}

/** What `query-migrate` answers; see QAPI MigrationInfo. */
export type MigrationInfo = Json;

/** Start a QEMU. `-nodefaults -display none` and an accelerator are added to `args`. */
export async function launchQemu(args: readonly string[], options: LaunchOptions = {}): Promise<Qemu> {
  const directory = await Deno.makeTempDir({ prefix: "miglab-qemu-" });
  const socket = `${directory}/qmp`;
  const listener = Deno.listen({ transport: "unix", path: socket });
  const accel = options.accel ? ["-accel", options.accel] : ["-accel", "kvm", "-accel", "tcg"];
  const all = ["-nodefaults", "-display", "none", ...accel, "-qmp", `unix:${socket}`, ...args];
  const child = new Deno.Command("/bin/sh", {
    args: ["-c", `exec "$0" "$@" ${options.redirect ?? ""}`, options.program ?? QEMU, ...all],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const vm = new Qemu(child, directory, listener);
  try {
    await vm.connect(listener);
    return vm;
  } catch (error) {
    await vm[Symbol.asyncDispose]();
    throw error;
  }
}

/** A running QEMU. */
export class Qemu {
  readonly #child: Deno.ChildProcess;
  readonly #directory: string;
  readonly #listener: Deno.Listener;
  readonly #stderr: Promise<void>;
  #stderrText = "";
  #qmp?: QmpConnection;
  #ended = false;
  /** How the process ended, once it has. */
  readonly status: Promise<Deno.CommandStatus>;

  constructor(child: Deno.ChildProcess, directory: string, listener: Deno.Listener) {
    this.#child = child;
    this.#directory = directory;
    this.#listener = listener;
    this.#stderr = this.#collect();
    this.status = child.status.then((status) => {
      this.#ended = true;
      return status;
    });
  }

  /** Wait for QEMU's own connection, or for its death: it connects before it looks at its devices. */
  async connect(listener: Deno.Listener): Promise<void> {
    const open = async () => {
      this.#qmp = await QmpConnection.open(await listener.accept());
    };
    const dead = this.status.then(({ code }) => Promise.reject(new Error(`QEMU ended with status ${code}`)));
    try {
      await bounded(Promise.race([open(), dead]), START_MS, "QEMU to start");
    } catch (error) {
      this.#kill();
      await this.#stderr;
      throw new Error(`${(error as Error).message} at its start: ${this.stderr}`);
    }
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** What it wrote to stderr so far. */
  get stderr(): string {
    return this.#stderrText.trim();
  }

  /** Names of the events so far; MIGRATION with its status, `MIGRATION active`. */
  get events(): string[] {
    return this.#qmp!.events.map(({ event, data }) => event === "MIGRATION" ? `${event} ${data.status}` : event);
  }

  /** A file in this QEMU's own directory, which goes away with it. */
  path(name: string): string {
    return `${this.#directory}/${name}`;
  }

  /** Run a QMP command. */
  async qmp(command: string, args?: Record<string, unknown>): Promise<Json> {
    try {
      return await this.#qmp!.execute(command, args);
    } catch (error) {
      if (!this.#ended || !(error instanceof Error)) throw error;
      throw new Error(`${error.message}; QEMU ended with ${JSON.stringify(await this.status)}: ${this.stderr}`);
    }
  }

  /** Run a monitor line. Line ends are single line feeds. */
  async hmp(line: string): Promise<string> {
    return (await this.qmp("human-monitor-command", { "command-line": line })).replaceAll("\r\n", "\n");
  }

  /** Switch capabilities on. */
  async capabilities(...names: readonly string[]): Promise<void> {
    const capabilities = names.map((capability) => ({ capability, state: true }));
    if (names.length) await this.qmp("migrate-set-capabilities", { capabilities });
  }

  /** Run state: "running", "postmigrate". */
  async runState(): Promise<string> {
    return (await this.qmp("query-status")).status;
  }

  /** Save to `uri` and wait until it is done. @throws when it fails */
  async migrate(uri: string): Promise<MigrationInfo> {
    await this.qmp("migrate", { uri });
    return await this.waitMigration();
  }

  /** Load from `uri` (after `-incoming defer`) and wait until it is done. @throws when it fails */
  async incoming(uri: string): Promise<MigrationInfo> {
    await this.qmp("migrate-incoming", { uri, "exit-on-error": false });
    return await this.waitMigration();
  }

  /** Wait for the migration under way, of either direction. @throws when it ends otherwise than completed */
  async waitMigration(): Promise<MigrationInfo> {
    const info = await this.waitFor((info) => AT_REST.includes(info.status));
    if (info.status === "completed") return info;
    throw new Error(`The migration ended ${info.status}: ${info["error-desc"] ?? "no reason given"}; ${this.stderr}`);
  }

  /** Poll `query-migrate` until `when` says so. @throws when the migration comes to rest before, or nothing happens */
  async waitFor(when: (info: MigrationInfo) => boolean): Promise<MigrationInfo> {
    const until = performance.now() + MIGRATION_MS;
    for (;;) {
      const info = await this.qmp("query-migrate");
      if (when(info)) return info;
      if (AT_REST.includes(info.status) || performance.now() > until) {
        throw new Error(`Waited in vain: ${JSON.stringify(info)}; ${this.stderr}`);
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  /**
   * Begin to wait for a guest (after `-incoming defer`). A failure leaves the process alive.
   * @returns where it can be reached: port 0 has become a number
   */
  async listen(uri: string): Promise<string> {
    await this.qmp("migrate-incoming", { uri, "exit-on-error": false });
    if (!uri.startsWith("tcp:")) return uri;
    const [{ host, port }] = (await this.qmp("query-migrate"))["socket-address"];
    return `tcp:${host}:${port}`;
  }

  /** After a save QEMU wants to run before it saves again: let a halting guest halt once more. */
  async again(): Promise<void> {
    await this.qmp("cont");
    await this.qmp("stop");
  }

  /** Milliseconds between the newest `setup` and `completed`, by QEMU's own clock. Needs capability events. */
  migrationMs(): number {
    const at = (status: string) => {
      const { timestamp } = this.#qmp!.events.findLast(({ data }) => data?.status === status)!;
      return timestamp.seconds * 1000 + timestamp.microseconds / 1000;
    };
    return at("completed") - at("setup");
  }

  /** Guest-physical memory, as QEMU itself writes it into a file. */
  async pmemsave(address: number, length: number): Promise<Uint8Array> {
    const filename = this.path("pmemsave");
    await this.qmp("pmemsave", { val: address, size: length, filename });
    const bytes = await Deno.readFile(filename);
    await Deno.remove(filename);
    return bytes;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#qmp?.close();
    this.#listener.close();
    this.#kill();
    await this.status;
    await this.#stderr;
    await Deno.remove(this.#directory, { recursive: true });
  }

  #kill(): void {
    try {
      if (!this.#ended) this.#child.kill("SIGKILL");
    } catch {
      // it ended by itself meanwhile
    }
  }

  async #collect(): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of this.#child.stderr) this.#stderrText += decoder.decode(chunk, { stream: true });
  }
}
