import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { encodeNote } from "../../containers/elf.ts";
import { type Image, openImage } from "../../containers/image.ts";
import { xbzrle } from "../../plugins/xbzrle.ts";
import { diffImages, type DiffOptions, type DiffReport } from "../../reports/diff.ts";
import { diffText } from "../../reports/diff_text.ts";
import { writeElfCore } from "../../reports/elf.ts";
import { extractBlock } from "../../reports/extract.ts";
import { RefusedError } from "../../reports/readable.ts";
import { buildCore } from "../elf_build.ts";
import { loadFixture } from "../fixtures.ts";

const tables = xbzrle.tables!;
const EQUAL: DiffReport = { equal: true, configuration: [], devices: [], ram: [] };

async function withFile<T>(body: (path: string) => Promise<T>): Promise<T> {
  const directory = Deno.makeTempDirSync({ prefix: "miglab-memory-" });
  try {
    return await body(`${directory}/out`);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

/** A core of a saved guest, and what it is of. */
async function coreOf(image: Image): Promise<Uint8Array<ArrayBuffer>> {
  return await withFile(async (path) => {
    await writeElfCore(image, path);
    return Deno.readFileSync(path);
  });
}

async function diff(a: Image, b: Uint8Array, options: DiffOptions = {}): Promise<DiffReport> {
  await using other = await openImage(b, { tables, raw: true });
  return await diffImages(a, other, options);
}

for (const name of ["q35-file-2cpu", "q35-mapped", "pc-xbzrle", "microvm-file", "isapc-file"]) {
  Deno.test(`diffImages() finds nothing between ${name} and its core, packed or not`, async () => {
    await using image = await openImage(await loadFixture(name), { tables });
    const core = await coreOf(image);
    assert.deepEqual(await diff(image, core), EQUAL);
    assert.deepEqual(await diff(image, gzipSync(core, { level: 1 })), EQUAL);
    await using theirs = await openImage(core);
    assert.deepEqual(await diffImages(theirs, image), EQUAL);
    assert.deepEqual(await diff(theirs, core), EQUAL);
    assert(theirs.core!.notes.length > 0);
  });
}

Deno.test("diffImages() names pages, registers and ranges that differ between a stream and a core", async () => {
  await using image = await openImage(await loadFixture("q35-file-2cpu"), { tables });
  const bytes = await coreOf(image);
  await using core = await openImage(bytes);
  const changed = bytes.slice();
  const first = core.core!.segments[0];
  const page = 0x30;
  changed[first.offset + page * 4096 + 5] ^= 1;
  const state = core.core!.notes.findLast(({ name }) => name === "QEMU")!;
  const rip = state.offset + 12 + 8 + 8 + 16 * 8; // behind head, name, version and size: rip is the 17th
  new DataView(changed.buffer).setBigUint64(rip, 0x1234n, true);
  const report = await diff(image, changed);
  const [device] = report.devices;
  assert.deepEqual([report.equal, report.devices.length], [false, 1]);
  assert.deepEqual([device.name, device.instanceId, device.fields!.map(({ path, b }) => [path, b])], [
    "cpu",
    1,
    [["rip", "0x1234"]],
  ]);
  const [block] = report.ram;
  assert.deepEqual([block.block, block.changedPages, block.ranges], ["memory", 1, [[page, 1]]]);
  assert.equal(block.onlyA ?? block.onlyB, undefined);
  assert.match(diffText(report), /^cpu 1\n {2}rip {2}"0x[0-9a-f]+" \| "0x1234"\nRAM block memory {2}1 page differs/);
  assert((await diff(image, changed, { ignore: ["cpu", "ram:memory"] })).equal);
  assert((await diff(image, changed, { ignore: ["cpu:rip"], withoutRam: true })).equal);
});

Deno.test("diffImages() tells memory that only one of two cores has, and notes nobody decodes", async () => {
  const page = (value: number) => new Uint8Array(4096).fill(value);
  const note = (value: number) => ({ type: 4, address: 0, data: encodeNote("LINUX", 9, new Uint8Array([value])) });
  const one = buildCore({ segments: [note(1), { address: 0, data: page(1) }, { address: 0x4000, data: page(3) }] });
  const two = buildCore({
    machine: 3,
    segments: [note(2), { address: 0, data: page(2) }, { address: 0x9000, data: page(0) }],
  });
  await using a = await openImage(one);
  const report = await diff(a, two);
  assert.deepEqual(report.ram, [{
    block: "memory",
    changedPages: 1,
    ranges: [[0, 1]],
    filled: 0,
    emptied: 0,
    rewritten: 1,
    pageBytes: 4096,
    change: "pages",
    onlyA: [[4, 1]],
    onlyB: [[9, 1]],
  }]);
  assert.deepEqual(report.devices, [
    { name: "elf", instanceId: 0, change: "fields", fields: [{ path: "e_machine", a: "x86_64", b: "i386" }] },
    { name: "LINUX.9", instanceId: 0, change: "data", bytes: [1, 1] },
  ]);
  assert.match(
    diffText(report),
    /memory {2}1 page differs \(1 rewritten\): 0x0, 0x4000 only in the first, 0x9000 only in the second\n$/,
  );
});

Deno.test("diffImages() takes what a core leaves out for the same where the other has zeros, and for missing elsewhere", async () => {
  const one = new Uint8Array(0x4000).fill(1, 0, 0x1000).fill(2, 0x2000, 0x3000);
  await using whole = await openImage(buildCore({ segments: [{ address: 0, data: one }] }));
  const less = buildCore({ segments: [{ address: 0, data: one.subarray(0, 0x1000), memoryBytes: 0x4000 }] });
  const [ram] = (await diff(whole, less)).ram;
  assert.deepEqual([ram.changedPages, ram.onlyA, ram.onlyB], [0, [[2, 1]], undefined]);
  await using lesser = await openImage(less);
  assert.deepEqual(await diff(lesser, less), EQUAL);
});

Deno.test("diffImages() compares raw memory with the block of its size, or the one named", async () => {
  await using image = await openImage(await loadFixture("q35-mapped"), { tables });
  const raw = await withFile(async (path) => {
    await extractBlock(image, "pc.ram", path);
    return Deno.readFileSync(path);
  });
  assert.deepEqual(await diff(image, raw), EQUAL);
  assert.deepEqual(await diff(image, raw, { block: "pc.ram" }), EQUAL);
  raw.fill(9, 0x3000, 0x5000);
  const [ram] = (await diff(image, raw)).ram;
  assert.deepEqual([ram.block, ram.ranges], ["pc.ram", [[3, 2]]]);
  const longer = (await diff(image, new Uint8Array([...raw.subarray(0, 0x10000)]), { block: "pc.ram" })).ram[0];
  assert.deepEqual([longer.onlyA, longer.onlyB], [[[0x10, raw.length / 4096 - 0x10]], undefined]);
  await assert.rejects(diff(image, raw.subarray(1)), (error: Error) => {
    assert(error instanceof RefusedError);
    return /it has 0x[0-9a-f]+ bytes, as no RAM block has: name the block$/.test(error.message);
  });
  await assert.rejects(diff(image, raw, { block: "ram" }), /no RAM block is named "ram": the blocks are pc\.ram, /);
  const twins = image.ram.blocks.filter(({ bytes }) => bytes === 0x1000).map(({ id }) => id);
  assert(twins.length > 1);
  await assert.rejects(
    diff(image, new Uint8Array(0x1000)),
    (error: Error) => error.message.endsWith(`as have ${twins.join(", ")}: name the block`),
  );
});

Deno.test("diffImages() takes holes of raw memory for what they are", async () => {
  await using image = await openImage(await loadFixture("microvm-file"), { tables });
  const core = await coreOf(image);
  await using theirs = await openImage(core);
  const end = 0x10_0000;
  const raw = new Uint8Array(end);
  theirs.ram.readRange("memory", 0, raw);
  await using flat = await openImage(raw, { raw: true });
  const [ram] = (await diffImages(flat, theirs)).ram;
  assert.deepEqual([ram.changedPages, ram.onlyA], [0, undefined]);
  assert.equal(ram.onlyB![0][0], end / 4096);
});

Deno.test("diffImages() says why memory of a stream cannot be compared", async () => {
  const core = buildCore({ segments: [{ address: 0, data: new Uint8Array(4096) }] });
  await using image = await openImage(await loadFixture("pc-multifd-2.main"), { tables });
  await assert.rejects(diff(image, core), /Cannot compare RAM of standard input: .*multifd/);
});
