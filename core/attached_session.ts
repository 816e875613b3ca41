/**
 * A session whose machine is a running QEMU: the same commands, run there by their QMP names.
 *
 * What a session can be asked at once (is a capability on, how far is the migration) is a mirror here: filled when we
 * attach, after each command that changes it, with each event, and several times a second while a migration is under way.
 * Another client of the same QEMU may change things behind its back; commands always ask QEMU.
 * @module
 */
import type { RunState } from "../guest/guest.ts";
import { CommandError, TransportError } from "../stream/errors.ts";
import { type Beginning, learnVocabulary, lookAround } from "./attached_beginning.ts";
import { AttachedNames } from "./attached_names.ts";
import { attachedRegistry, NO_VOCABULARY } from "./attached_registry.ts";
import { AttachedIncoming, AttachedOutgoing } from "./attached_roles.ts";
import { type CapabilityChange, CapabilitySet } from "./capabilities.ts";
import type { Arguments } from "./command.ts";
import { CORE_COMMANDS } from "./commands.ts";
import type { MigrationInfo } from "./migration_info.ts";
import type { Plugin } from "./plugin.ts";
import { QmpClient, type QmpClientOptions } from "./qmp_client.ts";
import { combine, type Registry } from "./registry.ts";
import type { NameKind, Names } from "./remote_names.ts";
import { RemoteQemu } from "./remote_qemu.ts";
import { Session, type SessionOptions } from "./session.ts";
import { atRest } from "./status.ts";

/** How often a migration under way is looked at. */
const POLL_MS = 100;
/** ms the run state may lag behind the status of a migration. */
const REST_MS = 1000;
/** ms the Tab key waits for names. */
const NAMES_MS = 1000;

/** What may be given beside the address. */
export type AttachOptions = Pick<SessionOptions, "transports" | "inspect" | "report"> & {
  /** See {@link QmpClient.open}. */
  readonly client?: QmpClientOptions;
};

/** Events behind which the run state is another. */
const STATE_EVENTS = ["STOP", "RESUME", "SHUTDOWN", "POWERDOWN", "RESET", "SUSPEND", "WAKEUP", "GUEST_PANICKED"];

/** A session attached to a running QEMU. */
export class AttachedSession extends Session {
  override readonly outgoing: AttachedOutgoing;
  override readonly incoming: AttachedIncoming;
  override readonly remote: RemoteQemu;
  /** The connection. */
  readonly client: QmpClient;
  readonly #ours: Registry;
  #fitted: Registry;
  #learning: Promise<void> | undefined;
  #names: AttachedNames;
  readonly #on = new Set<string>();
  #values: Readonly<Record<string, unknown>> = {};
  #info: MigrationInfo = {};
  #following = false;
  #leaving = false;
  /** It was asked to end: that it hangs up is no loss. */
  quitting = false;

