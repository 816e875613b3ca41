/**
 * multifd over sockets with a real QEMU at the other end, in both directions: every compression, every way of finding zero
 * pages, machine types with and without marks of their own.
 * @module
 */
import assert from "node:assert/strict";
import { Workbench } from "../../mod.ts";
import { qemuTest } from "./available.ts";
import { guestFiles } from "./content.ts";
import { assertSameMemory } from "./here.ts";
import { launchQemu, type Qemu } from "./qemu.ts";
import { haltingRom, sweepingRom } from "./rom.ts";
import { reachable } from "../reachable.ts";

const MIB = 1 << 20;
const RAM = 64 * MIB;
const DESTINATION = ["-S", "-incoming", "defer"];

/** What both ends are set to. */
interface Settings {
  readonly channels: number;
  readonly compression?: "none" | "zlib" | "zstd";
  readonly detection?: "none" | "legacy" | "multifd";
}

async function set(bench: Workbench, { channels, compression = "none", detection }: Settings): Promise<void> {
  await bench.setCapability("multifd", true);
  await bench.setParameter("multifd-channels", channels);
  await bench.setParameter("multifd-compression", compression);
  if (detection) await bench.setParameter("zero-page-detection", detection);
}

async function setQemu(vm: Qemu, { channels, compression = "none", detection }: Settings): Promise<void> {
  await vm.capabilities("multifd");
  await vm.qmp("migrate-set-parameters", {
    "multifd-channels": channels,
    "multifd-compression": compression,
    ...(detection ? { "zero-page-detection": detection } : {}),
  });
}

const WAYS: readonly (readonly [string, Settings])[] = [
  ["unix", { channels: 2 }],
  ["tcp", { channels: 16, detection: "none" }],
  ["tcp", { channels: 1, detection: "legacy" }],
  ["unix", { channels: 3, compression: "zlib" }],
  ["tcp", { channels: 2, compression: "zstd" }],
  ["unix", { channels: 4, compression: "zstd", detection: "legacy" }],
];

for (const [transport, settings] of WAYS) {
  const { channels, compression = "none", detection = "multifd" } = settings;
  const how = `${channels} channels over ${transport}:, compression ${compression}, zero pages ${detection}`;
  const address = (name: string) => transport === "tcp" ? "tcp:127.0.0.1:0" : `unix:${name}`;

  qemuTest(`QEMU takes a guest from here: ${how}`, async () => {
    using files = guestFiles(haltingRom(), RAM);
    await using bench = await Workbench.open({ ram: "64M", content: "random:at=8M,bytes=24M,percent=40" });
    await using vm = await launchQemu(["-machine", "pc-i440fx-10.0", "-m", "64", ...DESTINATION]);
    await set(bench, settings);
    await setQemu(vm, settings);
    const uri = await vm.listen(address(files.path("socket")));
    const { ram } = await bench.migrate(uri);
    await vm.waitMigration();
    await assertSameMemory(vm, bench.session.guest);
    assert(ram!["multifd-bytes"] > 0);
    assert.equal((ram!.normal + ram!.duplicate) * 4096, ram!.total);
    assert.equal(bench.session.outgoing.counters.channels?.length, channels);
  });

  qemuTest(`QEMU gives a guest to us: ${how}`, async () => {
    using files = guestFiles(haltingRom(), RAM);
    await using vm = await launchQemu(["-machine", "q35", "-m", "64", "-S", ...files.load]);
    await using bench = await Workbench.open({ incoming: "defer" });
    await set(bench, settings);
    await setQemu(vm, settings);
    const loading = bench.migrateIncoming(address(files.path("socket")));
    await vm.qmp("migrate", { uri: await reachable(bench) });
    await loading;
    await vm.waitMigration();
    await assertSameMemory(vm, bench.session.guest);
  });
}

for (const machine of ["pc-i440fx-8.0", "pc-q35-8.2", "pc-i440fx-9.0"]) {
  qemuTest(`a guest of machine type ${machine} that keeps writing goes through us from QEMU to QEMU`, async () => {
    using files = guestFiles(sweepingRom(), RAM);
    const settings = { channels: 3, compression: "zlib" } as const;
    await using source = await launchQemu(["-machine", machine, "-m", "64", ...files.load]);
    await using target = await launchQemu(["-machine", machine, "-m", "64", ...files.bios, ...DESTINATION]);
    await using bench = await Workbench.open({ incoming: "defer" });
    await set(bench, settings);
    await setQemu(source, settings);
    await setQemu(target, settings);
    await source.qmp("migrate-set-parameters", { "max-bandwidth": 4 * MIB, "downtime-limit": 1 });
    const loading = bench.migrateIncoming(`unix:${files.path("here")}`);
    await source.qmp("migrate", { uri: await reachable(bench) });
    await source.waitFor((info) => info.ram?.["dirty-sync-count"] >= 3);
    await source.qmp("migrate-set-parameters", { "downtime-limit": 2000, "max-bandwidth": 1024 * MIB });
    await loading;
    await source.waitMigration();
    await assertSameMemory(source, bench.session.guest);
    await bench.hmp("stop");
    const uri = await target.listen(`unix:${files.path("there")}`);
    await bench.migrate(uri);
    await target.waitMigration();
    await assertSameMemory(target, bench.session.guest);
    assert.equal(await target.hmp("info registers"), await source.hmp("info registers"));
  });
}

