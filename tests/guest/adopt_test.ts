import assert from "node:assert/strict";
import { GuestBuilder, matchBlocks } from "../../guest/adopt.ts";
import { globalStateBody } from "../../guest/global_state.ts";
import { createModelGuest } from "../../guest/model.ts";

const LIST = [
  { idstr: "pc.ram", usedLength: 0x800000 },
  { idstr: "/rom@etc/acpi/tables", usedLength: 0x20000 },
  { idstr: "pc.rom", usedLength: 0x20000 },
  { idstr: "pc.bios", usedLength: 0x10000 },
  { idstr: "/rom@etc/table-loader", usedLength: 0x1000 },
  { idstr: "/rom@etc/acpi/rsdp", usedLength: 0x1000 },
];
const device = (idstr: string, instanceId: number, sectionId: number, body: Uint8Array = Uint8Array.of(sectionId)) => {
  return { idstr, instanceId, versionId: 1, sectionId, body };
};

Deno.test("GuestBuilder keeps what a stream holds, in its order", () => {
  const builder = new GuestBuilder()
    .setConfiguration({ machine: "pc-i440fx-10.0" })
    .setGlobals({ sendSectionFooter: false });
  builder.setBlocks(LIST, 4096, 2).block("pc.ram")!.write(0x1000, Uint8Array.of(5));
  builder.startIterable({ idstr: "dirty-bitmap", instanceId: 0, versionId: 1, sectionId: 3 }, Uint8Array.of(1));
  assert.equal(builder.addPart(3, new Uint8Array(0)), true);
  assert.equal(builder.addPart(3, Uint8Array.of(2)), true);
  assert.equal(builder.endIterable(3, Uint8Array.of(4)), true);
  assert.equal(builder.addPart(9, Uint8Array.of(2)), false);
  assert.equal(builder.endIterable(9, Uint8Array.of(2)), false);
  builder.addDevice(device("timer", 0, 0)).addDevice(device("dma", 0, 11)).addDevice(device("dma", 1, 12));
  assert.equal(builder.savedRunState, undefined);
  builder.addDevice(device("globalstate", 0, 39, globalStateBody("paused")));
  builder.describe([
    { idstr: "dma", instanceId: 1, text: "dma one" },
    { idstr: "timer", instanceId: 0, text: "the timer" },
    { idstr: "nobody", instanceId: 0, text: "?" },
  ]);
  const guest = builder.finish();

  assert.equal(guest.kind, "adopted");
  assert.deepEqual(guest.memory.blocks.map(({ idstr, usedLength }) => ({ idstr, usedLength })), LIST);
  assert.equal(guest.memory.block("/rom@etc/acpi/tables")!.maxLength, 0x200000);
  assert.equal(guest.ramSectionId, 2);
  assert.equal(guest.globals.sendSectionFooter, false);
  assert.equal(guest.globals.storeGlobalState, true);
  assert.deepEqual(guest.devices.map((d) => [d.idstr, d.sectionId, d.description]), [
    ["timer", 0, "the timer"],
    ["dma", 11, undefined],
    ["dma", 12, "dma one"],
    ["globalstate", 39, undefined],
  ]);
  assert.deepEqual(guest.iterables, [{
    idstr: "dirty-bitmap",
    instanceId: 0,
    versionId: 1,
    sectionId: 3,
    start: Uint8Array.of(1),
    parts: [Uint8Array.of(2)],
    end: Uint8Array.of(4),
  }]);
  assert.equal(guest.savedRunState, "paused");
  assert.equal(guest.physical!.find(({ base }) => base === 0xf0000)!.idstr, "pc.bios");
  guest.memory.release();
});

Deno.test("GuestBuilder gives one text to each device of the same name and instance, in order", () => {
  const builder = new GuestBuilder().addDevice(device("x", 0, 1)).addDevice(device("x", 0, 2));
  builder.describe([{ idstr: "x", instanceId: 0, text: "a" }]).describe([{ idstr: "x", instanceId: 0, text: "b" }]);
  assert.deepEqual(builder.finish().devices.map((d) => d.description), ["a", "b"]);
});