  private constructor(client: QmpClient, ours: Registry, beginning: Beginning, options: AttachOptions) {
    const { registry, guest, runState, info } = beginning;
    super({ ...options, registry, guest, incoming: runState === "inmigrate", name: beginning.name });
    this.#ours = ours;
    this.#fitted = registry;
    this.#names = this.#newNames(client);
    this.client = client;
    this.outgoing = new AttachedOutgoing((name) => {
      // what it has against that shows in the status
      client.execute(name, undefined, { oob: false }).catch(() => {});
    });
    this.incoming = new AttachedIncoming();
    this.remote = new RemoteQemu(this, beginning.ramBytes);
    this.runState = runState;
    this.#takeSettings(beginning.capabilities, beginning.parameters);
    this.#takeGlobals(beginning.globalsText);
    if (info.status && !atRest(info.status)) this.#follow();
    this.took(info);
    client.events.on((event) => {
      this.events.pass(event);
      if (STATE_EVENTS.includes(event.event)) this.#refreshState();
    });
    client.onLost((reason) => this.#lose(reason));
    client.onReturn(() => this.#resume());
  }

  /**
   * Attach.
   * @param address PATH, unix:PATH or tcp:HOST:PORT
   * @throws {TransportError} {CommandError} when nobody is there, or what is there is no QEMU
   */
  static async attach(address: string, plugins: readonly Plugin[], options: AttachOptions): Promise<AttachedSession> {
    const client = await QmpClient.open(address, options.client);
    try {
      const ours = combine(plugins, CORE_COMMANDS);
      const session = new AttachedSession(client, ours, await lookAround(client, ours), options);
      // of another release even the names of parameters are others
      if (!session.remote.fluent) await session.learn();
      return session;
    } catch (error) {
      client.close();
      if (!(error instanceof CommandError)) throw error;
      throw new TransportError(`Cannot attach to '${address}': ${error.message}; is it a machine's monitor?`, {
        cause: error,
      });
    }
  }

  override get registry(): Registry {
    return this.#fitted;
  }

  override on(capability: string): boolean {
    return this.#on.has(capability);
  }

  override parameter(name: string): unknown {
    return this.#values[name];
  }

  override info(): MigrationInfo {
    return this.#info;
  }

  override extend(): never {
    throw new CommandError("the machine is a running QEMU, which takes none");
  }

  /** Hang up; QEMU and what it is doing go on. */
  override close(): Promise<void> {
    this.#leaving = true;
    this.client.close();
    this.events.close();
    return Promise.resolve();
  }

  /** `query-migrate` answered this. */
  took(info: MigrationInfo): void {
    this.#info = info;
    (this.#role()).take(info);
  }

  /** A command has been carried out there: see to what it changed. */
  async changed(name: string, args: Arguments): Promise<void> {
    switch (name) {
      case "migrate":
      case "migrate-recover":
        return this.#follow();
      case "migrate-incoming":
        return this.#follow(readsFile(args));
      case "migrate-set-capabilities":
      case "migrate-set-parameters":
        return await this.refreshSettings();
      case "human-monitor-command":
        if (/^\s*migrate_set_/.test(String(args["command-line"]))) await this.refreshSettings();
        return;
      case "quit":
        this.exitStatus ??= 0;
    }
  }

  /** See {@link Remote.learn}. */
  learn(): Promise<void> {
    return this.#learning ??= this.#learn().catch((error) => {
      this.#learning = undefined;
      throw error;
    });
  }

  async #learn(): Promise<void> {
    const names = this.#names;
    const vocabulary = await learnVocabulary(this.client);
    names.schema = vocabulary.schema;
    if (names === this.#names) this.#fitted = attachedRegistry(this.#ours, vocabulary);
  }

  /** See {@link Remote.names}. A QEMU that is gone is not connected to for this. */
  async names(kind: NameKind, typed: string, before: readonly string[]): Promise<Names> {
    return this.client.connected ? await this.#names.find(kind, typed, before) : { words: [], typed };
  }

  #newNames(client: QmpClient): AttachedNames {
    return new AttachedNames((name, args) => client.execute(name, args, { timeoutMs: NAMES_MS }));
  }

