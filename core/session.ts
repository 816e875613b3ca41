/**
 * A session: one virtual machine with its monitor's state. Everything a command may look at or change.
 *
 * It opens nothing and prints nothing by itself. Transports, plugins and reports are handed to it as data.
 * @module
 */
import type { Guest, RunState } from "../guest/guest.ts";
import { CommandError } from "../stream/errors.ts";
import type { LineMemory } from "./arguments.ts";
import { endWaiting } from "../threads/workers_ahead.ts";
import { type CapabilityChange, CapabilitySet } from "./capabilities.ts";
import type { Monitor } from "./command.ts";
import { DirtyRate } from "./dirty_rate.ts";
import { EventStream } from "./events.ts";
import { FdTable } from "./fds.ts";
import { type AppliedGlobals, machineDefaults, type MigrationGlobals, readGlobals } from "./globals.ts";
import { startHands } from "./hands.ts";
import { Incoming } from "./incoming.ts";
import { type MigrationInfo, migrationInfo } from "./migration_info.ts";
import { Outgoing } from "./outgoing.ts";
import { ParameterValues } from "./parameter_values.ts";
import type { HostLimits, RuleContext } from "./plugin.ts";
import type { Registry } from "./registry.ts";
import type { Remote } from "./remote.ts";
import type { Transport, TransportContext } from "./transport.ts";

/** The version the monitor answers with: that of the build whose texts it speaks. */
export const QEMU_VERSION: {
  readonly major: number;
  readonly minor: number;
  readonly micro: number;
  readonly package: string;
} = Object.freeze({
  major: 10,
  minor: 0,
  micro: 2,
  package: "Debian 1:10.0.2+ds-2+deb13u1~bpo12+1",
});

/** What a session's outgoing role shows, whoever moves the bytes. */
export type OutgoingRole = Pick<Outgoing, keyof Outgoing>;

/** What a session's incoming role shows, whoever moves the bytes. */
export type IncomingRole = Pick<Incoming, keyof Incoming>;

/** What the console shows for a file: injected, since reports are a room of their own. */
export type InspectHook = (path: string, session: Session) => Promise<string>;

/** Loads a plugin module at run time: injected. */
export type PluginHook = (specifier: string, session: Session) => Promise<string>;

/** How a session is started: QEMU's command line, as far as a monitor shows it. */
export interface SessionOptions {
  /** Capabilities, parameters and commands there are. */
  readonly registry: Registry;
  /** Ways to reach the other side. */
  readonly transports: readonly Transport[];
  /** The virtual machine to begin with. */
  readonly guest: Guest;
  /** `-S`: do not start the guest. */
  readonly stopped?: boolean;
  /** `-incoming`: be a destination. */
  readonly incoming?: boolean;
  /** What comes must match `guest`. Left out: whatever comes is adopted. */
  readonly strict?: boolean;
  /** Whose rules to follow. */
  readonly accelerator?: "tcg" | "kvm";
  /** KVM's `dirty-ring-size` is set. */
  readonly dirtyRing?: boolean;
  /** `-global migration.NAME=VALUE`. */
  readonly globals?: Readonly<Record<string, string>>;
  /** Versioned machine type, for the defaults it implies. */
  readonly machine?: string;
  /** `-name`. */
  readonly name?: string;
  /** `-uuid`, 16 bytes. */
  readonly uuid?: Uint8Array;
  /** `-only-migratable`. */
  readonly onlyMigratable?: boolean;
  /** Reasons why this guest cannot be migrated. */
  readonly blockers?: readonly string[];
  /** What the host lacks. */
  readonly host?: HostLimits;
  /** Package text of the version, in place of the usual one. */
  readonly package?: string;
  /** What `inspect FILE` shows. */
  readonly inspect?: InspectHook;
  /** What `plugin_load MODULE` does. */
  readonly loadPlugin?: PluginHook;
  /** Hears lines for stderr from the very start. */
  readonly report?: (line: string) => void;
}

