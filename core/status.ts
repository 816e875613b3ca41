/**
 * QAPI MigrationStatus, and which of them mean what. Source: QEMU qapi/migration.json, migration/migration.c
 * (migration_is_running, migrate_show_downtime, migration_in_postcopy).
 * @module
 */

/** Status of an outgoing or incoming migration. */
export type MigrationStatus =
  | "none"
  | "setup"
  | "cancelling"
  | "cancelled"
  | "active"
  | "postcopy-active"
  | "postcopy-paused"
  | "postcopy-recover-setup"
  | "postcopy-recover"
  | "completed"
  | "failed"
  | "colo"
  | "pre-switchover"
  | "device"
  | "wait-unplug";

/** All statuses, in the order of the enum. */
export const MIGRATION_STATUSES: readonly MigrationStatus[] = Object.freeze<MigrationStatus[]>([
  "none",
  "setup",
  "cancelling",
  "cancelled",
  "active",
  "postcopy-active",
  "postcopy-paused",
  "postcopy-recover-setup",
  "postcopy-recover",
  "completed",
  "failed",
  "colo",
  "pre-switchover",
  "device",
  "wait-unplug",
]);

const AT_REST: readonly MigrationStatus[] = ["none", "completed", "failed", "cancelled"];
const POSTCOPY: readonly MigrationStatus[] = [
  "postcopy-active",
  "postcopy-paused",
  "postcopy-recover-setup",
  "postcopy-recover",
];

/** A new `migrate` may start, capabilities may change. */
export function atRest(status: MigrationStatus): boolean {
  return AT_REST.includes(status);
}

/** The guest runs on the other side, or would: no way back. */
export function inPostcopy(status: MigrationStatus): boolean {
  return POSTCOPY.includes(status);
}
