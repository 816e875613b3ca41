/**
 * A machine saved into a file in one call, as libvirt does it: its settings changed and put back, the file opened here and
 * handed over as descriptors, the guest stopped or left running, everything undone when it does not work out.
 *
 *     capabilities, parameters  set, and put back in the end
 *     stop                      unless it is to go on while it is saved; started again when the save fails
 *     add-fd                    the file, and with direct-io the same file opened with O_DIRECT, in one set
 *     migrate                   file:/dev/fdset/N at the offset of the stream
 *     fsync, rename             then it is done
 *
 * Without leave to send descriptors (no `--allow-ffi`, or TCP) the machine opens the file by its path itself. The model
 * guest is saved by the same calls. Source: libvirt src/qemu/qemu_migration.c (qemuMigrationSrcToSparseFile).
 * @module
 */
import { CommandError, TransportError } from "../stream/errors.ts";
import { type Forecast, Prospects } from "./forecast.ts";
import type { MigrationInfo } from "./migration_info.ts";
import { SettingsGuard, type WantedSettings } from "./settings_guard.ts";
import { TargetFile } from "./target_file.ts";
import type { AssembledWorkbench } from "./workbench.ts";

/** How a machine is saved. */
export interface SaveJobOptions {
  /** "mapped-ram": every page at its place. "legacy": one sequential stream. Default mapped-ram. */
  readonly format?: "mapped-ram" | "legacy";
  /** multifd channels; left out: no multifd. mapped-ram only. */
  readonly channels?: number;
  /** Pages pass the page cache by; takes multifd, so one channel at least. */
  readonly directIo?: boolean;
  /** The guest runs until only the last pages are missing. Default: it is stopped first. */
  readonly live?: boolean;
  /** Where the stream begins; what an older file of that name has in front of it is kept. */
  readonly offset?: number;
  /** What stands in front of the stream, in place of `offset`. */
  readonly front?: Uint8Array;
  /** The same while the file is unfinished; as long. */
  readonly unfinishedFront?: Uint8Array;
  /** Bytes a second; 0, the default: as fast as it goes. */
  readonly maxBandwidth?: number | bigint;
  /** Called a few times a second. */
  readonly onProgress?: (forecast: Forecast) => void;
  /** Aborting it cancels the save. */
  readonly signal?: AbortSignal;
}

/** What came of it. */
export interface SavedFile {
  /** As it was asked for. */
  readonly path: string;
  /** Of the whole file. */
  readonly bytes: number;
  /** Where the stream begins. */
  readonly offset: number;
  /** The guest ran when the save began. */
  readonly wasRunning: boolean;
  /** Descriptors were handed over; false: the machine opened the file itself. */
  readonly passedDescriptors: boolean;
  /** `query-migrate` at the end. */
  readonly info: MigrationInfo;
}

/** What would make a stream that a file cannot hold, or that needs somebody on the other side. */
const OFF = [
  "xbzrle",
  "rdma-pin-all",
  "postcopy-ram",
  "postcopy-preempt",
  "x-colo",
  "return-path",
  "switchover-ack",
  "pause-before-switchover",
  "background-snapshot",
  "zero-copy-send",
  "dirty-bitmaps",
  "x-ignore-shared",
];

const OPAQUE = "miglab-save";

/** Refuse what does not go together before anything is touched. @throws {CommandError} */
export function checkSaveOptions({ format = "mapped-ram", channels, directIo, offset }: SaveJobOptions): void {
  if (format === "legacy" && (channels !== undefined || directIo)) {
    throw new CommandError("Channels and direct I/O need the mapped-ram format: a legacy file is one stream");
  }
  if (channels !== undefined && !(Number.isInteger(channels) && channels >= 1 && channels <= 255)) {
    throw new CommandError(`Cannot use ${channels} channels: 1 to 255`);
  }
  if (offset !== undefined && !(Number.isSafeInteger(offset) && offset >= 0)) {
    throw new CommandError(`Cannot begin at offset ${offset}`);
  }
}

/**
 * Save a machine into a file.
 * @returns once the file is on the disk under its name; the guest is stopped (`postmigrate`) then
 * @throws {CommandError} {TransportError} why it did not work: the guest runs if it ran, settings are as they were, and no
 * file is left; of a machine that went away a file called `.partial` is, and the message names it
 */
