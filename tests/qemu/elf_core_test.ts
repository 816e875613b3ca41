/**
 * What dump-guest-memory of a real QEMU writes, read as images.
 * @module
 */
import assert from "node:assert/strict";
import { openImage } from "../../containers/image.ts";
import { coreCpus } from "../../reports/core_cpu.ts";
import { diffImages } from "../../reports/diff.ts";
import { diffText } from "../../reports/diff_text.ts";
import { qemuTest } from "./available.ts";
import { guestFiles } from "./content.ts";
import { LONG_MODE_REGISTERS, longModeRom, longModeTables } from "./long_mode.ts";
import { launchQemu } from "./qemu.ts";
import { haltingRom } from "./rom.ts";

const MIB = 1 << 20;

qemuTest("a dump of a real QEMU is equal to its save, and has the pages its monitor has", async () => {
  using files = guestFiles(haltingRom(), 64 * MIB);
  await using vm = await launchQemu(["-machine", "q35", "-m", "64", "-smp", "2", ...files.load]);
  await vm.qmp("stop");
  await vm.qmp("dump-guest-memory", { paging: false, protocol: `file:${vm.path("core")}` });
  await vm.migrate(`file:${vm.path("saved")}`);
  await using saved = await openImage(vm.path("saved"));
  await using core = await openImage(vm.path("core"));
  assert.equal(diffText(await diffImages(saved, core)), "");
  assert.equal(coreCpus(core.core!).length, 2);
  const address = 16 * MIB;
  const page = await core.ram.readPage("memory", address);
  const theirs = vm.path("theirs");
  await vm.qmp("pmemsave", { val: address, size: 4096, filename: theirs });
  assert.deepEqual(page, Deno.readFileSync(theirs));
});

qemuTest("a dump with the guest's paging has its memory by physical addresses, with what it maps", async () => {
  using files = guestFiles(longModeRom(), 64 * MIB);
  Deno.writeFileSync(files.path("tables"), longModeTables());
  const tables = ["-device", `loader,file=${files.path("tables")},addr=0x8000,force-raw=on`];
  await using vm = await launchQemu(["-machine", "pc", "-m", "64", ...files.bios, ...tables]);
  for (let i = 0; i < 200 && !/HLT=1/.test(await vm.hmp("info registers")); i++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  await vm.qmp("stop");
  await vm.qmp("dump-guest-memory", { paging: true, protocol: `file:${vm.path("core")}` });
  await vm.qmp("dump-guest-memory", { paging: false, protocol: `file:${vm.path("plain")}` });
  await using paged = await openImage(vm.path("core"));
  await using plain = await openImage(vm.path("plain"));
  const [cpu] = coreCpus(plain.core!);
  assert.equal(cpu.get("rax"), LONG_MODE_REGISTERS.rax);
  assert.equal(cpu.get("r15"), LONG_MODE_REGISTERS.r15);
  const { devices, ram: [ram, ...more] } = await diffImages(paged, plain);
  // QEMU leaves out what the guest does not map, and of a mapping what is not in its first region: the firmware here
  assert.deepEqual([devices, more, ram.changedPages, ram.onlyA], [[], [], 0, undefined]);
  assert.deepEqual(ram.onlyB, [[0xff, 1], [0xffff0, 16]]);
});

qemuTest("a kdump of a real QEMU is refused by name", async () => {
  using files = guestFiles(haltingRom(), 64 * MIB);
  await using vm = await launchQemu(["-machine", "pc", "-m", "64", ...files.load]);
  await vm.qmp("stop");
  await vm.qmp("dump-guest-memory", { paging: false, protocol: `file:${vm.path("core")}`, format: "kdump-zlib" });
  await assert.rejects(openImage(vm.path("core")), /a kdump-compressed file \(makedumpfile\): its pages are packed/);
});