/** One virtual machine under a monitor. */
export class Session {
  /** How it was started. */
  readonly options: SessionOptions;
  /** Ways to reach the other side. */
  readonly transports: readonly Transport[];
  /** An incoming stream must match the present guest. */
  readonly strict: boolean;
  /** `-uuid`: 16 bytes. */
  readonly uuid: Uint8Array | undefined;
  /** Reasons why this guest cannot be migrated. */
  readonly blockers: readonly string[];
  /** Everything QMP would send as an event. */
  readonly events: EventStream = new EventStream();
  /** Names of the console's own connection, sets of the process. */
  readonly fds: FdTable = new FdTable();
  /** The role of a source. */
  readonly outgoing: OutgoingRole;
  /** The role of a destination. */
  readonly incoming: IncomingRole;
  /** The machine is another process, and commands are run there. */
  readonly remote: Remote | undefined = undefined;
  /** Measuring how fast the guest dirties memory. */
  readonly dirtyRate: DirtyRate;
  /** Format and size the next `x`, `xp`, `print` goes on with. */
  readonly lineMemory: LineMemory = { format: "x", size: 4 };
  /** Properties beside capabilities and parameters. */
  readonly globals: MigrationGlobals;
  /** Exit status once the machine ended: `quit`, or a load that failed with exit-on-error. */
  exitStatus: number | undefined;
  /** The guest is to run when an incoming migration is done. */
  autostart: boolean;
  #registry: Registry;
  #capabilities: CapabilitySet;
  #parameters: ParameterValues;
  #guest: Guest;
  #runState: RunState;
  readonly #reporters = new Set<(line: string) => void>();
  /** The monitor whose command runs now: it hears what would else go to stderr. */
  #current: Monitor | undefined;

  /**
   * Start it: nothing is opened yet.
   * @throws {CommandError} for properties that do not exist or break a rule */
  constructor(options: SessionOptions) {
    this.options = options;
    if (options.report) this.onReport(options.report);
    this.#registry = options.registry;
    this.transports = options.transports;
    this.strict = options.strict ?? false;
    this.uuid = options.uuid;
    this.blockers = options.blockers ?? [];
    this.#guest = options.guest;
    this.autostart = !options.stopped;
    this.#runState = options.incoming ? "inmigrate" : options.stopped ? "prelaunch" : "running";
    this.#capabilities = new CapabilitySet(options.registry.rules);
    this.#parameters = new ParameterValues(options.registry.parameters, options.registry.parameterRules);
    this.globals = { ...options.guest.globals, onlyMigratable: options.onlyMigratable ?? false, clearBitmapShift: 18 };
    this.outgoing = new Outgoing(this);
    this.incoming = new Incoming(this);
    this.dirtyRate = new DirtyRate(this);
    this.#applyGlobals(machineDefaults(options.machine ?? ""));
    this.#applyGlobals(readGlobals(options.globals ?? {}, options.registry));
  }

  /** Merged declarations in force. */
  get registry(): Registry {
    return this.#registry;
  }

  /** The virtual machine. */
  get guest(): Guest {
    return this.#guest;
  }

  /** QAPI RunState. Setting it tells nobody; see {@link stopGuest} and {@link startGuest}. */
  get runState(): RunState {
    return this.#runState;
  }

  set runState(state: RunState) {
    this.#runState = state;
  }

  /** Is the capability on? */
  on(capability: string): boolean {
    return this.#capabilities.on(capability);
  }

  /** Value of a parameter, by QMP name. */
  parameter(name: string): unknown {
    return this.#parameters.get(name);
  }

  /** `query-migrate`. */
  info(): MigrationInfo {
    return migrationInfo(this);
  }

  /** `migrate-set-capabilities`. @throws {CommandError} with QEMU's text; nothing is changed then */
  setCapabilities(changes: readonly CapabilityChange[], monitor?: Monitor): void {
    if (this.outgoing.running) throw new CommandError("There's a migration process in progress");
    this.#capabilities.apply(changes, this.surroundings(), (text) => monitor ? monitor.warn(text) : this.warn(text));
    startHands(this);
  }

  /** `migrate-set-parameters`, types already checked. @throws {CommandError} with QEMU's text; nothing is changed then */
  setParameters(changes: Readonly<Record<string, unknown>>): void {
    this.#parameters.apply(changes, (name) => this.on(name));
    startHands(this);
  }

  /** Take over merged declarations with more in them; what is set stays set. */
  extend(registry: Registry): void {
    const on = this.#registry.capabilities.filter(({ name }) => this.on(name));
    const values = this.#registry.parameters.map(({ name }) => [name, this.parameter(name)] as const);
    this.#registry = registry;
    this.#capabilities = new CapabilitySet(registry.rules);
    this.#capabilities.apply(on.map(({ name }) => ({ capability: name, state: true })), this.surroundings(), () => {});
    this.#parameters = new ParameterValues(registry.parameters, registry.parameterRules);
    for (const [name, value] of values) this.#parameters.preset(name, value);
  }

