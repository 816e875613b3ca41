/**
 * Threads of a migration, started while its settings are made: whoever sets multifd is about to migrate.
 * @module
 */
import { mayStartWorkers } from "../threads/may_start.ts";
import { startAhead } from "../threads/workers_ahead.ts";
import { LANE_WORKER } from "./lane.ts";
import { PAGE_WRITER } from "./page_writers.ts";
import { canPassDescriptors } from "./scm_rights.ts";
import { SEND_WORKER } from "./send_thread.ts";
import type { Session } from "./session.ts";

/** Bytes of guest from which on a save is long enough for its threads to be worth it. */
const LARGE = 1 << 30;
/** Threads started ahead; each costs some MiB. Of the channels of a file those that start first. */
const MOST = 16, MOST_OF_FILE = navigator.hardwareConcurrency;

/** Settings were made: start what the next migration will want. */
export function startHands(session: Session): void {
  if (session.remote || !mayStartWorkers()) return;
  const channels = Math.min(Number(session.parameter("multifd-channels")), MOST);
  const intoFile = session.on("mapped-ram") && session.on("multifd");
  if (session.incoming.waiting) return startAhead(LANE_WORKER, intoFile ? Math.min(channels, MOST_OF_FILE) : 1);
  if (!session.on("multifd") || session.guest.memory.totalBytes < LARGE) return;
  if (intoFile) startAhead(PAGE_WRITER, Math.min(channels, MOST_OF_FILE));
  else if (canPassDescriptors()) startAhead(SEND_WORKER, channels);
}
