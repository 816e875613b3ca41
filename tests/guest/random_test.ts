import assert from "node:assert/strict";
import { RamBlock, SEGMENT } from "../../guest/memory.ts";
import { fillRandom } from "../../guest/random.ts";
import { MemoryFaultError } from "../../stream/errors.ts";

/** splitmix64, word `index` of a stream, in plain arithmetic. */
function splitmix64(seed: bigint, index: bigint): bigint {
  const mask = (1n << 64n) - 1n;
  let z = (seed + (index + 1n) * 0x9e3779b97f4a7c15n) & mask;
  z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & mask;
  z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & mask;
  return z ^ (z >> 31n);
}

Deno.test("splitmix64 of this test is the published one", () => {
  // first outputs for seed 1234567, as in other implementations' test vectors
  assert.deepEqual([0n, 1n, 2n].map((i) => splitmix64(1234567n, i)), [
    6457827717110365317n,
    3203168211198807973n,
    9817491932198370423n,
  ]);
});

Deno.test("fillRandom() is splitmix64 by place, whatever the pieces", () => {
  const block = new RamBlock({ idstr: "m", usedLength: SEGMENT + 8192 });
  const seed = 0xfedcba9876543210n;
  fillRandom(block, SEGMENT - 4096, 8192, seed);
  const whole = new Uint8Array(8192);
  block.read(SEGMENT - 4096, whole);
  const words = new DataView(whole.buffer);
  for (const at of [0, 8, 4088, 4096, 8184]) {
    assert.equal(words.getBigUint64(at, true), splitmix64(seed, BigInt((SEGMENT - 4096 + at) / 8)), `at ${at}`);
  }
  block.zero(SEGMENT - 4096, 8192);
  for (let at = 8192 - 512; at >= 0; at -= 512) fillRandom(block, SEGMENT - 4096 + at, 512, seed);
  const pieces = new Uint8Array(8192);
  block.read(SEGMENT - 4096, pieces);
  assert.deepEqual(pieces, whole);
  fillRandom(block, SEGMENT - 4096, 8192, seed + 1n);
  block.read(SEGMENT - 4096, pieces);
  assert.notDeepEqual(pieces, whole);
  block.release();
});

Deno.test("fillRandom() writes its range and nothing else, and faults outside the block", () => {
  const block = new RamBlock({ idstr: "m", usedLength: 1 << 20 });
  fillRandom(block, 4096, 4096, 1n);
  assert.equal(block.view(0, 4096)!.some(Boolean), false);
  assert.equal(block.view(8192, 4096)!.some(Boolean), false);
  assert.ok(block.view(4096, 4096)!.filter(Boolean).length > 4000);
  assert.throws(() => fillRandom(block, (1 << 20) - 4096, 8192, 1n), MemoryFaultError);
  block.release();
});
