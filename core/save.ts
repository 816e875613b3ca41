/**
 * Saving a guest: the order of a precopy stream (QEMU: migration/migration.c migration_thread).
 * @module
 */
import type { SaveRequest } from "./dataplane.ts";

/** Write the whole guest into the request's channel. Rejects when cancelled or when the channel fails. */
export function saveGuest(_request: SaveRequest): Promise<void> {
  return Promise.reject(new Error("not yet"));
}
