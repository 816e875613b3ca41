/**
 * We save, QEMU loads: memory and registers are as they were, and the guest runs on.
 * @module
 */
import assert from "node:assert/strict";
import { createModelGuest } from "../../guest/model.ts";
import { qemuTest } from "./available.ts";
import { guestFiles } from "./content.ts";
import { assertSameBytes, assertSameMemory, listenHere, loadHere, saveHere } from "./here.ts";
import { launchQemu, type Qemu } from "./qemu.ts";
import { haltingRom, SWEEP, sweepingRom } from "./rom.ts";

const MIB = 1 << 20;
const RAM = 64 * MIB;
const FORMATS = [[], ["mapped-ram"]];
const DESTINATION = ["-S", "-incoming", "defer"];

/** How many times the guest went over its pages. */
async function sweep(vm: Qemu): Promise<number> {
  return new DataView((await vm.pmemsave(SWEEP.first, 4)).buffer).getUint32(0, true);
}

/** The guest runs: its counter moves on from where it stood. */
async function assertRunsOn(vm: Qemu, from: number): Promise<void> {
  await vm.qmp("cont");
  const until = performance.now() + 10_000;
  for (;;) {
    const now = await sweep(vm);
    assert(now >= from, `the sweep went back from ${from} to ${now}`);
    if (now > from) return;
    assert(performance.now() < until, "the guest stands still after cont");
  }
}

for (const machine of ["pc", "q35", "microvm"]) {
  qemuTest(`a running ${machine} adopted from QEMU and saved here runs on in a new QEMU`, async () => {
    using files = guestFiles(sweepingRom(), RAM);
    const args = ["-machine", machine, "-m", "64", ...files.bios];
    await using source = await launchQemu(["-machine", machine, "-m", "64", ...files.load]);
    await source.qmp("migrate-set-parameters", { "max-bandwidth": 0 });
    await source.migrate(`file:${source.path("saved")}`);
    const registers = await source.hmp("info registers");
    const guest = await loadHere(`file:${source.path("saved")}`);
    assert.equal(guest.savedRunState, "running");

    for (const capabilities of FORMATS) {
      for (const offset of [0, 0x11000]) {
        const uri = `file:${files.path("saved")},offset=${offset}`;
        await saveHere(guest, uri, { capabilities });
        await using vm = await launchQemu([...args, ...DESTINATION]);
        await vm.capabilities(...capabilities);
        await vm.incoming(uri);
        assert.equal(await vm.runState(), "paused"); // it ran, and -S was given
        await assertSameMemory(vm, guest);
        assert.equal(await vm.hmp("info registers"), registers);
        await assertRunsOn(vm, await sweep(source));
      }
    }
  });
}

qemuTest("QEMU loads a file of ours with as many channels as it likes", async () => {
  using files = guestFiles(haltingRom(), RAM);
  await using source = await launchQemu(["-machine", "q35", "-m", "64", "-S", ...files.load]);
  await source.migrate(`file:${source.path("saved")}`);
  const guest = await loadHere(`file:${source.path("saved")}`);
  const uri = `file:${files.path("saved")},offset=0x11000`;
  await saveHere(guest, uri, { capabilities: ["mapped-ram"] });
  for (const channels of [1, 3]) {
    await using vm = await launchQemu(["-machine", "q35", "-m", "64", ...files.bios, ...DESTINATION]);
    await vm.capabilities("mapped-ram", "multifd");
    await vm.qmp("migrate-set-parameters", { "multifd-channels": channels });
    await vm.incoming(uri);
    await assertSameMemory(vm, guest);
  }
});

for (const accel of ["tcg", "kvm"] as const) {
  for (const mib of [64, 256]) {
    qemuTest(
      `the model guest of ${mib} MiB saved in each format loads in a real QEMU under ${accel} and runs on`,
      async () => {
        const layers = [
          { kind: "pattern", at: MIB, bytes: 4 * MIB },
          { kind: "random", seed: 7n, at: 8 * MIB, bytes: 24 * MIB, percent: 40 },
        ] as const;
        const guest = createModelGuest({ ramBytes: mib * MIB, content: layers });
        using files = guestFiles(haltingRom(), RAM);
        for (const capabilities of FORMATS) {
          const uri = `file:${files.path("model")}`;
          await saveHere(guest, uri, { capabilities, runState: "running" });
          const args = ["-machine", "pc-i440fx-10.0", "-m", `${mib}`, ...DESTINATION];
          await using vm = await launchQemu(args, { accel });
          await vm.capabilities(...capabilities);
          await vm.incoming(uri);
          assert.equal(await vm.runState(), "paused");
          await assertSameMemory(vm, guest);
          await vm.qmp("cont");
          await new Promise((resolve) => setTimeout(resolve, 100));
          assert.equal(await vm.runState(), "running");
          // our firmware disables interrupts and halts behind it: cli; 1: hlt; jmp 1b
          assert.match(await vm.hmp("info registers"), /EIP=0000e05[de][\s\S]*HLT=1/);
        }
      },
      accel === "kvm" ? "kvm" : undefined,
    );
  }
}

