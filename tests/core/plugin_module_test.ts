import assert from "node:assert/strict";
import { importPlugin, pluginFault } from "../../core/plugin_module.ts";
import { run, TempDir } from "../repl/capture.ts";

/** The refusal of a module. */
async function refusal(path: string): Promise<string> {
  const error = await importPlugin(path).then(() => assert.fail("it was loaded"), (error) => error);
  return pluginFault(path, error).message;
}

Deno.test("a module that is no plugin is refused in one short line that names it", async () => {
  using dir = new TempDir();
  const cases: [string, string | undefined, RegExp][] = [
    ["missing.ts", undefined, /No such file or directory$/],
    ["a b#.ts", undefined, /No such file or directory$/],
    ["syntax.ts", "export default {};\nconst x: = 3;\n", /Unexpected token `=` at 2:\d+$/],
    ["nothing.ts", "export const x = 3;\n", /the module exports no plugin/],
    ["throws.ts", "throw new Error('not today\\nnor tomorrow');\n", /: not today$/],
    ["lacks.ts", "import './other.ts';\n", /Module not found .*other\.ts"$/],
  ];
  for (const [name, text, expected] of cases) {
    const path = dir.file(name, text);
    const message = await refusal(path);
    assert.ok(message.startsWith(`Cannot load plugin "${path}": `), message);
    assert.match(message, expected);
    assert.ok(message.length < path.length + 100 + dir.path.length, message);
  }
});

Deno.test("--plugin, plugin_load and the reports say the same", async () => {
  const text = 'Cannot load plugin "nosuch.ts": No such file or directory\n';
  assert.equal((await run("--plugin", "nosuch.ts", "-e", "info status")).stderr, `miglab: ${text}`);
  assert.equal((await run("--guest", "x", "--plugin", "nosuch.ts", "-e", "info status")).stderr, `miglab: ${text}`);
  assert.equal((await run("inspect", "--plugin", "nosuch.ts", "x")).stderr, `miglab: ${text}`);
  const line = await run("--ram", "1M", "-e", "plugin_load nosuch.ts");
  assert.deepEqual([line.stdout, line.stderr], [`Error: ${text}`, `miglab: -e:1: ${text}`]);
});
