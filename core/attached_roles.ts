/**
 * The two roles of a machine in another process, as `query-migrate` tells of them: the same words a session of our own uses,
 * kept up to date while a migration is under way.
 * @module
 */
import { CommandError } from "../stream/errors.ts";
import type { MigrationTimes } from "./outgoing.ts";
import type { MigrationInfo } from "./migration_info.ts";
import type { RamCounters } from "./plugin.ts";
import type { IncomingRole, OutgoingRole } from "./session.ts";
import { atRest, type MigrationStatus } from "./status.ts";
import type { MigrateAddress } from "./transport.ts";

/** What both roles have in common: a status that is followed until it is at rest. */
class FollowedRole {
  #status: MigrationStatus = "none";
  #running = false;
  #settled: Promise<void> = Promise.resolve();
  #settle = () => {};
  readonly #waiters = new Set<() => void>();

  get status(): MigrationStatus {
    return this.#status;
  }

  get running(): boolean {
    return this.#running;
  }

  get settled(): Promise<void> {
    return this.#settled;
  }

  async left(...statuses: MigrationStatus[]): Promise<void> {
    while (statuses.includes(this.#status)) await new Promise<void>((resolve) => this.#waiters.add(resolve));
  }

  /** A migration has begun. */
  begin(): void {
    if (this.#running) return;
    this.#running = true;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#settled = promise;
    this.#settle = resolve;
    this.set("setup");
  }

  /** The status is this now. */
  set(status: MigrationStatus): void {
    this.#status = status;
    for (const wake of this.#waiters) wake();
    this.#waiters.clear();
    if (!this.#running || !atRest(status)) return;
    this.#running = false;
    this.#settle();
  }
}

/** How a role asks its machine for something. */
export type Ask = (name: string) => void;

/** The outgoing role. */
export class AttachedOutgoing extends FollowedRole implements OutgoingRole {
  error: string | undefined;
  counters: RamCounters = countersOf({});
  readonly times: MigrationTimes = { total: 0, setup: 0, downtime: 0, expectedDowntime: 0 };
  mbps = 0;
  pagesPerSecond = 0;
  readonly #ask: Ask;

  constructor(ask: Ask) {
    super();
    this.#ask = ask;
  }

  get stoppedFirst(): boolean {
    return false;
  }

  get totalTime(): number {
    return this.times.total;
  }

  override begin(): void {
    this.error = undefined;
    this.counters = countersOf({});
    super.begin();
  }

  start(): never {
    throw new CommandError("Cannot start a migration here: the machine is another process");
  }

  cancel(): void {
    this.#ask("migrate_cancel");
  }

  continue(): never {
    return this.start();
  }

  startPostcopy(): never {
    return this.start();
  }

  /** What `query-migrate` answered. */
  take(info: MigrationInfo): void {
    const { ram } = info;
    this.error = info["error-desc"];
    if (ram) {
      this.counters = countersOf(info);
      this.mbps = ram.mbps;
      this.pagesPerSecond = ram["pages-per-second"];
    }
    this.times.total = info["total-time"] ?? this.times.total;
    this.times.setup = info["setup-time"] ?? 0;
    this.times.downtime = info.downtime ?? 0;
    this.times.expectedDowntime = info["expected-downtime"] ?? 0;
    this.set(info.status ?? "none");
  }

  /** The machine is gone. */
  lose(reason: string): void {
    if (!this.running) return;
    this.error = reason;
    this.set("failed");
  }
}

function countersOf({ ram }: MigrationInfo): RamCounters {
  return {
    transferred: ram?.transferred ?? 0,
    duplicate: ram?.duplicate ?? 0,
    normal: ram?.normal ?? 0,
    precopyBytes: ram?.["precopy-bytes"] ?? 0,
    downtimeBytes: ram?.["downtime-bytes"] ?? 0,
    postcopyBytes: ram?.["postcopy-bytes"] ?? 0,
    multifdBytes: ram?.["multifd-bytes"] ?? 0,
    dirtySyncCount: ram?.["dirty-sync-count"] ?? 0,
    remaining: ram?.remaining ?? 0,
  };
}

/** The incoming role. */
export class AttachedIncoming extends FollowedRole implements IncomingRole {
  failure: string | undefined;
  progress: { bytes: number; total: number | undefined } = { bytes: 0, total: undefined };
  addresses: readonly MigrateAddress[] = [];
  fromFile = false;
  readonly waiting = false;

  get listening(): boolean {
    return this.addresses.length > 0;
  }

  override begin(fromFile = false): void {
    this.failure = undefined;
    this.fromFile = fromFile;
    super.begin();
  }

  start(): never {
    throw new CommandError("Cannot start a migration here: the machine is another process");
  }

  recover(): never {
    return this.start();
  }

  stop(): void {}

  /** What `query-migrate` answered. */
  take(info: MigrationInfo): void {
    this.failure = info["error-desc"];
    this.addresses = (info["socket-address"] ?? []).map((address) =>
      ({ transport: "socket", ...address }) as MigrateAddress
    );
    this.set(info.status ?? "none");
  }

  /** The machine is gone. */
  lose(reason: string): void {
    if (!this.running) return;
    this.failure = reason;
    this.set("failed");
  }
}
