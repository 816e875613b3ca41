/**
 * multifd into one file: what a workbench writes with several channels a real QEMU loads with any number, and the other way
 * round, through the page cache and past it.
 * @module
 */
import assert from "node:assert/strict";
import { constants } from "node:fs";
import { holdPath, Workbench } from "../../mod.ts";
import { qemuTest } from "./available.ts";
import { guestFiles } from "./content.ts";
import { assertSameMemory } from "./here.ts";
import { launchQemu, type Qemu } from "./qemu.ts";
import { haltingRom } from "./rom.ts";

const MIB = 1 << 20;
const RAM = 64 * MIB;
const MODEL = ["-machine", "pc-i440fx-10.0", "-m", "64"];
const DESTINATION = ["-S", "-incoming", "defer"];

/** Number of channels, and whether they bypass the page cache. */
type Way = readonly [channels: number, direct: boolean];

async function set(bench: Workbench, [channels, direct]: Way): Promise<void> {
  await bench.setCapabilities({ "mapped-ram": true, multifd: true });
  await bench.setParameter("multifd-channels", channels);
  await bench.setParameter("direct-io", direct);
}

async function setQemu(vm: Qemu, [channels, direct]: Way): Promise<void> {
  await vm.capabilities("mapped-ram", "multifd");
  await vm.qmp("migrate-set-parameters", { "multifd-channels": channels, "direct-io": direct });
}

const WAYS: readonly (readonly [Way, Way])[] = [
  [[2, false], [5, false]],
  [[4, true], [1, true]],
  [[1, false], [3, true]],
];

for (const [ours, theirs] of WAYS) {
  const text = ([channels, direct]: Way) => `${channels} channels${direct ? " past the page cache" : ""}`;

  qemuTest(`a guest saved here through ${text(ours)} loads in QEMU through ${text(theirs)}`, async () => {
    using files = guestFiles(haltingRom(), RAM);
    const uri = `file:${files.path("out")},offset=0x3001`;
    await using bench = await Workbench.open({ ram: "64M", content: "random:at=8M,bytes=24M,percent=40" });
    await set(bench, ours);
    await bench.migrate(uri);
    await using vm = await launchQemu([...MODEL, ...DESTINATION]);
    await setQemu(vm, theirs);
    await vm.incoming(uri);
    await assertSameMemory(vm, bench.session.guest);
  });

  qemuTest(`a guest saved by QEMU through ${text(theirs)} loads here through ${text(ours)}`, async () => {
    using files = guestFiles(haltingRom(), RAM);
    const uri = `file:${files.path("out")},offset=0x3001`;
    await using vm = await launchQemu([...MODEL, "-S", ...files.load]);
    await setQemu(vm, theirs);
    const { ram: statistics } = await vm.migrate(uri);
    await using bench = await Workbench.open({ incoming: "defer" });
    await set(bench, ours);
    await bench.migrateIncoming(uri);
    await assertSameMemory(vm, bench.session.guest);
    // saved once more from here, the figures are QEMU's
    await set(bench, ours);
    const { ram } = await bench.migrate(`file:${files.path("again")}`);
    for (const figure of ["normal", "duplicate", "normal-bytes", "multifd-bytes", "total"] as const) {
      assert.equal(ram![figure], statistics[figure], figure);
    }
  });
}

qemuTest("QEMU loads through a set of two descriptors what was saved here through a set of two", async () => {
  using files = guestFiles(haltingRom(), RAM);
  const path = files.path("out");
  await using bench = await Workbench.open({ ram: "64M", content: "random:at=8M,bytes=24M" });
  await set(bench, [3, true]);
  Deno.createSync(path).close();
  for (const flags of [constants.O_WRONLY, constants.O_WRONLY | constants.O_DIRECT]) {
    await bench.qmp("add-fd", { "fdset-id": 2 }, { fd: holdPath(path, flags) });
  }
  await bench.migrate("file:/dev/fdset/2,offset=64k");
  await using vm = await launchQemu([...MODEL, ...DESTINATION]);
  await setQemu(vm, [2, true]);
  await vm.incoming(`file:${path},offset=64k`);
  await assertSameMemory(vm, bench.session.guest);
});