  /** A migration arrived: this is the guest now. */
  adopt(guest: Guest): void {
    if (guest === this.#guest) return;
    const old = this.#guest;
    this.#guest = guest;
    // the stream does not tell, so what was asked for here stays
    guest.globals.multifdFlushAfterEachSection ??= this.globals.multifdFlushAfterEachSection;
    Object.assign(this.globals, guest.globals);
    if (old.memory !== guest.memory) old.memory.release(); // a strict load fills the memory there was
  }

  /** `stop`: a running guest stops. While a migration is awaited only the wish is noted. */
  stop(): void {
    if (this.#runState === "inmigrate") this.autostart = false;
    else this.stopGuest("paused");
  }

  /** `cont`. @throws {CommandError} when the guest must not run now */
  cont(): void {
    if (["shutdown", "internal-error", "guest-panicked"].includes(this.#runState)) {
      throw new CommandError("Resetting the Virtual Machine is required");
    }
    if (this.#runState === "suspended") return;
    if (this.#runState === "finish-migrate") throw new CommandError("Migration is not finalized yet");
    if (this.#runState === "inmigrate") this.autostart = true;
    else this.startGuest();
  }

  /** A running guest goes into `state`, with a STOP event; one that does not run stays as it is. */
  stopGuest(state: RunState): void {
    if (this.#runState !== "running") return;
    this.#runState = state;
    this.events.emit("STOP");
  }

  /** Into `state` whatever the guest does now; a STOP event if it ran. */
  forceState(state: RunState): void {
    if (this.#runState === "running") this.stopGuest(state);
    else this.#runState = state;
  }

  /** Let the guest run, with a RESUME event; one that runs goes on. */
  startGuest(): void {
    if (this.#runState === "running") return;
    this.events.emit("RESUME");
    this.#runState = "running";
  }

  /** An event only people who switched `events` on want. */
  migrationEvent(name: string, data: Readonly<Record<string, unknown>>): void {
    if (this.on("events")) this.events.emit(name, data);
  }

  /** A line QEMU would print with error_report: on the monitor whose command runs, else to whoever listens for stderr. */
  report(line: string): void {
    if (this.#current) this.#current.report(line);
    else this.toStderr(line);
  }

  /** A remark QEMU would print with warn_report. */
  warn(text: string): void {
    this.toStderr(`warning: ${text}`);
  }

  /** To whoever listens for stderr, in any case. */
  toStderr(line: string): void {
    for (const reporter of this.#reporters) reporter(line);
  }

  /** Hear lines for stderr, without line end and program name. @returns call it to stop */
  onReport(reporter: (line: string) => void): () => void {
    this.#reporters.add(reporter);
    return () => this.#reporters.delete(reporter);
  }

  /** Run something as the command of a monitor: until its first await, what is reported goes there. */
  as<T>(monitor: Monitor, action: () => T): T {
    const before = this.#current;
    this.#current = monitor.kind === "qmp" ? undefined : monitor;
    try {
      return action();
    } finally {
      this.#current = before;
    }
  }

  /** The machine ends. The first reason counts. */
  exit(status: number): void {
    this.exitStatus ??= status;
    this.incoming.stop();
  }

  /** What a transport may ask of this session on behalf of a monitor. */
  transportContext(monitor: Monitor): TransportContext {
    return {
      takeNamedFd: (name) => monitor.fds.takeNamedFd(name),
      fdset: (id) => monitor.fds.fdset(id),
      warn: (text) => monitor.warn(text),
      report: (text) => this.report(text),
    };
  }

  /** Stop everything under way and give memory and descriptors back. */
  async close(): Promise<void> {
    this.exit(0);
    this.dirtyRate.stop();
    if (this.outgoing.running) this.outgoing.cancel();
    await this.outgoing.settled;
    await this.incoming.settled;
    endWaiting();
    this.fds.close();
    this.events.close();
    this.#guest.memory.release();
  }

  #applyGlobals({ globals, capabilities, parameters }: AppliedGlobals): void {
    Object.assign(this.globals, globals);
    const { onlyMigratable: _, clearBitmapShift: __, ...stream } = this.globals;
    Object.assign(this.#guest.globals, stream);
    this.#parameters.apply(parameters, () => false);
    if (capabilities.length > 0) {
      this.#capabilities.apply(capabilities, this.surroundings(), (text) => this.warn(text));
    }
  }

  /** What rules may look at beside the set of capabilities. */
  protected surroundings(): Omit<RuleContext, "on" | "was"> {
    return {
      parameter: (name) => this.parameter(name),
      incoming: this.#runState === "inmigrate",
      listening: this.incoming.listening,
      accelerator: this.options.accelerator ?? "tcg",
      dirtyRing: this.options.dirtyRing ?? false,
      host: this.options.host,
    };
  }
}
