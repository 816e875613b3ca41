import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const root = new URL("../", import.meta.url);

/** Run an example as a person would, and give back what it printed. */
async function run(name: string, ...args: string[]): Promise<{ stdout: string; stderr: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", new URL(`examples/${name}.ts`, root).pathname, ...args],
    env: { NO_COLOR: "1" },
  }).output();
  const text = new TextDecoder();
  assert.equal(code, 0, `${name} failed: ${text.decode(stderr)}`);
  return { stdout: text.decode(stdout), stderr: text.decode(stderr) };
}

Deno.test("examples save, look into, restore and convert a guest, one after the other", async () => {
  const dir = mkdtempSync(join(tmpdir(), "miglab-examples-"));
  try {
    const saved = join(dir, "vm.sav"), stream = join(dir, "vm.stream"), again = join(dir, "again.sav");
    assert.match((await run("save", saved)).stdout, /1\d{4} pages of data/);
    const restored = await run("restore", saved);
    assert.match(restored.stdout, /^VM status: running\n/);
    assert.match(restored.stdout, /fffffff0: 0x00e05bea/);
    assert.match(restored.stderr, /-> active\n-> completed/);
    assert.match((await run("convert", saved, stream)).stdout, /\(mapped-ram\) -> .*\(stream\)/);
    assert.match((await run("convert", stream, again)).stdout, /\(stream\) -> .*\(mapped-ram\)/);
    const [one, two] = [await run("which_blocks", saved), await run("which_blocks", again)];
    assert.match(one.stdout, /^pc-i440fx-10\.0, mapped-ram\npc\.ram +268435456 bytes, 16384 pages of data, begins /);
    assert.equal(two.stdout, one.stdout);
    const fast = await run("make_fast_to_load", stream, join(dir, "fast.sav"));
    assert.match(fast.stdout, /fast\.sav: \d+ bytes, 16\d{3} pages of data, \d+ zero, the same guest\n$/);
    assert.match((await run("which_pages_changed", stream, saved)).stdout, /^nothing changed\n$/);
    const core = await run("ram_for_gdb", saved, join(dir, "vm.core"));
    assert.match(core.stdout, /^0x000000000-0x0000bffff pc\.ram\n[^]*registers of 1 processors/);
    assert.match((await run("device_fields", saved, "cpu")).stdout, /^cpu\n[^]*\n {2}RIP 0x0+fff0\n {2}RFLAGS 0x0+2\n/);
    assert.match(
      (await run("cpu_registers", saved)).stdout,
      /^CPU 0: rip 0+fff0 rflags 2\n {2}rax [^]* not in long mode\n$/,
    );
    assert.match((await run("check_a_save", saved)).stdout, /^.*vm\.sav is good\n$/);
    assert.match(
      (await run("explain_bytes", stream)).stdout,
      /^0x0 +4 .*header\.magic = "QEVM" [^]*sections\[0\]\.ram/,
    );
    const [, slot] = (await run("explain_bytes", saved, "pc.ram", "4096")).stdout.split("\n");
    assert.match(slot, /page 0x1000 of pc\.ram/);
    assert.match((await run("explain_bytes", saved, slot.split(" ")[0])).stdout, /page 0x1000 of pc\.ram/);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

Deno.test("my_plugin adds a capability with a rule, and a command", async () => {
  const { stdout } = await run("my_plugin");
  assert.match(stdout, /pages may hold data/);
  assert.match(stdout, /x-dry-run is on\nrefused: A dry run cannot start the destination\n/);
});

for (const { name } of Deno.readDirSync(new URL("examples/", root))) {
  Deno.test(`${name} is under 50 lines and imports mod.ts only`, () => {
    const text = readFileSync(new URL(`examples/${name}`, root), "utf8");
    assert(text.split("\n").length <= 50);
    const imports = [...text.matchAll(/from "([^"]+)"/g)].map((match) => match[1]);
    assert.deepEqual(imports, ["../mod.ts"]);
  });
}
