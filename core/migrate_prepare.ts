/**
 * What forbids a migration to begin, in the order in which QEMU looks: its first reason is the one that is told.
 *
 * Source: QEMU migration/migration.c qmp_migrate, migrate_prepare.
 * @module
 */
import { CommandError } from "../stream/errors.ts";
import { checkReach, type Destination } from "./reach.ts";
import type { Session } from "./session.ts";

/**
 * Whether `migrate` may begin.
 * @param running a migration is under way
 * @throws {CommandError} what forbids it
 */
export function checkStart(session: Session, to: Destination, resume: boolean, running: boolean): void {
  checkReach(to.transport, session);
  const transfer = session.parameter("mode") === "cpr-transfer";
  if (transfer && !to.cpr) throw new CommandError("missing 'cpr' migration channel");
  checkState(session, resume, running);
  checkFeatures(session);
  if (transfer) refuseTransfer(session);
}

function checkState({ runState, blockers }: Session, resume: boolean, running: boolean): void {
  if (resume) throw new CommandError("Cannot resume if there is no paused migration");
  if (running) throw new CommandError("There's a migration process in progress");
  if (runState === "inmigrate") throw new CommandError("Guest is waiting for an incoming migration");
  if (runState === "postmigrate") {
    throw new CommandError("Can't migrate the vm that was paused due to previous migration");
  }
  // QEMU ends itself here: invalid runstate transition: 'restore-vm' -> 'finish-migrate'
  if (runState === "restore-vm") throw new CommandError("Can't migrate the vm that is in restore-vm; use cont first");
  if (blockers.length > 0) throw new CommandError(blockers[0]);
}

function checkFeatures(session: Session): void {
  if (session.on("mapped-ram")) {
    if (session.parameter("tls-creds")) throw new CommandError("Cannot use TLS with mapped-ram");
    if (session.parameter("multifd-compression") !== "none") {
      throw new CommandError("Cannot use compression with mapped-ram");
    }
  }
  if (session.parameter("mode") === "normal") return;
  const conflict = session.on("postcopy-ram") || session.on("dirty-bitmaps")
    ? "postcopy"
    : session.on("background-snapshot")
    ? "background snapshot"
    : session.on("x-colo")
    ? "COLO"
    : undefined;
  if (conflict) throw new CommandError(`Cannot use ${conflict} with CPR`);
}

/** Memory handed over in place needs a block that both processes map; a model guest has none. */
function refuseTransfer({ guest }: Session): never {
  const region = guest.memory.blocks.at(-1)?.idstr ?? "pc.ram";
  throw new CommandError(
    `Memory region ${region} is not compatible with CPR. share=on is required for memory-backend objects, ` +
      "and aux-ram-share=on is required.",
  );
}
