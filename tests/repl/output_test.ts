import assert from "node:assert/strict";
import { styleFor } from "../../repl/colour.ts";
import { describeError, oneLine } from "../../repl/output.ts";

Deno.test("oneLine() joins lines and trims", () => {
  assert.equal(oneLine("first\r\n  second\n\nthird \n"), "first second third");
  assert.equal(oneLine("a\x1b[31mred\x00\x9b\ttab é"), "a\\x1b[31mred\\x00\\x9b\ttab é");
});

Deno.test("describeError() is one line, and tells stack and cause only when asked", () => {
  const error = new Error("outer\nmore", { cause: new Error("inner") });
  assert.equal(describeError(error, false), "outer more");
  assert.match(describeError(error, true), /outer[^]*output_test\.ts[^]*caused by: Error: inner/);
  assert.equal(describeError("text", false), "text");
});

Deno.test("colours follow --color, then NO_COLOR, then the terminal", () => {
  const coloured = (...[mode, terminal, noColour]: Parameters<typeof styleFor>) =>
    styleFor(mode, terminal, noColour).red("x") !== "x";
  assert.equal(coloured("auto", true, false), true);
  assert.equal(coloured("auto", false, false), false);
  assert.equal(coloured("auto", true, true), false);
  assert.equal(coloured("always", false, true), true);
  assert.equal(coloured("never", true, false), false);
});
