/**
 * The outgoing migration: its status, what it counts, and who may do what when.
 *
 *     none/completed/failed/cancelled --migrate--> setup --> active --> [pre-switchover] --> device --> completed
 *                                                    \---------\------------\------------------\--> failed
 *                                                     any of these --migrate_cancel--> cancelling --> cancelled
 *
 * Bytes are moved by save.ts; here are the moments people see. Source: QEMU migration/migration.c.
 * @module
 */
import type { RunState } from "../guest/guest.ts";
import { CommandError, TransportError } from "../stream/errors.ts";
import type { Monitor } from "./command.ts";
import type { SaveRequest } from "./dataplane.ts";
import { newRamCounters, type RamCounters } from "./plugin.ts";
import { closeChannels, missingTls, openFurtherChannels } from "./further_channels.ts";
import { checkStart } from "./migrate_prepare.ts";
import type { Destination } from "./reach.ts";
import { saveGuest } from "./save.ts";
import type { Session } from "./session.ts";
import { atRest, inPostcopy, type MigrationStatus } from "./status.ts";
import type { Channel, TransportContext } from "./transport.ts";

/** Times of a migration, in ms. */
export interface MigrationTimes {
  /** From `migrate` to the end. */
  total: number;
  /** Until the first page. */
  setup: number;
  /** From the stop of the guest to the end. */
  downtime: number;
  /** What is left over what the line carries. */
  expectedDowntime: number;
}

/** The outgoing role of a session. */
export class Outgoing {
  readonly #session: Session;
  #status: MigrationStatus = "none";
  #channel: Channel | undefined;
  /** Those of multifd. */
  #further: readonly Channel[] = [];
  #abort = new AbortController();
  #pauseEnd: (() => void) | undefined;
  #oldState: RunState | undefined;
  #stoppedFirst = false;
  #started = 0;
  #stoppedAt = 0;
  #settled: Promise<void> = Promise.resolve();
  readonly #waiters = new Set<() => void>();
  /** Why it failed, as `error-desc` has it. */
  error: string | undefined;
  /** What was counted, of the last migration too. */
  counters: RamCounters = newRamCounters();
  /** Times of the last migration. */
  readonly times: MigrationTimes = { total: 0, setup: 0, downtime: 0, expectedDowntime: 0 };
  /** Throughput in Mbit/s. */
  mbps = 0;
  /** Over the last 100 ms. */
  pagesPerSecond = 0;

  /** For one session. */
  constructor(session: Session) {
    this.#session = session;
  }

  /** Present status. */
  get status(): MigrationStatus {
    return this.#status;
  }

