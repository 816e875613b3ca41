/**
 * Two real QEMUs paired: equal behind a migration, and said not to be where they are not.
 * @module
 */
import assert from "node:assert/strict";
import { compareMachines, pairMachines, Qemu, Workbench } from "../../mod.ts";
import { run } from "../repl/capture.ts";
import { qemuTest } from "./available.ts";
import { guestFiles } from "./content.ts";
import { SWEEP, sweepingRom } from "./rom.ts";

const RAM = 64 << 20;
const MACHINE = ["-machine", "pc", "-m", "64"];

for (const how of [[], ["--channels", "3", "--compression", "zstd"], ["--uri", "tcp:127.0.0.1:0"]]) {
  qemuTest(`miglab pair ${how.join(" ")} migrates a busy guest, finds both equal, and lets the other run`, async () => {
    using files = guestFiles(sweepingRom(), RAM);
    await using source = await Qemu.launch({ args: [...MACHINE, ...files.load] });
    await using target = await Qemu.launch({ args: [...MACHINE, ...files.bios, "-incoming", "defer"] });
    const settings = async (vm: Qemu) => [
      await vm.execute("query-migrate-capabilities"),
      await vm.execute("query-migrate-parameters"),
    ];
    const before = [await settings(source), await settings(target)];
    const { status, stdout, stderr } = await run("pair", "--src", source.qmp, "--dst", target.qmp, ...how);
    assert.deepEqual([status, stderr], [0, ""]);
    assert.match(
      stdout,
      /^migrated in \d+ ms, .*\n6\d\.\d MiB of memory and the devices' state are equal; the destination is running\n$/,
    );
    assert.deepEqual([await settings(source), await settings(target)], before);
    assert.deepEqual(await target.execute("query-status"), { status: "running", running: true });
    assert.deepEqual(await source.execute("query-status"), { status: "postmigrate", running: false });
  });
}

qemuTest("a machine under KVM whose firmware has a clock is equal behind a migration", async () => {
  const args = ["-machine", "q35", "-m", "64"];
  await using source = await Qemu.launch({ args, accel: "kvm" });
  await using target = await Qemu.launch({ args: [...args, "-incoming", "defer"], accel: "kvm" });
  // the firmware asks for its clock within the first second
  await new Promise((resolve) => setTimeout(resolve, 1500));
  const { status, stdout, stderr } = await run("pair", "--src", source.qmp, "--dst", target.qmp);
  assert.deepEqual([status, stderr], [0, ""], stdout);
  assert.match(
    stdout,
    /\nin the page at 0x[0-9a-f]+ only KVM's clock differs.*\n.* are equal; the destination is running\n$/,
  );
}, "kvm");

qemuTest("what differs is said: the pages, and the lines of the monitor", async () => {
  await using one = await Qemu.launch({ args: [...MACHINE, "-S"] });
  using files = guestFiles(sweepingRom(), RAM);
  await using other = await Qemu.launch({ args: [...MACHINE, ...files.load] });
  // until it has written its first page
  while (/ 0x0+\s*$/.test(await other.hmp(`xp /1xw ${SWEEP.first}`))) await new Promise((go) => setTimeout(go, 10));
  await other.execute("stop");
  await using a = await Workbench.open({ qmp: one.qmp });
  await using b = await Workbench.open({ qmp: other.qmp });
  const { equal, memory, devices, compared } = await compareMachines(a, b);
  assert.equal(equal, false);
  assert(memory.some(({ address, pages }) => address <= SWEEP.first && SWEEP.first < address + pages * 4096));
  assert(devices.some(({ command, source }) => command === "info registers -a" && /EIP=0000fff0/.test(source)));
  assert(compared >= RAM);
  const self = await compareMachines(a, a);
  assert.deepEqual([self.equal, self.memory, self.devices], [true, [], []]);
});

qemuTest("machines that cannot be paired are refused before anything is touched", async () => {
  await using source = await Qemu.launch({ args: [...MACHINE, "-S"] });
  await using target = await Qemu.launch({ args: [...MACHINE, "-incoming", "defer"] });
  await using q35 = await Qemu.launch({ args: ["-machine", "q35", "-m", "64", "-incoming", "defer"] });
  await using a = await Workbench.open({ qmp: source.qmp });
  await using b = await Workbench.open({ qmp: target.qmp });
  await using c = await Workbench.open({ qmp: q35.qmp });
  await assert.rejects(pairMachines(a, c), /the source is a pc-i440fx-[\d.]+ and the destination a pc-q35-[\d.]+/);
  await assert.rejects(pairMachines(b, a), /the source is inmigrate/);
  await assert.rejects(pairMachines(a, a), /the destination is prelaunch; start it with -incoming defer/);
});

qemuTest("a destination that cannot load says why, the source goes on, and the other is not asked again", async () => {
  using files = guestFiles(sweepingRom(), RAM);
  const devices = ["-device", "virtio-rng-pci"];
  await using source = await Qemu.launch({ args: [...MACHINE, ...files.load, ...devices] });
  await using target = await Qemu.launch({ args: [...MACHINE, ...files.bios, "-incoming", "defer"] });
  await using small = await Qemu.launch({ args: ["-machine", "pc", "-m", "32", "-incoming", "defer"] });
  const listening = `unix:${source.path("elsewhere")}`;
  await using busy = await Qemu.launch({ args: [...MACHINE, "-incoming", listening] });
  const [a, b, c, d] = await Promise.all([source, target, small, busy].map(({ qmp }) => Workbench.open({ qmp })));
  try {
    await assert.rejects(pairMachines(a, c), /the source has 64 MiB of RAM and the destination 32 MiB$/);
    await assert.rejects(pairMachines(a, d), /the destination waits at an address of its own; start it with -incoming/);
    await assert.rejects(
      pairMachines(a, b),
      /; the destination says: load of migration failed|did not load it: load of/,
    );
    assert.deepEqual(await source.execute("query-status"), { status: "running", running: true });
    await assert.rejects(pairMachines(a, b), /the destination has failed to load before \(.*\); start it anew$/);
    assert.deepEqual(await source.execute("query-status"), { status: "running", running: true });
  } finally {
    for (const bench of [a, b, c, d]) await bench[Symbol.asyncDispose]();
  }
});