export async function saveToFile(
  bench: AssembledWorkbench,
  path: string,
  options: SaveJobOptions = {},
): Promise<SavedFile> {
  checkSaveOptions(options);
  const { signal, live = false } = options;
  signal?.throwIfAborted();
  const { status } = await bench.qmp("query-status") as { status: string };
  if (status === "inmigrate") throw new CommandError("Cannot save: the machine waits for an incoming migration");
  if (status === "postmigrate") {
    throw new CommandError("Cannot save: the machine was saved or migrated already; cont lets it go on");
  }
  const wasRunning = status === "running";
  const front = options.unfinishedFront ?? options.front ?? options.offset ?? 0;
  const offset = typeof front === "number" ? front : front.length;
  const settings = await SettingsGuard.set(bench, wanted(options));
  let target: TargetFile | undefined;
  let stopped = false, begun = false;
  try {
    target = TargetFile.create(path, front);
    if (wasRunning && !live) {
      await bench.qmp("stop");
      stopped = true;
    }
    const place = await handOver(bench, target, options.directIo ?? false);
    let info: MigrationInfo;
    begun = true;
    try {
      info = await migrate(bench, place.filename, offset, options);
    } catch (error) {
      // what QEMU says of a write that failed names no file
      if (error instanceof CommandError && bench.session.outgoing.status === "failed" && !isLoss(error)) {
        error.message = `Could not save into '${path}': ${error.message}`;
      }
      throw error;
    } finally {
      await place.takeBack();
    }
    const { bytes } = target;
    await target.finish(options.unfinishedFront ? options.front : undefined);
    return { path, bytes, offset, wasRunning, passedDescriptors: place.passed, info };
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const there = await lives(bench);
    if (there || !begun) target?.discard();
    else if (target) error.message += `; what was written is in '${target.abandon()}'`;
    if (stopped && there) await startAgain(bench);
    await settings.restore(error);
    throw error;
  } finally {
    await settings.restore();
  }
}

function wanted({ format = "mapped-ram", channels, directIo, maxBandwidth = 0 }: SaveJobOptions): WantedSettings {
  const mapped = format === "mapped-ram";
  const multifd = mapped && (channels !== undefined || directIo === true);
  return {
    capabilities: { ...Object.fromEntries(OFF.map((name) => [name, false])), multifd, "mapped-ram": mapped },
    parameters: {
      "max-bandwidth": maxBandwidth,
      ...(multifd ? { "multifd-channels": channels ?? 1, "multifd-compression": "none" } : {}),
      ...(directIo ? { "direct-io": true } : {}),
    },
  };
}

interface Place {
  readonly filename: string;
  readonly passed: boolean;
  takeBack(): Promise<void>;
}

/** Give the machine the file: as descriptors where that is possible, else by its name. */
async function handOver(bench: AssembledWorkbench, target: TargetFile, direct: boolean): Promise<Place> {
  if (!bench.passesFds) {
    return { filename: target.path, passed: false, takeBack: () => Promise.resolve() };
  }
  const added = await bench.qmp("add-fd", { opaque: OPAQUE }, { fd: target.hold(false) }) as { "fdset-id": number };
  const id = added["fdset-id"];
  const takeBack = async () => {
    try {
      await bench.qmp("remove-fd", { "fdset-id": id });
    } catch {
      // the machine is gone, or somebody was faster
    }
  };
  try {
    if (direct) await bench.qmp("add-fd", { "fdset-id": id, opaque: `${OPAQUE}-direct` }, { fd: target.hold(true) });
  } catch (error) {
    await takeBack();
    throw error;
  }
  return { filename: `/dev/fdset/${id}`, passed: true, takeBack };
}

async function migrate(
  bench: AssembledWorkbench,
  filename: string,
  offset: number,
  { live = false, onProgress, signal }: SaveJobOptions,
): Promise<MigrationInfo> {
  const addr = { transport: "file", filename, offset } as const;
  const limit = Number(bench.parameter("downtime-limit"));
  const prospects = new Prospects();
  return await bench.migrate({ channels: [{ "channel-type": "main", addr }] }, {
    signal,
    onProgress: onProgress && (() => onProgress(prospects.look(bench.info(), live, limit))),
  });
}

/** The machine went away: that is no matter of the file. */
const isLoss = ({ message }: Error) => /^lost QEMU at /i.test(message);

/** Does the machine answer? */
async function lives(bench: AssembledWorkbench): Promise<boolean> {
  try {
    await bench.qmp("query-status");
    return true;
  } catch (error) {
    if (error instanceof TransportError) return false;
    throw error;
  }
}

async function startAgain(bench: AssembledWorkbench): Promise<void> {
  const { running } = await bench.qmp("query-status") as { running: boolean };
  if (!running) await bench.qmp("cont");
}
