import assert from "node:assert/strict";
import fs from "node:fs";
import { errnoName, errnoText, strerror } from "../../core/errno.ts";

/** The error of a call that must fail. */
function failure(call: () => unknown): unknown {
  try {
    call();
  } catch (error) {
    return error;
  }
  assert.fail("it did not fail");
}

Deno.test("errnoText() finds the C library's words in errors of Deno and of Node", async () => {
  const path = await Deno.makeTempFile({ prefix: "miglab-" });
  const readOnly = fs.openSync(path, "r");
  const full = fs.openSync("/dev/full", "w");
  const cases: [string, string, () => unknown][] = [
    ["ENOENT", "No such file or directory", () => Deno.openSync("/none/such")],
    ["ENOENT", "No such file or directory", () => fs.openSync("/none/such", "r")],
    ["EISDIR", "Is a directory", () => fs.openSync("/tmp", "w")],
    ["ENOTDIR", "Not a directory", () => fs.openSync(`${path}/x`, "r")],
    ["ENAMETOOLONG", "File name too long", () => fs.openSync("x".repeat(300), "r")],
    ["EINVAL", "Invalid argument", () => fs.openSync("a\0b", "r")],
    ["EBADF", "Bad file descriptor", () => fs.writeSync(readOnly, new Uint8Array(1))],
    ["EBADF", "Bad file descriptor", () => fs.readSync(9999, new Uint8Array(1))],
    ["ENOSPC", "No space left on device", () => fs.writeSync(full, new Uint8Array(1))],
    ["EADDRNOTAVAIL", "Cannot assign requested address", () => Deno.listen({ hostname: "192.0.2.1", port: 4444 })],
  ];
  for (const [name, text, call] of cases) {
    const error = failure(call);
    assert.equal(errnoName(error), name, String(error));
    assert.equal(errnoText(error), text);
    assert.equal(strerror(name), text);
  }
  fs.closeSync(readOnly);
  fs.closeSync(full);
  await Deno.remove(path);
});

Deno.test("errnoText() reads the number in a message that has nothing else", () => {
  assert.equal(errnoName(new Error("File too large (os error 27)")), "EFBIG");
  assert.equal(errnoText(new Error("Strange thing (os error 9999)")), "Strange thing");
  assert.equal(errnoText(new Error("one\ntwo")), "one");
  assert.equal(errnoText("text"), "text");
});
