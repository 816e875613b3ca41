/**
 * The model guest behind a QMP socket, asked by QEMU's own clients: the library of python/qemu/qmp and qmp-shell.
 *
 * Where that library is: installed (`pip install qemu.qmp`), or in the directory MIGLAB_QEMU_PYTHON names.
 * @module
 */
import assert from "node:assert/strict";
import { Qemu, QmpClient, serveQmp, Workbench } from "../../mod.ts";
import { qemuTest } from "./available.ts";

const MAIN = new URL("../../main.ts", import.meta.url).pathname;
const WHERE = Deno.env.get("MIGLAB_QEMU_PYTHON");
const ENV: Record<string, string> = WHERE === undefined ? {} : { PYTHONPATH: WHERE };

function hasLibrary(): boolean {
  try {
    const command = new Deno.Command("python3", {
      args: ["-c", "import qemu.qmp, qemu.qmp.qmp_shell"],
      env: ENV,
      stdout: "null",
      stderr: "null",
    });
    return command.outputSync().success;
  } catch {
    return false;
  }
}

const library = hasLibrary();

/** A test that needs QEMU's library; left out, visibly, where there is none. */
function pythonTest(name: string, fn: () => Promise<void>): void {
  const why = "needs QEMU's Python library: pip install qemu.qmp, or MIGLAB_QEMU_PYTHON=DIRECTORY";
  Deno.test({ name: library ? name : `${name} (${why})`, ignore: !library, fn });
}

/** Run Python with input. */
async function python(args: readonly string[], input = ""): Promise<string> {
  const child = new Deno.Command("python3", {
    args: [...args],
    env: ENV,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input));
  await writer.close();
  const { stdout, stderr, code } = await child.output();
  const text = new TextDecoder();
  assert.equal(code, 0, text.decode(stderr));
  return text.decode(stdout);
}

const SAVE = `
import asyncio, sys
from qemu.qmp import QMPClient, EventListener, ExecuteError
async def main():
    qmp = QMPClient("test")
    await qmp.connect(sys.argv[1])
    print(len(await qmp.execute("query-commands")) > 30)
    with qmp.listener() as listener:
        on = {"capabilities": [{"capability": "events", "state": True}]}
        await qmp.execute("migrate-set-capabilities", on)
        await qmp.execute("migrate", {"uri": "file:" + sys.argv[2]})
        async for event in listener:
            if event["event"] == "MIGRATION":
                print(event["data"]["status"])
                if event["data"]["status"] in ("completed", "failed"):
                    break
    print((await qmp.execute("query-status"))["status"])
    try:
        await qmp.execute("no-such-command")
    except ExecuteError as error:
        print(error)
    await qmp.disconnect()
asyncio.run(main())
`;

pythonTest("QEMU's own library runs a save on a served model guest and sees its events", async () => {
  const directory = Deno.makeTempDirSync({ prefix: "miglab-serve-" });
  try {
    await using bench = await Workbench.open({ ram: "16M" });
    await using _server = serveQmp(bench.session, `${directory}/qmp`);
    const said = await python(["-c", SAVE, `${directory}/qmp`, `${directory}/saved`]);
    assert.deepEqual(said.trim().split("\n"), [
      "True",
      "setup",
      "active",
      "device",
      "completed",
      "postmigrate",
      "The command no-such-command has not been found",
    ]);
    await using copy = await Workbench.open({ guest: `${directory}/saved` });
    assert.equal(copy.session.runState, "running");
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});

pythonTest("qmp-shell speaks QMP and HMP to miglab serve", async () => {
  const directory = Deno.makeTempDirSync({ prefix: "miglab-serve-" });
  const socket = `${directory}/qmp`;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", MAIN, "serve", "--qmp", `unix:${socket}`, "--ram", "16M"],
    stdout: "null",
    stderr: "piped",
  }).spawn();
  try {
    const reader = child.stderr.getReader();
    const { value } = await reader.read();
    assert.equal(new TextDecoder().decode(value), `miglab: listening on unix:${socket}\n`);
    reader.releaseLock();
    const shell = ["-m", "qemu.qmp.qmp_shell"];
    const qmp = await python([...shell, socket], "query-status\nmigrate-set-parameters max-bandwidth=0\n");
    assert.match(qmp, /Connected to QEMU 10\.0\.2/);
    assert.match(qmp, /\{"return": \{"status": "running", "running": true\}\}/);
    assert.match(qmp, /\{"return": \{\}\}/);
    assert.match(await python([...shell, "-H", socket], "info status\n"), /VM status: running/);
    await using client = await QmpClient.open(socket);
    await client.execute("quit");
    const { code } = await child.status;
    assert.equal(code, 0);
  } finally {
    await child.stderr.cancel();
    try {
      child.kill();
    } catch {
      // it ended, as it was told
    }
    await child.status;
    Deno.removeSync(directory, { recursive: true });
  }
});

qemuTest("the examples run on a QEMU with one line changed", async () => {
  const examples = new URL("../../examples/", import.meta.url);
  const mod = new URL("../../mod.ts", import.meta.url).href;
  await using source = await Qemu.launch({ args: ["-machine", "pc", "-m", "64"] });
  await using target = await Qemu.launch({ args: ["-machine", "pc", "-m", "64", "-incoming", "defer"] });
  const run = async (name: string, qmp: string) => {
    const text = Deno.readTextFileSync(new URL(name, examples)).replace('"../mod.ts"', `"${mod}"`);
    const changed = text.replace(/Workbench\.open\(.*\);/, `Workbench.open({ qmp: "${qmp}" });`);
    assert.equal(text.split("\n").filter((line, i) => line !== changed.split("\n")[i]).length, 1);
    Deno.writeTextFileSync(source.path(name), changed);
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-lock", source.path(name), source.path("saved")],
      env: { NO_COLOR: "1" },
    }).output();
    assert.equal(code, 0, new TextDecoder().decode(stderr));
    return new TextDecoder().decode(stdout);
  };
  assert.match(await run("save.ts", source.qmp), /saved: \d+ pages of data, \d+ zero, in \d+ ms\n$/);
  assert.match(
    await run("restore.ts", target.qmp),
    /^VM status: running\n[\s\S]*pc\.ram[\s\S]*0xfffffff0|fffffff0: 0x/,
  );
  assert.deepEqual(await target.execute("query-status"), { status: "running", running: true });
});
