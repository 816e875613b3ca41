import assert from "node:assert/strict";
import type { Plugin } from "../../core/plugin.ts";
import { combine } from "../../core/registry.ts";
import { Workbench } from "../../mod.ts";

const plugin = (name: string, rest: Partial<Plugin> = {}): Plugin => ({ name, help: "", ...rest });

Deno.test("two owners of one name are an error that names both", () => {
  const a = plugin("a", { capabilities: [{ name: "fast", help: "" }] });
  const b = plugin("b", { capabilities: [{ name: "fast", help: "" }] });
  assert.throws(() => combine([a, b]), /capability "fast" belongs to "a" and to "b"/);
});

Deno.test("two owners of one RAM flag are an error that names both", () => {
  const codec = { flag: 0x40, feature: "x", apply: () => undefined };
  const tables = { ramFlags: { 0x40: codec } };
  assert.throws(
    () => combine([plugin("a", { tables }), plugin("b", { tables })]),
    /RAM flag "64" belongs to "a" and to "b"/,
  );
});

Deno.test("a plugin cannot take a name of the core", () => {
  assert.throws(
    () => combine([plugin("a", { parameters: [{ name: "mode", help: "", type: "bool", default: false }] })]),
    /"core"/,
  );
});

/** What a user brings: a capability with a rule, a parameter with a range, a command. */
const mine = plugin("my-plugin", {
  capabilities: [{
    name: "my-cap",
    help: "mine",
    rules: [{ order: 100, check: ({ on }) => on("my-cap") && on("xbzrle") ? "my-cap dislikes xbzrle" : undefined }],
  }],
  parameters: [{
    name: "my-number",
    help: "mine",
    type: "uint8",
    default: 7,
    unit: "bananas",
    order: 100,
    check: (value: number) => value > 9 ? "Parameter 'my_number' expects a value between 0 and 9" : undefined,
  }],
  commands: [{
    hmp: { name: "my_command", params: "", help: "do it", format: (text: string) => text + "\n" },
    qmp: { name: "my-command" },
    run: (session) => `my-number is ${session.parameter("my-number")}`,
  }],
});

Deno.test("a user's capability, parameter and command are like any other", async () => {
  await using bench = await Workbench.open({ ram: "1M", plugins: [mine] });
  assert.match(await bench.hmp("info migrate_capabilities"), /mapped-ram: off\nmy-cap: off\n$/);
  assert.match(await bench.hmp("info migrate_parameters"), /direct-io: off\nmy-number: 7 bananas\n$/);
  await bench.hmp("migrate_set_capability my-cap on");
  await assert.rejects(bench.hmp("migrate_set_capability xbzrle on"), /^CommandError: my-cap dislikes xbzrle$/);
  await assert.rejects(bench.hmp("migrate_set_parameter my-number 10"), /expects a value between 0 and 9/);
  await bench.hmp("migrate_set_parameter my-number 0x9");
  assert.equal(await bench.hmp("my_command"), "my-number is 9\n");
  assert.equal(await bench.qmp("my-command"), "my-number is 9");
  assert.equal(await bench.hmp("help my_command"), "my_command  -- do it\n");
});

Deno.test("plugin_load adds to a running session and keeps what is set", async () => {
  const path = Deno.makeTempFileSync({ suffix: ".ts" });
  Deno.writeTextFileSync(
    path,
    `export const extra = { name: "extra", help: "more", capabilities: [{ name: "extra-cap", help: "" }] };`,
  );
  try {
    await using bench = await Workbench.open({ ram: "1M" });
    await bench.hmp("migrate_set_capability xbzrle on");
    await bench.hmp("migrate_set_parameter max-bandwidth 5");
    assert.equal(await bench.hmp(`plugin_load ${path}`), "plugin extra: more\n");
    await bench.hmp("migrate_set_capability extra-cap on");
    assert.equal(bench.capability("xbzrle"), true);
    assert.equal(bench.parameter("max-bandwidth"), 5 << 20);
  } finally {
    Deno.removeSync(path);
  }
});
