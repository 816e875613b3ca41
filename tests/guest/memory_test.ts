import assert from "node:assert/strict";
import { GuestMemory, RamBlock, SEGMENT, SLOT } from "../../guest/memory.ts";
import { MemoryFaultError } from "../../stream/errors.ts";

Deno.test("RamBlock makes a segment only when somebody writes there", () => {
  const block = new RamBlock({ idstr: "m", usedLength: 3 * SEGMENT });
  assert.equal(block.view(SEGMENT, 4096), null);
  const bytes = new Uint8Array(10).fill(7);
  block.read(2 * SEGMENT - 5, bytes);
  assert.deepEqual(bytes, new Uint8Array(10));
  assert.deepEqual(block.segments, [null, null, null]);
  block.write(SEGMENT + 5, Uint8Array.of(1, 2));
  assert.deepEqual(block.segments.map(Boolean), [false, true, false]);
  assert.equal(block.isUntouched(SEGMENT + SLOT - 1), false);
  assert.equal(block.isUntouched(SEGMENT + SLOT), true);
  assert.equal(block.isUntouched(SEGMENT - 1), true);
  assert.deepEqual([...block.view(SEGMENT + 4, 4)!], [0, 1, 2, 0]);
  block.release();
});

Deno.test("RamBlock writes and reads over segment and slot borders", () => {
  const block = new RamBlock({ idstr: "m", usedLength: 2 * SEGMENT });
  const bytes = Uint8Array.from({ length: 3 * SLOT }, (_, i) => i * 31 + (i >> 12));
  const at = SEGMENT - SLOT - 123;
  block.write(at, bytes);
  const back = new Uint8Array(bytes.length);
  block.read(at, back);
  assert.deepEqual(back, bytes);
  block.zero(at + 10, bytes.length - 20);
  block.read(at, back);
  const expected = new Uint8Array(bytes.length);
  expected.set(bytes.subarray(0, 10));
  expected.set(bytes.subarray(-10), bytes.length - 10);
  assert.deepEqual(back, expected);
  block.release();
});

Deno.test("RamBlock.zero() touches nothing that was never written", () => {
  const block = new RamBlock({ idstr: "m", usedLength: SEGMENT });
  block.zero(0, SEGMENT);
  assert.deepEqual(block.segments, [null]);
  assert.equal(block.touched.some(Boolean), false);
});

Deno.test("RamBlock answers a range outside with a fault that names block and offset", () => {
  const block = new RamBlock({ idstr: "pc.ram", usedLength: 2 * SEGMENT, maxLength: 2 * SEGMENT });
  const faults = [
    () => block.view(2 * SEGMENT, 1),
    () => block.view(2 * SEGMENT - 1, 2),
    () => block.view(SEGMENT - 1, 2), // crosses a segment
    () => block.view(-1, 1),
    () => block.view(NaN, 1),
    () => block.view(0, -1),
    () => block.writable(2 * SEGMENT, 1),
    () => block.write(2 * SEGMENT - 1, Uint8Array.of(1, 2)),
    () => block.write(-1, Uint8Array.of(1)),
    () => block.read(2 * SEGMENT - 1, new Uint8Array(2)),
    () => block.read(-1, new Uint8Array(1)),
  ];
  for (const fault of faults) {
    assert.throws(fault, (error) => error instanceof MemoryFaultError && error.block === "pc.ram");
  }
  assert.equal(block.touched.some(Boolean), false);
  assert.throws(() => block.read(2 * SEGMENT, new Uint8Array(1)), /0x80000000 of pc\.ram.*0x80000000 bytes/);
});

