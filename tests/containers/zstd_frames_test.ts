import { Buffer } from "node:buffer";
import assert from "node:assert/strict";
import { zstdCompressSync } from "node:zlib";
import { ZstdFrames } from "../../containers/zstd_frames.ts";

/** Bytes of each frame, fed in pieces of `step`. */
function lengths(bytes: Uint8Array, step: number): { ends: number[]; data: number; inside: boolean } {
  const frames = new ZstdFrames();
  const ends: number[] = [];
  let data = 0;
  for (let at = 0; at < bytes.length;) {
    const taken = frames.take(bytes.subarray(at, at + step));
    at += taken.used;
    assert(taken.used > 0);
    if (taken.ended) ends.push(at);
    if (taken.data) data = at;
  }
  return { ends, data, inside: frames.inside };
}

const text = Buffer.alloc(300_000, "miglab ");
const skippable = Buffer.from("502a4d1803000000aabbcc", "hex");
/** "abc", three times, with a checksum, as the zstd program writes it. */
const checked = Buffer.from("28b52ffd045849000061626361626361626357465217", "hex");

Deno.test("ZstdFrames finds the end of every frame, whatever the pieces", () => {
  const frames = [zstdCompressSync(text), skippable, checked, zstdCompressSync(text), checked];
  const bytes = Buffer.concat(frames);
  let at = 0;
  const ends = frames.map((frame) => at += frame.length);
  for (const step of [1, 3, 1000, bytes.length]) {
    assert.deepEqual(lengths(bytes, step), { ends, data: bytes.length, inside: false });
  }
});

Deno.test("ZstdFrames knows a cut frame and bytes that are none", () => {
  const frame = zstdCompressSync(text);
  for (const cut of [3, 5, 20, frame.length - 1]) assert(lengths(frame.subarray(0, cut), 7).inside);
  const behind = lengths(Buffer.concat([frame, Buffer.from("hello world")]), 64);
  assert.deepEqual(behind, { ends: [frame.length], data: frame.length, inside: false });
});
