import assert from "node:assert/strict";
import type { DeviceSection, PhysicalRange } from "../../guest/guest.ts";
import { GuestMemory } from "../../guest/memory.ts";
import { physicalMapFor } from "../../guest/physical.ts";

interface FlatView {
  readonly machine: string;
  readonly args: string;
  readonly blocks: readonly [idstr: string, usedLength: number, maxLength: number][];
  readonly ranges: readonly [base: number, length: number, idstr: string, blockOffset: number][];
  readonly devices: readonly [idstr: string, body: string][];
}

const { cases }: { cases: FlatView[] } = JSON.parse(
  await Deno.readTextFile(new URL("../fixtures/guest/flatviews.json", import.meta.url)),
);

const blocksOf = (list: readonly (readonly [string, number, number?])[]) =>
  new GuestMemory(
    list.map(([idstr, usedLength, maxLength]) => ({ idstr, usedLength, ...(maxLength ? { maxLength } : {}) })),
    "listed",
  );

/** Neighbours that continue each other, as one. */
function joined(ranges: readonly PhysicalRange[]): PhysicalRange[] {
  const out: PhysicalRange[] = [];
  for (const range of ranges) {
    const last = out.at(-1);
    if (
      last && last.idstr === range.idstr && last.base + last.length === range.base &&
      last.blockOffset + last.length === range.blockOffset
    ) out[out.length - 1] = { ...last, length: last.length + range.length };
    else out.push(range);
  }
  return out;
}

for (const { machine, args, blocks, ranges, devices } of cases) {
  Deno.test(`physicalMapFor() agrees with QEMU: ${args}`, () => {
    const sections: DeviceSection[] = devices.map(([idstr, body]) => {
      return { idstr, instanceId: 0, versionId: 3, sectionId: 7, body: Uint8Array.fromHex(body) };
    });
    const map = physicalMapFor(machine, blocksOf(blocks), sections);
    const expected = ranges.map(([base, length, idstr, blockOffset]) => ({ base, length, idstr, blockOffset }));
    assert.deepEqual(joined(map!), joined(expected));
  });
}

Deno.test("physicalMapFor() puts the boards' RAM where they have it", () => {
  const virt = physicalMapFor(
    "virt-10.0",
    blocksOf([["virt.flash0", 0x4000000], ["virt.flash1", 0x4000000], ["mach-virt.ram", 0x1000000]]),
  );
  assert.deepEqual(virt!.map((range) => [range.base, range.idstr]), [
    [0, "virt.flash0"],
    [0x4000000, "virt.flash1"],
    [0x40000000, "mach-virt.ram"],
  ]);
  const riscv = physicalMapFor("virt", blocksOf([["virt.flash0", 0x2000000], ["riscv_virt_board.ram", 0x800000]]));
  assert.deepEqual(riscv!.map((range) => [range.base, range.length]), [[0x20000000, 0x2000000], [
    0x80000000,
    0x800000,
  ]]);
  assert.deepEqual(physicalMapFor("s390-ccw-virtio-10.0", blocksOf([["s390.ram", 0x800000]]))!.length, 1);
});

Deno.test("physicalMapFor() does not guess: unknown machines, and backends without an order", () => {
  assert.equal(physicalMapFor("pseries-10.0", blocksOf([["ppc_spapr.ram", 0x800000]])), undefined);
  assert.equal(physicalMapFor("pc-i440fx-10.0", blocksOf([["shm0", 0x800000], ["priv1", 0x800000]])), undefined);
  assert.equal(physicalMapFor("", blocksOf([])), undefined);
});

