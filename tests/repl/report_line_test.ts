import assert from "node:assert/strict";
import { run, TempDir } from "./capture.ts";

/** A directory with two saves of one guest that differ, and what is needed to name them. */
async function twoSaves(): Promise<TempDir & { readonly a: string; readonly b: string }> {
  const dir = new TempDir();
  const [a, b] = [dir.file("a.sav"), dir.file("b.sav")];
  for (const [content, file] of [["pattern", a], ["zero", b]]) {
    const { status } = await run("--ram", "1M", "--content", content, "-e", `migrate file:${file}`);
    assert.equal(status, 0);
  }
  return Object.assign(dir, { a, b });
}

Deno.test("every report says on a line what it says on the command line", async () => {
  using dir = await twoSaves();
  const { a, b } = dir;
  const lines: string[][] = [
    ["inspect", "--sections", a],
    ["explain", a, "--limit", "5"],
    ["verify", a],
    ["why", a, "--error", "Capability mapped-ram is off, but received capability is on"],
    ["diff", a, b],
    ["convert", a, dir.file("out"), "--to", "mapped-ram"],
    ["extract", a, "--block", "pc.ram", "-o", dir.file("ram")],
    ["salvage", a, "-o", dir.file("rescued")],
  ];
  for (const words of lines) {
    const alone = await run(...words);
    assert.notEqual(alone.stdout + alone.stderr, "", words[0]);
    if (words[0] === "salvage") Deno.removeSync(dir.file("rescued"), { recursive: true });
    const onLine = await run("--ram", "1M", "-e", words.map((word) => `'${word}'`).join(" "));
    assert.equal(onLine.stdout, alone.stdout, words[0]);
    assert.equal(onLine.status, alone.status, words[0]);
  }
});

Deno.test("a report that would end with status 1 fails its line, and the script says why", async () => {
  using dir = await twoSaves();
  const { a, b } = dir;
  const differ = await run("--ram", "1M", "-e", `diff ${a} ${b}`, "-e", "info status");
  assert.equal(differ.status, 1);
  assert.match(differ.stdout, /pc\.ram/);
  assert.ok(!differ.stdout.includes("VM status"), "the script went on");
  assert.equal(differ.stderr, `miglab: -e:1: ${a} and ${b} differ\n`);
  const equal = await run("--ram", "1M", "-e", `diff ${a} ${a}`, "-e", "info status");
  assert.deepEqual([equal.status, equal.stdout, equal.stderr], [0, "VM status: running\n", ""]);
  const missing = await run("--ram", "1M", "-e", "inspect nosuch.sav");
  assert.deepEqual([missing.status, missing.stdout], [1, ""]);
  assert.equal(missing.stderr, "miglab: -e:1: Could not open 'nosuch.sav': No such file or directory\n");
});

Deno.test("--json gives one object for a report too, its text in out", async () => {
  using dir = await twoSaves();
  const { status, stdout } = await run("--ram", "1M", "--json", "-e", `diff ${dir.a} ${dir.b}`);
  const { script, hmp, out, error } = JSON.parse(stdout);
  assert.deepEqual([status, script, hmp, error], [1, "-e", `diff ${dir.a} ${dir.b}`, true]);
  assert.match(out, /pc\.ram/);
  const own = await run("--ram", "1M", "-e", `diff --json ${dir.a} ${dir.b}`);
  assert.equal(JSON.parse(own.stdout).equal, false);
});

Deno.test("wrong usage on a line is one line", async () => {
  const cases: [string, RegExp][] = [
    ["inspect", /missing required argument 'file'/],
    ["inspect a b", /too many arguments/],
    ["verify a --agianst q", /unknown option '--agianst'.*--against/],
    ["inspect -", /standard input/],
    ["extract a -o - --xml", /standard input or output/],
    ["explain 'a b", /unterminated '/],
    ["verify --ram 1M a", /'--ram' does not go with 'verify'/],
    ["extract a --block pc.ram", /memory does not go to a console; give -o FILE/],
    ["why a", /--error TEXT or --qemu PROGRAM/],
  ];
  for (const [line, expected] of cases) {
    const { status, stdout, stderr } = await run("--ram", "1M", "-e", line);
    assert.deepEqual([status, stdout], [1, ""], line);
    assert.match(stderr, expected);
    assert.match(stderr, /^miglab: -e:1: [^\n]+\n$/);
  }
});

Deno.test("help of a report on a line is that of the command line", async () => {
  const alone = await run("help", "verify");
  for (const line of ["help verify", "verify --help"]) {
    assert.equal((await run("--ram", "1M", "-e", line)).stdout, alone.stdout);
  }
  const help = await run("--ram", "1M", "-e", "help migrate_cancel");
  assert.equal(help.stdout, "migrate_cancel  -- cancel the current VM migration\n");
});

Deno.test("a plugin loaded on a line is asked by the reports behind it", async () => {
  using dir = await twoSaves();
  const plugin = dir.file(
    "mine.ts",
    `export default { name: "mine", help: "mine", get tables() { globalThis.asked = (globalThis.asked ?? 0) + 1; } };\n`,
  );
  const asked = async (...lines: string[]) => {
    Reflect.set(globalThis, "asked", 0);
    assert.equal((await run("--ram", "1M", ...lines.flatMap((line) => ["-e", line]))).status, 0);
    return Reflect.get(globalThis, "asked") as number;
  };
  const loaded = await asked(`plugin_load ${plugin}`, "info status");
  assert.ok(await asked(`plugin_load ${plugin}`, `inspect ${dir.a}`) > loaded);
  assert.equal(await asked(`inspect ${dir.a}`), 0);
});
