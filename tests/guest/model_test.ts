import assert from "node:assert/strict";
import { createModelGuest, MODEL_MACHINE } from "../../guest/model.ts";
import { isZero } from "../../guest/zero.ts";

const MIB = 1 << 20;

Deno.test("createModelGuest() has the blocks of a real machine, in its order", () => {
  const guest = createModelGuest({ ramBytes: 64 * MIB });
  // qemu-system-x86_64 -nodefaults -machine pc -m 64: `info ramblock`
  assert.deepEqual(
    guest.memory.blocks.map((b) => [b.idstr, b.ramAddr, b.usedLength, b.maxLength, b.readonly ? "ro" : "rw"]),
    [
      ["pc.ram", 0x0000000, 0x4000000, 0x4000000, "rw"],
      ["/rom@etc/acpi/tables", 0x4080000, 0x20000, 0x200000, "ro"],
      ["pc.bios", 0x4000000, 0x40000, 0x40000, "ro"],
      ["pc.rom", 0x4040000, 0x20000, 0x20000, "ro"],
      ["/rom@etc/table-loader", 0x4280000, 0x1000, 0x10000, "ro"],
      ["/rom@etc/acpi/rsdp", 0x42c0000, 0x1000, 0x1000, "ro"],
    ],
  );
  assert.equal(guest.memory.totalBytes, 67641344);
  assert.equal(guest.kind, "model");
  assert.equal(guest.configuration.machine, MODEL_MACHINE);
  assert.equal(guest.ramSectionId, 1);
  guest.memory.release();
});

Deno.test("createModelGuest() keeps low memory zero and puts a pattern into the second MiB", () => {
  const guest = createModelGuest({ ramBytes: 8 * MIB });
  const ram = guest.memory.block("pc.ram")!;
  const low = new Uint8Array(MIB);
  ram.read(0, low);
  assert.ok(isZero(low));
  assert.deepEqual([...ram.view(MIB, 16)!], [..."MIGLABpg"].map((c) => c.charCodeAt(0)).concat(0, 1, 0, 0, 0, 0, 0, 0));
  assert.equal(ram.isUntouched(2 * MIB), true);
  guest.memory.release();

  const smallest = createModelGuest({ ramBytes: MIB });
  assert.deepEqual(smallest.memory.block("pc.ram")!.segments, [null]);
  smallest.memory.release();
});

Deno.test("createModelGuest() rounds RAM up as QEMU does and refuses what is out of range", () => {
  const guest = createModelGuest({ ramBytes: MIB + 4096 });
  assert.equal(guest.memory.block("pc.ram")!.usedLength, MIB + 8192);
  guest.memory.release();
  for (const ramBytes of [0, MIB - 1, 64 * 2 ** 30 + 1, NaN, Infinity]) {
    assert.throws(() => createModelGuest({ ramBytes }), /expected between 1 MiB and 64 GiB$/);
  }
});

Deno.test("createModelGuest() puts the RAM size where firmware looks for it", () => {
  // CMOS 15 16 17 18, 30 31, 34 35, 5b 5c 5d and the host bridge's byte, as real machines of these sizes have them
  const machines: [mib: number, cmos: string, bridge: number][] = [
    [64, "800200fc" + "00fc" + "0003" + "000000", 0x08],
    [256, "8002ffff" + "ffff" + "000f" + "000000", 0x20],
    [5120, "8002ffff" + "ffff" + "00bf" + "008000", 0xff],
  ];
  for (const [mib, cmos, bridge] of machines) {
    const guest = createModelGuest({ ramBytes: mib * MIB, content: { kind: "zero" } });
    const rtc = guest.devices.find(({ idstr }) => idstr === "mc146818rtc")!.body;
    const bytes = [0x15, 0x16, 0x17, 0x18, 0x30, 0x31, 0x34, 0x35, 0x5b, 0x5c, 0x5d].map((i) => rtc[i]);
    assert.equal(Uint8Array.from(bytes).toHex(), cmos, `${mib} MiB`);
    assert.equal(guest.devices.find(({ idstr }) => idstr === "0000:00:00.0/I440FX")!.body[0x5b], bridge);
    guest.memory.release();
  }
});

Deno.test("createModelGuest() lays contents one over the other, files by guest-physical address", () => {
  const file = Uint8Array.of(1, 2, 3, 4);
  const asked: string[] = [];
  const guest = createModelGuest({
    ramBytes: 8 * MIB,
    content: [
      { kind: "pattern", bytes: 8192 },
      { kind: "file", path: "a.img", address: 4096 },
      { kind: "file", path: "b.rom", address: 0xfffe },
      { kind: "file", path: "c.rom", address: 0xc0000 },
    ],
    readFile: (path) => (asked.push(path), file),
  });
  assert.deepEqual(asked, ["a.img", "b.rom", "c.rom"]);
  const ram = guest.memory.block("pc.ram")!;
  assert.deepEqual([...ram.view(4096, 9)!], [1, 2, 3, 4, 0x41, 0x42, 0x70, 0x67, 1]);
  assert.deepEqual([...guest.memory.block("pc.rom")!.view(0, 4)!], [...file]);
  guest.memory.release();

  const content = { kind: "file", path: "a.img", address: 8 * MIB - 2 } as const;
  assert.throws(
    () => createModelGuest({ ramBytes: 8 * MIB, content, readFile: () => file }),
    /^RangeError: Cannot lay "a.img" at 0x7ffffe: the guest has no memory at 0x800000$/,
  );
  assert.throws(() => createModelGuest({ ramBytes: 8 * MIB, content }), /no way to read files was given/);
});

Deno.test("createModelGuest() gives each guest devices and globals of its own", () => {
  const [a, b] = [1, 2].map(() => createModelGuest({ ramBytes: MIB }));
  a.devices[0].body[0] ^= 0xff;
  a.globals.suppressVmdesc = true;
  assert.notEqual(a.devices[0].body[0], b.devices[0].body[0]);
  assert.equal(b.globals.suppressVmdesc, false);
  assert.equal(a.devices, a.devices);
  a.memory.release();
  b.memory.release();
});

Deno.test("createModelGuest() of 64 GiB costs as little as one of 64 MiB", () => {
  const before = Deno.memoryUsage().rss;
  const guest = createModelGuest({ ramBytes: 64 * 2 ** 30 });
  assert.ok(Deno.memoryUsage().rss - before < 100e6);
  assert.equal(guest.physical!.at(-1)!.length, 61 * 2 ** 30);
  guest.memory.release();
});

Deno.test("the firmware tables have their signatures and sums", () => {
  const guest = createModelGuest({ ramBytes: MIB });
  const rsdp = guest.memory.block("/rom@etc/acpi/rsdp")!.view(0, 20)!;
  assert.equal(String.fromCharCode(...rsdp.subarray(0, 8)), "RSD PTR ");
  assert.equal(rsdp.reduce((sum, byte) => sum + byte, 0) & 0xff, 0);
  assert.equal(String.fromCharCode(...guest.memory.block("/rom@etc/acpi/tables")!.view(0, 4)!), "FACS");
  guest.memory.release();
});
