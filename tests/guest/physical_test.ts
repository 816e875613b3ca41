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

/** A bridge: its windows in their registers, the command, and its control. */
const bridge = (idstr: string, memory: number, prefetchable: number, command = 2, control = 0, upper = 0) =>
  pciSection(idstr, {
    0x04: command,
    0x0c: 0x01_0000,
    0x20: memory,
    0x24: prefetchable,
    0x28: upper,
    0x2c: upper,
    0x3c: control << 16,
  });
/** No window: the limit is below the base. */
const SHUT = 0x0000_fff0;

Deno.test("physicalMapFor() shows of what is behind bridges as much as each of them lets through", () => {
  const vram = "0000:00:01.0:02.0/vga.vram";
  const memory = blocksOf([["pc.ram", 0x400_0000], ["pc.bios", 0x40000], [vram, 0x100_0000]]);
  const at = (low: number, high: number, ...bridges: DeviceSection[]) => {
    const vga = pciSection("0000:00:01.0:02.0/vga", { 4: 2, 8: 0x0380_0000, 0x10: low, 0x14: high });
    const map = physicalMapFor("pc-q35-10.0", memory, [vga, ...bridges])!;
    return map.filter(({ idstr }) => idstr === vram).map((
      { base, length, blockOffset },
    ) => [base, length, blockOffset]);
  };
  const of = (...values: [memory: number, prefetchable: number, command?: number, control?: number, upper?: number]) =>
    bridge("0000:00:01.0/pci_bridge", ...values);
  const whole = [[0xfd00_0000, 0x100_0000, 0]];
  assert.deepEqual(at(0xfd00_0008, 0, of(0xfe00_fd00, SHUT)), whole, "by the window for memory");
  assert.deepEqual(at(0xfd00_0008, 0, of(SHUT, 0xfdf0_fd00)), whole, "by the prefetchable one");
  assert.deepEqual(
    at(0xfd00_000c, 0x12, of(SHUT, 0xfdf1_fd01, 2, 0, 0x12)),
    [[0x12_fd00_0000, 0x100_0000, 0]],
    "64 bits",
  );
  assert.deepEqual(at(0xfd00_0008, 0, of(0xfd30_fd20, SHUT)), [[0xfd20_0000, 0x20_0000, 0x20_0000]], "a part");
  assert.deepEqual(at(0xfd00_0008, 0, of(SHUT, SHUT)), [], "both shut");
  assert.deepEqual(at(0xfd00_0008, 0, of(0xfe00_fd00, SHUT, 1)), [], "the bridge decodes no memory");
  assert.deepEqual(at(0xfd00_0008, 0), [], "a bridge nobody knows");
  const deep = "0000:00:01.0:00.0:02.0/bochs-display-vram";
  const blocks = blocksOf([["pc.ram", 0x400_0000], ["pc.bios", 0x40000], [deep, 0x100_0000]]);
  const display = pciSection("0000:00:01.0:00.0:02.0/bochs-display", { 4: 2, 8: 0x0380_0000, 0x10: 0xfd00_0008 });
  const nested = (inner: number) => [
    bridge("0000:00:01.0/pcie-root-port", 0xfd70_fd00, SHUT),
    bridge("0000:00:01.0:00.0/xio3130", inner, SHUT),
    display,
  ];
  const shown = (inner: number) =>
    physicalMapFor("pc-q35-10.0", blocks, nested(inner))!.filter(({ idstr }) => idstr === deep)
      .map(({ base, length }) => [base, length]);
  assert.deepEqual(shown(0xfdf0_fd40), [[0xfd40_0000, 0x40_0000]], "what both let through");
  assert.deepEqual(shown(0xfdf0_fd80), []);
});

Deno.test("physicalMapFor() knows that an expander has no window of its own", () => {
  const vram = "0000:80:03.0:00.0:01.0/vga.vram";
  const memory = blocksOf([["pc.ram", 0x400_0000], ["pc.bios", 0x40000], [vram, 0x100_0000]]);
  const map = physicalMapFor("pc-i440fx-10.0", memory, [
    bridge("0000:80:03.0:00.0/pci_bridge", SHUT, 0xfdf1_fd01),
    pciSection("0000:80:03.0:00.0:01.0/vga", { 4: 2, 8: 0x0380_0000, 0x10: 0xfd00_0008 }),
  ])!;
  assert.deepEqual(map.find(({ idstr }) => idstr === vram)?.base, 0xfd00_0000);
});

Deno.test("physicalMapFor() leaves the window at 0xa0000 to a VGA behind a bridge only when that lets it through", () => {
  const path = "0000:00:02.0:03.0";
  const memory = blocksOf([["pc.ram", 0x400_0000], ["pc.bios", 0x40000], [`${path}/vga.vram`, 0x100_0000]]);
  const hole = (command: number, control: number) => {
    const map = physicalMapFor("pc-i440fx-10.0", memory, [
      pciSection(`${path}/vga`, { 4: 2, 8: 0x0300_0000 }),
      bridge("0000:00:02.0/pci_bridge", SHUT, SHUT, command, control),
    ])!;
    return !map.some(({ base, length }) => base <= 0xa0000 && base + length > 0xa0000);
  };
  assert(hole(2, 8));
  assert(!hole(2, 0));
  assert(!hole(0, 8));
});

Deno.test("physicalMapFor() places the memory of a qxl and of an ivshmem", () => {
  const qxl = "0000:00:01.0";
  const memory = blocksOf([
    ["pc.ram", 0x400_0000],
    ["pc.bios", 0x40000],
    [`${qxl}/qxl.vgavram`, 0x400_0000],
    [`${qxl}/qxl.vram`, 0x400_0000],
    [`${qxl}/qxl.vrom`, 0x2000],
    ["0000:00:02.0/shm", 0x10_0000],
  ]);
  const shown = (words: Readonly<Record<number, number>>) => {
    const sections = [
      pciSection(`${qxl}/qxl`, { 4: 2, 8: 0x0380_0000, 0x10: 0xf000_0000, 0x18: 0xf500_0000, ...words }),
      pciSection("0000:00:02.0/ivshmem-plain", { 4: 2, 8: 0x0500_0000, 0x18: 0xfe00_000c }),
    ];
    const map = physicalMapFor("pc-q35-10.0", memory, sections)!;
    return map.filter(({ idstr }) => idstr.startsWith("0000:")).map(({ base, idstr }) => [base, idstr.slice(13)]);
  };
  const others = { first: [0xf000_0000, "qxl.vgavram"], rom: [0xf500_0000, "qxl.vrom"], shm: [0xfe00_0000, "shm"] };
  assert.deepEqual(shown({ 0x14: 0xf800_0000 }), [others.first, others.rom, [0xf800_0000, "qxl.vram"], others.shm]);
  // the beginning that BAR 1 shows is of a length no stream tells; all of it is at BAR 4
  const wide = shown({ 0x14: 0xf400_0000, 0x20: 0xf800_000c });
  assert.deepEqual(wide, [others.first, others.rom, [0xf800_0000, "qxl.vram"], others.shm]);
});
