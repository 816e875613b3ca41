import assert from "node:assert/strict";
import { linesOf, MAX_LINE, ReadError, readLines } from "../../repl/lines.ts";
import { TempDir } from "./capture.ts";

const encode = (text: string) => new TextEncoder().encode(text);

async function all(lines: AsyncIterable<string>): Promise<string[]> {
  const list: string[] = [];
  for await (const line of lines) list.push(line);
  return list;
}

Deno.test("linesOf() is the same for pieces of any length", async () => {
  const text = "one\r\ntwo\n\n# drei ä€😀\nlast";
  const expected = ["one", "two", "", "# drei ä€😀", "last"];
  const bytes = encode(text);
  for (const size of [1, 2, 3, 5, 1000]) {
    const pieces = Array.from(
      { length: Math.ceil(bytes.length / size) },
      (_, i) => bytes.slice(i * size, (i + 1) * size),
    );
    assert.deepEqual(await all(linesOf(pieces)), expected, `pieces of ${size}`);
  }
});

Deno.test("linesOf() has no line behind the last line feed", async () => {
  assert.deepEqual(await all(linesOf([encode("a\nb\n")])), ["a", "b"]);
  assert.deepEqual(await all(linesOf([])), []);
});

Deno.test("linesOf() gives up on a line that does not end", async () => {
  const piece = new Uint8Array(1 << 20).fill(65);
  function* endless() {
    yield encode("first\n");
    for (let i = 0; i < 1000; i++) yield piece;
  }
  const lines = linesOf(endless());
  assert.equal((await lines.next()).value, "first");
  await assert.rejects(lines.next(), { message: `line 2 is longer than ${MAX_LINE >> 20} Mi characters` });
});

Deno.test("readLines() names the file it cannot read", async () => {
  using dir = new TempDir();
  const missing = dir.file("missing");
  await assert.rejects(all(readLines(missing)), new ReadError(`${missing}: No such file or directory`));
  await assert.rejects(all(readLines(dir.path)), new ReadError(`${dir.path}: Is a directory`));
  assert.deepEqual(await all(readLines(dir.file("script", "info status\n"))), ["info status"]);
});
