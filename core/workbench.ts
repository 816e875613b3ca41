/**
 * The workbench: a virtual machine a script holds in its hand.
 *
 * It is the library's front door. HMP text, typed methods and QMP names all end in the same command table, so whatever one
 * way can do the others can. What plugins, transports and reports there are is handed in as an {@link Assembly}; mod.ts has
 * the list.
 * @module
 */
import { CommandError } from "../stream/errors.ts";
import type { CapabilityName } from "./capabilities.ts";
import { parseIncomingOption } from "./command_line.ts";
import type { Monitor } from "./command.ts";
import type { MonitorEvent } from "./events.ts";
import { complete, type Completion } from "./help.ts";
import { runHmp } from "./hmp.ts";
import { parseJson } from "./json.ts";
import type { MigrationInfo } from "./migration_info.ts";
import type { ParameterName, ParameterTypes } from "./parameters.ts";
import { answerQmp, QmpConnection, type QmpReply, runQmp } from "./qmp.ts";
import { incomingDestination, type MigrationChannel } from "./reach.ts";
import type { Session } from "./session.ts";
import type { HeldFd } from "./transport.ts";
import { openSession } from "./workbench_open.ts";
import type { Assembly, WorkbenchOptions } from "./workbench_options.ts";

/** How far a migration is. */
export interface MigrationProgress {
  /** Of RAM, 0 to 100. */
  readonly percent: number;
  /** Bytes sent. */
  readonly transferred: number;
  /** Bytes of RAM still to be looked at. */
  readonly remaining: number;
  /** Bytes of RAM. */
  readonly total: number;
  /** Over the last 100 ms; of the whole migration once it is complete. */
  readonly bytesPerSecond: number;
}

/** How `migrate` is watched and ended. */
export interface MigrateOptions {
  /** Called a few times a second. */
  readonly onProgress?: (progress: MigrationProgress) => void;
  /** Resolve as soon as the migration has begun. */
  readonly detach?: boolean;
  /** Aborting it cancels the migration. */
  readonly signal?: AbortSignal;
}

/** What a line of a script came to. */
export interface ExecuteResult {
  /** Exact monitor text, lines ending in a line feed. */
  readonly out: string;
  /** The line failed: it could not be read, or the command said no. */
  readonly error: boolean;
  /** A migration the line waited for failed; the monitor says nothing about it. */
  readonly failure?: string;
}

const PROGRESS_MS = 100;

/** A virtual machine with its monitor, put together from an {@link Assembly}. */
export class AssembledWorkbench implements AsyncDisposable {
  /** Everything underneath; for those who build on the parts. */
  readonly session: Session;

  /** See {@link AssembledWorkbench.assemble}. */
  protected constructor(session: Session) {
    this.session = session;
  }

  /**
   * Open one from parts.
   * @throws {CommandError} {TransportError} {StreamError} {RangeError} when the options do not go together or name what is not there
   */
  static async assemble(options: WorkbenchOptions, assembly: Assembly): Promise<AssembledWorkbench> {
    const bench = new this(await openSession(options, assembly));
    if (options.incoming !== undefined) bench.#startIncoming(options.incoming);
    return bench;
  }

  /**
   * Run one line of the human monitor and wait for what it waits for.
   * @param options a descriptor to go with the line, for `getfd`
   * @returns its text
   * @throws {CommandError} what the monitor complains about, or why the migration failed
   */
  async hmp(line: string, options: { readonly fd?: HeldFd } = {}): Promise<string> {
    const { out, error, failure } = await this.execute(line, options);
    if (error) throw new CommandError(out.trimEnd().replace(/^Error: /, ""));
    if (failure !== undefined) throw new CommandError(failure);
    return out;
  }

  /** Run one line of the human monitor as a script does: failures are part of the result. */
  async execute(line: string, options: { readonly fd?: HeldFd } = {}): Promise<ExecuteResult> {
    const { outgoing } = this.session;
    const { wait, ...result } = await runHmp(this.session, line, {
      kind: "terminal",
      fds: this.session.fds,
      ...options,
    });
    if (!wait) return result;
    await wait;
    return outgoing.status === "failed" ? { ...result, failure: outgoing.error ?? "migration failed" } : result;
  }

  /** Answer one QMP request given as text, as a script's line that begins with a brace. */
  async executeQmp(text: string): Promise<{ readonly request: unknown; readonly reply: QmpReply }> {
    let request: unknown;
    try {
      request = parseJson(text);
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      return { request: text, reply: { error: { class: error.errorClass, desc: error.message } } };
    }
    return { request, reply: await answerQmp(this.session, request, { fds: this.session.fds }) };
  }

  /**
   * Run a command by its QMP name.
   * @returns the value; `{}` when there is none
   * @throws {CommandError} {TransportError} with QEMU's text
   */
  async qmp(
    name: string,
    args: Readonly<Record<string, unknown>> = {},
    options: { readonly fd?: HeldFd } = {},
  ): Promise<unknown> {
    return await runQmp(this.session, name, args, { fds: this.session.fds, ...options });
  }

  /** Switch a capability. @throws {CommandError} when a rule forbids it */
  setCapability(name: CapabilityName, on: boolean): Promise<void> {
    return this.setCapabilities({ [name]: on });
  }

