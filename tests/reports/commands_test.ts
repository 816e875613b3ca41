import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { gzipSync } from "node:zlib";
import { fixturePath, loadFixture } from "../fixtures.ts";
import { loadLibvirt } from "../libvirt_fixtures.ts";
import { run, TempDir } from "../repl/capture.ts";

/** Objects of `--json`, one a line. */
function objects(stdout: string): { offset: number; length: number; path: string; value?: unknown; meaning: string }[] {
  return stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
}

Deno.test("explain --json covers the file, one object a line", async () => {
  const path = await fixturePath("pc-multipass");
  const { status, stdout, stderr } = await run("explain", path, "--json");
  assert.deepEqual([status, stderr], [0, ""]);
  let end = 0;
  for (const { offset, length, path, meaning } of objects(stdout)) {
    assert.equal(offset, end);
    assert(length > 0 && path !== "" && meaning !== "");
    end = offset + length;
  }
  assert.equal(end, (await Deno.stat(path)).size);
});

Deno.test("explain --at goes from the file to RAM and back, --address from the guest", async () => {
  const path = await fixturePath("pc-mapped-many-blocks");
  const there = await run("explain", path, "--at", "0x106123", "--limit", "1");
  assert.match(there.stdout, /^0x106000 +4096 +[^\n]* page 0x6000 of n0: content [^\n]*\n$/);
  const back = await run("explain", path, "--at", "n0:0x6000", "--json");
  assert.deepEqual(objects(back.stdout).map(({ offset }) => offset), [0x8a, 0x106000]);
  assert.equal((await run("explain", path, "--address", "0x6000", "--json")).stdout, back.stdout);
  const first = objects((await run("explain", path, "--at", "n0:0", "--json")).stdout);
  assert.deepEqual(first.map(({ offset, length }) => [offset, length]), [[0x8a, 1], [0x100000, 4096]]);
  const some = await run("explain", path, "--at", "0");
  assert.equal(some.stdout.split("\n").length, 17);
  const none = await run("explain", path, "--at", "no.ram:0");
  assert.deepEqual([none.status, none.stdout], [1, ""]);
  assert.match(none.stderr, /^miglab: .*: No RAM block is named "no\.ram": the blocks are n0, n1, [^\n]+\n$/);
  const nowhere = await run("explain", path, "--address", "0x7000000000");
  assert.match(nowhere.stderr, /no RAM block is known to be at guest-physical 0x7000000000\n$/);
  for (const place of ["x", "n0:x", ":0", "n0:", "0x20000000000000"]) {
    const { status, stderr } = await run("explain", path, "--at", place);
    const complaint = `option '--at <place>' argument '${place}' is invalid. Expected OFFSET or BLOCK:OFFSET such as`;
    assert.deepEqual([status, stderr], [2, `miglab: ${complaint} 0x2100000 or pc.ram:0x2000.\n`]);
  }
  const both = await run("explain", path, "--at", "0", "--address", "0");
  assert.deepEqual([both.status, both.stderr], [2, "miglab: option '--at' cannot be used with option '--address'\n"]);
});

Deno.test("explain says so when what was asked for is not there", async () => {
  const path = await fixturePath("pc-mapped-many-blocks");
  const size = (await Deno.stat(path)).size;
  const asked: [string[], RegExp][] = [
    [["--at", String(size)], new RegExp(`: nothing at or behind 0x${size.toString(16)} to explain\n$`)],
    [["--at", "n0:0x40000000"], /: No page at 0x40000000 of n0: it has 0x[0-9a-f]+\n$/],
    [["--section", "no-such"], /: no section is called no-such\n$/],
    [["--section", "ram", "--at", String(size - 1)], /: no section at or behind 0x[0-9a-f]+ is called ram\n$/],
  ];
  for (const [args, complaint] of asked) {
    const { status, stdout, stderr } = await run("explain", path, ...args);
    assert.deepEqual([status, stdout], [1, ""], args.join(" "));
    assert.match(stderr, complaint);
    assert.equal(stderr.split("\n").length, 2);
  }
  const last = await run("explain", path, "--at", String(size - 1), "--json");
  assert.equal(last.status, 0);
  assert.equal(objects(last.stdout).at(-1)!.offset + objects(last.stdout).at(-1)!.length, size);
});

