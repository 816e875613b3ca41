/**
 * One of the machines dies while a migration is under way, as in a crash: what the program says, and what is left behind.
 * @module
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import { readCapture } from "../../core/capture.ts";
import { openImage, pairMachines, Qemu, salvageImage, Workbench } from "../../mod.ts";
import { Pty, whyNoPty } from "../repl/pty.ts";
import { qemuTest } from "./available.ts";
import { guestFiles } from "./content.ts";
import { sweepingRom } from "./rom.ts";
import { MAIN, startProgram } from "../program.ts";

const RAM = 64 << 20;
const MACHINE = ["-machine", "pc", "-m", "64"];
/** Bytes a second: the migration is still under way when the machine dies. */
const SLOW = 4 << 20;

async function until(what: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 1000; i++) {
    if (await what()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error("waited in vain");
}

const sent = async (vm: Qemu) =>
  (await vm.execute("query-migrate") as { ram?: { transferred: number } }).ram?.transferred ?? 0;

for (const [by, permissions] of [["the kernel", ["-A"]], ["this program", ["-A", "--deny-ffi"]]] as const) {
  for (const victim of ["source", "destination"] as const) {
    qemuTest(`record says that the ${victim} died when ${by} passed the bytes on, and keeps them`, async () => {
      using files = guestFiles(sweepingRom(), RAM);
      await using source = await Qemu.launch({ args: [...MACHINE, ...files.load] });
      const forward = `unix:${source.path("in")}`;
      await using target = await Qemu.launch({ args: [...MACHINE, ...files.bios, "-incoming", forward] });
      await source.execute("migrate-set-parameters", { "max-bandwidth": SLOW });
      const directory = source.path("capture"), here = source.path("here");
      const { ended } = startProgram(permissions, [
        "record",
        "--listen",
        `unix:${here}`,
        "--forward",
        forward,
        directory,
      ]);
      await until(() => fs.existsSync(here));
      await source.execute("migrate", { uri: `unix:${here}` });
      await until(async () => await sent(source) > 1 << 20);
      if (victim === "source") source.kill();
      else target.kill();
      const { code, stdout, stderr } = await ended;
      const { channels: [main], complete, ended: whole } = readCapture(directory);
      assert.deepEqual([code, complete, whole], [1, true, false], stderr);
      assert.equal(
        stderr,
        `miglab: listening on unix:${here}\nmiglab: ${directory}: partial: the migration was cut off at ` +
          `0x${main.bytes.toString(16)} of main.bin; miglab salvage ${directory}/main.bin -o DIR keeps what is in it\n`,
      );
      assert.match(stdout, /^\S+\/capture: 1 channel\n {2}main\.bin +[\d.]+ [KM]iB\n$/);
      await using image = await openImage(`${directory}/main.bin`);
      assert.deepEqual([image.complete, image.bytes], [false, main.bytes]);
      const { ram } = await salvageImage(`${directory}/main.bin`, source.path("salvaged"));
      assert(ram.some(({ block, dataPages }) => block === "pc.ram" && dataPages > 100), JSON.stringify(ram));
    });
  }
}

/** Capabilities and parameters. */
async function settingsOf(vm: Qemu): Promise<unknown[]> {
  return [await vm.execute("query-migrate-capabilities"), await vm.execute("query-migrate-parameters")];
}

for (const channels of [[], ["--channels", "2"]]) {
  for (const victim of ["source", "destination", "nobody"] as const) {
    const what = victim === "nobody" ? "Ctrl-C" : `the death of the ${victim}`;
    qemuTest(`pair ${channels.join(" ")} is over with ${what}, and who is left is as before`, async () => {
      using files = guestFiles(sweepingRom(), RAM);
      await using source = await Qemu.launch({ args: [...MACHINE, ...files.load] });
      await using target = await Qemu.launch({ args: [...MACHINE, ...files.bios, "-incoming", "defer"] });
      const before = new Map([[source, await settingsOf(source)], [target, await settingsOf(target)]]);
      const { child, ended } = startProgram(["-A"], [
        "pair",
        ...["--src", source.qmp, "--dst", target.qmp, "--max-bandwidth", String(SLOW), ...channels],
      ]);
      await until(async () => await sent(source) > 1 << 20);
      if (victim === "nobody") child.kill("SIGINT");
      else (victim === "source" ? source : target).kill();
      const { code, stdout, stderr } = await ended;
      assert.deepEqual([code, stdout], [1, ""], stderr);
      assert.match(
        stderr,
        {
          source: /^miglab: lost QEMU at [^\n]*; the destination says: [^\n]+\n$/,
          destination: /^miglab: [^\n]*; the destination is gone\n$/,
          nobody: /^miglab: migration cancelled: the source goes on, the destination must be started anew\n$/,
        }[victim],
      );
      for (const vm of [source, target]) {
        if (vm === (victim === "source" ? source : victim === "destination" ? target : undefined)) continue;
        assert.deepEqual(await settingsOf(vm), before.get(vm));
      }
      if (victim !== "source") {
        assert.deepEqual(await source.execute("query-status"), { status: "running", running: true });
      }
    });
  }
}

qemuTest("a destination that dies while it is compared gives the guest back to the source", async () => {
  using files = guestFiles(sweepingRom(), RAM);
  await using source = await Qemu.launch({ args: [...MACHINE, ...files.load] });
  await using target = await Qemu.launch({ args: [...MACHINE, ...files.bios, "-incoming", "defer"] });
  const before = await settingsOf(source);
  await using from = await Workbench.open({ qmp: source.qmp });
  await using to = await Workbench.open({ qmp: target.qmp });
  const qmp = to.qmp.bind(to);
  to.qmp = async (name, ...rest) => {
    if (name === "pmemsave") {
      assert.equal((await source.execute("query-status") as { status: string }).status, "postmigrate");
      target.kill();
      await target.status;
    }
    return await qmp(name, ...rest);
  };
  await assert.rejects(pairMachines(from, to), {
    name: "TransportError",
    message: /^[^\n]*QEMU at|^Failed to connect/i,
  });
  assert.deepEqual(await source.execute("query-status"), { status: "running", running: true });
  assert.deepEqual(await settingsOf(source), before);
});

qemuTest("a save whose terminal goes away is cancelled as with Ctrl-C", async () => {
  using files = guestFiles(sweepingRom(), RAM);
  await using vm = await Qemu.launch({ args: [...MACHINE, ...files.load] });
  const before = await settingsOf(vm);
  const { child, ended } = startProgram(["-A"], [
    "save",
    "--qmp",
    vm.qmp,
    "--max-bandwidth",
    String(SLOW),
    vm.path("out"),
  ]);
  await until(async () => await sent(vm) > 1 << 18);
  child.kill("SIGHUP");
  const { code, stderr } = await ended;
  assert.deepEqual([code, stderr], [1, "miglab: migration cancelled\n"]);
  assert.deepEqual(await vm.execute("query-status"), { status: "running", running: true });
  assert.deepEqual(await settingsOf(vm), before);
  assert.deepEqual(fs.readdirSync(vm.directory).filter((name) => name.startsWith("out")), []);
});

qemuTest("a terminal that goes away under a save on it ends the save, and the guest runs", async () => {
  if (whyNoPty()) return;
  using files = guestFiles(sweepingRom(), RAM);
  await using vm = await Qemu.launch({ args: [...MACHINE, ...files.load] });
  const before = await settingsOf(vm);
  {
    const save = `save --qmp '${vm.qmp}' --max-bandwidth ${SLOW} '${vm.path("out")}'`;
    await using pty = new Pty(`'${Deno.execPath()}' run -A '${MAIN}' ${save}`);
    await pty.expect("MiB of 64"); // the progress line: whatever it writes from now on has no terminal
  }
  await until(() => fs.readdirSync(vm.directory).every((name) => !name.startsWith("out")));
  await until(async () => (await vm.execute("query-status") as { running: boolean }).running);
  await until(async () => JSON.stringify(await settingsOf(vm)) === JSON.stringify(before));
});

qemuTest("a save during another migration, or of a device that cannot be saved, leaves both as they were", async () => {
  using files = guestFiles(sweepingRom(), RAM);
  const nvme = ["-blockdev", "driver=null-co,node-name=n", "-device", "nvme,drive=n,serial=x"];
  for (const devices of [[], nvme]) {
    await using vm = await Qemu.launch({ args: [...MACHINE, ...files.load, ...devices] });
    const before = await settingsOf(vm);
    if (devices.length === 0) await vm.execute("migrate", { uri: "exec:sleep 60" });
    const { code, stderr } = await startProgram(["-A"], ["save", "--qmp", vm.qmp, vm.path("out")]).ended;
    const why = devices.length
      ? /^miglab: State blocked by non-migratable device '\S+\/nvme'\n$/
      : /^miglab: There's a migration process in progress\n$/;
    assert.equal(code, 1);
    assert.match(stderr, why);
    assert.deepEqual(await vm.execute("query-status"), { status: "running", running: true });
    assert.deepEqual(await settingsOf(vm), before);
    assert.deepEqual(fs.readdirSync(vm.directory).filter((name) => name.startsWith("out")), []);
  }
});