for (const [machine, on] of [["pc-i440fx-10.0", true], ["pc-i440fx-8.0", false]] as const) {
  const flush = on ? "on" : "off";
  qemuTest(
    `multifd-flush-after-each-section=${flush} on ${machine}: from QEMU to us, and from us to QEMU`,
    async () => {
      using files = guestFiles(haltingRom(), RAM);
      const global = ["-global", `migration.multifd-flush-after-each-section=${flush}`];
      const args = ["-machine", machine, "-m", "64", ...global];
      await using source = await launchQemu([...args, "-S", ...files.load]);
      await using target = await launchQemu([...args, ...files.bios, ...DESTINATION]);
      const globals = { "multifd-flush-after-each-section": flush };
      await using bench = await Workbench.open({ incoming: "defer", stopped: true, globals });
      const settings = { channels: 2 };
      await set(bench, settings);
      await setQemu(source, settings);
      await setQemu(target, settings);
      const loading = bench.migrateIncoming(`unix:${files.path("here")}`);
      await source.qmp("migrate", { uri: await reachable(bench) });
      await loading;
      await source.waitMigration();
      await assertSameMemory(source, bench.session.guest);
      const uri = await target.listen(`unix:${files.path("there")}`);
      await bench.migrate(uri);
      await target.waitMigration();
      await assertSameMemory(target, bench.session.guest);
      if (!on) return; // the model guest has the devices of a 10.0 machine
      await using own = await Workbench.open({ ram: "64M", content: "random:at=8M,bytes=24M", machine, globals });
      await using next = await launchQemu([...args, ...DESTINATION]);
      await set(own, settings);
      await setQemu(next, settings);
      await own.migrate(await next.listen(`unix:${files.path("own")}`));
      await next.waitMigration();
      await assertSameMemory(next, own.session.guest);
    },
  );
}

qemuTest("a QEMU with another number of channels or another compression tells us no, and we say so", async () => {
  using files = guestFiles(haltingRom(), RAM);
  await using bench = await Workbench.open({ ram: "64M", content: "random:at=8M,bytes=24M" });
  await using vm = await launchQemu(["-machine", "pc-i440fx-10.0", "-m", "64", ...DESTINATION]);
  await set(bench, { channels: 2, compression: "zstd" });
  await setQemu(vm, { channels: 1, compression: "zstd" });
  const uri = await vm.listen(`unix:${files.path("socket")}`);
  await assert.rejects(bench.migrate(uri), /Unable to write to socket|ram_save_setup failed/);
  assert.equal(bench.info().status, "failed");
  assert.match(bench.session.runState, /running/);
});

qemuTest(
  "a migration cancelled while all channels are busy leaves the guest running, and it can be sent again",
  async () => {
    using files = guestFiles(haltingRom(), RAM);
    await using bench = await Workbench.open({ ram: "64M", content: "random:at=8M,bytes=48M" });
    await set(bench, { channels: 4 });
    await bench.setParameter("max-bandwidth", 4 * MIB);
    {
      await using vm = await launchQemu(["-machine", "pc-i440fx-10.0", "-m", "64", ...DESTINATION]);
      await setQemu(vm, { channels: 4 });
      const uri = await vm.listen(`unix:${files.path("first")}`);
      const sending = bench.migrate(uri).then(() => "done", (error) => error.message);
      while ((bench.info().ram?.["multifd-bytes"] ?? 0) < 2 * MIB) {
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      await bench.hmp("migrate_cancel");
      assert.match(await sending, /cancelled/);
      assert.equal(bench.info().status, "cancelled");
      assert.equal(bench.session.runState, "running");
    }
    await bench.setParameter("max-bandwidth", 0);
    await using vm = await launchQemu(["-machine", "pc-i440fx-10.0", "-m", "64", ...DESTINATION]);
    await setQemu(vm, { channels: 4 });
    await bench.migrate(await vm.listen(`unix:${files.path("second")}`));
    await vm.waitMigration();
    await assertSameMemory(vm, bench.session.guest);
  },
);

qemuTest("a source that dies in the middle fails the load at once, and what came is no guest", async () => {
  using files = guestFiles(haltingRom(), RAM);
  await using bench = await Workbench.open({ incoming: "defer" });
  await set(bench, { channels: 4 });
  const loading = bench.migrateIncoming(`unix:${files.path("socket")}`).then(
    () => "loaded",
    (error) => error.message,
  );
  {
    await using vm = await launchQemu(["-machine", "q35", "-m", "64", "-S", ...files.load]);
    await setQemu(vm, { channels: 4 });
    await vm.qmp("migrate-set-parameters", { "max-bandwidth": MIB });
    await vm.qmp("migrate", { uri: await reachable(bench) });
    while (bench.session.incoming.progress.bytes < MIB) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const begin = performance.now();
  assert.match(await loading, /Connection reset by peer|end of the connection|end-of-file|Missing section footer/);
  assert.ok(performance.now() - begin < 10_000, "it took ten seconds to notice");
  assert.equal(bench.info().status, "failed");
  assert.equal(bench.session.runState, "inmigrate");
});
