import assert from "node:assert/strict";
import { Workbench, type WorkbenchOptions } from "../../mod.ts";
import type { Plugin } from "../../core/plugin.ts";
import { complaintOf, runScript, type ScriptOptions } from "../../repl/script.ts";
import { Captured, TempDir } from "./capture.ts";

/** Run lines on a workbench of 1 MiB. */
async function script(
  lines: string[],
  options: Partial<ScriptOptions> = {},
  guest: WorkbenchOptions = { ram: "1M" },
): Promise<Captured & { good: boolean }> {
  await using bench = await Workbench.open(guest);
  const output = new Captured();
  const good = await runScript(lines, bench, output, { name: "t.hmp", ...options });
  return Object.assign(output, { good });
}

Deno.test("comments and blank lines are skipped, texts are the monitor's", async () => {
  const { good, stdout, stderr } = await script([
    "# say how it stands",
    "",
    "   ",
    "info status",
    "  # and",
    "stop",
    "s",
  ]);
  assert.deepEqual([good, stdout, stderr], [true, "VM status: running\n", ""]);
});

Deno.test("the first line that fails ends a script", async () => {
  const { good, both } = await script(["info status", "", "foo", "info status"]);
  assert.equal(good, false);
  assert.equal(both, "VM status: running\nunknown command: 'foo'\n! miglab: t.hmp:3: unknown command: 'foo'\n");
});

Deno.test("with keepGoing every line is run, and the script has failed all the same", async () => {
  const { good, both } = await script(["foo", "migrate_set_capability nope on", "info status"], { keepGoing: true });
  assert.equal(good, false);
  assert.match(both, /^unknown[^]*\n! miglab: t\.hmp:1: [^]*\n! miglab: t\.hmp:2: [^]*\nVM status: running\n$/);
});

Deno.test("what counts as an error: unknown commands, unreadable lines, commands that fail", async () => {
  for (const line of ["foo", "info foo", "help foo", "stop now", "migrate", "migrate nope:", "balloon 1"]) {
    const { good, stderr } = await script([line]);
    assert.equal(good, false, line);
    assert.match(stderr, /^miglab: t\.hmp:1: [^\n]+\n$/, line);
  }
});

Deno.test("json prints one object a line, with plain line feeds", async () => {
  const lines = ["# no", "info status", "migrate_set_parameter downtime-limit x"];
  const { stdout, good } = await script(lines, { json: true });
  assert.equal(good, false);
  const [status, failed, ...rest] = stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(status, { script: "t.hmp", hmp: "info status", out: "VM status: running\n", error: false });
  assert.deepEqual(Object.keys(failed), ["script", "hmp", "out", "error"]);
  assert.match(failed.out, /^Error: Parameter 'downtime-limit' expects [^\r]*\n$/);
  assert.equal(failed.error, true);
  assert.deepEqual(rest, []);
});

Deno.test("QMP lines are answered whole, integers beyond 2^53 and ids too", async () => {
  const lines = [
    `{"execute": "migrate-set-parameters", "arguments": {"max-bandwidth": 9223372036854775807}, "id": 18446744073709551615}`,
    `{'execute': 'query-status'}`,
  ];
  const { stdout, good } = await script(lines, { json: true });
  assert.equal(good, true);
  const [first, second] = stdout.split("\n");
  assert.equal(
    first,
    `{"script": "t.hmp", "qmp": {"execute": "migrate-set-parameters", "arguments": {"max-bandwidth": ` +
      `9223372036854775807}, "id": 18446744073709551615}, "reply": {"return": {}, "id": 18446744073709551615}}`,
  );
  assert.deepEqual(JSON.parse(second).reply, { return: { status: "running", running: true } });
  assert.deepEqual((await script([lines[1]])).stdout, '{"return": {"status": "running", "running": true}}\n');
});

Deno.test("a QMP error stops the script and is told in one line", async () => {
  for (
    const [line, said] of [['{"execute": "nope"}', "The command nope has not been found"], [
      "{nope",
      "JSON parse error",
    ]]
  ) {
    const { good, stdout, stderr } = await script([line, "info status"]);
    assert.equal(good, false);
    assert.match(stdout, /^\{"error": \{"class": "[A-Za-z]+", "desc": ".*"\}\}\n$/);
    assert.ok(stderr.startsWith(`miglab: t.hmp:1: ${said}`), stderr);
  }
});

Deno.test("a migration in the foreground is waited for, one in the background at the end", async () => {
  using dir = new TempDir();
  const [one, two] = [dir.file("one.sav"), dir.file("two.sav")];
  const lines = [`migrate file:${one}`, "info status", "cont", `migrate -d file:${two}`];
  const { good, stdout, stderr } = await script(lines);
  assert.deepEqual([good, stdout, stderr], [true, "VM status: paused (postmigrate)\n", ""]);
  assert.equal(Deno.statSync(two).size, Deno.statSync(one).size);
});

