/**
 * Saved guests as people have them: over several channels, behind something else, packed and cut.
 */
import assert from "node:assert/strict";
import { gunzipSync, gzipSync, zstdCompressSync } from "node:zlib";
import { fixturePath, loadFixture } from "../fixtures.ts";
import { run, TempDir } from "../repl/capture.ts";

/** SHA-256 of each block's content. */
async function hashes(...args: string[]): Promise<string[]> {
  const { status, stdout, stderr } = await run("inspect", "--hash", "--json", ...args);
  assert.deepEqual([status, stderr], [0, ""]);
  return JSON.parse(stdout).ram.blocks.map(({ sha256 }: { sha256: string }) => sha256);
}

Deno.test("--guest takes the channels of a multifd migration, in any order, and saves them as one", async () => {
  using dir = new TempDir();
  const main = await fixturePath("pc-multifd-2");
  const channels = [await fixturePath("pc-multifd-2.ch1"), await fixturePath("pc-multifd-2.ch0")]
    .flatMap((path) => ["--channel", path]);
  const saved = dir.file("one.sav");
  const { status, stdout, stderr } = await run(
    "--guest",
    main,
    ...channels,
    "-e",
    "info status",
    "-e",
    `migrate file:${saved}`,
  );
  assert.deepEqual([status, stdout, stderr], [0, "VM status: paused\n", ""]);
  assert.deepEqual(await hashes(saved), await hashes(main, ...channels));
});

Deno.test("--guest refuses a multifd migration of which a channel is missing, and says what to add", async () => {
  const main = await fixturePath("pc-multifd-2");
  const none = await run("--guest", main, "-e", "info status");
  assert.deepEqual([none.status, none.stdout], [1, ""]);
  assert.match(
    none.stderr,
    /^miglab: \S+: Cannot load a stream of multifd [^\n]+; give the file of each with --channel\n$/,
  );
  const one = await run("--guest", main, "--channel", await fixturePath("pc-multifd-2.ch0"), "-e", "info status");
  assert.deepEqual([one.status, one.stdout], [1, ""]);
  assert.match(one.stderr, /^miglab: \S+: Cannot join the channels [^\n]*multifd 0[^\n]* not given[^\n]+--channel\n$/);
});

Deno.test("--guest takes the internal snapshot of a qcow2 image that --snapshot names", async () => {
  using dir = new TempDir();
  const disk = dir.file("disk.qcow2");
  for (const image of ["savevm-plain", "savevm-extended-l2", "savevm-v2-small-clusters"]) {
    const packed = Deno.readFileSync(new URL(`../fixtures/qcow2/${image}.qcow2.gz`, import.meta.url));
    Deno.writeFileSync(disk, gunzipSync(packed));
    const script = dir.file("script.hmp", `info status\nmigrate file:${dir.file("saved")}\n`);
    const cases: [string[], string, RegExp][] = [
      [["--snapshot", "first"], "first", /^VM status: paused \(prelaunch\)\n$/],
      [["--snapshot", "1"], "first", /^VM status: paused \(prelaunch\)\n$/],
      [["--snapshot", "second"], "second", /^VM status: paused\n$/],
      [[], "second", /^VM status: paused\n$/],
    ];
    for (const [option, name, status] of cases) {
      const lines = await run("run", script, "--guest", disk, ...option);
      assert.deepEqual([lines.status, lines.stderr], [0, ""]);
      assert.match(lines.stdout, status);
      assert.deepEqual(await hashes(dir.file("saved")), await hashes(disk, "--snapshot", name), `${image} ${name}`);
    }
    assert.notDeepEqual(await hashes(disk, "--snapshot", "first"), await hashes(disk, "--snapshot", "second"));
    const none = await run("--guest", disk, "--snapshot", "third", "-e", "info status");
    assert.deepEqual([none.status, none.stdout], [1, ""]);
    assert.match(none.stderr, /^miglab: \S+: [^\n]+: snapshots "first", "second", expected one named "third"\n$/);
  }
  const stream = await run("--guest", await fixturePath("pc-file-stopped"), "--snapshot", "x", "-e", "info status");
  assert.deepEqual([stream.status, stream.stdout], [1, ""]);
  assert.match(stream.stderr, /^miglab: \S+: Cannot open snapshot x [^\n]+expected a qcow2 image\n$/);
});

