/**
 * Windows show what a file has, whoever else has it open, and nobody can take a page away while it is looked at.
 * @module
 */
import assert from "node:assert/strict";
import { fileSource } from "../../containers/file_source.ts";
import { FileWindows } from "../../threads/file_windows.ts";

const BYTES = 300_000;

function withFile(test: (path: string, content: Uint8Array) => void): void {
  const path = Deno.makeTempFileSync({ prefix: "miglab-windows-" });
  try {
    const content = new Uint8Array(BYTES).map((_, i) => i * 7 + (i >> 8));
    Deno.writeFileSync(path, content);
    test(path, content);
  } finally {
    Deno.removeSync(path);
  }
}

function seen(windows: FileWindows, position: number, length: number): Uint8Array {
  return windows.look(
    position,
    length,
    ({ buffer, byteOffset }, at, there) => new Uint8Array(buffer, byteOffset + at, there).slice(),
  );
}

Deno.test("a window shows the file from any position on, mapped or read", () =>
  withFile((path, content) => {
    for (const written of [false, true]) {
      using _writer = written ? Deno.openSync(path, { write: true }) : undefined;
      const source = fileSource(path);
      using windows = FileWindows.over(source.fd!);
      assert.ok(windows);
      for (const [from, to] of [[0, 10], [1, 70_001], [65_535, 65_537], [65_536, 200_000], [299_990, 400_000]]) {
        assert.deepEqual(seen(windows, from, to - from), content.subarray(from, Math.min(to, BYTES)));
      }
      assert.equal(seen(windows, BYTES, 8).length, 0);
      assert.equal(seen(windows, BYTES + 100_000, 8).length, 0);
      source.close();
    }
  }));

Deno.test("a file that was cut since is seen as it is now", () =>
  withFile((path, content) => {
    const source = fileSource(path);
    using windows = FileWindows.over(source.fd!);
    assert.ok(windows);
    assert.equal(seen(windows, 0, BYTES).length, BYTES);
    Deno.truncateSync(path, 100_000);
    assert.deepEqual(seen(windows, 90_000, 50_000), content.subarray(90_000, 100_000));
    source.close();
  }));

Deno.test("who would cut a file waits until the look is over, and this process lives on", async () => {
  const path = Deno.makeTempFileSync({ prefix: "miglab-windows-" });
  try {
    Deno.writeFileSync(path, new Uint8Array(BYTES).fill(7));
    const source = fileSource(path);
    using windows = FileWindows.over(source.fd!);
    assert.ok(windows);
    const cut = windows.look(0, BYTES, (view, at, length) => {
      const child = new Deno.Command("sh", { args: ["-c", `: > "$0"`, path] }).spawn();
      const until = Date.now() + 300;
      while (Date.now() < until) assert.equal(view.getUint8(at + length - 1), 7);
      return child;
    });
    assert.equal((await cut.status).code, 0);
    assert.equal(Deno.statSync(path).size, 0);
    assert.equal(seen(windows, 0, BYTES).length, 0);
    source.close();
  } finally {
    Deno.removeSync(path);
  }
});