  /** A migration is under way: no new one, no change of capabilities. */
  get running(): boolean {
    return !atRest(this.#status);
  }

  /** The guest was stopped before the first page: all of it counts as downtime. */
  get stoppedFirst(): boolean {
    return this.#stoppedFirst;
  }

  /** Resolves when everything about the last migration is over, its channel closed; never rejects. */
  get settled(): Promise<void> {
    return this.#settled;
  }

  /** ms since the start, or of the whole migration once it is over. */
  get totalTime(): number {
    return this.running ? Math.round(performance.now() - this.#started) : this.times.total;
  }

  /** Resolves when the status is none of these. */
  async left(...statuses: MigrationStatus[]): Promise<void> {
    while (statuses.includes(this.#status)) await new Promise<void>((resolve) => this.#waiters.add(resolve));
  }

  /**
   * `migrate`.
   * @throws {CommandError} {TransportError} what forbids it, or why the transport would not open
   */
  start(to: Destination, resume: boolean, monitor: Monitor): void {
    const session = this.#session;
    checkStart(session, to, resume, this.running);
    this.#reset();
    this.#set("setup");
    const context = session.transportContext(monitor);
    const connection = this.#connect(to, context);
    const tls = missingTls(session);
    // a channel that is there at once is refused at once, and the command says why without failing
    if (tls && !(connection instanceof Promise)) {
      this.#settled = this.#abandon(connection, new TransportError(tls), "setup");
      return;
    }
    // looked at in #drive, a turn later: until then a refusal is nobody's
    if (connection instanceof Promise) connection.catch(() => {});
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#settled = promise;
    const further = () => openFurtherChannels(to, session, context, this.#abort.signal);
    this.#drive(connection, further).then(
      resolve,
      (error) => {
        // a fault of ours, not of the migration: it must still come to rest
        this.#fail(String(error?.message ?? error));
        resolve();
      },
    );
  }

  /** `migrate_cancel`. @throws {CommandError} in postcopy, where there is no way back */
  cancel(): void {
    if (inPostcopy(this.#status)) throw new CommandError("Postcopy migration in progress, cannot cancel.");
    if (!this.running || this.#status === "cancelling") return;
    const connecting = this.#status === "setup" && !this.#channel;
    this.#set("cancelling");
    this.#abort.abort(new TransportError("Migration cancelled"));
    this.#pauseEnd?.();
    this.#channel?.abort();
    for (const channel of this.#further) channel.abort();
    if (connecting) this.#set("cancelled");
  }

  /** `migrate_continue`. @throws {CommandError} when that is not the present status */
  continue(status: MigrationStatus): void {
    if (this.#status !== status) throw new CommandError(`Migration not in expected state: ${this.#status}`);
    // in any other state QEMU remembers the wake-up and discards it at the next pause
    if (status === "pre-switchover") this.#pauseEnd?.();
  }

  /** `migrate_start_postcopy`. @throws {CommandError} before a migration, or without a capability for it */
  startPostcopy(): void {
    if (!this.#session.on("postcopy-ram") && !this.#session.on("dirty-bitmaps")) {
      throw new CommandError("Enable postcopy with migrate_set_capability before the start of migration");
    }
    if (this.#status === "none") throw new CommandError("Postcopy must be started after migration has been started");
    if (this.running) this.#session.report("postcopy is not available here: the migration goes on as precopy");
  }

  #reset(): void {
    this.#abort = new AbortController();
    this.#channel = undefined;
    this.#further = [];
    this.#oldState = undefined;
    this.#stoppedFirst = false;
    this.#started = performance.now();
    this.error = undefined;
    this.counters = newRamCounters();
    this.mbps = this.pagesPerSecond = 0;
    Object.assign(this.times, {
      total: 0,
      setup: 0,
      downtime: 0,
      expectedDowntime: this.#session.parameter("downtime-limit"),
    });
  }

  #connect(to: Destination, context: TransportContext): Channel | Promise<Channel> {
    try {
      const channel = to.transport.connect(to.address, context);
      if (!(channel instanceof Promise)) {
        this.#channel = channel;
        this.#stopForReboot();
      }
      return channel;
    } catch (error) {
      if (error instanceof CommandError || error instanceof TransportError) {
        this.#fail(error.message);
        this.#set("failed");
      }
      throw error;
    }
  }

  /** @param further opens the other channels, once the main one is there; when it cannot the migration fails in setup */
  async #drive(connection: Channel | Promise<Channel>, further: () => Promise<Channel[]>): Promise<void> {
    const signal = this.#abort.signal;
    // the answer to the command goes first
    await new Promise<void>((resolve) => setTimeout(resolve, 0));
    let channel: Channel;
    try {
      channel = await connection;
    } catch (error) {
      // cancelled while connecting: that migration is over, and perhaps the next one has begun
      if (signal.aborted) return;
      this.#fail((error as Error).message);
      this.#set("failed");
      this.#reportFailure(error);
      return;
    }
    if (signal.aborted && this.#channel !== channel) {
      channel.abort();
      return await channel.close();
    }
    if (signal.aborted) return await this.#end(channel, "cancelled");
    this.#channel = channel;
    this.#stopForReboot();
    try {
      this.#further = await further();
    } catch (error) {
      return await this.#abandon(channel, error, "setup");
    }
    try {
      await saveGuest(this.#request(channel));
      signal.throwIfAborted();
      this.#complete();
      await this.#end(channel, "completed");
    } catch (error) {
      await this.#abandon(channel, error);
    }
  }

  #request(channel: Channel): SaveRequest {
    const session = this.#session;
    const strategy = session.registry.ramStrategies.find(({ capability, unless }) =>
      session.on(capability) && !(unless && session.on(unless))
    );
    const background = session.on("background-snapshot");
    return {
      guest: session.guest,
      channel,
      channels: this.#further,
      tables: session.registry.tables,
      capability: (name) => session.on(name),
      parameter: (name) => session.parameter(name),
      strategy,
      counters: this.counters,
      signal: this.#abort.signal,
      report: (line) => session.report(line),
      onRate: ({ bytesPerSecond, pagesPerSecond, expectedDowntimeMs }) => {
        this.mbps = bytesPerSecond * 8 / 1e6;
        this.pagesPerSecond = Math.round(pagesPerSecond);
        this.times.expectedDowntime = expectedDowntimeMs;
      },
      observer: {
        setupDone: () => this.#setupDone(background),
        pass: () => background ? this.counters.dirtySyncCount = 0 : this.#pass(),
        switchover: () => background ? undefined : this.#switchover(),
        runState: () => this.#oldState ?? session.runState,
      },
    };
  }

  #setupDone(background: boolean): void {
    this.times.setup = Math.round(performance.now() - this.#started);
    if (background) this.counters.dirtySyncCount = 0;
    else this.#pass();
    this.#set("active");
    if (!background) return;
    // the moment the snapshot shows: memory is frozen, then the guest goes on
    const before = performance.now();
    const state = this.#session.runState;
    this.#session.stopGuest("paused");
    if (state === "running") this.#session.startGuest();
    else this.#session.runState = state;
    this.times.downtime = Math.round(performance.now() - before);
  }

  #pass(): void {
    this.#session.migrationEvent("MIGRATION_PASS", { pass: Math.max(this.counters.dirtySyncCount, 1) });
  }

  #stopGuest(state: RunState): void {
    if (this.#oldState !== undefined) return;
    this.#oldState = this.#session.runState;
    this.#stoppedAt = performance.now();
    this.#session.forceState(state);
  }

  #stopForReboot(): void {
    if (this.#session.parameter("mode") !== "cpr-reboot") return;
    this.#stopGuest("finish-migrate");
    this.#stoppedFirst = true;
  }

  async #switchover(): Promise<void> {
    this.#abort.signal.throwIfAborted();
    this.#stopGuest("finish-migrate");
    if (this.#session.on("pause-before-switchover")) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#pauseEnd = resolve;
      this.#set("pre-switchover");
      await promise;
      this.#pauseEnd = undefined;
      this.#abort.signal.throwIfAborted();
    }
    this.#set("device");
  }

  #complete(): void {
    const now = performance.now();
    this.times.total = Math.round(now - this.#started);
    if (this.#oldState !== undefined) this.times.downtime = Math.round(now - this.#stoppedAt);
    const transfer = this.times.total - this.times.setup;
    if (transfer > 0) this.mbps = this.counters.transferred * 8 / transfer / 1000;
    this.counters.remaining = 0;
    if (this.#oldState !== undefined) this.#session.runState = "postmigrate";
    this.#set("completed");
  }

  /** Failed or cancelled: the guest goes back to what it was. */
  async #abandon(channel: Channel, error: unknown, stage?: "setup"): Promise<void> {
    const cancelled = this.#status === "cancelling";
    if (!cancelled) {
      if (this.#status === "setup" && !stage) this.#setupDone(false);
      this.#fail((error as Error)?.message ?? String(error));
      this.#set("failed");
    }
    if (this.#oldState === "running") this.#session.startGuest();
    else if (this.#oldState !== undefined) this.#session.runState = this.#oldState;
    if (!cancelled) this.#reportFailure(error);
    await this.#end(channel, cancelled ? "cancelled" : "failed");
  }

  async #end(channel: Channel, status: MigrationStatus): Promise<void> {
    try {
      if (status !== "completed") { for (const one of [channel, ...this.#further]) one.abort(); }
      await closeChannels(this.#further);
      await channel.close();
    } catch (error) {
      if (status === "completed") this.#session.report((error as Error).message);
    }
    this.#channel = undefined;
    this.#further = [];
    if (this.#status === "cancelling") this.#set("cancelled");
  }

  #fail(message: string): void {
    this.error ??= message;
  }

  #reportFailure(error: unknown): void {
    const hint = error instanceof CommandError ? error.hint : [];
    this.#session.report([this.error ?? String(error), ...hint].join("\n"));
  }

  #set(status: MigrationStatus): void {
    this.#status = status;
    this.#session.migrationEvent("MIGRATION", { status });
    for (const wake of this.#waiters) wake();
    this.#waiters.clear();
  }
}
