/**
 * Two machines as the ends of one live migration: both set alike, migrated, and compared when it is done.
 *
 *     settings   capabilities of the source, and parameters both sides must agree about, go to the destination
 *     migrate    over a Unix socket in a directory of our own, or wherever it is told
 *     compare    while both stand still: guest-physical memory page by page, and what the monitor shows of devices
 *
 * The destination runs on behind it if the source ran. Memory is read through `pmemsave`, so both must be on this machine.
 * @module
 */
import fs from "node:fs";
import { Buffer } from "node:buffer";
import { join } from "node:path";
import { CommandError } from "../stream/errors.ts";
import { type Forecast, forecast } from "./forecast.ts";
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

/** Pages that differ, next to each other. */
export interface DifferingPages {
  /** Guest-physical address of the first. */
  readonly address: number;
  /** How many of 4 KiB. */
  readonly pages: number;
}

/** What two machines have in common. */
export interface ComparedMachines {
  /** Nothing that was compared differs. */
  readonly equal: boolean;
  /** Bytes of memory compared. */
  readonly compared: number;
  /** Where it differs; the first hundred places. */
  readonly memory: readonly DifferingPages[];
  /** Lines of the monitor that differ, by the command that shows them; the first twenty of each. */
  readonly devices: readonly { readonly command: string; readonly source: string; readonly destination: string }[];
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
/** What tells of devices and stands still while the machine does. */
const DEVICE_LINES = ["info registers -a", "info pic", "info pci", "info mtree -f"];
/** Memory compared at a time. */
const PIECE = 64 << 20;
const PAGE = 4096;
const MAX_PLACES = 100;
const MAX_LINES = 20;

/**
 * Migrate one machine into another and compare them.
 * @throws {CommandError} {TransportError} why it did not come about: settings are as they were, the source runs if it ran
 */
export async function pairMachines(
  source: AssembledWorkbench,
  destination: AssembledWorkbench,
  options: PairOptions = {},
): Promise<Paired> {
  const { running } = await source.qmp("query-status") as { running: boolean };
  await checkEnds(source, destination);
  const parameters = { ...await sharedParameters(source), ...options.parameters };
  const capabilities = { ...await capabilitiesOf(source), ...options.capabilities };
  const guards = [await SettingsGuard.set(source, { capabilities, parameters })];
  const directory = Deno.makeTempDirSync({ prefix: "miglab-pair-" });
  try {
    guards.push(await SettingsGuard.set(destination, { capabilities, parameters }));
    await destination.qmp("stop"); // it is to stand still until it was looked at
    const info = await migrate(source, destination, options, `unix:${directory}/migration`);
    const compared = await compareMachines(source, destination);
    if (running) await destination.qmp("cont");
    const { status: runState } = await destination.qmp("query-status") as { status: string };
    return { ...compared, info, runState };
  } finally {
    for (const guard of guards) await guard.restore();
    fs.rmSync(directory, { recursive: true, force: true });
  }
}

/**
 * Compare two machines that stand still.
 * @throws {CommandError} {TransportError} when one cannot be read
 */
export async function compareMachines(a: AssembledWorkbench, b: AssembledWorkbench): Promise<ComparedMachines> {
  const directory = Deno.makeTempDirSync({ prefix: "miglab-compare-" });
  try {
    const { places, compared } = await compareMemory(a, b, directory);
    const devices = await compareDevices(a, b);
    return { equal: places.length === 0 && devices.length === 0, compared, memory: places, devices };
  } finally {
    fs.rmSync(directory, { recursive: true, force: true });
  }
}

async function checkEnds(source: AssembledWorkbench, destination: AssembledWorkbench): Promise<void> {
  const states = [source, destination].map((one) => one.qmp("query-status") as Promise<{ status: string }>);
  const [from, to] = (await Promise.all(states)).map(({ status }) => status);
  if (["inmigrate", "postmigrate"].includes(from)) throw new CommandError(`Cannot pair: the source is ${from}`);
  if (to !== "inmigrate") {
    throw new CommandError(`Cannot pair: the destination is ${to}; start it with -incoming defer`);
  }
  const machines = [source, destination].map(({ session }) => session.guest.configuration.machine);
  if (machines[0] !== machines[1] && machines.every((name) => name !== "")) {
    throw new CommandError(`Cannot pair: the source is a ${machines[0]} and the destination a ${machines[1]}`);
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
  const report = onProgress && (() => onProgress(forecast(source.info(), true, limit)));
  try {
    const info = await source.migrate(await reachable(destination, uri ?? ours), { signal, onProgress: report });
    await destination.settled();
    const { status, "error-desc": why } = await destination.qmp("query-migrate") as MigrationInfo;
    if (status !== "completed") throw new CommandError(`The destination did not load it: ${why ?? status}`);
    return info;
  } catch (error) {
    const { "error-desc": why } = await destination.qmp("query-migrate").catch(() => ({})) as MigrationInfo;
    if (why && error instanceof Error && !error.message.includes(why)) {
      error.message += `; the destination says: ${why}`;
    }
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

async function compareMemory(
  source: AssembledWorkbench,
  destination: AssembledWorkbench,
  directory: string,
): Promise<{ places: DifferingPages[]; compared: number }> {
  const places: { address: number; pages: number }[] = [];
  let compared = 0;
  for (const { base, length } of await ramRanges(source)) {
    for (let done = 0; done < length; done += PIECE) {
      const size = Math.min(PIECE, length - done);
      const [ours, theirs] = await Promise.all([source, destination].map(async (bench, index) => {
        const filename = join(directory, `memory${index}`);
        await bench.qmp("pmemsave", { val: base + done, size, filename });
        const bytes = fs.readFileSync(filename);
        fs.unlinkSync(filename);
        return bytes;
      }));
      compared += size;
      collect(ours, theirs, base + done, places);
      if (places.length >= MAX_PLACES) return { places, compared };
    }
  }
  return { places, compared };
}

/** Note the pages that differ. */
function collect(a: Buffer, b: Buffer, base: number, places: { address: number; pages: number }[]): void {
  if (Buffer.compare(a, b) === 0) return;
  for (let at = 0; at < a.length && places.length < MAX_PLACES; at += PAGE) {
    if (Buffer.compare(a.subarray(at, at + PAGE), b.subarray(at, at + PAGE)) === 0) continue;
    const last = places.at(-1);
    if (last && last.address + last.pages * PAGE === base + at) last.pages++;
    else places.push({ address: base + at, pages: 1 });
  }
}

/** Where RAM lies, from the flat view of memory; all of it from 0 where that is not told. */
async function ramRanges(bench: AssembledWorkbench): Promise<{ base: number; length: number }[]> {
  const { out, error } = await bench.execute("info mtree -f");
  const view = error ? undefined : out.split(/^FlatView /m).find((text) => /^ AS "memory"/m.test(text));
  const ranges = [...(view ?? "").matchAll(/^ +([0-9a-f]{16})-([0-9a-f]{16}) \(prio -?\d+, (?:ram|rom|nv-ram)\)/gm)]
    .map(([, from, to]) => ({
      base: Number(`0x${from}`),
      length: Number(BigInt(`0x${to}`) - BigInt(`0x${from}`)) + 1,
    }));
  if (ranges.length > 0) return ranges;
  const { physical, memory } = bench.session.guest;
  if (physical?.length) return physical.map(({ base, length }) => ({ base, length }));
  return [{ base: 0, length: bench.session.remote?.ramBytes ?? memory.totalBytes }];
}

async function compareDevices(source: AssembledWorkbench, destination: AssembledWorkbench): Promise<Paired["devices"]> {
  const found: { command: string; source: string; destination: string }[] = [];
  for (const command of DEVICE_LINES) {
    const [a, b] = await Promise.all([source, destination].map((bench) => bench.execute(command)));
    if (a.error || b.error) continue; // a machine without
    const [ours, theirs] = [a, b].map(({ out }) => inOrder(out).split("\n"));
    let lines = 0;
    for (let i = 0; i < Math.max(ours.length, theirs.length) && lines < MAX_LINES; i++) {
      if (ours[i] === theirs[i]) continue;
      found.push({ command, source: ours[i]?.trim() ?? "", destination: theirs[i]?.trim() ?? "" });
      lines++;
    }
  }
  return found;
}

/** QEMU lists flat views in the order of their addresses in its memory: here, in that of their text. */
function inOrder(out: string): string {
  if (!out.startsWith("FlatView #")) return out;
  const views = out.split(/^FlatView #\d+\n/m).map((view) => {
    const spaces = view.match(/^ AS .*$/gm) ?? [];
    return [...spaces.sort(), view.replace(/^ AS .*\n/gm, "")].join("\n");
  });
  return views.sort().join("");
}
