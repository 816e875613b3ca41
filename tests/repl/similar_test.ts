import assert from "node:assert/strict";
import { distance, nearest } from "../../repl/similar.ts";

Deno.test("distance() counts letters added, dropped, changed and swapped", () => {
  const pairs = [["run", "run"], ["rn", "run"], ["runn", "run"], ["ran", "run"], ["rnu", "run"], ["", "run"]];
  assert.deepEqual(pairs.map(([a, b]) => distance(a, b)), [0, 1, 1, 1, 1, 3]);
});

Deno.test("nearest() offers a word only when it is near", () => {
  const known = ["run", "inspect", "completions"];
  assert.equal(nearest("inspet", known), "inspect");
  assert.equal(nearest("completion", known), "completions");
  assert.equal(nearest("rnu", known), "run");
  assert.equal(nearest("migrate", known), undefined);
  assert.equal(nearest("x".repeat(1000), known), undefined);
});
