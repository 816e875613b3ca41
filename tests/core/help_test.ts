import assert from "node:assert/strict";
import { Workbench } from "../../mod.ts";

await using bench = await Workbench.open({ ram: "1M" });
const candidates = async (line: string) => (await bench.complete(line)).candidates;

Deno.test("names, items and settings are completed", async () => {
  assert.deepEqual(await candidates("migrate_set_"), ["migrate_set_capability", "migrate_set_parameter"]);
  assert.deepEqual(await candidates("info migrate_"), ["migrate_capabilities", "migrate_parameters"]);
  assert.deepEqual(await candidates("migrate_set_capability mapped"), ["mapped-ram"]);
  assert.deepEqual(await candidates("migrate_set_capability mapped-ram o"), ["off", "on"]);
  assert.deepEqual(await candidates("migrate_set_parameter multifd-ch"), ["multifd-channels"]);
  assert.deepEqual(await candidates("migrate -d fi"), ["file:"]);
  assert.deepEqual(await candidates("migrate -"), ["-d", "-r"]);
  assert.deepEqual(await candidates("help info sta"), ["status"]);
  assert.deepEqual(await candidates("stop "), []);
});

Deno.test("a completion says where its word begins", async () => {
  assert.equal((await bench.complete("info  sta")).start, 6);
});

Deno.test("help lists each command once, in order", async () => {
  const lines = (await bench.hmp("help")).split("\n").filter((line) => / -- /.test(line));
  const names = lines.map((line) => line.split(/[| ]/)[0]);
  assert.deepEqual(names, [...new Set(names)].sort());
  assert(names.includes("migrate") && names.includes("help") && names.includes("info"));
});

Deno.test("info without an item shows the items, as help info does", async () => {
  assert.equal(await bench.hmp("info"), await bench.hmp("help info"));
});

Deno.test("help that cannot be read prints nothing", async () => {
  assert.equal(await bench.hmp('help "mig'), "");
  assert.equal(await bench.hmp("help " + "a ".repeat(17)), "");
});