Deno.test("physicalMapFor() finds a lone backend, orders backends by address, and needs no machine name", () => {
  assert.deepEqual(
    physicalMapFor("pc-i440fx-10.0", blocksOf([["ram0", 0x800000], ["pc.bios", 0x10000]]))![0].idstr,
    "ram0",
  );
  const memory = new GuestMemory([
    { idstr: "b", usedLength: 0x800000, address: 0x800000n },
    { idstr: "a", usedLength: 0x800000, address: 0n },
    { idstr: "pc.bios", usedLength: 0x10000 },
  ], "listed");
  const map = physicalMapFor("pc-q35-10.0", memory)!;
  assert.deepEqual(map.filter(({ idstr }) => idstr.length === 1).map(({ base, idstr }) => [base, idstr]), [
    [0, "a"],
    [0x100000, "a"],
    [0x800000, "b"],
  ]);
  const big = blocksOf([["pc.ram", 0xb0000000], ["pc.bios", 0x10000]]);
  assert.equal(physicalMapFor("", big)!.at(-1)!.idstr, "pc.bios");
  const mch = { idstr: "0000:00:00.0/mch", instanceId: 0, versionId: 1, sectionId: 7, body: new Uint8Array(270) };
  assert.deepEqual(physicalMapFor("", big, [mch])!.at(-1), {
    base: 2 ** 32,
    length: 0x30000000,
    idstr: "pc.ram",
    blockOffset: 0x80000000,
  });
});

/** A section of a PCI device: 32-bit words of its configuration by offset. */
function pciSection(idstr: string, words: Readonly<Record<number, number>>): DeviceSection {
  const body = new Uint8Array(4 + 256);
  const view = new DataView(body.buffer);
  view.setUint32(0, 2);
  for (const [at, word] of Object.entries(words)) view.setUint32(4 + Number(at), word, true);
  return { idstr, instanceId: 0, versionId: 2, sectionId: 9, body };
}

Deno.test("physicalMapFor() places RAM of PCI devices where their BARs have it, under RAM, and nowhere else", () => {
  const vram = "0000:00:02.0/vga.vram";
  const memory = blocksOf([["pc.ram", 0x400_0000], ["pc.bios", 0x40000], [vram, 0x100_0000]]);
  const [decodes, vga] = [2, 0x0300_0000];
  const at = (words: Readonly<Record<number, number>>) => {
    const map = physicalMapFor("pc-i440fx-10.0", memory, [pciSection("0000:00:02.0/vga", words)])!;
    return map.filter(({ idstr }) => idstr === vram).map((
      { base, length, blockOffset },
    ) => [base, length, blockOffset]);
  };
  assert.deepEqual(at({ 4: decodes, 8: vga, 0x10: 0xfd00_0008 }), [[0xfd00_0000, 0x100_0000, 0]]);
  assert.deepEqual(at({ 4: decodes, 8: vga, 0x10: 0x0000_000c, 0x14: 0x12 }), [[0x12_0000_0000, 0x100_0000, 0]]);
  assert.deepEqual(at({ 4: 1, 8: vga, 0x10: 0xfd00_0008 }), [], "memory is not decoded");
  assert.deepEqual(at({ 4: decodes, 8: vga, 0x10: 0xfd00_0009 }), [], "an I/O BAR");
  assert.deepEqual(at({ 4: decodes, 8: vga, 0x10: 0 }), [], "no address");
  assert.deepEqual(at({ 4: decodes, 8: vga, 0x10: 0xff00_0008 }), [], "being sized");
  assert.deepEqual(at({ 4: decodes, 8: vga, 0x10: 0xfd80_0008 }), [], "not a multiple of its length");
  assert.deepEqual(at({ 4: decodes, 8: vga, 0x0c: 0x01_0000, 0x10: 0xfd00_0008 }), [], "a bridge");
  // RAM wins
  assert.deepEqual(at({ 4: decodes, 8: vga, 0x10: 0x0300_0008 }), []);
});

Deno.test("physicalMapFor() leaves the window at 0xa0000 to a VGA, and not to other displays", () => {
  const memory = blocksOf([["pc.ram", 0x400_0000], ["pc.bios", 0x40000], ["0000:00:02.0/vga.vram", 0x100_0000]]);
  const hole = (words: Readonly<Record<number, number>>, ...more: DeviceSection[]) => {
    const devices = [pciSection("0000:00:02.0/vga", words), ...more];
    const map = physicalMapFor("pc-i440fx-10.0", memory, devices)!;
    return !map.some(({ base, length }) => base <= 0xa0000 && base + length > 0xa0000);
  };
  assert(hole({ 8: 0x0300_0000 }));
  assert(!hole({ 8: 0x0380_0000 }));
  assert(!hole({ 8: 0x0300_0000 }, pciSection("0000:00:00.0/I440FX", { 0x70: 0x42_0000 })));
});