  /** Switch several, all or nothing. @throws {CommandError} when a rule forbids it */
  async setCapabilities(changes: { readonly [name in CapabilityName]?: boolean }): Promise<void> {
    const capabilities = Object.entries(changes).map(([capability, state]) => ({ capability, state }));
    await this.qmp("migrate-set-capabilities", { capabilities });
  }

  /** Is the capability on? */
  capability(name: CapabilityName): boolean {
    return this.session.on(name);
  }

  /** Set a parameter. @throws {CommandError} when the value does not fit */
  async setParameter<Name extends ParameterName>(name: Name, value: ParameterTypes[Name]): Promise<void> {
    await this.qmp("migrate-set-parameters", { [name]: value });
  }

  /** Value of a parameter. */
  parameter<Name extends ParameterName>(name: Name): ParameterTypes[Name] {
    return this.session.parameter(name) as ParameterTypes[Name];
  }

  /**
   * Migrate, and wait until it is over.
   * @param to a URI, or QMP's channels
   * @returns statistics of the completed migration
   * @throws {CommandError} {TransportError} what forbids it, or why it failed
   */
  async migrate(
    to: string | { readonly uri: string } | { readonly channels: readonly MigrationChannel[] },
    options: MigrateOptions = {},
  ): Promise<MigrationInfo> {
    const { outgoing } = this.session;
    options.signal?.throwIfAborted();
    await this.qmp("migrate", typeof to === "string" ? { uri: to } : to);
    if (options.detach) return this.info();
    const cancel = () => outgoing.cancel();
    options.signal?.addEventListener("abort", cancel, { once: true });
    if (options.signal?.aborted) cancel(); // while the command was on its way
    const { onProgress } = options;
    const timer = onProgress && setInterval(() => onProgress(this.progress()), PROGRESS_MS);
    try {
      await outgoing.settled;
    } finally {
      clearInterval(timer);
      options.signal?.removeEventListener("abort", cancel);
    }
    if (outgoing.status !== "completed") throw new CommandError(outgoing.error ?? `migration ${outgoing.status}`);
    onProgress?.(this.progress());
    return this.info();
  }

  /**
   * Load what comes, and wait until it is there.
   * @throws {CommandError} {TransportError} what forbids it, or why it failed
   */
  async migrateIncoming(from: string | { readonly channels: readonly MigrationChannel[] }): Promise<MigrationInfo> {
    const { incoming } = this.session;
    const where = typeof from === "string" ? { uri: from } : from;
    await this.qmp("migrate-incoming", { ...where, "exit-on-error": false });
    await incoming.settled;
    if (incoming.status !== "completed") throw new CommandError(incoming.failure ?? `migration ${incoming.status}`);
    return this.info();
  }

  /** Descriptors can go with commands. */
  get passesFds(): boolean {
    return this.session.remote?.passesFds ?? true;
  }

  /** `query-migrate`; of an attached QEMU as last heard of, at most 100 ms ago while it migrates. */
  info(): MigrationInfo {
    return this.session.info();
  }

  /** How far the outgoing migration is. */
  progress(): MigrationProgress {
    const { outgoing, guest } = this.session;
    const total = this.session.remote?.ramBytes ?? guest.memory.totalBytes;
    const remaining = outgoing.status === "completed" ? 0 : Math.min(total, Math.max(0, outgoing.counters.remaining));
    return {
      percent: total === 0 ? 100 : (total - remaining) / total * 100,
      transferred: outgoing.counters.transferred,
      remaining,
      total,
      bytesPerSecond: outgoing.mbps * 1e6 / 8,
    };
  }

  /** Resolves when no migration is under way. */
  async settled(): Promise<void> {
    await this.session.outgoing.settled;
    await this.session.incoming.settled;
  }

  /** Hear events: all, or those of one name. @returns call it to stop */
  on(listener: (event: MonitorEvent) => void): () => void;
  /** Hear events of one name. @returns call it to stop */
  on(name: string, listener: (event: MonitorEvent) => void): () => void;
  on(first: string | ((event: MonitorEvent) => void), second?: (event: MonitorEvent) => void): () => void {
    return typeof first === "string" ? this.session.events.on(first, second!) : this.session.events.on(first);
  }

  /** Events from now on. */
  events(): AsyncIterable<MonitorEvent> {
    return this.session.events;
  }

  /**
   * Candidates for the last word of a monitor line; an attached QEMU is asked for those it knows.
   * @throws {CommandError} {TransportError} when it cannot be asked
   */
  async complete(line: string): Promise<Completion> {
    return await complete(this.session, line);
  }

  /** Serve one QMP connection. @param send takes each line */
  connectQmp(send: (line: string) => void): QmpConnection {
    return new QmpConnection(this.session, send);
  }

  /** Stop everything and give memory back. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.session.close();
  }

  #startIncoming(option: string): void {
    const { session } = this;
    try {
      const source = parseIncomingOption(option);
      if (!source) return;
      const from = () =>
        incomingDestination(
          "uri" in source ? source.uri : undefined,
          "channels" in source ? source.channels : undefined,
          session.transports,
        );
      session.incoming.start(from, true, commandLine(session));
    } catch (error) {
      if (error instanceof Error) error.message = `-incoming ${option}: ${error.message}`;
      throw error;
    }
  }
}

/** The monitor of things done before there is one. */
function commandLine(session: Session): Monitor {
  return {
    kind: "qmp",
    fds: session.fds,
    takeFd: () => undefined,
    warn: (text) => session.warn(text),
    report: (text) => session.toStderr(text),
  };
}
