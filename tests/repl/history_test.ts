import assert from "node:assert/strict";
import { History, HISTORY_LINES, historyPath } from "../../repl/history.ts";
import { TempDir } from "./capture.ts";

function env(values: Record<string, string>): (name: string) => string | undefined {
  return (name) => values[name];
}

Deno.test("historyPath() asks MIGLAB_HISTORY, then XDG_STATE_HOME, then HOME", () => {
  const all = { MIGLAB_HISTORY: "/h", XDG_STATE_HOME: "/state", HOME: "/home/me" };
  assert.equal(historyPath(env(all)), "/h");
  assert.equal(historyPath(env({ ...all, MIGLAB_HISTORY: "" })), "/state/miglab/history");
  assert.equal(historyPath(env({ HOME: "/home/me" })), "/home/me/.local/state/miglab/history");
  assert.equal(historyPath(env({})), undefined);
});

Deno.test("a history is made with its directory, for its owner only", () => {
  using dir = new TempDir();
  const history = new History(dir.file("a/b/history"));
  assert.deepEqual(history.read(), []);
  history.add("info status");
  assert.deepEqual(history.read(), ["info status"]);
  assert.equal(Deno.statSync(history.path!).mode! & 0o777, 0o600);
  assert.deepEqual([...Deno.readDirSync(dir.file("a/b"))].map(({ name }) => name), ["history"]);
});

Deno.test("a line that comes again moves to the end", () => {
  using dir = new TempDir();
  const history = new History(dir.file("history"));
  for (const line of ["a", "b", "a ", "", "  "]) history.add(line);
  assert.deepEqual(history.read(), ["b", "a"]);
});

Deno.test("two consoles lose none of each other's lines", () => {
  using dir = new TempDir();
  const [one, other] = [new History(dir.file("history")), new History(dir.file("history"))];
  one.read();
  other.add("theirs");
  one.add("mine");
  assert.deepEqual(other.read(), ["theirs", "mine"]);
});

Deno.test("the oldest lines go", () => {
  using dir = new TempDir();
  const lines = Array.from({ length: HISTORY_LINES + 5 }, (_, i) => `line ${i}`);
  const history = new History(dir.file("history", lines.join("\n") + "\n"));
  history.add("last");
  const kept = history.read();
  assert.equal(kept.length, HISTORY_LINES);
  assert.equal(kept[0], "line 6");
  assert.equal(kept.at(-1), "last");
});

Deno.test("a place that cannot be written to, or none, is no error", () => {
  using dir = new TempDir();
  const file = dir.file("plain", "text\n");
  for (const path of [`${file}/history`, dir.path, undefined]) {
    const history = new History(path);
    history.add("info status");
    assert.deepEqual(history.read(), []);
  }
});
