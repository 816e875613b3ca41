import assert from "node:assert/strict";
import { createOutput } from "../../containers/output_file.ts";

function inDirectory(body: (directory: string) => void): void {
  const directory = Deno.makeTempDirSync({ prefix: "miglab-output-" });
  try {
    body(directory);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

const names = (directory: string) => [...Deno.readDirSync(directory)].map(({ name }) => name);

Deno.test("createOutput() gives the file its name when it is finished, and not before", () => {
  inDirectory((directory) => {
    using out = createOutput(`${directory}/new`);
    out.writeAt(Uint8Array.of(1, 2), 5);
    assert.equal(names(directory).includes("new"), false);
    out.finish(10);
    assert.deepEqual(names(directory), ["new"]);
    assert.deepEqual([...Deno.readFileSync(`${directory}/new`)], [0, 0, 0, 0, 0, 1, 2, 0, 0, 0]);
    assert.equal(Deno.statSync(`${directory}/new`).mode! & 0o777, 0o600);
  });
});

Deno.test("createOutput() leaves what was there, and nothing of its own, when it is not finished", () => {
  inDirectory((directory) => {
    Deno.writeTextFileSync(`${directory}/old`, "before", { mode: 0o640 });
    {
      using out = createOutput(`${directory}/old`);
      out.write(new Uint8Array(100));
    }
    assert.deepEqual(names(directory), ["old"]);
    assert.equal(Deno.readTextFileSync(`${directory}/old`), "before");
    using out = createOutput(`${directory}/old`);
    out.finish(3);
    assert.equal(Deno.statSync(`${directory}/old`).size, 3);
    assert.equal(Deno.statSync(`${directory}/old`).mode! & 0o777, 0o640);
  });
});

Deno.test("createOutput() writes through a link, and keeps it", () => {
  inDirectory((directory) => {
    Deno.writeTextFileSync(`${directory}/target`, "before");
    Deno.symlinkSync(`${directory}/target`, `${directory}/link`);
    using out = createOutput(`${directory}/link`);
    out.write(Uint8Array.of(65));
    out.finish(1);
    assert.equal(Deno.readTextFileSync(`${directory}/target`), "A");
    assert(Deno.lstatSync(`${directory}/link`).isSymlink);
  });
});

Deno.test("createOutput() says in one line why there can be no file", () => {
  inDirectory((directory) => {
    assert.throws(() => createOutput(directory), { message: `Could not open '${directory}': Is a directory` });
    const path = `${directory}/no/such`;
    assert.throws(() => createOutput(path), { message: `Could not open '${path}': No such file or directory` });
    Deno.symlinkSync("loop", `${directory}/loop`);
    const loop = `${directory}/loop`;
    assert.throws(() => createOutput(loop), {
      message: `Could not open '${loop}': Too many symbolic links encountered`,
    });
  });
});

Deno.test("createOutput() fills holes of what cannot seek, and refuses to go back", () => {
  using out = createOutput("/dev/null");
  out.writeAt(Uint8Array.of(1), 3 << 20);
  assert.throws(() => out.writeAt(Uint8Array.of(1), 0), /cannot seek/);
  out.finish(5 << 20);
});
