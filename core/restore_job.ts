/**
 * A machine loaded from a file in one call: the settings the file was written with, the file handed over as a descriptor,
 * and the settings put back. The machine must wait for it (QEMU: `-incoming defer`).
 * @module
 */
import fs from "node:fs";
import { CommandError, TransportError } from "../stream/errors.ts";
import { checkWaits } from "./destination.ts";
import { errnoText } from "./errno.ts";
import { holdPath } from "./fds.ts";
import type { MigrationInfo } from "./migration_info.ts";
import { SettingsGuard } from "./settings_guard.ts";
import type { AssembledWorkbench } from "./workbench.ts";

/** What the file holds, and how it is read. */
export interface RestoreJobOptions {
  /** Where the stream begins. */
  readonly offset?: number;
  /** Capabilities the stream was written with, as far as both sides must agree: mapped-ram, x-ignore-shared. */
  readonly capabilities?: readonly string[];
  /** multifd channels to read with; left out: no multifd. mapped-ram only. */
  readonly channels?: number;
  /** Pages pass the page cache by. */
  readonly directIo?: boolean;
  /** Start the guest behind it, whatever it did when it was saved. */
  readonly cont?: boolean;
  /** Asked when the load itself failed: what it says of the reason stands behind the machine's own words. */
  readonly explain?: () => Promise<string | undefined>;
}

/** What came of it. */
export interface RestoredFile {
  /** Run state now: "running", "paused". */
  readonly runState: string;
  /** `query-migrate` at the end. */
  readonly info: MigrationInfo;
}

/** Capabilities that say how a stream is read. Others are the machine's own affair. */
const MATTER = ["mapped-ram", "x-ignore-shared"];
/** What expects somebody on the other side. */
const OFF = ["xbzrle", "postcopy-ram", "postcopy-preempt", "return-path", "switchover-ack", "x-colo"];

/**
 * Load a machine from a file.
 * @throws {CommandError} {TransportError} why it did not work; settings are as they were. The machine keeps what it loaded so
 * far and must be started anew
 */
export async function restoreFromFile(
  bench: AssembledWorkbench,
  path: string,
  options: RestoreJobOptions = {},
): Promise<RestoredFile> {
  const { offset = 0, capabilities = [], channels, directIo = false } = options;
  const mapped = capabilities.includes("mapped-ram");
  if (!mapped && (channels !== undefined || directIo)) {
    throw new CommandError("Channels and direct I/O need a mapped-ram file");
  }
  await checkWaits(bench, "Cannot restore: the machine");
  const multifd = channels !== undefined || directIo;
  const settings = await SettingsGuard.set(bench, {
    capabilities: {
      multifd,
      ...Object.fromEntries(OFF.map((name) => [name, false])),
      ...Object.fromEntries(MATTER.map((name) => [name, capabilities.includes(name)])),
    },
    parameters: {
      ...(multifd ? { "multifd-channels": channels ?? 1, "multifd-compression": "none" } : {}),
      ...(directIo ? { "direct-io": true } : {}),
    },
  });
  try {
    const info = await explained(load(bench, path, offset, directIo), path, options.explain);
    if (options.cont) await bench.qmp("cont");
    const { status: runState } = await bench.qmp("query-status") as { status: string };
    return { runState, info };
  } catch (error) {
    if (error instanceof Error) await settings.restore(error);
    throw error;
  } finally {
    await settings.restore();
  }
}

/** Name the file in front of a refusal of the machine, and why behind it. */
async function explained<T>(loading: Promise<T>, path: string, explain: RestoreJobOptions["explain"]): Promise<T> {
  try {
    return await loading;
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    if (/^lost QEMU at /i.test(error.message)) {
      error.message += `; it was loading '${path}'`;
      throw error;
    }
    const why = await explain?.().catch(() => undefined);
    error.message = `${path}: ${error.message}${why ? `; ${why}` : ""}`;
    throw error;
  }
}

async function load(bench: AssembledWorkbench, path: string, offset: number, direct: boolean): Promise<MigrationInfo> {
  const from = (filename: string) => ({
    channels: [{ "channel-type": "main", addr: { transport: "file", filename, offset } } as const],
  });
  if (!bench.passesFds) return await bench.migrateIncoming(from(real(path)));
  const { O_RDONLY, O_DIRECT } = fs.constants;
  const added = await bench.qmp("add-fd", { opaque: "miglab-restore" }, { fd: hold(path, O_RDONLY) });
  const id = (added as { "fdset-id": number })["fdset-id"];
  try {
    if (direct) {
      await bench.qmp("add-fd", { "fdset-id": id, opaque: "miglab-restore-direct" }, {
        fd: hold(path, O_RDONLY | O_DIRECT),
      });
    }
    return await bench.migrateIncoming(from(`/dev/fdset/${id}`));
  } finally {
    await bench.qmp("remove-fd", { "fdset-id": id }).catch(() => {});
  }
}

function hold(path: string, flags: number) {
  try {
    return holdPath(path, flags);
  } catch (error) {
    throw new TransportError(`Could not open '${path}': ${errnoText(error)}`, { cause: error });
  }
}

function real(path: string): string {
  try {
    return fs.realpathSync(path);
  } catch (error) {
    throw new TransportError(`Could not open '${path}': ${errnoText(error)}`, { cause: error });
  }
}
