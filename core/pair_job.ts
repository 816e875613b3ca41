/**
 * Two machines as the ends of one live migration: both set alike, migrated, and compared when it is done.
 *
 *     settings   capabilities of the source, and parameters both sides must agree about, go to the destination
 *     migrate    over a Unix socket in a directory of our own, or wherever it is told
 *     compare    while both stand still: guest-physical memory page by page, and what the monitor shows of devices
 *
 * The destination runs on behind it if the source ran.
 * @module
 */
import fs from "node:fs";
import { CommandError, TransportError } from "../stream/errors.ts";
import { type ComparedMachines, compareMachines } from "./compare_machines.ts";
import { checkAlike, checkWaits, lastWords } from "./destination.ts";
import { type Forecast, Prospects } from "./forecast.ts";
import type { MigrationInfo } from "./migration_info.ts";
import { SettingsGuard } from "./settings_guard.ts";
import type { AssembledWorkbench } from "./workbench.ts";

/** How two machines are paired. */
export interface PairOptions {
  /** Where the destination listens. Default: a Unix socket in a directory of our own. */
  readonly uri?: string;
  /** Set on both sides, beside what the source has. */
  readonly capabilities?: Readonly<Record<string, boolean>>;
  /** Set on both sides. */
  readonly parameters?: Readonly<Record<string, unknown>>;
  /** Called a few times a second. */
  readonly onProgress?: (forecast: Forecast) => void;
  /** Aborting it cancels the migration: the source runs on. */
  readonly signal?: AbortSignal;
}

/** What came of it. */
export interface Paired extends ComparedMachines {
  /** `query-migrate` of the source. */
  readonly info: MigrationInfo;
  /** Run state of the destination now. */
  readonly runState: string;
}

/** Parameters a destination must share with its source. */
const SHARED = ["multifd-channels", "multifd-compression", "xbzrle-cache-size", "zero-page-detection"];
/**
 * Migrate one machine into another and compare them.
 * @throws {CommandError} {TransportError} why it did not come about: settings are as they were, the source runs if it ran
 */
export async function pairMachines(
  source: AssembledWorkbench,
  destination: AssembledWorkbench,
  options: PairOptions = {},
): Promise<Paired> {
  options.signal?.throwIfAborted();
  const { status, running } = await source.qmp("query-status") as { status: string; running: boolean };
  if (["inmigrate", "postmigrate"].includes(status)) throw new CommandError(`Cannot pair: the source is ${status}`);
  await checkWaits(destination, "Cannot pair: the destination");
  await checkAlike(source, destination, "Cannot pair: the source");
  const parameters = { ...await sharedParameters(source), ...options.parameters };
  const capabilities = { ...await capabilitiesOf(source), ...options.capabilities };
  const guards = [await SettingsGuard.set(source, { capabilities, parameters })];
  const directory = Deno.makeTempDirSync({ prefix: "miglab-pair-" });
  let handedOver = false;
  try {
    guards.push(await SettingsGuard.set(destination, { capabilities, parameters }));
    await destination.qmp("stop"); // it is to stand still until it was looked at
    const info = await migrate(source, destination, options, `unix:${directory}/migration`);
    const compared = await compareMachines(source, destination);
    handedOver = true;
    if (running) await destination.qmp("cont");
    const { status: runState } = await destination.qmp("query-status") as { status: string };
    return { ...compared, info, runState };
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    // the destination stands still, or is gone: the guest is the source's again
    if (running && !handedOver) await startAgain(source, error);
    for (const guard of guards) await guard.restore(error);
    throw error;
  } finally {
    for (const guard of guards) await guard.restore();
    fs.rmSync(directory, { recursive: true, force: true });
  }
}

/** A source that was sent to the end goes on; one that was not does so by itself. */
async function startAgain(source: AssembledWorkbench, failure: Error): Promise<void> {
  try {
    const { status } = await source.qmp("query-status") as { status: string };
    if (status === "postmigrate") await source.qmp("cont");
  } catch (error) {
    if (!(error instanceof TransportError)) {
      failure.message += `; the source stays stopped: ${(error as Error).message}`;
    }
  }
}

async function sharedParameters(bench: AssembledWorkbench): Promise<Record<string, unknown>> {
  const all = await bench.qmp("query-migrate-parameters") as Record<string, unknown>;
  return Object.fromEntries(SHARED.filter((name) => name in all).map((name) => [name, all[name]]));
}

async function capabilitiesOf(bench: AssembledWorkbench): Promise<Record<string, boolean>> {
  const all = await bench.qmp("query-migrate-capabilities") as { capability: string; state: boolean }[];
  // a file format is nothing for two machines
  return Object.fromEntries(all.map(({ capability, state }) => [capability, state && capability !== "mapped-ram"]));
}

async function migrate(
  source: AssembledWorkbench,
  destination: AssembledWorkbench,
  { uri, onProgress, signal }: PairOptions,
  ours: string,
): Promise<MigrationInfo> {
  await destination.qmp("migrate-incoming", { uri: uri ?? ours, "exit-on-error": false });
  const limit = Number(source.parameter("downtime-limit"));
  const prospects = new Prospects();
  const report = onProgress &&
    (() => onProgress(prospects.look(source.info(), source.session.runState === "running", limit)));
  try {
    const info = await source.migrate(await reachable(destination, uri ?? ours), { signal, onProgress: report });
    await destination.settled();
    const { status, "error-desc": why } = await destination.qmp("query-migrate") as MigrationInfo;
    if (status !== "completed") throw new CommandError(`The destination did not load it: ${why ?? status}`);
    return info;
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    if (signal?.aborted) {
      throw new CommandError("migration cancelled: the source goes on, the destination must be started anew");
    }
    const words = await lastWords(destination);
    if (words && !error.message.includes(words.replace(/^.*?: /, ""))) error.message += `; ${words}`;
    throw error;
  }
}

/** Port 0 has become a number. */
async function reachable(bench: AssembledWorkbench, uri: string): Promise<string> {
  if (!uri.startsWith("tcp:")) return uri;
  const { "socket-address": addresses } = await bench.qmp("query-migrate") as MigrationInfo;
  const address = addresses?.find(({ type }) => type === "inet");
  if (!address) return uri;
  const host = /^tcp:([^:]*|\[[^\]]*\]):/.exec(uri)?.[1] || "127.0.0.1";
  return `tcp:${host}:${address.port}`;
}
