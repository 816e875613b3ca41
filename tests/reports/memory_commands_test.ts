import assert from "node:assert/strict";
import { buildCore } from "../elf_build.ts";
import { fixturePath } from "../fixtures.ts";
import { run, TempDir } from "../repl/capture.ts";

Deno.test("diff compares a saved guest with its ELF core and with a raw block of it", async () => {
  using dir = new TempDir();
  const saved = await fixturePath("q35-file-2cpu"), core = dir.file("core"), raw = dir.file("raw");
  assert.equal((await run("extract", saved, "--format", "elf", "-o", core)).status, 0);
  assert.equal((await run("extract", saved, "--block", "pc.ram", "-o", raw)).status, 0);
  const equal = { stdout: "", stderr: "", both: "", status: 0 };
  assert.deepEqual(await run("diff", saved, core), equal);
  assert.deepEqual(await run("diff", raw, saved), equal);
  assert.deepEqual(await run("diff", "--block", "pc.ram", saved, raw), equal);
  assert.deepEqual(await run("diff", "--raw", raw, raw), equal);
  const file = Deno.openSync(raw, { write: true });
  file.seekSync(0x5000, Deno.SeekMode.Start);
  file.writeSync(new Uint8Array([0xaa, 0x55]));
  file.close();
  const changed = await run("diff", saved, raw);
  assert.equal(changed.status, 1);
  assert.match(changed.stdout, /^RAM block pc\.ram {2}1 page differs \(1 \w+\): 0x5000\n$/);
});

Deno.test("diff says of a file that is nothing known, and has the size of nothing, that it is no stream", async () => {
  using dir = new TempDir();
  const saved = await fixturePath("q35-file-2cpu"), other = dir.file("other");
  Deno.writeFileSync(other, new Uint8Array(12345).fill(7));
  for (const args of [[saved, other], [other, saved], [other, other]]) {
    const { status, stdout, stderr } = await run("diff", ...args);
    assert.deepEqual([status, stdout], [1, ""]);
    assert.match(stderr, /^miglab: [^\n]*magic 0x7070707, expected 0x5145564d \(QEVM\)[^\n]*\n$/);
  }
  const asked = await run("diff", "--raw", saved, other);
  assert.match(asked.stderr, /it has 0x3039 bytes, as no RAM block has: name the block\n$/);
});

Deno.test("extract takes pages, ranges and all of memory out of an ELF core", async () => {
  using dir = new TempDir();
  const core = dir.file("core"), out = dir.file("out");
  const data = new Uint8Array(0x2000).fill(1, 0, 0x1000).fill(2, 0x1000);
  Deno.writeFileSync(core, buildCore({ segments: [{ address: 0x4000, data, memoryBytes: 0x3000 }] }));
  assert.equal((await run("extract", core, "--page", "memory:0x5123", "-o", out)).status, 0);
  assert.deepEqual(Deno.readFileSync(out), new Uint8Array(0x1000).fill(2));
  assert.equal((await run("extract", core, "--range", "memory:0x3fff+0x1002", "-o", out)).status, 0);
  assert.deepEqual(Deno.readFileSync(out), new Uint8Array(0x1002).fill(1, 1).fill(2, 0x1001));
  assert.equal((await run("extract", core, "--format", "raw", "-o", out)).status, 0);
  assert.deepEqual(Deno.readFileSync(out), new Uint8Array(0x7000).fill(1, 0x4000, 0x5000).fill(2, 0x5000, 0x6000));
  assert.equal((await run("diff", core, out)).status, 0);
  assert.equal((await run("extract", core, "--format", "elf", "-o", out)).status, 0);
  assert.equal((await run("diff", core, out)).status, 0);
  const refused = await run("extract", core, "--block", "pc.ram", "-o", out);
  assert.match(refused.stderr, /^miglab: [^\n]*No RAM block is named "pc\.ram": the blocks are memory\n$/);
  const legacy = await run("convert", core, dir.file("sav"), "--to", "legacy");
  assert.match(legacy.stderr, /Cannot convert to legacy: it is memory alone: a stream needs the devices too\n$/);
});

Deno.test("extract reads guest-physical memory of a saved guest as the block memory", async () => {
  using dir = new TempDir();
  const saved = await fixturePath("q35-file-2cpu"), out = dir.file("out"), bios = dir.file("bios");
  assert.equal((await run("extract", saved, "--range", "memory:0xfffffff0+16", "-o", out)).status, 0);
  assert.equal((await run("extract", saved, "--block", "pc.bios", "-o", bios)).status, 0);
  assert.deepEqual(Deno.readFileSync(out), Deno.readFileSync(bios).slice(-16));
  const unnamed = await run("extract", saved, "--format", "raw", "-o", out);
  assert.match(unnamed.stderr, /No RAM block is named: give one of pc\.ram, /);
});

Deno.test("inspect shows ranges, notes and registers of an ELF core, and raw memory when asked", async () => {
  using dir = new TempDir();
  const saved = await fixturePath("q35-file-2cpu"), core = dir.file("core");
  await run("extract", saved, "--format", "elf", "-o", core);
  const page = await run("inspect", core);
  assert.deepEqual([page.status, page.stderr], [0, ""]);
  assert.match(page.stdout, /: ELF core of i386, complete, /);
  assert.match(page.stdout, /\nMemory\n +0x0 - +0x[0-9a-f]+ +\S+ \w+ at offset 0x1000\n/);
  assert.match(page.stdout, /\n {2}CORE NT_PRSTATUS 144 bytes \(2\), QEMU 0 440 bytes \(2\)\n/);
  assert.match(page.stdout, /\nProcessors {2}2 .*\n {2}0 .* rip 0x[0-9a-f]+ .*\n {2}1 .* rip 0x/);
  const report = JSON.parse((await run("inspect", "--json", core)).stdout);
  assert.deepEqual([report.format, report.core.machine, report.core.cpus.length], ["elf-core", "i386", 2]);
  assert.equal(report.ram.blocks[0].id, "memory");
  const raw = dir.file("raw");
  Deno.writeFileSync(raw, new Uint8Array(0x3000));
  assert.equal((await run("inspect", raw)).status, 1);
  assert.match((await run("inspect", "--raw", raw)).stdout, /: raw memory, complete, 12 KiB\n/);
  const cut = Deno.readFileSync(core).subarray(0, 0x20000);
  Deno.writeFileSync(core, cut);
  const half = await run("inspect", core);
  assert.deepEqual(half.status, 1);
  assert.match(
    half.stderr,
    /^miglab: .*: Cannot read all memory of the core at offset 0x20000 in "main": the end of the/,
  );
  assert.match((await run("explain", core)).stderr, /an ELF core: no migration stream is in it, expected a migration/);
});
