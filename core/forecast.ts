/**
 * Where a running migration is going: from what `query-migrate` tells, when it will be done, or that it will not.
 *
 *     rate    bytes a second that leave           mbps / 8
 *     dirty   bytes a second written meanwhile    dirty-pages-rate * page-size; measured once a pass
 *
 * QEMU stops the guest when what remains takes no longer than `downtime-limit`. While the guest writes faster than the line
 * carries, that never comes. Source: QEMU migration/migration.c (migration_update_counters, migration_can_switchover).
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

/**
 * Look ahead.
 * @param running the guest runs meanwhile
 * @param downtimeLimit ms
 */
export function forecast(info: MigrationInfo, running: boolean, downtimeLimit: number): Forecast {
  const { ram } = info;
  const total = ram?.total ?? 0;
  const remaining = Math.min(total, ram?.remaining ?? 0);
  const rate = (ram?.mbps ?? 0) * 1e6 / 8;
  const dirty = running ? (ram?.["dirty-pages-rate"] ?? 0) * (ram?.["page-size"] ?? 0) : 0;
  const pass = ram?.["dirty-sync-count"] ?? 0;
  const fits = rate > 0 && remaining / rate * 1000 <= downtimeLimit;
  const known = rate > 0 && (!running || pass > 1 || dirty > 0);
  const converges = known ? fits || dirty < rate : undefined;
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