  /** Ask for capabilities and parameters. */
  async refreshSettings(): Promise<void> {
    const [capabilities, parameters] = await Promise.all([
      this.client.execute("query-migrate-capabilities"),
      this.client.execute("query-migrate-parameters"),
    ]);
    const list = capabilities as CapabilityChange[];
    if (!this.#learning) {
      this.#fitted = attachedRegistry(this.#ours, {
        ...NO_VOCABULARY,
        capabilities: list.map((one) => one.capability),
      });
    }
    this.#takeSettings(list, parameters as Record<string, unknown>);
  }

  /**
   * What our own rules say to a request: the warnings QEMU gave on its stderr, and the hints QMP leaves out.
   * @returns the refusal, if they refuse too
   */
  judge(changes: readonly CapabilityChange[], warn: (text: string) => void): CommandError | undefined {
    const set = new CapabilitySet(this.registry.rules);
    try {
      set.apply([...this.#on].map((capability) => ({ capability, state: true })), this.surroundings(), () => {});
      set.apply(changes, this.surroundings(), warn);
      return undefined;
    } catch (error) {
      if (error instanceof CommandError) return error;
      throw error;
    }
  }

  /** A migration of that machine has begun, whichever way it goes. */
  #role(): AttachedOutgoing | AttachedIncoming {
    if (this.outgoing.running || this.outgoing.status !== "none") return this.outgoing;
    return this.incoming.running || this.incoming.status !== "none" || this.runState === "inmigrate"
      ? this.incoming
      : this.outgoing;
  }

  #follow(fromFile = false): void {
    const arriving = this.runState === "inmigrate";
    if (arriving) this.incoming.begin(fromFile);
    else this.outgoing.begin();
    if (!this.#following) this.#watch(arriving ? this.incoming : this.outgoing);
  }

  async #watch(role: AttachedOutgoing | AttachedIncoming): Promise<void> {
    this.#following = true;
    try {
      while (role.running && !this.#leaving) {
        const info = await this.client.execute("query-migrate") as MigrationInfo;
        if (info.status && atRest(info.status)) await this.#rest();
        this.#info = info;
        role.take(info);
        if (role.running) await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      }
    } catch (error) {
      role.lose((error as Error).message);
    } finally {
      this.#following = false;
    }
  }

  /** The migration is over: the run state follows a moment later, and commands that need it fail until then. */
  async #rest(): Promise<void> {
    for (const end = performance.now() + REST_MS;;) {
      await this.#refreshState();
      if (this.runState !== "finish-migrate" || performance.now() > end) return;
      await new Promise((resolve) => setTimeout(resolve, REST_MS / 100));
    }
  }

  /** Connected again, perhaps to another machine. */
  async #resume(): Promise<void> {
    this.#learning = undefined;
    this.#names = this.#newNames(this.client);
    try {
      await this.#refreshState();
      if (!this.remote.fluent) await this.learn();
      await this.refreshSettings();
      this.took(await this.client.execute("query-migrate") as MigrationInfo);
      this.toStderr(`attached to QEMU at ${this.client.address} again: it is ${this.runState}`);
    } catch {
      // lost again: that is told elsewhere
    }
  }

  async #refreshState(): Promise<void> {
    try {
      this.runState = (await this.client.execute("query-status") as { status: RunState }).status;
    } catch {
      // the loss of the connection is told elsewhere
    }
  }

  #takeSettings(capabilities: readonly CapabilityChange[], parameters: Readonly<Record<string, unknown>>): void {
    this.#on.clear();
    for (const { capability, state } of capabilities) if (state) this.#on.add(capability);
    this.#values = parameters;
  }

  /** The head of `info migrate`: QMP has no word for it. */
  #takeGlobals(text: string): void {
    const value = (name: string) => new RegExp(`^${name}: (.*)$`, "m").exec(text)?.[1];
    const flag = (name: string, fallback: boolean) => (value(name) ?? (fallback ? "on" : "off")) === "on";
    Object.assign(this.globals, {
      storeGlobalState: flag("store-global-state", true),
      onlyMigratable: flag("only-migratable", false),
      sendConfiguration: flag("send-configuration", true),
      sendSectionFooter: flag("send-section-footer", true),
      sendSwitchoverStart: flag("send-switchover-start", true),
      clearBitmapShift: Number(value("clear-bitmap-shift") ?? 18),
    });
  }

  #lose(reason: string): void {
    const text = `lost QEMU at ${this.client.address}: ${reason}`;
    this.outgoing.lose(text);
    this.incoming.lose(text);
    if (!this.#leaving && !this.quitting && this.exitStatus === undefined) {
      this.toStderr(`${text}; the next command connects again`);
    }
  }
}

/** What comes is in a file: QEMU answers nobody until it has read it. */
function readsFile({ uri, channels }: Arguments): boolean {
  if (typeof uri === "string") return uri.startsWith("file:");
  return (channels as { addr?: { transport?: string } }[] | undefined)?.[0]?.addr?.transport === "file";
}
