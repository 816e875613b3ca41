/**
 * A workbench and a real QEMU as the two ends of a migration, through the library's front door.
 * @module
 */
import assert from "node:assert/strict";
import { Workbench } from "../../mod.ts";
import { qemuTest } from "./available.ts";
import { guestFiles } from "./content.ts";
import { assertSameMemory } from "./here.ts";
import { launchQemu, type Qemu } from "./qemu.ts";
import { haltingRom, SWEEP, sweepingRom } from "./rom.ts";
import { reachable } from "../reachable.ts";

const MIB = 1 << 20;
const RAM = 64 * MIB;
const MODEL = ["-machine", "pc-i440fx-10.0", "-m", "64"];
const DESTINATION = ["-S", "-incoming", "defer"];

/** Number of the sweep the guest is in. */
async function sweep(vm: Qemu): Promise<number> {
  return new DataView((await vm.pmemsave(SWEEP.first, 4)).buffer).getUint32(0, true);
}

qemuTest("a workbench opened on QEMU's file saves a guest that runs on in a new QEMU", async () => {
  using files = guestFiles(sweepingRom(), RAM);
  await using source = await launchQemu(["-machine", "q35", "-m", "64", ...files.load]);
  await source.migrate(`file:${source.path("saved")}`);
  for (const mapped of [false, true]) {
    await using bench = await Workbench.open({ guest: source.path("saved") });
    assert.match(await bench.hmp("info status"), /^VM status: running\r?\n$/);
    await bench.setCapability("mapped-ram", mapped);
    const uri = `file:${files.path("ours")},offset=64k`;
    const info = await bench.migrate(uri);
    assert.equal(info.status, "completed");
    assert.match(await bench.hmp("info status"), /postmigrate/);
    await using vm = await launchQemu(["-machine", "q35", "-m", "64", ...files.bios, ...DESTINATION]);
    if (mapped) await vm.capabilities("mapped-ram");
    await vm.incoming(uri);
    await assertSameMemory(vm, bench.session.guest);
    assert.equal(await vm.hmp("info registers"), await source.hmp("info registers"));
    const before = await sweep(source);
    await vm.qmp("cont");
    for (const until = performance.now() + 10_000; await sweep(vm) <= before;) assert(performance.now() < until);
  }
});

qemuTest("a guest travels live from QEMU into a workbench and on into another QEMU, over sockets", async () => {
  for (const [into, onwards] of [["tcp:127.0.0.1:0", "unix"], ["unix", "tcp:127.0.0.1:0"]]) {
    for (const returnPath of [false, true]) {
      using files = guestFiles(sweepingRom(), RAM);
      const socket = (uri: string, name: string) => uri === "unix" ? `unix:${files.path(name)}` : uri;
      await using source = await launchQemu(["-machine", "pc", "-m", "64", ...files.load]);
      await using target = await launchQemu(["-machine", "pc", "-m", "64", ...files.bios, ...DESTINATION]);
      await using bench = await Workbench.open({ incoming: "defer" });
      await bench.setCapability("return-path", returnPath);
      if (returnPath) {
        await source.capabilities("return-path");
        await target.capabilities("return-path");
      }
      const arrival = bench.migrateIncoming(socket(into, "here"));
      await source.migrate(await reachable(bench));
      await arrival;
      assert.match(await bench.hmp("info status"), /running/);
      await assertSameMemory(source, bench.session.guest);
      await bench.migrate(await target.listen(socket(onwards, "there")));
      await target.waitMigration();
      await assertSameMemory(target, bench.session.guest);
      assert.equal(await target.hmp("info registers"), await source.hmp("info registers"));
    }
  }
});

qemuTest("a guest travels through commands on both sides", async () => {
  using files = guestFiles(haltingRom(), RAM);
  await using source = await launchQemu(["-machine", "q35", "-m", "64", ...files.load]);
  await source.migrate(`exec:gzip -1 > ${files.path("gz")}`);
  await using bench = await Workbench.open({ incoming: `exec:gzip -dc ${files.path("gz")}` });
  await bench.settled();
  await assertSameMemory(source, bench.session.guest);
  await bench.hmp(`migrate "exec:gzip -1 > ${files.path("gz2")}"`);
  await using target = await launchQemu(["-machine", "q35", "-m", "64", ...files.bios, ...DESTINATION]);
  await target.incoming(`exec:gzip -dc ${files.path("gz2")}`);
  await assertSameMemory(target, bench.session.guest);
});

qemuTest("a workbench's own guest runs on in a real QEMU, whether sent or fetched", async () => {
  using files = guestFiles(haltingRom(), RAM);
  await using bench = await Workbench.open({ ram: "64M", content: "random:bytes=20M,percent=50" });
  await using sent = await launchQemu([...MODEL, "-incoming", "defer"]);
  await bench.migrate(await sent.listen(`unix:${files.path("socket")}`));
  await sent.waitMigration();
  assert.equal(await sent.runState(), "running");
  await assertSameMemory(sent, bench.session.guest);
  assert.equal(bench.info().ram!.normal > 20 * MIB / 4096 / 2, true);

  await bench.hmp("cont"); // postmigrate: as QEMU, it wants to run before it is saved again
  await bench.setCapability("mapped-ram", true);
  await bench.migrate(`file:${files.path("saved")}`);
  await using fetched = await launchQemu([...MODEL, "-incoming", "defer"]);
  await fetched.capabilities("mapped-ram", "multifd");
  await fetched.incoming(`file:${files.path("saved")}`);
  assert.equal(await fetched.runState(), "running");
  await assertSameMemory(fetched, bench.session.guest);
});

