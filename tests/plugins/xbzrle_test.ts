import assert from "node:assert/strict";
import { applyDelta, xbzrle } from "../../plugins/xbzrle.ts";
import { RAM_SAVE_FLAG_XBZRLE } from "../../stream/constants.ts";

const MALFORMED = "Failed to load XBZRLE page - decode error!";

Deno.test("applyDelta() keeps, replaces and leaves the rest", () => {
  const page = Uint8Array.of(1, 2, 3, 4, 5, 6);
  assert.equal(applyDelta(page, Uint8Array.of(2, 1, 9, 1, 1, 8)), undefined);
  assert.deepEqual([...page], [1, 2, 9, 4, 8, 6]);
});

Deno.test("applyDelta() reads a real record with runs of two bytes", () => {
  const page = new Uint8Array(4096).fill(0xee);
  const delta = Uint8Array.fromHex("05016bfa01026b16fd1d016b");
  assert.equal(applyDelta(page, delta), undefined);
  const changed = [...page.entries()].filter(([, byte]) => byte !== 0xee);
  assert.deepEqual(changed, [[0x005, 0x6b], [0x100, 0x6b], [0x101, 0x16], [0xfff, 0x6b]]);
});

Deno.test("applyDelta() takes an empty delta and a first run of nothing", () => {
  const page = Uint8Array.of(1, 2);
  assert.equal(applyDelta(page, new Uint8Array()), undefined);
  assert.equal(applyDelta(page, Uint8Array.of(0, 2, 7, 8)), undefined);
  assert.deepEqual([...page], [7, 8]);
});

Deno.test("applyDelta() refuses what QEMU refuses", () => {
  const bad: Record<string, number[]> = {
    "a token alone": [1],
    "a zrun with nothing behind": [1, 1],
    "an nzrun without bytes": [1, 2, 9],
    "an nzrun of nothing": [1, 0, 1, 1, 9],
    "a later zrun of nothing": [0, 1, 9, 0, 1, 9],
    "a zrun past the page": [9, 1, 9],
    "an nzrun past the page": [7, 2, 9, 9],
    "a run of three bytes": [0x81, 0x81, 1, 1, 9],
    "a trailing zrun": [0, 1, 9, 2],
  };
  for (const [what, delta] of Object.entries(bad)) {
    assert.equal(applyDelta(new Uint8Array(8), Uint8Array.from(delta)), MALFORMED, what);
  }
});

Deno.test("the plugin owns flag 0x40", () => {
  assert.equal(xbzrle.tables?.ramFlags?.[RAM_SAVE_FLAG_XBZRLE].feature, "xbzrle");
});
