/**
 * Guest-physical memory of saved PCs with displays, against dump-guest-memory of the same stopped QEMU, whose firmware has
 * given the BARs their places.
 * @module
 */
import assert from "node:assert/strict";
import { openImage } from "../../containers/image.ts";
import { diffImages } from "../../reports/diff.ts";
import { diffText } from "../../reports/diff_text.ts";
import { qemuTest } from "./available.ts";
import { launchQemu, type Qemu } from "./qemu.ts";

/** Firmware has switched on the memory of every display that has any. */
async function untilMapped(vm: Qemu): Promise<void> {
  for (let i = 0; i < 300; i++) {
    if (/\(prio 1, ram\): .*(vram|fifo)/.test(await vm.hmp("info mtree -f"))) break;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const MACHINES: readonly (readonly [what: string, args: readonly string[]])[] = [
  ["a VGA on pc", ["-machine", "pc", "-vga", "std"]],
  ["a cirrus VGA on pc", ["-machine", "pc", "-vga", "cirrus"]],
  ["a vmware VGA with its FIFO", ["-machine", "pc", "-vga", "vmware"]],
  ["two displays on q35", ["-machine", "q35", "-vga", "none", "-device", "bochs-display", "-device", "secondary-vga"]],
  ["a virtio VGA on q35", ["-machine", "q35", "-vga", "virtio"]],
];

for (const [what, args] of MACHINES) {
  qemuTest(`memory of ${what} is where dump-guest-memory has it, and what it has`, async () => {
    await using vm = await launchQemu([...args, "-m", "64"]);
    await untilMapped(vm);
    await vm.qmp("stop");
    await vm.qmp("dump-guest-memory", { paging: false, protocol: `file:${vm.path("core")}` });
    await vm.migrate(`file:${vm.path("saved")}`);
    await using saved = await openImage(vm.path("saved"));
    await using core = await openImage(vm.path("core"));
    assert(core.core!.segments.some(({ address }) => address >= 0xc000_0000 && address < 0xff00_0000));
    const report = await diffImages(saved, core);
    assert.equal(diffText(report), "");
    assert(report.equal);
  });
}