Deno.test("a foreground migration that fails is an error of its line, though the monitor is silent", async () => {
  const { good, stdout, stderr } = await script(["migrate exec:false", "info status"], { json: true });
  assert.equal(good, false);
  assert.equal(stdout, `{"script": "t.hmp", "hmp": "migrate exec:false", "out": "", "error": true}\n`);
  assert.match(stderr, /^miglab: t\.hmp:1: migration failed: [^\n]+\n$/);
});

Deno.test("a background migration that fails fails the script at its end", async () => {
  const { good, stdout, stderr } = await script(["migrate -d exec:false", "info status"]);
  assert.equal(good, false);
  assert.match(stdout, /^VM status: /);
  assert.match(stderr, /^miglab: t\.hmp: migration failed: [^\n]+\n$/);
});

Deno.test("a migration that was cancelled is no failure", async () => {
  const lines = ["migrate_set_parameter max-bandwidth 1M", "migrate -d exec:cat>/dev/null", "migrate_cancel"];
  const { good, stderr } = await script(lines, {}, { ram: "64M", content: "random" });
  assert.deepEqual([good, stderr], [true, ""]);
});

Deno.test("quit ends a script at once", async () => {
  const { good, stdout } = await script(["info status", "quit", "foo"]);
  assert.deepEqual([good, stdout], [true, "VM status: running\n"]);
});

Deno.test("quit cancels a migration in the background, and says what that leaves", async () => {
  using dir = new TempDir();
  const lines = ["migrate_set_parameter max-bandwidth 1M", `migrate -d file:${dir.file("part.sav")}`, "quit"];
  const { good, stderr } = await script(lines, {}, { ram: "64M", content: "random" });
  assert.equal(good, true);
  assert.equal(stderr, "miglab: the migration under way is cancelled: what it wrote so far is not a whole guest\n");
  assert.ok(Deno.statSync(dir.file("part.sav")).size < 32 << 20); // as QEMU leaves it
});

Deno.test("a second migrate is refused in QEMU's words, and our line says what helps", async () => {
  using dir = new TempDir();
  const lines = [`migrate file:${dir.file("vm.sav")}`, `migrate file:${dir.file("again.sav")}`];
  const { good, stdout, stderr } = await script(lines);
  const said = "Can't migrate the vm that was paused due to previous migration";
  assert.deepEqual([good, stdout], [false, `Error: ${said}\n`]);
  assert.equal(stderr, `miglab: t.hmp:2: ${said}; cont makes it run again\n`);
});

Deno.test("what comes out of a file is there before the next line", async () => {
  using dir = new TempDir();
  const file = dir.file("vm.sav");
  assert.equal((await script([`migrate file:${file}`])).good, true);
  const early = await script(["info status"], {}, { incoming: `file:${file}` });
  assert.deepEqual([early.good, early.stdout], [true, "VM status: running\n"]);
  const late = await script(["info status", `migrate_incoming file:${file}`, "info status"], {}, { incoming: "defer" });
  assert.deepEqual([late.good, late.stdout], [true, "VM status: paused (inmigrate)\nVM status: running\n"]);
});

Deno.test("a load that fails is told in one line, its details only when asked for", async () => {
  using dir = new TempDir();
  const file = dir.file("vm.sav");
  await script([`migrate file:${file}`]);
  Deno.truncateSync(file, 5000);
  const lines = [`migrate_incoming file:${file}`, "info status"];
  const brief = await script(lines, {}, { incoming: "defer" });
  assert.deepEqual([brief.good, brief.stdout], [false, ""]);
  assert.match(
    brief.stderr,
    /^miglab: t\.hmp:1: load of migration failed: Input\/output error: [^\n]* at offset 0x[^\n]+\n$/,
  );
  const full = await script(lines, { verbose: true }, { incoming: "defer" });
  assert.ok(full.stderr.split("\n").length > brief.stderr.split("\n").length, full.stderr);
});

Deno.test("a command that throws what nobody expected fails its line, not the program", async () => {
  const broken: Plugin = {
    name: "broken",
    help: "a command with a fault",
    commands: [{
      hmp: { name: "broken", params: "", help: "throws" },
      run() {
        throw new TypeError("not\nmeant");
      },
    }],
  };
  const { good, both } = await script(["broken", "info status"], { keepGoing: true }, { ram: "1M", plugins: [broken] });
  assert.equal(good, false);
  assert.equal(both, "Error: not meant\n! miglab: t.hmp:1: not meant\nVM status: running\n");
});

Deno.test("complaintOf() finds the line that matters", () => {
  assert.equal(complaintOf("warning: x\nError: y\nhint\n"), "y");
  assert.equal(complaintOf("warning: x\nunknown command: 'z'\n"), "unknown command: 'z'");
  assert.equal(complaintOf('stop|s: extraneous\nTry "help stop"\n'), "stop|s: extraneous");
  assert.equal(complaintOf(""), "the command failed");
});
