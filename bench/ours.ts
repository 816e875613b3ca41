/**
 * Our side of the measurement, in a process of its own.
 *
 *     ours.ts save RAM CONTENT     a workbench on a model guest; each line of stdin is `URI SETTING...`, each line of
 *                                  stdout the milliseconds of that migration
 *     ours.ts load URI SETTING...  a workbench that takes what comes, once; prints the milliseconds
 *
 * A setting is a capability that is on, or `direct-io=on`, `multifd-channels=4`.
 *
 * @module
 */
import process from "node:process";
import { createInterface } from "node:readline";
import { type CapabilityName, Workbench } from "../mod.ts";

const SWITCHED = ["mapped-ram", "multifd"] as const;

async function prepare(bench: Workbench, settings: readonly string[]): Promise<void> {
  const on = (name: CapabilityName) => settings.includes(name);
  await bench.setParameter("max-bandwidth", 0);
  await bench.setParameter("direct-io", settings.includes("direct-io=on"));
  const channels = settings.find((setting) => setting.startsWith("multifd-channels="))?.split("=")[1];
  await bench.setParameter("multifd-channels", Number(channels ?? 2));
  await bench.setCapabilities(Object.fromEntries(SWITCHED.map((name) => [name, on(name)])));
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
