/**
 * Which pages did a guest write between two saves, and did anything else change?
 *
 *     deno run -A examples/which_pages_changed.ts before.sav after.sav
 */
import { diffImages, openImage } from "../mod.ts";

const [before, after] = Deno.args;
if (!after) throw new Error("usage: which_pages_changed.ts BEFORE AFTER");

await using a = await openImage(before);
await using b = await openImage(after);
const { equal, ram, devices } = await diffImages(a, b, { ignore: ["timers"] });

for (const { block, changedPages, ranges } of ram) {
  console.log(`${block}: ${changedPages} pages`);
  for (const [first, count] of ranges.slice(0, 10)) {
    console.log(`  page ${first}` + (count > 1 ? `, ${count} of them` : ""));
  }
}
for (const { name, instanceId, change, fields = [] } of devices) {
  console.log(`${name} ${instanceId}: ${change} ${fields.map(({ path }) => path).slice(0, 5).join(" ")}`);
}
if (equal) console.log("nothing changed");
