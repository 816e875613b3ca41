/**
 * Our side of the measurement, in a process of its own.
 *
 *     ours.ts save RAM CONTENT     a workbench on a model guest; each line of stdin is `URI CAPABILITY...`, each line of
 *                                  stdout the milliseconds of that migration
 *     ours.ts load URI CAPABILITY...   a workbench that takes what comes, once; prints the milliseconds
 *
 * @module
 */
import process from "node:process";
import { createInterface } from "node:readline";
import { type CapabilityName, Workbench } from "../mod.ts";

const SWITCHED = ["mapped-ram", "multifd"] as const;

async function prepare(bench: Workbench, capabilities: readonly string[]): Promise<void> {
  const on = (name: CapabilityName) => capabilities.includes(name);
  await bench.setCapabilities(Object.fromEntries(SWITCHED.map((name) => [name, on(name)])));
  await bench.setParameter("max-bandwidth", 0);
}

async function save(ram: string, content: string): Promise<void> {
  await using bench = await Workbench.open({ ram, content, stopped: true });
  console.log("ready");
  for await (const line of createInterface({ input: process.stdin })) {
    const [uri, ...capabilities] = line.split(" ");
    await prepare(bench, capabilities);
    const begin = performance.now();
    await bench.migrate(uri);
    console.log(performance.now() - begin);
    await bench.hmp("cont"); // postmigrate: else it could not be saved again
    await bench.hmp("stop");
  }
}

async function load(uri: string, capabilities: readonly string[]): Promise<void> {
  await using bench = await Workbench.open({ incoming: "defer", stopped: true });
  await prepare(bench, capabilities);
  const begin = performance.now();
  await bench.migrateIncoming(uri);
  console.log(performance.now() - begin);
}

const [mode, first, ...rest] = Deno.args;
if (mode === "save") await save(first, rest[0]);
else await load(first, rest);
