import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import fc from "fast-check";
import { HashAtOnce, HashBehind, type Hasher } from "../../threads/hash_behind.ts";

const SIZE = 1024;

Deno.test("a hasher takes contents of data and zeros, one after the other", async () => {
  const piece = fc.record({ length: fc.integer({ min: 1, max: SIZE }), zero: fc.boolean(), seed: fc.nat(255) });
  const contents = fc.array(fc.array(piece, { maxLength: 12 }), { minLength: 1, maxLength: 4 });
  using behind = new HashBehind(SIZE);
  for (const hasher of [behind, new HashAtOnce(SIZE)] as Hasher[]) {
    await fc.assert(
      fc.asyncProperty(contents, async (contents) => {
        for (const pieces of contents) {
          const truth = createHash("sha256");
          for (const { length, zero, seed } of pieces) {
            const bytes = new Uint8Array(length).fill(zero ? 0 : seed);
            truth.update(bytes);
            await hasher.wait();
            assert(hasher.ready);
            if (zero) assert.equal(hasher.zeros(length), length);
            else {
              hasher.buffer.set(bytes);
              hasher.put(length);
            }
          }
          assert.equal(await hasher.digest(), truth.digest("hex"));
        }
      }),
      { numRuns: 30 },
    );
  }
});

Deno.test("a hasher takes part of more zeros than it can, and says how many", async () => {
  const length = 20 << 20;
  using behind = new HashBehind(SIZE);
  for (const hasher of [behind, new HashAtOnce(SIZE)] as Hasher[]) {
    for (let left = length; left > 0;) {
      await hasher.wait();
      const taken = hasher.zeros(left);
      assert(taken > 0 && taken <= left);
      left -= taken;
    }
    assert.equal(await hasher.digest(), createHash("sha256").update(new Uint8Array(length)).digest("hex"));
  }
});
