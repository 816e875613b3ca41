/**
 * The further channels of a mapped-ram file: with multifd each opens the file again, with direct-io past the page cache.
 *
 *     source       write only           0x1       with direct-io   0x4001
 *     destination  read only            0x0       with direct-io   0x4000
 *
 * Whether they could be opened is asked before a page moves: QEMU 10.0 ends itself when a source finds out later. For a
 * descriptor set the second, O_DIRECT one has to be there. Source: QEMU migration/file.c (file_send_channel_create,
 * file_start_incoming_migration), util/osdep.c (qemu_open_internal).
 * @module
 */
import fs from "node:fs";
import { CommandError } from "../stream/errors.ts";
import { errnoName, errnoText } from "./errno.ts";
import type { MigrateAddress, TransportContext } from "./transport.ts";

const { O_RDONLY, O_WRONLY, O_RDWR, O_DIRECT } = fs.constants;

/** What the question depends on. */
export interface FurtherChannelsContext {
  /** Is the capability on? */
  on(capability: string): boolean;
  /** Value of a parameter. */
  parameter(name: string): unknown;
}

/**
 * Make sure the further channels of an address could be opened; one is, and closed again.
 * @param way "read" for a destination, "write" for a source
 * @throws {CommandError} with QEMU's text
 */
export function checkFurtherChannels(
  address: MigrateAddress,
  way: "read" | "write",
  settings: FurtherChannelsContext,
  context: TransportContext,
): void {
  if (address.transport !== "file" || !settings.on("multifd") || !settings.on("mapped-ram")) return;
  const flags = (way === "write" ? O_WRONLY : O_RDONLY) | (settings.parameter("direct-io") ? O_DIRECT : 0);
  const set = /^\/dev\/fdset\/(\d+)$/.exec(address.filename);
  if (set) checkSet(Number(set[1]), flags, context);
  else checkPath(address.filename, flags);
}

function checkSet(id: number, flags: number, context: TransportContext): void {
  const mask = O_RDWR | O_WRONLY | O_DIRECT;
  const fits = context.fdset(id)?.some((held) => (held.flags & mask) === flags);
  if (!fits) throw new CommandError(`Failed to find file descriptor with matching flags=0x${flags.toString(16)}`);
}

function checkPath(path: string, flags: number): void {
  try {
    fs.closeSync(fs.openSync(path, flags));
  } catch (error) {
    const reason = errnoName(error) === "EINVAL" && flags & O_DIRECT
      ? "filesystem does not support O_DIRECT"
      : errnoText(error);
    throw new CommandError(`Could not open '${path}': ${reason}`);
  }
}
