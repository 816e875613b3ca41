/**
 * QEMU saves, we load: memory is what QEMU's own `pmemsave` of the stopped guest says.
 * @module
 */
import assert from "node:assert/strict";
import { qemuTest } from "./available.ts";
import { guestFiles } from "./content.ts";
import { assertSameBlocks, assertSameMemory, listenHere, loadHere } from "./here.ts";
import { launchQemu, type Qemu } from "./qemu.ts";
import { haltingRom, SWEEP, sweepingRom } from "./rom.ts";

const MIB = 1 << 20;
const RAM = 64 * MIB;
const MAPPED = ["mapped-ram"];
const PARALLEL = ["mapped-ram", "multifd"];
/** So little may be left at the stop that a guest which keeps writing is gone over again and again. */
const RESTLESS = { "max-bandwidth": 64 * MIB, "downtime-limit": 1 };

/** Make ready for another save of the same memory, with these capabilities and no others. */
async function again(vm: Qemu, names: readonly string[]): Promise<void> {
  const capabilities = PARALLEL.map((capability) => ({ capability, state: names.includes(capability) }));
  await vm.qmp("migrate-set-capabilities", { capabilities });
  await vm.again();
}

for (const machine of ["pc", "q35", "microvm"]) {
  qemuTest(`a stopped ${machine} saved by QEMU in each format loads with the memory it had`, async () => {
    using files = guestFiles(haltingRom(), RAM);
    await using vm = await launchQemu(["-machine", machine, "-m", "64", "-S", ...files.load]);
    await vm.migrate(`file:${vm.path("sequential")}`);
    const sequential = await loadHere(`file:${vm.path("sequential")}`);
    await assertSameMemory(vm, sequential);
    assert.match(sequential.configuration.machine, /^(pc-i440fx|pc-q35)-\d|^microvm$/);
    assert.equal(sequential.savedRunState, "prelaunch");

    for (const capabilities of [MAPPED, PARALLEL]) {
      await again(vm, capabilities);
      await vm.migrate(`file:${vm.path("mapped")},offset=0x11000`);
      const mapped = await loadHere(`file:${vm.path("mapped")},offset=0x11000`, { capabilities: MAPPED });
      assertSameBlocks(mapped, sequential);
      mapped.memory.release();
    }
    sequential.memory.release();
  });
}

qemuTest("a guest saved by QEMU without zero page detection loads the same in both formats", async () => {
  using files = guestFiles(haltingRom(), RAM);
  await using vm = await launchQemu(["-machine", "pc", "-m", "64", "-S", ...files.load]);
  await vm.qmp("migrate-set-parameters", { "zero-page-detection": "none" });
  await vm.migrate(`file:${vm.path("sequential")}`);
  const sequential = await loadHere(`file:${vm.path("sequential")}`);
  await assertSameMemory(vm, sequential);
  await again(vm, MAPPED);
  await vm.migrate(`file:${vm.path("mapped")}`);
  const mapped = await loadHere(`file:${vm.path("mapped")}`, { capabilities: MAPPED });
  assertSameBlocks(mapped, sequential);
});

qemuTest("a guest that runs while QEMU saves it loads as it was when it stopped", async () => {
  using files = guestFiles(sweepingRom(), RAM);
  await using vm = await launchQemu(["-machine", "q35", "-m", "64", ...files.load]);
  await vm.qmp("migrate-set-parameters", RESTLESS);
  await vm.qmp("migrate", { uri: `file:${vm.path("saved")}` });
  await vm.waitFor((info) => info.ram?.["dirty-sync-count"] >= 4);
  await vm.qmp("migrate-set-parameters", { "downtime-limit": 2000 });
  const info = await vm.waitMigration();
  assert(info.ram["dirty-sync-count"] >= 4);
  const guest = await loadHere(`file:${vm.path("saved")}`);
  await assertSameMemory(vm, guest);
  assert.equal(guest.savedRunState, "running");
  assert(sweeps(guest.memory.block("pc.ram")!) > 1, "the guest did run");
});

qemuTest("a guest that runs while QEMU saves it to fixed offsets loads as it was when it stopped", async () => {
  for (const capabilities of [MAPPED, PARALLEL]) {
    using files = guestFiles(sweepingRom(), RAM);
    await using vm = await launchQemu(["-machine", "pc", "-m", "64", ...files.load]);
    await vm.capabilities(...capabilities);
    await vm.qmp("migrate-set-parameters", RESTLESS);
    await vm.qmp("migrate", { uri: `file:${vm.path("saved")}` });
    await vm.waitFor((info) => info.ram?.["dirty-sync-count"] >= 3);
    await vm.qmp("migrate-set-parameters", { "downtime-limit": 2000 });
    await vm.waitMigration();
    const guest = await loadHere(`file:${vm.path("saved")}`, { capabilities: MAPPED });
    await assertSameMemory(vm, guest);
    guest.memory.release();
  }
});

qemuTest("a guest saved by QEMU through a descriptor it was given loads, with an offset too", async () => {
  using files = guestFiles(haltingRom(), RAM);
  const [first, second] = [files.path("first"), files.path("second")];
  await using vm = await launchQemu(
    ["-machine", "q35", "-m", "64", "-S", "-add-fd", "fd=8,set=3", "-add-fd", "fd=9,set=4", ...files.load],
    { redirect: `8>${first} 9>${second}` },
  );
  await vm.migrate("file:/dev/fdset/3");
  const sequential = await loadHere(`file:${first}`);
  await assertSameMemory(vm, sequential);
  await again(vm, PARALLEL);
  await vm.migrate("file:/dev/fdset/4,offset=1M");
  const mapped = await loadHere(`file:${second},offset=1M`, { capabilities: MAPPED });
  assertSameBlocks(mapped, sequential);
});

qemuTest("a guest saved by QEMU into a command, a Unix socket and a TCP port loads", async () => {
  using files = guestFiles(haltingRom(), RAM);
  await using vm = await launchQemu(["-machine", "pc", "-m", "64", "-S", ...files.load]);
  await vm.migrate(`exec:cat > ${files.path("piped")}`);
  const piped = await loadHere(`exec:cat ${files.path("piped")}`);
  await assertSameMemory(vm, piped);
  for (const address of [`unix:${files.path("socket")}`, "tcp:127.0.0.1:0"]) {
    const { uri, guest } = listenHere(address);
    await vm.again();
    await vm.migrate(uri);
    assertSameBlocks(await guest, piped);
    (await guest).memory.release();
  }
});

qemuTest("QEMU's source completes over a return path when we say that all was loaded", async () => {
  using files = guestFiles(sweepingRom(), RAM);
  await using vm = await launchQemu(["-machine", "pc", "-m", "64", ...files.load]);
  await vm.capabilities("return-path");
  const { uri, guest } = listenHere(`unix:${files.path("socket")}`, { capabilities: ["return-path"] });
  await vm.migrate(uri);
  await assertSameMemory(vm, await guest);
});

/** Sweeps the guest had begun: the highest number in the pages it writes to. */
function sweeps(block: { read(offset: number, target: Uint8Array): void }): number {
  const word = new Uint8Array(4);
  block.read(SWEEP.first, word);
  return new DataView(word.buffer).getUint32(0, true);
}