Deno.test("options that say where a saved guest is are wrong usage without one and without a command", async () => {
  for (const option of ["--offset", "--channel", "--snapshot"]) {
    const { status, stderr } = await run(option, "4096", "-e", "info status");
    assert.deepEqual([status, stderr], [2, `miglab: option '${option}' needs option '--guest' or a command\n`]);
  }
});

Deno.test("a stream further on is found, and named in the complaint about the beginning", async () => {
  using dir = new TempDir();
  const file = dir.file("image");
  const stream = await loadFixture("pc-file-stopped");
  const bytes = new Uint8Array(0x12000 + stream.length);
  bytes.set(stream, 0x12000);
  Deno.writeFileSync(file, bytes);
  const hint = /at offset 0x0 [^\n]*; a stream begins at 0x12000, try --offset(-[ab])? 0x12000/;
  for (
    const args of [
      ["inspect", file],
      ["explain", file],
      ["diff", file, file],
      ["extract", file, "--block", "pc.ram", "-o", dir.file("out")],
      ["--guest", file, "-e", "info status"],
    ]
  ) {
    const { status, stderr } = await run(...args);
    assert.equal(status, 1);
    assert.match(stderr, hint, args[0]);
    assert.match(stderr, /^[^\n]+\n$/);
  }
  assert.match((await run("verify", file)).stdout, hint);
  const why = await run("why", file, "--error", "Not a migration stream");
  assert.match(
    why.stdout,
    /do +a stream begins at 0x12000, try --offset 0x12000; to QEMU, file:[^\n]*,offset=0x12000\n/,
  );
  const there = ["--offset", "0x12000"];
  assert.equal((await run("inspect", file, ...there)).status, 0);
  assert.equal((await run(...there, "verify", file)).status, 0);
  assert.equal((await run(...there, "--guest", file, "-e", "info status")).stdout, "VM status: paused (prelaunch)\n");
  Deno.writeFileSync(file, new Uint8Array(0x12000));
  assert.ok(!(await run("inspect", file)).stderr.includes("--offset"));
});

Deno.test("a packed file that was cut is shown as far as it goes, and that it was cut is said", async () => {
  using dir = new TempDir();
  const stream = await loadFixture("pc-file-stopped");
  const zstd = (bytes: Uint8Array) => zstdCompressSync(bytes);
  for (const [name, pack] of [["gzip", gzipSync], ["zstd", zstd]] as const) {
    const file = dir.file(`cut.${name}`);
    const packed = pack(stream);
    Deno.writeFileSync(file, packed.subarray(0, packed.length * 0.7));
    const { status, stdout, stderr } = await run("inspect", file);
    assert.equal(status, 1);
    assert.match(stdout, /^[^\n]+\(\w+\) of pc-i440fx-10\.0, incomplete/);
    assert.match(stdout, /pc\.ram +16 MiB/);
    assert.match(stderr, new RegExp(`^miglab: [^\\n]+; the file was cut: its ${name} data ends early [^\\n]+\\n$`));
    const guest = await run("--guest", file, "-e", "info status");
    assert.match(guest.stderr, new RegExp(`the file was cut: its ${name} data ends early`));
  }
});

Deno.test("what is asked for and not there is told in one line", async () => {
  using dir = new TempDir();
  const file = await fixturePath("pc-file-stopped");
  const cases: [string[], RegExp][] = [
    [["explain", file, "--at", "99999999999"], /nothing at or behind 0x174876e7ff to explain/],
    [["explain", file, "--at", "nosuch:0"], /No RAM block is named "nosuch": the blocks are pc\.ram/],
    [["inspect", file, "--snapshot", "one"], /snapshot one at offset 0x0 [^\n]*expected a qcow2 image/],
    [["convert", file, dir.file("no/out"), "--to", "elf"], /^miglab: Could not open '[^']*no\/out': No such file/],
    [["diff", file, dir.file("nosuch")], /^miglab: Could not open '[^']*nosuch': No such file/],
  ];
  for (const [args, expected] of cases) {
    const { status, stdout, stderr } = await run(...args);
    assert.deepEqual([status, stdout], [1, ""], args.join(" "));
    assert.match(stderr, expected);
    assert.match(stderr, /^miglab: [^\n]+\n$/);
  }
});
