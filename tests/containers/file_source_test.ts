import assert from "node:assert/strict";
import { fileSource } from "../../containers/file_source.ts";
import { TransportError } from "../../stream/errors.ts";

const bytes = Uint8Array.from({ length: 5000 }, (_, i) => i * 7);

function temporary(): { path: string } & Disposable {
  const path = Deno.makeTempFileSync();
  Deno.writeFileSync(path, bytes);
  return { path, [Symbol.dispose]: () => Deno.removeSync(path) };
}

Deno.test("a file is read in order and at any position", () => {
  using file = temporary();
  const source = fileSource(file.path, { start: 100 });
  const view = new Uint8Array(1000);
  assert.equal(source.size!(), 5000);
  assert.equal(source.read(view), 1000);
  assert.deepEqual(view, bytes.subarray(100, 1100));
  assert.equal(source.readAt!(view, 4500), 500);
  assert.deepEqual(view.subarray(0, 500), bytes.subarray(4500));
  assert.equal(source.readAt!(view, 6000), 0);
  assert.equal(source.read(view), 1000);
  assert.deepEqual(view, bytes.subarray(1100, 2100));
  source.close();
  source.close();
  assert.throws(() => source.readAt!(view, 0), TransportError);
});

Deno.test("a pipe is read in order only", async () => {
  using file = temporary();
  const module = new URL("../../containers/file_source.ts", import.meta.url).href;
  const script = `import { fileSource } from ${JSON.stringify(module)};
    const source = fileSource("-"); let sum = 0, n; const view = new Uint8Array(333);
    while ((n = await source.read(view)) > 0) for (let i = 0; i < n; i++) sum += view[i];
    console.log(sum, source.readAt === undefined, source.size === undefined);`;
  const run = async (stdin: string) => {
    const args = ["-c", `${stdin} | "$0" eval "$1"`, Deno.execPath(), script];
    const { stdout } = await new Deno.Command("sh", { args, env: { NO_COLOR: "1" } }).output();
    return new TextDecoder().decode(stdout).trim();
  };
  const sum = bytes.reduce((total, byte) => total + byte, 0);
  assert.equal(await run(`(head -c 1000 '${file.path}'; sleep 0.2; tail -c 4000 '${file.path}')`), `${sum} true true`);
});

Deno.test("what cannot be opened is named in QEMU's words", () => {
  for (const [path, text] of [["/nonexistent", "No such file or directory"], ["/tmp", "Is a directory"]]) {
    const expected = { name: "TransportError", message: `Could not open '${path}': ${text}` };
    assert.throws(() => fileSource(path), expected);
  }
});
