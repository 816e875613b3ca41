/**
 * Our ELF cores of saved guests, against what dump-guest-memory of the same stopped QEMU writes.
 * @module
 */
import assert from "node:assert/strict";
import { openImage } from "../../containers/image.ts";
import { writeElfCore } from "../../reports/elf.ts";
import { cpuStates } from "../../reports/cpu_state.ts";
import { readCore } from "../elf_core.ts";
import { qemuTest } from "./available.ts";
import { guestFiles } from "./content.ts";
import { assertSameBytes } from "./here.ts";
import { LONG_MODE_REGISTERS, longModeRom, longModeTables } from "./long_mode.ts";
import { launchQemu, type Qemu } from "./qemu.ts";
import { haltingRom } from "./rom.ts";

const MIB = 1 << 20;

/** Dump and save a stopped guest; every note and every byte of memory must be the same. */
async function compareCores(vm: Qemu): Promise<ReturnType<typeof cpuStates>> {
  await vm.qmp("dump-guest-memory", { paging: false, protocol: `file:${vm.path("theirs.core")}` });
  await vm.migrate(`file:${vm.path("saved")}`);
  await using image = await openImage(vm.path("saved"));
  const { ranges } = await writeElfCore(image, vm.path("ours.core"));
  const ours = readCore(vm.path("ours.core")), theirs = readCore(vm.path("theirs.core"));
  assert.deepEqual([ours.elfClass, ours.machine], [64, theirs.machine]);
  assertSameBytes(ours.notes, theirs.notes, "notes");
  for (const { base, length } of ranges) {
    for (let at = base; at < base + length; at += MIB) {
      const n = Math.min(MIB, base + length - at);
      // QEMU's ranges may begin and end elsewhere: go page by page where one does
      const whole = theirs.memory(at, n);
      if (whole) assertSameBytes(ours.memory(at, n)!, whole, `0x${at.toString(16)}`);
      else {
        for (let page = at; page < at + n; page += 4096) {
          assertSameBytes(ours.memory(page, 4096)!, theirs.memory(page, 4096)!, `0x${page.toString(16)}`);
        }
      }
    }
  }
  const total = (core: typeof ours) => core.loads.reduce((sum, { length }) => sum + length, 0);
  assert.equal(total(ours), total(theirs));
  return cpuStates(image);
}

for (const machine of ["pc", "q35", "microvm"]) {
  qemuTest(`an ELF core of a saved ${machine} has the notes and the memory of dump-guest-memory`, async () => {
    using files = guestFiles(haltingRom(), 64 * MIB);
    const smp = machine === "microvm" ? [] : ["-smp", "2"];
    await using vm = await launchQemu(["-machine", machine, "-m", "64", ...smp, ...files.load]);
    await vm.qmp("stop");
    await compareCores(vm);
  });
}

qemuTest("an ELF core of a guest in 64-bit mode has 64-bit registers, as QEMU's", async () => {
  using files = guestFiles(longModeRom(), 64 * MIB);
  Deno.writeFileSync(files.path("tables"), longModeTables());
  const tables = ["-device", `loader,file=${files.path("tables")},addr=0x8000,force-raw=on`];
  await using vm = await launchQemu(["-machine", "pc", "-m", "64", ...files.bios, ...tables]);
  for (let i = 0; i < 200 && !/HLT=1/.test(await vm.hmp("info registers")); i++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  await vm.qmp("stop");
  const [cpu] = await compareCores(vm);
  assert(cpu.kind === "x86" && cpu.longMode);
  assert.equal(cpu.regs[0], LONG_MODE_REGISTERS.rax);
  assert.equal(cpu.regs[15], LONG_MODE_REGISTERS.r15);
});
