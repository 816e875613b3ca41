import assert from "node:assert/strict";
import fc from "fast-check";
import { lineWords } from "../../repl/line_words.ts";

Deno.test("blanks part words, quotes hold them together, a backslash keeps a character", () => {
  const words = (line: string) => lineWords(line).words;
  assert.deepEqual(words("  diff a.sav\tb.sav "), ["diff", "a.sav", "b.sav"]);
  assert.deepEqual(words(`why "vm one.sav" --error 'it said "no"'`), ["why", "vm one.sav", "--error", 'it said "no"']);
  assert.deepEqual(words(`--error="two words" a\\ b "\\"" ''`), ["--error=two words", "a b", '"', ""]);
  assert.deepEqual(words("'a\\b'"), ["a\\b"]);
  assert.deepEqual(words(""), []);
});

Deno.test("the last word is told as it was typed, and which quote is open", () => {
  assert.deepEqual(lineWords('inspect "vm o'), { words: ["inspect", "vm o"], last: '"vm o', open: '"' });
  assert.deepEqual(lineWords("inspect vm"), { words: ["inspect", "vm"], last: "vm" });
  assert.deepEqual(lineWords("inspect "), { words: ["inspect"], last: "" });
});

Deno.test("words put into quotes come back", () => {
  const word = fc.string();
  fc.assert(fc.property(fc.array(word, { minLength: 1 }), (words) => {
    const line = words.map((one) => `"${one.replace(/["\\]/g, "\\$&")}"`).join(" ");
    assert.deepEqual(lineWords(line).words, words);
  }));
});
