/**
 * Where a running migration is going: from what `query-migrate` tells, when it will be done, or that it will not.
 *
 *     rate    bytes a second that leave           mbps / 8
 *     dirty   bytes a second written meanwhile    dirty-pages-rate * page-size; measured once a pass
 *
 * QEMU stops the guest when what remains takes no longer than `downtime-limit`. While the guest writes faster than the line
 * carries, that never comes. A guest that writes the same pages over and over is measured to write just as fast as they leave,
 * however fast that is: there what remains at the beginning of a pass is no less than at the one before. Source: QEMU migration/migration.c (migration_update_counters, migration_can_switchover).
 * @module
 */
import type { MigrationInfo } from "./migration_info.ts";

/** State and prospects of a migration. */
export interface Forecast {
  /** "active". */
  readonly status: string;
  /** Bytes of RAM. */
  readonly total: number;
  /** Bytes of RAM still to go. */
  readonly remaining: number;
  /** Bytes sent. */
  readonly transferred: number;
  /** Of RAM, 0 to 100. */
  readonly percent: number;
  /** Bytes that leave in a second. */
  readonly bytesPerSecond: number;
  /** Bytes the guest writes in a second. */
  readonly dirtyBytesPerSecond: number;
  /** How often RAM was gone over. */
  readonly pass: number;
  /** Seconds until the end; undefined while nothing is known, and when it does not converge. */
  readonly secondsLeft: number | undefined;
  /** False: the guest writes faster than its memory leaves. Undefined while nothing is known. */
  readonly converges: boolean | undefined;
}

/** Passes that leave more than this share of what the one before them began with get nowhere. */
const STANDSTILL = 0.95;
/** The second pass is the first that has to do with what the guest writes, so the third can be compared. */
const COMPARABLE = 3;

/** Looks ahead again and again in one migration, and remembers how its passes began. */
export class Prospects {
  #pass = 0;
  /** Most bytes that were seen to remain in this pass, and in the one before. */
  #most = 0;
  #before = 0;

  /** As {@link forecast}; call it a few times a second. */
  look(info: MigrationInfo, running: boolean, downtimeLimit: number): Forecast {
    const { "dirty-sync-count": pass = 0, remaining = 0 } = info.ram ?? {};
    if (pass < this.#pass) this.#most = this.#pass = 0; // another migration
    if (pass > this.#pass) {
      this.#before = pass === this.#pass + 1 ? this.#most : 0;
      this.#pass = pass;
      this.#most = 0;
    }
    this.#most = Math.max(this.#most, remaining);
    const stands = pass >= COMPARABLE && this.#before > 0 && this.#most > this.#before * STANDSTILL;
    return forecast(info, running, downtimeLimit, !stands);
  }
}

/**
 * Look ahead.
 * @param running the guest runs meanwhile
 * @param downtimeLimit ms
 * @param shrinks false: passes do not get shorter
 */
export function forecast(info: MigrationInfo, running: boolean, downtimeLimit: number, shrinks = true): Forecast {
  const { ram } = info;
  const total = ram?.total ?? 0;
  const remaining = Math.min(total, ram?.remaining ?? 0);
  const rate = (ram?.mbps ?? 0) * 1e6 / 8;
  const dirty = running ? (ram?.["dirty-pages-rate"] ?? 0) * (ram?.["page-size"] ?? 0) : 0;
  const pass = ram?.["dirty-sync-count"] ?? 0;
  const fits = rate > 0 && remaining / rate * 1000 <= downtimeLimit;
  const known = rate > 0 && (!running || pass > 1 || dirty > 0);
  const converges = known ? fits || !running || (shrinks && dirty < rate) : undefined;
  const net = rate - dirty;
  return {
    status: info.status ?? "none",
    total,
    remaining,
    transferred: ram?.transferred ?? 0,
    percent: total === 0 ? 0 : (total - remaining) / total * 100,
    bytesPerSecond: rate,
    dirtyBytesPerSecond: dirty,
    pass,
    secondsLeft: rate > 0 && converges !== false ? (fits ? remaining / rate : remaining / net) : undefined,
    converges,
  };
}