Deno.test("GuestBuilder refuses absurd sizes before it allocates, and makes one block of one listed twice", () => {
  for (const usedLength of [2 ** 40 + 1, 2 ** 53, 2 ** 63, -4096, NaN]) {
    assert.throws(() => new GuestBuilder().setBlocks([{ idstr: "m", usedLength }], 4096, 1), RangeError);
  }
  const memory = new GuestBuilder().setBlocks([...LIST, LIST[0], { idstr: "pc.rom", usedLength: 1 }], 4096, 1);
  assert.deepEqual(memory.blocks.map(({ idstr, usedLength }) => ({ idstr, usedLength })), LIST);
});

Deno.test("GuestBuilder knows ROMs by their names, as QEMU shows them", () => {
  const list = [...LIST, { idstr: "0000:00:02.0/e1000.rom", usedLength: 0x40000 }, {
    idstr: "0000:00:01.0/vga.vram",
    usedLength: 0x1000000,
  }];
  const roms = (machine: string) =>
    new GuestBuilder().setConfiguration({ machine }).setBlocks(list, 4096, 1).blocks
      .filter(({ readonly }) => readonly).map(({ idstr }) => idstr).sort();
  const tables = ["/rom@etc/acpi/rsdp", "/rom@etc/acpi/tables", "/rom@etc/table-loader", "0000:00:02.0/e1000.rom"];
  assert.deepEqual(roms("pc-i440fx-10.0"), [...tables, "pc.bios", "pc.rom"]);
  assert.deepEqual(roms("microvm"), tables);
  assert.deepEqual(roms("isapc"), tables);
});

Deno.test("GuestBuilder without a ram section ends in a guest without memory", () => {
  const builder = new GuestBuilder();
  assert.throws(() => builder.memory, TypeError);
  const guest = builder.finish();
  assert.deepEqual([guest.memory.blocks.length, guest.physical, guest.configuration.machine], [0, undefined, ""]);
});

Deno.test("GuestBuilder takes over the memory of the guest it was told to expect", () => {
  const expect = createModelGuest({ ramBytes: 8 << 20 });
  const builder = new GuestBuilder({ expect });
  const list = LIST.map((block) => block.idstr.endsWith("tables") ? { ...block, usedLength: 0x21000 - 5 } : block);
  assert.equal(builder.setBlocks(list, 4096, 1), expect.memory);
  assert.equal(expect.memory.block("/rom@etc/acpi/tables")!.usedLength, 0x21000);
  assert.equal(expect.memory.block("pc.bios")!.usedLength, 0x40000);
  assert.equal(builder.finish().memory, expect.memory);
  expect.memory.release();
});

Deno.test("matchBlocks() speaks as QEMU does", () => {
  const expect = createModelGuest({ ramBytes: 8 << 20 });
  const sentence = (idstr: string, usedLength: number, mappedRam = false) =>
    matchBlocks(expect, [{ idstr: "pc.rom", usedLength: 0x20000 }, { idstr, usedLength }], { mappedRam });
  const cases: [idstr: string, usedLength: number, sentence: string | undefined][] = [
    ["pc.ram", 0x800000, undefined],
    ["pc.ram", 0x7ff001, undefined], // rounded up to the host's page
    ["pc.ram", 0x900000, "Size mismatch: pc.ram: 0x900000 != 0x800000: Invalid argument"],
    ["pc.ram", 0x7fe001, "Size mismatch: pc.ram: 0x7ff000 != 0x800000: Invalid argument"],
    ["/rom@etc/acpi/tables", 0x200000, undefined],
    ["/rom@etc/acpi/tables", 0x1000, undefined],
    ["/rom@etc/acpi/tables", 0x200001, "Size too large: /rom@etc/acpi/tables: 0x201000 > 0x200000: Invalid argument"],
    ["/rom@etc/acpi/rsdp", 0x2000, "Size too large: /rom@etc/acpi/rsdp: 0x2000 > 0x1000: Invalid argument"],
    ["", 0, 'Unknown ramblock "", cannot accept migration'],
    ["vga.vram", 4096, 'Unknown ramblock "vga.vram", cannot accept migration'],
  ];
  for (const [idstr, usedLength, answer] of cases) assert.equal(sentence(idstr, usedLength), answer);
  assert.equal(matchBlocks(expect, []), undefined);
  assert.equal(sentence("pc.rom", 0x20000), undefined);
  assert.equal(sentence("pc.ram", 0x900000, true), undefined);
  assert.equal(sentence("no.ram", 0x900000, true), 'Unknown ramblock "no.ram", cannot accept migration');
  expect.memory.release();
});
