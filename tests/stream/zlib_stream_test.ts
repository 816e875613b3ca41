import assert from "node:assert/strict";
import { deflateSync, zstdCompressSync } from "node:zlib";
import { ZlibStream } from "../../stream/zlib_stream.ts";

const ways = [
  ["zlib", () => ZlibStream.deflate(1), () => ZlibStream.inflate(), deflateSync],
  ["zstd", () => ZlibStream.zstd(1), () => ZlibStream.unzstd(), zstdCompressSync],
] as const;

/** Half of it random, half of it text, and the same again: later packets refer to earlier ones. */
function pages(seed: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(8 * 4096);
  for (let i = 0; i < bytes.length; i++) bytes[i] = i & 4096 ? (i * 2654435761 + seed) >>> 24 : 0x61 + i % 20;
  return bytes;
}

for (const [name, pack, unpack, once] of ways) {
  Deno.test(`${name}: each packet can be unpacked when it is there, and only behind those before it`, () => {
    const packer = pack(), unpacker = unpack();
    const packed = new Uint8Array(1 << 20), plain = new Uint8Array(1 << 16);
    const sizes: number[] = [];
    const packets: Uint8Array[] = [];
    for (let i = 0; i < 5; i++) {
      const input = pages(i % 2);
      const { used, made, error } = packer.step(input, packed);
      assert.deepEqual([used, error], [input.length, undefined]);
      packets.push(packed.slice(0, made));
      sizes.push(made);
      const back = unpacker.step(packets[i], plain);
      assert.deepEqual([back.used, back.made, back.error], [made, input.length, undefined]);
      assert.deepEqual(plain.subarray(0, input.length), input);
    }
    const late = unpack();
    assert(late.step(packets[4], plain).error, "a packet in the middle does not stand alone");
    for (const stream of [packer, unpacker, late]) stream.close();
  });

  Deno.test(`${name}: output that does not fit is left for later, and room is never overrun`, () => {
    const input = pages(1);
    const packed = once(input);
    const stream = unpack();
    const small = new Uint8Array(5000).fill(7);
    const { used, made, error } = stream.step(packed, small.subarray(0, 4096));
    assert.equal(error, undefined);
    assert.equal(made, 4096);
    assert(used <= packed.length);
    assert.deepEqual(small.subarray(0, 4096), input.subarray(0, 4096));
    assert(small.subarray(4096).every((byte) => byte === 7));
    stream.close();
    const packer = pack();
    const tight = packer.step(crypto.getRandomValues(new Uint8Array(4096)), new Uint8Array(100));
    assert.equal(tight.made, 100);
    packer.close();
  });

  Deno.test(`${name}: damage is a value, wherever it is`, () => {
    const input = pages(2);
    const packer = pack();
    const room = new Uint8Array(1 << 20);
    const packed = room.slice(0, packer.step(input, room).made);
    packer.close();
    let faults = 0;
    for (let at = 0; at < packed.length; at += 97) {
      const wrong = packed.slice();
      wrong[at] ^= 0xff;
      const stream = unpack();
      const { made, error } = stream.step(wrong, new Uint8Array(1 << 16));
      if (error || made !== input.length) faults++;
      if (error) assert.match(error.message, /\w/);
      stream.close();
    }
    assert(faults > 0);
    const stream = unpack();
    assert(stream.step(crypto.getRandomValues(new Uint8Array(100)).fill(0xff, 0, 4), room).error);
    stream.close();
  });
}
