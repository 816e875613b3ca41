/**
 * The incoming migration: a session started as a destination waits for `migrate_incoming`, then for its source.
 *
 *     none --migrate_incoming--> setup --(channel there)--> active --> completed
 *                                  |                          \-----> failed
 *                                  \--> setup for ever, when the transport itself could not be opened
 *
 * Bytes are read by load.ts. Source: QEMU migration/migration.c (qmp_migrate_incoming, process_incoming_migration_co).
 * @module
 */
import { CommandError, StreamError } from "../stream/errors.ts";
import type { Monitor } from "./command.ts";
import { acceptOpened, closeChannels, furtherChannels, missingTls } from "./further_channels.ts";
import { loadGuest } from "./load.ts";
import { AcceptError, acceptMultifd } from "./multifd_accept.ts";
import { threadsAhead } from "./multifd_receiver.ts";
import { checkReach, type Destination } from "./reach.ts";
import type { Session } from "./session.ts";
import type { MigrationStatus } from "./status.ts";
import type { Channel, Listener, MigrateAddress } from "./transport.ts";
import type { WorkerStock } from "./worker_stock.ts";

/** The incoming role of a session. */
export class Incoming {
  readonly #session: Session;
  #status: MigrationStatus = "none";
  #begun = false;
  #fromFile = false;
  #listener: Listener | undefined;
  #channel: Channel | undefined;
  /** Those of multifd. */
  #further: readonly Channel[] = [];
  /** Started while nobody has connected. */
  #threads?: WorkerStock;
  readonly #abort = new AbortController();
  #settled: Promise<void> = Promise.resolve();
  /** The whole story of a failure in one line, more than `error-desc` tells. */
  failure: string | undefined;
  /** Bytes read so far, and of how many where that is known. */
  progress: { bytes: number; total: number | undefined } = { bytes: 0, total: undefined };

  /** For one session. */
  constructor(session: Session) {
    this.#session = session;
  }

  /** Present status. */
  get status(): MigrationStatus {
    return this.#status;
  }

  /** A listening socket exists. */
  get listening(): boolean {
    return this.#listener?.listening ?? false;
  }

  /** Where the source may connect to. */
  get addresses(): readonly MigrateAddress[] {
    return this.#listener?.addresses ?? [];
  }

  /** What comes is in a file: QEMU reads it in one go, and hears no command before its end. */
  get fromFile(): boolean {
    return this.#fromFile;
  }

  /** A load may begin at any time, and has not. */
  get waiting(): boolean {
    return !this.#begun && this.#session.runState === "inmigrate";
  }

  /** A load is expected or under way. */
  get running(): boolean {
    return this.#begun && (this.#status === "setup" || this.#status === "active");
  }

  /** Resolves when the load is over; never rejects. */
  get settled(): Promise<void> {
    return this.#settled;
  }

  /**
   * `migrate_incoming`.
   * @param from where from; asked for late, as QEMU does
   * @throws {CommandError} {TransportError} what forbids it, or why the transport would not open
   */
  start(from: () => Destination, exitOnError: boolean, monitor: Monitor): void {
    const session = this.#session;
    if (this.#begun) throw new CommandError("The incoming migration has already been started");
    if (session.runState !== "inmigrate") {
      throw new CommandError("'-incoming' was not specified on the command line");
    }
    const { transport, address } = from();
    checkReach(transport, session);
    if (this.#status !== "none") throw new CommandError(`Illegal migration incoming state: ${this.#status}`);
    this.#set("setup");
    // an error here leaves the status at setup for good, in QEMU too
    const extra = furtherChannels(session);
    const listener = this.#listener = transport.listen(address, { ...session.transportContext(monitor), extra });
    if (extra.count > 0 && listener.listening) this.#threads = threadsAhead(extra.count);
    this.#begun = true;
    this.#fromFile = transport.kind === "file" || transport.kind === "buffer";
    this.#settled = this.#receive(listener, extra.count, exitOnError);
  }

  /** `migrate_recover`: needs a paused postcopy, which cannot come about here. */
  recover(): never {
    throw new CommandError("Migrate recover can only be run when postcopy is paused.");
  }

  /** Stop waiting or reading. */
  stop(): void {
    this.#abort.abort();
    for (const channel of [this.#channel, ...this.#further]) channel?.abort();
    this.#threads?.close();
    this.#listener?.close();
  }

  async #receive(listener: Listener, further: number, exitOnError: boolean): Promise<void> {
    try {
      [this.#channel, ...this.#further] = await this.#accept(listener, further);
    } catch (error) {
      if (!(error instanceof AcceptError)) return; // closed by stop()
      if (error.description !== undefined) this.#session.outgoing.error ??= error.description;
      this.#fail(error, exitOnError);
      return await this.#close(listener);
    }
    // the answer to the command goes first
    await new Promise<void>((resolve) => setTimeout(resolve, 0));
    if (this.#abort.signal.aborted) return;
    this.#set("active");
    try {
      await this.#load(this.#channel);
    } catch (error) {
      this.#fail(error, exitOnError);
    } finally {
      await this.#close(listener);
    }
  }

  async #accept(listener: Listener, further: number): Promise<Channel[]> {
    const session = this.#session;
    const tls = missingTls(session);
    if (tls) {
      await (await listener.accept()).close();
      throw new AcceptError(tls);
    }
    if (further === 0 || session.on("mapped-ram")) return await acceptOpened(listener, further);
    return await acceptMultifd(listener, {
      count: further,
      uuid: session.uuid ?? (session.strict ? new Uint8Array(16) : undefined),
      report: (line) => session.report(line),
    });
  }

  async #load(channel: Channel): Promise<void> {
    const session = this.#session;
    const guest = await loadGuest({
      channel,
      channels: this.#further,
      threads: this.#threads,
      capability: (name) => session.on(name),
      parameter: (name) => session.parameter(name),
      tables: session.registry.tables,
      expect: session.strict ? session.guest : undefined,
      uuid: session.uuid,
      signal: this.#abort.signal,
      progress: (bytes, total) => this.progress = { bytes, total },
      report: (line) => session.report(line),
      channelFailed: (description) => session.outgoing.error ??= description,
    });
    session.adopt(guest);
    const state = guest.savedRunState ?? "running";
    if (state !== "running" && state !== "suspended") session.runState = state;
    else if (session.autostart) session.startGuest();
    else session.runState = "paused";
    this.#set("completed");
  }

  #fail(error: unknown, exitOnError: boolean): void {
    const session = this.#session;
    if (this.#abort.signal.aborted) return;
    const reason = (error as { reason?: string }).reason ?? "Invalid argument";
    this.failure = (error as Error).message;
    if (!(error instanceof StreamError)) session.report(this.failure);
    const text = `load of migration failed: ${reason}`;
    if (!(error instanceof AcceptError)) session.outgoing.error ??= text;
    this.#set("failed");
    if (exitOnError) {
      if (!(error instanceof AcceptError)) session.report(text);
      session.exit(1);
    }
  }

  async #close(listener: Listener): Promise<void> {
    this.#threads?.close();
    try {
      listener.close();
      await closeChannels(this.#further);
      await this.#channel?.close();
    } catch {
      // the load is over either way, and what it needed was read
    }
    this.#listener = undefined;
  }

  #set(status: MigrationStatus): void {
    this.#status = status;
    this.#session.migrationEvent("MIGRATION", { status });
  }
}
