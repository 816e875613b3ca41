import assert from "node:assert/strict";
import { DeltaList, PageIndex } from "../../containers/page_index.ts";

Deno.test("PageIndex keeps the last copy of a page and counts by it", () => {
  const deltas = new DeltaList();
  const index = new PageIndex(10_000, deltas);
  index.place(5, 1000);
  index.place(5, 2000);
  index.zero(6);
  index.place(7, 3000);
  index.zero(7);
  index.delta(5000, 4000);
  assert.deepEqual([index.code(5), index.code(6), index.code(7), index.code(9999)], [2000, 0, 0, 0]);
  assert.deepEqual([index.normalPages, index.sentPages], [2, 4]);
  assert.deepEqual([index.isSent(6), index.isSent(8)], [true, false]);
  const code = index.code(5000);
  assert.deepEqual([deltas.position(code), deltas.previous(code), deltas.count], [4000, 0, 1]);
});

Deno.test("deltas form a chain down to the whole page", () => {
  const deltas = new DeltaList();
  const index = new PageIndex(8, deltas);
  index.place(3, 77);
  for (let i = 1; i <= 1000; i++) index.delta(3, 100 * i);
  let code = index.code(3), seen = 0;
  for (; code < 0; code = deltas.previous(code)) assert.equal(deltas.position(code), 100 * (1000 - seen++));
  assert.deepEqual([code, seen, index.normalPages], [77, 1000, 1]);
  index.place(3, 88);
  assert.deepEqual([index.code(3), index.normalPages], [88, 1]);
});

Deno.test("discarded pages are as if never sent", () => {
  for (const count of [6000, 2 ** 40]) {
    const index = new PageIndex(20_000, new DeltaList());
    for (let page = 0; page < 12_000; page++) page % 3 ? index.place(page, page + 1) : index.zero(page);
    index.discard(4000, count);
    const end = Math.min(12_000, 4000 + count);
    assert.equal(index.sentPages, 12_000 - (end - 4000));
    assert.deepEqual([index.isSent(3999), index.isSent(4000), index.code(4001)], [true, false, 0]);
    assert.equal(index.isSent(end), end < 12_000);
  }
});

Deno.test("run() crosses chunks and stops at the block's end", () => {
  const index = new PageIndex(10_000, new DeltaList());
  for (let page = 4090; page < 8200; page++) index.place(page, page);
  assert.deepEqual([index.run(0), index.run(4090), index.run(8199), index.run(8200)], [-4090, 4110, 1, -1800]);
});

Deno.test("run() of a block of absurd length costs no more than what was sent", () => {
  const index = new PageIndex(2 ** 50, new DeltaList());
  index.place(2 ** 40, 77);
  index.zero(5);
  const begin = performance.now();
  assert.deepEqual([index.run(0), index.run(2 ** 40), index.run(2 ** 40 + 1)], [-(2 ** 40), 1, 2 ** 40 + 1 - 2 ** 50]);
  assert(performance.now() - begin < 20_000);
});
