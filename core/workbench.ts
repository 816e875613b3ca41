/**
 * The workbench: a virtual machine a script holds in its hand.
 *
 * It is the library's front door. HMP text, typed methods and QMP names all end in the same command table, so whatever one
 * way can do the others can. What plugins, transports and reports there are is handed in as an {@link Assembly}; mod.ts has
 * the list.
 * @module
 */
import { statSync } from "node:fs";
import { type Content, parseContent } from "../guest/content.ts";
import type { Guest } from "../guest/guest.ts";
import { createModelGuest } from "../guest/model.ts";
import { checkRamSize, parseRamSize } from "../guest/size.ts";
import type { ByteSource } from "../stream/channel.ts";
import { CommandError } from "../stream/errors.ts";
import { transportOf } from "./address.ts";
import type { CapabilityName } from "./capabilities.ts";
import { parseIncomingOption } from "./command_line.ts";
import { CORE_COMMANDS } from "./commands.ts";
import type { Monitor } from "./command.ts";
import { errnoText } from "./errno.ts";
import type { MonitorEvent } from "./events.ts";
import { complete, type Completion } from "./help.ts";
import { runHmp } from "./hmp.ts";
import { parseJson } from "./json.ts";
import { pluginFault } from "./plugin_module.ts";
import { loadGuest } from "./load.ts";
import type { MigrationInfo } from "./migration_info.ts";
import type { ParameterName, ParameterTypes } from "./parameters.ts";
import type { HostLimits, Plugin } from "./plugin.ts";
import { answerQmp, QmpConnection, type QmpReply, runQmp } from "./qmp.ts";
import { incomingDestination, type MigrationChannel } from "./reach.ts";
import { combine } from "./registry.ts";
import { type InspectHook, type PluginHook, Session } from "./session.ts";
import type { Channel, HeldFd, Transport } from "./transport.ts";

/** Where the stream of a saved guest is. */
export interface SavedStream {
  /** Offset in the file, where the stream stands there as it is. */
  readonly offset?: number;
  /** Gives the stream, where it does not. */
  readonly source?: ByteSource;
  /** Why what packs the stream ended early, once it has. */
  problem(): string | undefined;
  /** Give the file back. */
  close(): void;
}

/** The parts a workbench is put together from. */
export interface Assembly {
  /** Plugins every workbench put together like this has. */
  readonly plugins: readonly Plugin[];
  /** Transports, in the order their schemes are tried. */
  readonly transports: readonly Transport[];
  /** What `inspect FILE` shows. */
  readonly inspect?: InspectHook;
  /** Imports a module that exports a plugin. */
  readonly importPlugin?: (specifier: string) => Promise<Plugin>;
  /** Reads a file for `file:PATH@ADDRESS` content. */
  readonly readFile?: (path: string) => Uint8Array;
  /**
   * Finds the stream in the file of a saved guest, which begins at `offset`; with further channels in files of their own it
   * gives all of them as one. Absent: the file is the stream.
   */
  readonly findStream?: (path: string, offset: number, channels?: readonly string[]) => Promise<SavedStream>;
}

/** How a workbench is opened. */
export interface WorkbenchOptions {
  /** RAM of the model guest: bytes, or "256M". Default 256 MiB. With `incoming`: what comes must fit it. */
  readonly ram?: string | number;
  /** What its RAM holds: "zero", "pattern", "random:seed=7,bytes=1G", "file:PATH@ADDRESS". */
  readonly content?: string | Content | readonly Content[];
  /** A saved guest to load instead of making one. */
  readonly guest?: string;
  /** Where in that file the stream begins. */
  readonly offset?: number;
  /** Files of the further channels it was sent over: multifd, postcopy-preempt. */
  readonly channels?: readonly string[];
  /**
   * A running QEMU's monitor socket: PATH, unix:PATH or tcp:HOST:PORT. Then the machine is QEMU's, and nothing that describes
   * one may be given.
   */
  readonly qmp?: string;
  /** Be a destination: a URI, or "defer" to wait for `migrate_incoming`. */
  readonly incoming?: string;
  /** `-S`: do not start the guest. */
  readonly stopped?: boolean;
  /** Further plugins. */
  readonly plugins?: readonly Plugin[];
  /** Whose rules to follow; nothing is executed either way. Default "tcg". */
  readonly accelerator?: "tcg" | "kvm";
  /** KVM's `dirty-ring-size` is set. */
  readonly dirtyRing?: boolean;
  /** `-global migration.NAME=VALUE`. */
  readonly globals?: Readonly<Record<string, string>>;
  /** Machine type whose defaults hold: "pc-i440fx-8.2". */
  readonly machine?: string;
  /** `-name` */
  readonly name?: string;
  /** "11111111-2222-3333-4444-555555555555" */
  readonly uuid?: string;
  /** `-only-migratable` */
  readonly onlyMigratable?: boolean;
  /** Reasons that block migration. */
  readonly blockers?: readonly string[];
  /** What the host lacks, for the rules that ask. */
  readonly host?: HostLimits;
  /** Lines QEMU would write on stderr. Default: they are dropped. */
  readonly report?: (line: string) => void;
  /** Inspect hook, in place of the assembly's. */
  readonly inspect?: InspectHook;
}

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

const DEFAULT_RAM = 256 << 20;
const PROGRESS_MS = 100;

function uuidBytes(text: string): Uint8Array {
  const digits = text.replaceAll("-", "");
  if (!/^[0-9a-fA-F]{32}$/.test(digits)) throw new CommandError(`failed to parse UUID string: wrong format`);
  return Uint8Array.from(digits.match(/../g)!, (pair) => parseInt(pair, 16));
}

