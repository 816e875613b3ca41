/**
 * Load a saved machine as a destination would, and look into its memory.
 *
 *     deno run -A examples/restore.ts /tmp/vm.sav
 */
import { Workbench } from "../mod.ts";

const path = Deno.args[0] ?? "/tmp/vm.sav";

await using bench = await Workbench.open({ incoming: "defer" });
bench.on("MIGRATION", (event) => console.error("->", (event.data as { status: string }).status));
await bench.setCapability("events", true);
await bench.setCapability("mapped-ram", true); // both ends must agree, as between two QEMUs

await bench.migrateIncoming(`file:${path}`);
console.log(await bench.hmp("info status"));
console.log(await bench.hmp("info ramblock"));
console.log(await bench.hmp("xp /4xw 0xfffffff0"));
