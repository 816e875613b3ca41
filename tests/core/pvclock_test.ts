/**
 * A page in which only KVM's clocks differ is told from one in which the guest's own bytes do.
 * @module
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { differsInClocks } from "../../core/pvclock.ts";

/** As two hosts wrote them for the firmware of one guest. */
const HERE = "040000000000000057bc00886d2600003a6f550000000000c44eecc4ff010000";
const THERE = "0a00000000000000e3f4a4296f26000094a1768300000000c44eecc4ff030000";

function page(...pieces: readonly (readonly [at: number, hex: string])[]): Buffer {
  const bytes = Buffer.alloc(4096, 7);
  for (const [at, hex] of pieces) bytes.set(Buffer.from(hex, "hex"), at);
  return bytes;
}

Deno.test("clocks of several CPUs may differ, and nothing else", () => {
  assert.equal(differsInClocks(page([0x380, HERE]), page([0x380, THERE])), true);
  assert.equal(differsInClocks(page([0x380, HERE], [0x3c0, HERE]), page([0x380, THERE], [0x3c0, THERE])), true);
  assert.equal(differsInClocks(page([0x380, HERE]), page([0x380, HERE])), false, "nothing differs");
  assert.equal(
    differsInClocks(page([0x380, HERE], [0x10, "01"]), page([0x380, THERE])),
    false,
    "a byte of the guest's",
  );
  assert.equal(differsInClocks(page([0x380, HERE]), page()), false, "a clock on one side only");
  const odd = "05" + THERE.slice(2);
  assert.equal(differsInClocks(page([0x380, HERE]), page([0x380, odd])), false, "the host was writing");
});
