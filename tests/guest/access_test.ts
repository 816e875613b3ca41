import assert from "node:assert/strict";
import { physicalRangeAt, readPhysical, readVirtual, writePhysical } from "../../guest/access.ts";
import { createModelGuest } from "../../guest/model.ts";

Deno.test("readPhysical() shows the reset vector at both places a PC has it", () => {
  const guest = createModelGuest({ ramBytes: 64 << 20 });
  const vector = Uint8Array.fromHex("ea5be000f030362f32332f393900fc00");
  for (const address of [0xffff0, 0xfffffff0]) {
    const bytes = new Uint8Array(16);
    assert.equal(readPhysical(guest, address, bytes), 16);
    assert.deepEqual(bytes, vector);
  }
  const loop = new Uint8Array(4);
  assert.equal(readVirtual(guest, 0xfe05b, loop), 4);
  assert.equal(loop.toHex(), "faf4ebfd");
  guest.memory.release();
});

Deno.test("readPhysical() stops where there is no memory and says how much it got", () => {
  const guest = createModelGuest({ ramBytes: 64 << 20, content: { kind: "zero" } });
  const bytes = new Uint8Array(32).fill(0xee);
  assert.equal(readPhysical(guest, (64 << 20) - 16, bytes), 16);
  assert.deepEqual([...bytes.subarray(14, 18)], [0, 0, 0xee, 0xee]);
  // QEMU: Cannot access memory
  for (const address of [64 << 20, 0xfffbffff, 2 ** 32, 2 ** 40, 2 ** 52]) {
    assert.equal(readPhysical(guest, address, bytes), 0, address.toString(16));
    assert.equal(physicalRangeAt(guest, address), undefined);
  }
  assert.equal(readPhysical({ ...guest, physical: undefined }, 0, bytes), 0);
  guest.memory.release();
});

Deno.test("writePhysical() crosses from RAM into ROM and over the 4 GiB split", () => {
  const guest = createModelGuest({ ramBytes: 4 * 2 ** 30, content: { kind: "zero" } });
  const bytes = Uint8Array.from({ length: 0x60000 }, (_, i) => i % 251 + 1);
  assert.equal(writePhysical(guest, 0xb0000, bytes), bytes.length);
  const back = new Uint8Array(bytes.length);
  assert.equal(readPhysical(guest, 0xb0000, back), back.length);
  assert.deepEqual(back, bytes);
  // b0000 RAM | c0000 pc.rom | e0000 second half of pc.bios | 100000 RAM
  assert.equal(guest.memory.block("pc.rom")!.view(0, 1)![0], bytes[0x10000]);
  assert.equal(guest.memory.block("pc.bios")!.view(0x20000, 1)![0], bytes[0x30000]);
  assert.equal(guest.memory.block("pc.ram")!.view(0x100000, 1)![0], bytes[0x50000]);
  assert.equal(guest.memory.block("pc.ram")!.view(0xc0000, 0x40000)!.some(Boolean), false);

  assert.equal(writePhysical(guest, 0xbffffffe, bytes.subarray(0, 4)), 2);
  assert.equal(writePhysical(guest, 2 ** 32, Uint8Array.of(9)), 1);
  const ram = guest.memory.block("pc.ram")!;
  assert.deepEqual([...ram.view(0xc0000000, 1)!, ...ram.view(0xbffffffe, 2)!], [9, bytes[0], bytes[1]]);
  guest.memory.release();
});
