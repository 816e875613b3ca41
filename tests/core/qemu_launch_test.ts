/**
 * Programs that are no QEMU, started as one: each is a line that says what they did, and nothing is left of them.
 * @module
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import { Qemu } from "../../mod.ts";

/** A directory with a program in it that a shell runs. */
function program(text: string): { readonly path: string; readonly directory: string } & Disposable {
  const directory = Deno.makeTempDirSync({ prefix: "miglab-launch-" });
  const path = `${directory}/qemu`;
  fs.writeFileSync(path, `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  return { path, directory, [Symbol.dispose]: () => Deno.removeSync(directory, { recursive: true }) };
}

Deno.test("Qemu.launch() says what a program did that did not become a QEMU", async () => {
  const cases: readonly [text: string, why: string][] = [
    ["exit 0", "ended with status 0 at its start"],
    ["echo first >&2; echo second >&2; exit 3", "ended with status 3 at its start: first; second"],
    ["kill -9 $$", "ended with SIGKILL at its start"],
    ["sleep 20 & echo late >&2; exit 1", "ended with status 1 at its start: late"],
    ["echo hello >&2; exec sleep 60", "did not open its monitor within 1500 ms: hello"],
  ];
  for (const [text, why] of cases) {
    using one = program(`echo $$ "$@" > "$0.seen"; ${text}`);
    const began = performance.now();
    await assert.rejects(Qemu.launch({ binary: one.path, startMs: 1500 }), {
      name: "TransportError",
      message: `${one.path} ${why}`,
    });
    assert(performance.now() - began < 15_000, text); // whoever holds its stderr is not waited for
    const seen = fs.readFileSync(`${one.path}.seen`, "utf8");
    const [, pid, directory] = /^(\d+) .*-qmp unix:([^ ]*)\/own /.exec(seen)!;
    for (const left of [`/proc/${pid}`, directory]) assert.equal(fs.existsSync(left), false, text);
  }
});

Deno.test("Qemu.launch() without such a program is one line", async () => {
  using one = program("");
  fs.chmodSync(one.path, 0o600);
  await assert.rejects(Qemu.launch({ binary: one.path }), { message: `Cannot start ${one.path}: Permission denied` });
  const none = `${one.directory}/none`;
  await assert.rejects(Qemu.launch({ binary: none }), { message: `Cannot start ${none}: No such file or directory` });
});