qemuTest("a workbench with a machine of its own takes QEMU's guest of the same, and refuses another size", async () => {
  using files = guestFiles(haltingRom(), RAM);
  // TCG: a KVM guest carries kvmclock, which neither the model nor a QEMU under TCG has
  await using source = await launchQemu([...MODEL, "-S"], { accel: "tcg" });
  await using same = await Workbench.open({ ram: "64M", incoming: `unix:${files.path("socket")}` });
  await source.migrate(`unix:${files.path("socket")}`);
  await same.settled();
  assert.equal(same.info().status, "completed");
  await assertSameMemory(source, same.session.guest);

  await source.again();
  const lines: string[] = [];
  await using other = await Workbench.open({ ram: "128M", incoming: "defer", report: (line) => lines.push(line) });
  await source.migrate(`file:${files.path("saved")}`);
  await assert.rejects(other.migrateIncoming(`file:${files.path("saved")}`), /Invalid argument/);
  // QEMU's words for the same mistake
  await using target = await launchQemu(["-machine", "pc-i440fx-10.0", "-m", "128", ...DESTINATION], { accel: "tcg" });
  await assert.rejects(target.incoming(`file:${files.path("saved")}`));
  const [first] = target.stderr.split("\n").filter((line) => line.includes("Size mismatch"));
  assert.equal(lines.find((line) => line.includes("Size mismatch")), first.replace(/^qemu-system-x86_64: /, ""));
  const { "error-desc": theirs } = await target.qmp("query-migrate");
  assert.equal(other.info()["error-desc"], theirs);
});

qemuTest("a QEMU that cannot take our guest fails the migration here, and the guest goes on", async () => {
  using files = guestFiles(haltingRom(), RAM);
  await using bench = await Workbench.open({ ram: "64M" });
  await bench.setCapability("return-path", true);
  await using target = await launchQemu(["-machine", "q35", "-m", "64", ...DESTINATION]);
  await target.capabilities("return-path");
  await assert.rejects(bench.migrate(await target.listen(`unix:${files.path("socket")}`)));
  assert.equal(bench.info().status, "failed");
  assert.match(await bench.hmp("info status"), /running/);
});

qemuTest("a migration into QEMU that is cancelled here fails there, and can be begun again", async () => {
  using files = guestFiles(haltingRom(), RAM);
  await using bench = await Workbench.open({ ram: "64M", content: "random:bytes=40M" });
  await bench.setParameter("max-bandwidth", 4 * MIB);
  await using target = await launchQemu([...MODEL, ...DESTINATION]);
  await bench.migrate(await target.listen(`unix:${files.path("socket")}`), { detach: true });
  await target.waitFor((info) => info.status === "active");
  await bench.hmp("migrate_cancel");
  await bench.settled();
  assert.equal(bench.info().status, "cancelled");
  await assert.rejects(target.waitMigration(), /ended failed/);

  await bench.setParameter("max-bandwidth", 0);
  await using second = await launchQemu([...MODEL, ...DESTINATION]);
  await bench.migrate(await second.listen(`unix:${files.path("socket")}`));
  await second.waitMigration();
  await assertSameMemory(second, bench.session.guest);
});

qemuTest("a source that waits before the switchover is met by a destination that waits with it", async () => {
  using files = guestFiles(sweepingRom(), RAM);
  // QEMU waits, we load
  await using source = await launchQemu(["-machine", "pc", "-m", "64", ...files.load]);
  await source.capabilities("pause-before-switchover", "events");
  await using bench = await Workbench.open({ incoming: "defer" });
  const arrival = bench.migrateIncoming(`unix:${files.path("socket")}`);
  await source.qmp("migrate", { uri: await reachable(bench) });
  await source.waitFor((info) => info.status === "pre-switchover");
  assert.equal(bench.info().status, "active");
  await source.qmp("migrate-continue", { state: "pre-switchover" });
  await source.waitMigration();
  await arrival;
  await assertSameMemory(source, bench.session.guest);
  // we wait, QEMU loads
  await bench.setCapability("pause-before-switchover", true);
  await using target = await launchQemu(["-machine", "pc", "-m", "64", ...files.bios, ...DESTINATION]);
  await bench.migrate(await target.listen(`unix:${files.path("second")}`), { detach: true });
  for (const until = performance.now() + 20_000; bench.info().status !== "pre-switchover";) {
    assert(performance.now() < until, `stuck in ${bench.info().status}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.equal((await target.qmp("query-migrate")).status, "active");
  await bench.hmp("migrate_continue pre-switchover");
  await bench.settled();
  await target.waitMigration();
  await assertSameMemory(target, bench.session.guest);
});
