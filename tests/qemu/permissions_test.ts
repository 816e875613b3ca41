/**
 * The jobs on a running QEMU with just the permissions the README's table names.
 * @module
 */
import assert from "node:assert/strict";
import { Qemu } from "../../mod.ts";
import { qemuTest } from "./available.ts";
import { guestFiles } from "./content.ts";
import { haltingRom } from "./rom.ts";

const MAIN = new URL("../../main.ts", import.meta.url).pathname;
const CORE = new URL("../../core/", import.meta.url).pathname;

interface Allowed {
  /** Read and write. */
  readonly paths: readonly string[];
  readonly read?: readonly string[];
  /** Unix sockets; "all": any address. */
  readonly net?: readonly string[] | "all";
  readonly ffi?: boolean;
}

/** Start the program with these permissions and nothing else. */
function start(args: readonly string[], { paths, read = [], net = [], ffi }: Allowed): Deno.ChildProcess {
  const list = (flag: string, values: readonly string[]) => values.length ? [`${flag}=${values.join(",")}`] : [];
  const flags = [
    ...list("--allow-read", [...paths, ...read]),
    ...list("--allow-write", paths),
    ...(net === "all" ? ["--allow-net"] : list("--allow-net", net.map((path) => `unix:${path}`))),
    ...(ffi ? ["--allow-ffi"] : []),
  ];
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", ...flags, MAIN, ...args],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

async function succeeds(args: readonly string[], allowed: Allowed): Promise<string> {
  const { code, stdout, stderr } = await start(args, allowed).output();
  const text = new TextDecoder();
  assert.equal(code, 0, `${args.join(" ")}: ${text.decode(stderr)}`);
  return text.decode(stdout);
}

qemuTest("attach, save, restore, pair, record, replay and serve need no more than the README says", async () => {
  using files = guestFiles(haltingRom(), 32 << 20);
  const machine = ["-machine", "pc", "-m", "32", ...files.bios];
  const launch = (...args: string[]) => Qemu.launch({ args: [...machine, ...args] });
  const waiting = () => launch("-incoming", "defer");
  const temporary = files.path("").replace(/\/[^/]*\/$/, "");

  for (const ffi of [false, true]) {
    await using source = await launch();
    await using target = await waiting();
    const on = ({ qmp }: Qemu): Allowed => ({ paths: [qmp, source.directory], net: [qmp], ffi });
    const attached = { paths: [source.qmp], net: [source.qmp] };
    assert.match(await succeeds(["--qmp", source.qmp, "-e", "info status"], attached), /VM status: running/);
    await succeeds(["save", "--qmp", source.qmp, source.path("saved")], on(source));
    await succeeds(["restore", "--qmp", target.qmp, source.path("saved")], on(target));
  }
  {
    await using source = await launch();
    await using target = await waiting();
    const sockets = [source.qmp, target.qmp];
    await succeeds(["pair", "--src", source.qmp, "--dst", target.qmp], { paths: [temporary], net: sockets });
  }
  for (const ffi of [false, true]) {
    await using source = await launch();
    await using target = await waiting();
    await using again = await waiting();
    const [here, capture] = [source.path("here"), source.path("capture")];
    for (const vm of [target, again]) await vm.execute("migrate-incoming", { uri: `unix:${vm.path("in")}` });
    const args = ["record", "--listen", `unix:${here}`, "--forward", `unix:${target.path("in")}`, capture];
    const paths = [source.directory, target.path("in")];
    const recorder = start(args, { paths, net: "all", ffi, read: ffi ? [CORE] : [] });
    const reader = recorder.stderr.getReader();
    const { value } = await reader.read();
    assert.equal(new TextDecoder().decode(value), `miglab: listening on unix:${here}\n`);
    reader.releaseLock();
    await source.execute("migrate", { uri: `unix:${here}` });
    const { code, stderr } = await recorder.output();
    assert.equal(code, 0, new TextDecoder().decode(stderr));
    const socket = again.path("in");
    await succeeds(["replay", capture, `unix:${socket}`], { paths: [socket], read: [capture], net: [socket] });
    assert.equal((await again.execute("query-status") as { running: boolean }).running, true);
  }
  const served = start(["serve", "--qmp", `unix:${files.path("served")}`, "--ram", "16M"], {
    paths: [files.path("")],
    net: "all",
  });
  const reader = served.stderr.getReader();
  const { value } = await reader.read();
  reader.releaseLock();
  served.kill("SIGTERM");
  await served.output();
  assert.equal(new TextDecoder().decode(value), `miglab: listening on unix:${files.path("served")}\n`);
});