Deno.test("explain tells a fault in the last line, on stderr, and by its status", async () => {
  const { status, stdout, stderr } = await run("explain", await fixturePath("bad/legacy-zero-page-value"));
  assert.equal(status, 1);
  assert.match(
    stdout.trimEnd().split("\n").at(-1)!,
    /^0x95 +275868 .* opaque {2}Cannot read zero page 0x3000 of pc\.ram/,
  );
  assert.match(stderr, /^miglab: .*legacy-zero-page-value.*: Cannot read zero page [^\n]*\n$/);
});

Deno.test("explain and verify take what is around a stream: libvirt's header, compression", async () => {
  using dir = new TempDir();
  const raw = dir.file("raw"), packed = dir.file("packed.gz");
  const image = loadLibvirt("raw"), stream = await loadFixture("isapc-file");
  await Deno.writeFile(raw, image);
  await Deno.writeFile(packed, gzipSync(stream));
  const libvirt = objects((await run("explain", raw, "--json")).stdout);
  assert.equal(libvirt.reduce((sum, { length }) => sum + length, 0), image.length);
  assert.deepEqual(libvirt.slice(0, 6).map(({ path }) => path), [
    "libvirt.magic",
    "libvirt.version",
    "libvirt.dataBytes",
    "libvirt.wasRunning",
    "libvirt.format",
    "libvirt.cookieOffset",
  ]);
  const unpacked = objects((await run("explain", packed, "--json")).stdout);
  assert.equal(unpacked.reduce((sum, { length }) => sum + length, 0), stream.length);
  assert(unpacked.some(({ path }) => path.endsWith(".i8254.channels[2].gate")));
  for (const path of [raw, packed]) {
    const { status, stdout } = await run("verify", path);
    assert.deepEqual([status, stdout], [0, `${path}: good, 0 errors, 0 warnings\n`]);
  }
  const whole = gzipSync(stream);
  await Deno.writeFile(packed, whole.subarray(0, whole.length >> 1));
  const cut = await run("verify", packed, "--json");
  assert.equal(cut.status, 1);
  assert(!JSON.parse(cut.stdout).ok);
  image.set(Buffer.from("LibvirtQemudPart"));
  await Deno.writeFile(raw, image);
  const part = await run("verify", raw);
  assert.match(part.stdout, /^error {4}0x0 +libvirt\.magic {2}the save was not completed/);
});

Deno.test("verify --json is the report of the contract, status 1 with errors", async () => {
  const good = await run("verify", "--json", await fixturePath("isapc-file"));
  assert.deepEqual([good.status, JSON.parse(good.stdout), good.stderr], [0, { ok: true, findings: [] }, ""]);
  const bad = await run("verify", "--json", await fixturePath("bad/legacy-footer-other-id"));
  assert.equal(bad.status, 1);
  const { ok, findings } = JSON.parse(bad.stdout);
  assert.equal(ok, false);
  assert.deepEqual(Object.keys(findings[0]), ["severity", "offset", "path", "message"]);
  const missing = await run("verify", "/no/such/file");
  assert.deepEqual([missing.status, missing.stderr], [
    1,
    "miglab: Could not open '/no/such/file': No such file or directory\n",
  ]);
});

Deno.test("why --error names the place; what nobody knows is status 1", async () => {
  const path = await fixturePath("bad/legacy-machine-other");
  const said = "qemu-system-x86_64: Machine type received is 'q35pc' and local is 'isapc'";
  const { status, stdout } = await run("why", path, "--error", said);
  assert.equal(status, 0);
  assert.match(stdout, /\n {2}where {3}configuration\.machine = q35pc at 0xd\n/);
  const json = JSON.parse((await run("why", path, "--error", said, "--json")).stdout);
  assert.deepEqual(json.findings[0].place, { offset: 13, path: "configuration.machine", value: "q35pc" });
  const unknown = await run("why", path, "--error", "the moon is full");
  assert.deepEqual([unknown.status, unknown.stdout], [1, "No word on: the moon is full\n"]);
  for (const args of [["--error", "x", "--qemu", "y"], ["--error", "x", "--", "y"]]) {
    assert.equal((await run("why", path, ...args)).status, 2);
  }
  const none = await run("why", path, "--qemu", "/no/such/qemu");
  assert.deepEqual([none.status, none.stderr], [1, "miglab: Cannot run '/no/such/qemu': No such file or directory\n"]);
});