Deno.test("RamBlock: a released segment is wiped before somebody else gets it", () => {
  const first = new RamBlock({ idstr: "a", usedLength: SEGMENT });
  first.writable(5 * SLOT, 3 * SLOT).fill(0xaa);
  first.writable(SEGMENT - 1, 1)[0] = 0xbb;
  const memory = first.segments[0];
  first.release();
  assert.equal(first.view(5 * SLOT, 16), null);
  const second = new RamBlock({ idstr: "b", usedLength: SEGMENT });
  second.writable(0, 1)[0] = 1;
  assert.equal(second.segments[0], memory);
  for (const offset of [5 * SLOT, 7 * SLOT, SEGMENT - SLOT]) {
    assert.equal(second.writable(offset, SLOT).some(Boolean), false);
  }
  second.release();
});

Deno.test("RamBlock: 16 GiB, mostly zero, cost what is in them", () => {
  const before = Deno.memoryUsage().rss;
  const block = new RamBlock({ idstr: "m", usedLength: 16 * SEGMENT });
  const page = new Uint8Array(4096);
  for (let i = 0; i < 16; i++) block.write(i * SEGMENT + 12345 * 4096, page.fill(i + 1));
  const back = new Uint8Array(8192);
  for (let i = 0; i < 16; i++) {
    block.read(i * SEGMENT + 12344 * 4096, back);
    assert.deepEqual([back[0], back[4095], back[4096], back[8191]], [0, 0, i + 1, i + 1]);
  }
  block.read(15 * SEGMENT + 777 * SLOT, back);
  assert.equal(back.some(Boolean), false);
  const grown = Deno.memoryUsage().rss - before;
  block.release();
  assert.ok(grown < 100e6, `grew by ${grown} bytes`);
});

Deno.test("GuestMemory lists and places blocks as QEMU does", () => {
  const memory = new GuestMemory([
    { idstr: "pc.ram", usedLength: 0x4000000 },
    { idstr: "pc.bios", usedLength: 0x40000 },
    { idstr: "pc.rom", usedLength: 0x20000 },
    { idstr: "/rom@etc/acpi/tables", usedLength: 0x20000, maxLength: 0x200000 },
    { idstr: "/rom@etc/table-loader", usedLength: 0x1000, maxLength: 0x10000 },
    { idstr: "/rom@etc/acpi/rsdp", usedLength: 0x1000 },
    { idstr: "second of the same size", usedLength: 0x20000 },
  ]);
  // `info ramblock` of 10.0.2
  assert.deepEqual(memory.blocks.map((block) => [block.idstr, block.ramAddr]), [
    ["pc.ram", 0],
    ["/rom@etc/acpi/tables", 0x4080000],
    ["pc.bios", 0x4000000],
    ["pc.rom", 0x4040000],
    ["second of the same size", 0x4300000],
    ["/rom@etc/table-loader", 0x4280000],
    ["/rom@etc/acpi/rsdp", 0x42c0000],
  ]);
  assert.equal(memory.totalBytes, 67641344 + 0x20000);
  assert.equal(memory.block("pc.rom")?.usedLength, 0x20000);
  assert.equal(memory.block("pc.ro"), undefined);
  assert.deepEqual(memory.blocks.filter((block) => block.resizeable).map((block) => block.idstr), [
    "/rom@etc/acpi/tables",
    "/rom@etc/table-loader",
  ]);
});

Deno.test("GuestMemory keeps the order of a list and still places blocks by creation", () => {
  const memory = new GuestMemory([
    { idstr: "pc.ram", usedLength: 0x4000000 },
    { idstr: "/rom@etc/acpi/tables", usedLength: 0x20000, maxLength: 0x200000 },
    { idstr: "0000:00:02.0/vga.vram", usedLength: 0x100000 },
    { idstr: "pc.rom", usedLength: 0x20000 },
    { idstr: "pc.bios", usedLength: 0x10000 },
  ], "listed");
  assert.deepEqual(memory.blocks.map((block) => [block.idstr, block.ramAddr]), [
    ["pc.ram", 0],
    ["/rom@etc/acpi/tables", 0x4180000],
    ["0000:00:02.0/vga.vram", 0x4080000],
    ["pc.rom", 0x4040000],
    ["pc.bios", 0x4000000],
  ]);
});
