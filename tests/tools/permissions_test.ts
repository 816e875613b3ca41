/**
 * The commands that work with files, with no more permissions than the README's table names.
 */
import assert from "node:assert/strict";
import { fixturePath } from "../fixtures.ts";
import { run, TempDir } from "../repl/capture.ts";

const MAIN = new URL("../../main.ts", import.meta.url).pathname;

interface Allowed {
  readonly read?: readonly string[];
  readonly write?: readonly string[];
  readonly run?: readonly string[];
}

/** Run the program in a process of its own. */
async function program(args: readonly string[], { read = [], write = [], run = [] }: Allowed, input?: Uint8Array) {
  const list = (flag: string, values: readonly string[]) => values.length ? [`${flag}=${values.join(",")}`] : [];
  const flags = [...list("--allow-read", read), ...list("--allow-write", write), ...list("--allow-run", run)];
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", ...flags, MAIN, ...args],
    stdin: input ? "piped" : "null",
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1" },
  }).spawn();
  if (input) {
    const writer = child.stdin.getWriter();
    await writer.write(input).catch(() => {}); // one that was refused does not read
    await writer.close().catch(() => {});
  }
  const { code, stdout, stderr } = await child.output();
  const text = new TextDecoder();
  return { code, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}

async function succeeds(args: readonly string[], allowed: Allowed, input?: Uint8Array): Promise<string> {
  const { code, stdout, stderr } = await program(args, allowed, input);
  assert.deepEqual([code, stderr.replace(/^left behind: .*\n/, "")], [0, ""], args.join(" "));
  return stdout;
}

/** A mapped-ram save with so much data that Workers would be worth their start. */
async function large(dir: TempDir): Promise<string> {
  const file = dir.file("large.sav");
  const lines = ["migrate_set_capability mapped-ram on", `migrate file:${file}`].flatMap((line) => ["-e", line]);
  assert.equal((await run("--ram", "128M", "--content", "random:80M", ...lines)).status, 0);
  return file;
}

Deno.test("reports need to read their files", async () => {
  using dir = new TempDir();
  for (const file of [await fixturePath("pc-multipass"), await large(dir)]) {
    const allowed = { read: [file] };
    assert.match(await succeeds(["inspect", "--hash", "--json", file], allowed), /"sha256":"[0-9a-f]{64}"/);
    await succeeds(["explain", "--limit", "100", file], allowed);
    await succeeds(["verify", file], allowed);
    await succeeds(["diff", file, file], allowed);
    await succeeds(["extract", file, "--page", "pc.ram:0"], allowed);
    assert.match(await succeeds(["--guest", file, "-e", "info status"], allowed), /^VM status: /);
  }
  const main = await fixturePath("pc-multifd-2");
  const channels = [await fixturePath("pc-multifd-2.ch0"), await fixturePath("pc-multifd-2.ch1")];
  const allowed = { read: [main, ...channels] };
  assert.match(await succeeds(["inspect", main, ...channels.flatMap((one) => ["--channel", one])], allowed), /multifd/);
});

Deno.test("new files need their directory", async () => {
  using dir = new TempDir();
  const stream = await fixturePath("pc-multipass");
  for (const file of [stream, await large(dir)]) {
    const allowed = { read: [file, dir.path], write: [dir.path] };
    for (const format of ["legacy", "mapped-ram", "elf"]) {
      await succeeds(["convert", file, dir.file(`out.${format}`), "--to", format], allowed);
    }
    await succeeds(["extract", file, "--block", "pc.ram", "-o", dir.file("block")], allowed);
    await succeeds(["salvage", file, "-o", dir.file(`rescued.${file === stream ? 1 : 2}`)], allowed);
  }
});

Deno.test("the model guest is saved and loaded by its file alone", async () => {
  using dir = new TempDir();
  const saved = dir.file("saved"), both = { read: [saved], write: [saved] };
  const settings = { "": [], "mapped-ram": ["mapped-ram"], "mapped-ram, multifd": ["mapped-ram", "multifd"] };
  for (const [name, capabilities] of Object.entries(settings)) {
    const set = capabilities.flatMap((capability) => ["-e", `migrate_set_capability ${capability} on`]);
    const content = ["--ram", "256M", "--content", "random:80M"];
    await succeeds([...content, ...set, "-e", `migrate file:${saved}`], both);
    const load = ["--incoming", "defer", ...set, "-e", `migrate_incoming file:${saved}`, "-e", "info status"];
    assert.match(await succeeds([...load], { read: [saved] }), /^VM status: (running|paused)/, name);
    Deno.removeSync(saved);
  }
});

Deno.test("standard input that is read in another order than it comes needs the temporary directory", async () => {
  using dir = new TempDir();
  const temporary = dir.path.replace(/\/[^/]*$/, "");
  const bytes = await Deno.readFile(await fixturePath("isapc-file"));
  const args = ["extract", "-", "--block", "pc.bios", "-o", dir.file("bios")];
  await succeeds(args, { read: [temporary], write: [temporary] }, bytes);
  const { code, stdout, stderr } = await program(args, {}, bytes);
  assert.deepEqual([code, stdout], [1, ""]);
  assert.match(stderr, /^miglab: standard input: Requires write access to [^\n]+\n$/);
});

Deno.test("what is not permitted is told in one line", async () => {
  const file = await fixturePath("isapc-file");
  const refused: [string[], Allowed, RegExp][] = [
    [["inspect", file], {}, /Could not open '.*': Requires read access to/],
    [
      ["convert", file, "/nowhere/out", "--to", "elf"],
      { read: [file] },
      /Could not open '\/nowhere\/out': Requires read/,
    ],
    [["verify", file, "--against", "qemu"], { read: [file] }, /Cannot ask 'qemu': (Requires run access|No such file)/],
    [["why", file, "--qemu", "qemu"], { read: [file] }, /Cannot run 'qemu': (Requires run access|No such file)/],
    [["-e", "migrate exec:cat"], {}, /Requires run access to "\/bin\/sh"/],
    [["--plugin", "./x.ts", "-e", "info status"], {}, /Cannot load plugin "\.\/x\.ts": Requires read access/],
    [["--qmp", "/nowhere/qmp", "-e", "info status"], {}, /Failed to connect to '\/nowhere\/qmp': Requires/],
  ];
  for (const [args, allowed, line] of refused) {
    const { code, stderr } = await program(args, allowed);
    assert.equal(code, 1, args.join(" "));
    assert.match(stderr, line);
    assert.match(stderr, /^miglab: [^\n]+\n$/);
  }
});