function modelGuest(options: WorkbenchOptions, assembly: Assembly): Guest {
  const { ram = DEFAULT_RAM, content } = options;
  return createModelGuest({
    ramBytes: typeof ram === "string" ? parseRamSize(ram) : checkRamSize(ram),
    // a destination's memory is what comes
    content: options.incoming ? { kind: "zero" } : typeof content === "string" ? parseContent(content) : content,
    uuid: options.uuid === undefined ? undefined : uuidBytes(options.uuid),
    readFile: assembly.readFile && contentReader(assembly.readFile),
  });
}

/** Reads a file of the content whole; what is wrong with it is said in the words used for every other file. */
function contentReader(read: (path: string) => Uint8Array): (path: string) => Uint8Array {
  return (path) => {
    try {
      // such as /dev/zero, which has no end
      const endless = statSync(path).isCharacterDevice();
      if (!endless) return read(path);
    } catch (error) {
      throw new CommandError(`Could not open '${path}': ${errnoText(error)}`);
    }
    throw new CommandError(`Cannot lay '${path}' into the guest: a device, expected a file`);
  };
}

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
    const plugins = [...assembly.plugins, ...options.plugins ?? []];
    if (options.qmp !== undefined) return new this(await attach(options, plugins, assembly));
    const registry = combine(plugins, CORE_COMMANDS);
    const guest = options.guest === undefined
      ? modelGuest(options, assembly)
      : await loadFile(options, assembly, registry.tables);
    const session = new Session({
      ...options,
      registry,
      transports: assembly.transports,
      guest,
      incoming: options.incoming !== undefined,
      strict: options.incoming !== undefined && options.ram !== undefined,
      uuid: options.uuid === undefined ? undefined : uuidBytes(options.uuid),
      inspect: options.inspect ?? assembly.inspect,
      loadPlugin: pluginLoader(assembly),
    });
    const bench = new this(session);
    if (options.guest !== undefined && guest.savedRunState !== undefined) {
      const ran = guest.savedRunState === "running";
      session.runState = ran && options.stopped ? "paused" : guest.savedRunState;
    }
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

  /** Candidates for the last word of a monitor line. */
  complete(line: string): Completion {
    return complete(this.session, line);
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

/** Options that describe a machine: QEMU has its own. */
const MACHINE_OPTIONS = [
  "ram",
  "content",
  "guest",
  "incoming",
  "stopped",
  "accelerator",
  "dirtyRing",
  "globals",
  "machine",
  "name",
  "uuid",
  "onlyMigratable",
  "blockers",
  "host",
] as const satisfies (keyof WorkbenchOptions)[];

/** Attach to a running QEMU. */
async function attach(
  options: WorkbenchOptions,
  plugins: readonly Plugin[],
  assembly: Assembly,
): Promise<Session> {
  const other = MACHINE_OPTIONS.find((name) => options[name] !== undefined);
  if (other) throw new CommandError(`Cannot use '${other}' with 'qmp': the machine is QEMU's`);
  const { AttachedSession } = await import("./attached_session.ts");
  return await AttachedSession.attach(options.qmp!, plugins, {
    transports: assembly.transports,
    inspect: options.inspect ?? assembly.inspect,
    report: options.report,
  });
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

/** Read a saved guest, whatever capabilities it was saved with. */
async function loadFile(
  { guest, offset = 0, channels, report }: WorkbenchOptions,
  assembly: Assembly,
  tables: Parameters<typeof loadGuest>[0]["tables"],
): Promise<Guest> {
  const path = guest!;
  const found = await assembly.findStream?.(path, offset, channels);
  let channel: Channel | undefined;
  try {
    channel = found?.source ? sourceChannel(found.source) : await openFile(path, found?.offset ?? offset, assembly);
    return await loadGuest({
      channel,
      capability: () => false,
      anyCapabilities: true,
      parameter: () => undefined,
      tables,
      signal: new AbortController().signal,
      report: () => {},
      warn: (text) => report?.(`warning: ${path}: ${text}`),
    });
  } catch (error) {
    const problem = found?.problem();
    if (problem !== undefined && error instanceof Error) error.message += `; ${problem}`;
    throw error;
  } finally {
    await channel?.close();
    found?.close();
  }
}

async function openFile(path: string, offset: number, { transports }: Assembly): Promise<Channel> {
  const address = { transport: "file", filename: path, offset } as const;
  const nowhere = { takeNamedFd: () => undefined, fdset: () => undefined, warn: () => {}, report: () => {} };
  const listener = transportOf(address, transports).listen(address, nowhere);
  try {
    return await listener.accept();
  } finally {
    listener.close();
  }
}

/** What is unpacked on the way is read as from a command. */
function sourceChannel(source: ByteSource): Channel {
  return {
    name: source.name,
    start: source.start,
    read: source.read.bind(source),
    readAt: source.readAt?.bind(source),
    size: source.size?.bind(source),
    seekable: source.readAt !== undefined,
    returnPath: false,
    noun: "file",
    abort() {},
    close() {},
  };
}

function pluginLoader({ importPlugin }: Assembly): PluginHook | undefined {
  return importPlugin && (async (specifier, session) => {
    let plugin: Plugin;
    try {
      plugin = await importPlugin(specifier);
      session.extend(combine([...session.registry.plugins, plugin], CORE_COMMANDS));
    } catch (error) {
      throw pluginFault(specifier, error);
    }
    return `plugin ${plugin.name}: ${plugin.help}\n`;
  });
}
