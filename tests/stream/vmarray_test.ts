import assert from "node:assert/strict";
import { groupFields } from "../../stream/vmarray.ts";
import type { FieldDescription } from "../../stream/vmdesc.ts";

/** Entries from a terse notation: "s" a struct, "n" a NULL; "s*3" array_len 3, "s@0" index 0; all named `a`. */
function entries(text: string): FieldDescription[] {
  return text.split(" ").map((word) => {
    const [, letter, arrayLen, index] = word.match(/^([a-z])(?:\*(\d+))?(?:@(\d+))?$/)!;
    return {
      name: letter === "o" ? "other" : "a",
      type: letter === "n" ? "nullptr" : "uint8",
      size: 1,
      arrayLen: arrayLen === undefined ? undefined : Number(arrayLen),
      index: index === undefined ? undefined : Number(index),
      struct: undefined,
      inline: [],
    };
  });
}

function counts(text: string): number[] {
  const groups = groupFields(entries(text));
  assert.equal(groups.length, 1);
  assert.equal(groups[0].isArray, true);
  return groups[0].runs.map((run) => run.count);
}

Deno.test("groupFields() leaves single values alone", () => {
  const groups = groupFields(entries("s o s"));
  assert.deepEqual(groups.map((group) => [group.name, group.isArray, group.runs.length]), [
    ["a", false, 1],
    ["other", false, 1],
    ["a", false, 1],
  ]);
});

Deno.test("groupFields() takes a compressed array as it says", () => {
  assert.deepEqual(counts("s*16"), [16]);
  assert.deepEqual(counts("n*3"), [3]);
  assert.deepEqual(counts("s*0"), [0]);
});

Deno.test("groupFields() counts the last element of an indexed array, which has no index", () => {
  assert.deepEqual(counts("s@0 s@1 s@2 s"), [1, 1, 1, 1]);
  assert.deepEqual(counts("s@0 s"), [1, 1]);
});

Deno.test("groupFields() adds up the runs of a pointer array that begins with NULL", () => {
  assert.deepEqual(counts("n*254 s n"), [254, 1, 1]);
  assert.deepEqual(counts("n s*2 n*5 s"), [1, 2, 5, 1]);
});

Deno.test("groupFields() takes back what the first run of a pointer array claims too much", () => {
  // 3 structs, 250 NULL, 1 struct, 2 NULL: the first entry says 256.
  assert.deepEqual(counts("s*256 n*250 s n*2"), [3, 250, 1, 2]);
  assert.deepEqual(counts("s*2 n"), [1, 1]);
});

Deno.test("groupFields() leaves a first run that cannot hold what follows", () => {
  assert.deepEqual(counts("s*2 n*5"), [2, 5]);
});

Deno.test("groupFields() takes each entry for one element where NULL runs overlap", () => {
  // A pointer array with an entry per element: NULL NULL NULL, then one struct.
  assert.deepEqual(counts("n*3 n*3 n*2 s"), [1, 1, 1, 1]);
  // struct, struct, NULL, NULL, struct, struct
  assert.deepEqual(counts("s@0 s@1 n*2 n*3 s@4 s"), [1, 1, 1, 1, 1, 1]);
  assert.deepEqual(counts("n*3 n*2 n"), [1, 1, 1]);
});

Deno.test("groupFields() works a description out once", () => {
  const fields = entries("s*2");
  assert.equal(groupFields(fields), groupFields(fields));
});