qemuTest(
  "a model guest of 5 GiB has its memory on both sides of the PCI hole, and comes back from QEMU the same",
  async () => {
    const GIB = 2 ** 30;
    // RAM beyond 3 GiB lies from 4 GiB on
    const pieces = [[GIB - MIB, GIB - MIB], [3 * GIB - MIB, 3 * GIB - MIB], [3 * GIB, 4 * GIB], [
      5 * GIB - MIB,
      6 * GIB - MIB,
    ]];
    const guest = createModelGuest({
      ramBytes: 5 * GIB,
      content: pieces.map(([at], i) => ({ kind: "random", seed: BigInt(i), at, bytes: MIB })),
    });
    using files = guestFiles(haltingRom(), RAM);
    for (const capabilities of FORMATS) {
      const [there, back] = [`file:${files.path("there")}`, `file:${files.path("back")}`];
      await saveHere(guest, there, { capabilities, runState: "paused" });
      await using vm = await launchQemu(["-machine", "pc-i440fx-10.0", "-m", "5120", ...DESTINATION]);
      await vm.capabilities(...capabilities);
      await vm.incoming(there);
      await vm.migrate(back);
      const returned = await loadHere(back, { capabilities });
      for (const [offset, address] of pieces) {
        const sent = new Uint8Array(MIB), came = new Uint8Array(MIB);
        guest.memory.block("pc.ram")!.read(offset, sent);
        assertSameBytes(await vm.pmemsave(address, MIB), sent, `guest-physical 0x${address.toString(16)}`);
        returned.memory.block("pc.ram")!.read(offset, came);
        assertSameBytes(came, sent, `pc.ram at 0x${offset.toString(16)}`);
      }
      returned.memory.release();
    }
    guest.memory.release();
  },
);

qemuTest("a guest saved here into a command, a Unix socket and a TCP port arrives in QEMU and runs", async () => {
  using files = guestFiles(sweepingRom(), RAM);
  await using source = await launchQemu(["-machine", "pc", "-m", "64", ...files.load]);
  await source.migrate(`file:${source.path("saved")}`);
  const guest = await loadHere(`file:${source.path("saved")}`);
  const args = ["-machine", "pc", "-m", "64", ...files.bios, ...DESTINATION];

  await saveHere(guest, `exec:cat > ${files.path("piped")}`);
  await using piped = await launchQemu(args);
  await piped.incoming(`exec:cat ${files.path("piped")}`);
  await assertSameMemory(piped, guest);

  for (const address of [`unix:${files.path("socket")}`, "tcp:127.0.0.1:0"]) {
    await using vm = await launchQemu(args);
    await saveHere(guest, await vm.listen(address));
    await vm.waitMigration();
    await assertSameMemory(vm, guest);
    await assertRunsOn(vm, await sweep(source));
  }
});

qemuTest("QEMU's destination tells us over the return path that all was loaded", async () => {
  const guest = createModelGuest({ ramBytes: RAM });
  using files = guestFiles(haltingRom(), RAM);
  const capabilities = ["return-path"];
  await using vm = await launchQemu(["-machine", "pc-i440fx-10.0", "-m", "64", ...DESTINATION]);
  await vm.capabilities(...capabilities);
  const uri = `unix:${files.path("socket")}`;
  await vm.listen(uri);
  await saveHere(guest, uri, { capabilities });
  await vm.waitMigration();
  await assertSameMemory(vm, guest);
});

qemuTest("QEMU's destination tells us over the return path that it could not load", async () => {
  const guest = createModelGuest({ ramBytes: RAM });
  using files = guestFiles(haltingRom(), RAM);
  const capabilities = ["return-path"];
  await using vm = await launchQemu(["-machine", "q35", "-m", "64", ...DESTINATION]);
  await vm.capabilities(...capabilities);
  const uri = `unix:${files.path("socket")}`;
  await vm.listen(uri);
  await assert.rejects(saveHere(guest, uri, { capabilities }), { name: "TransportError" });
  await assert.rejects(vm.waitMigration(), /Machine type received is 'pc-i440fx-10.0' and local is 'pc-q35/);
});

qemuTest("a guest goes from QEMU through us into QEMU without touching a disk", async () => {
  using files = guestFiles(sweepingRom(), RAM);
  await using source = await launchQemu(["-machine", "q35", "-m", "64", ...files.load]);
  await using target = await launchQemu(["-machine", "q35", "-m", "64", ...files.bios, ...DESTINATION]);
  const { uri, guest } = listenHere("tcp:127.0.0.1:0");
  await source.migrate(uri);
  const address = `unix:${files.path("target")}`;
  await target.listen(address);
  await saveHere(await guest, address);
  await target.waitMigration();
  await assertSameMemory(target, await guest);
  assert.equal(await target.hmp("info registers"), await source.hmp("info registers"));
  await assertRunsOn(target, await sweep(source));
});

qemuTest("a guest that ran under TCG runs on under KVM", async () => {
  // not the other way round: a KVM guest carries kvmclock, of which TCG knows nothing
  using files = guestFiles(sweepingRom(), RAM);
  const machine = ["-machine", "pc", "-m", "64"];
  await using source = await launchQemu([...machine, ...files.load], { accel: "tcg" });
  await source.migrate(`file:${source.path("saved")}`);
  const guest = await loadHere(`file:${source.path("saved")}`);
  const uri = `file:${files.path("saved")}`;
  await saveHere(guest, uri);
  await using vm = await launchQemu([...machine, ...files.bios, ...DESTINATION], { accel: "kvm" });
  await vm.incoming(uri);
  await assertSameMemory(vm, guest);
  await assertRunsOn(vm, await sweep(source));
}, "kvm");
