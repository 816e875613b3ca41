/**
 * Where a workbench that waits for a migration can be reached.
 * @module
 */
import type { Workbench } from "../mod.ts";

/** Its address as a URI, as soon as it listens. Rejects when it does not within five seconds. */
export async function reachable(bench: Workbench): Promise<string> {
  for (let i = 0; i < 1000; i++) {
    const [address] = bench.info()["socket-address"] ?? [];
    if (address?.type === "inet") return `tcp:${address.host}:${address.port}`;
    if (address?.type === "unix") return `unix:${address.path}`;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error("the workbench does not listen");
}
