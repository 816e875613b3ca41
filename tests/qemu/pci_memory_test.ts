/**
 * Guest-physical memory of saved PCs with displays and other devices that have RAM, behind bridges too, against dump-guest-memory of the same stopped QEMU, whose firmware has
 * given the BARs their places.
 * @module
 */
import assert from "node:assert/strict";
import { openImage } from "../../containers/image.ts";
import { diffImages } from "../../reports/diff.ts";
import { diffText } from "../../reports/diff_text.ts";
import { QEMU, qemuAvailable, qemuTest } from "./available.ts";
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
  ["a VGA behind a bridge on pc", [
    ...["-machine", "pc", "-device", "pci-bridge,id=b,chassis_nr=1"],
    ...["-device", "VGA,bus=b,addr=3"],
  ]],
  ["displays behind a root port, and behind a bridge to PCI", [
    ...["-machine", "q35", "-device", "pcie-root-port,id=p,chassis=1", "-device", "bochs-display,bus=p"],
    ...["-device", "pcie-pci-bridge,id=b", "-device", "secondary-vga,bus=b,addr=3"],
  ]],
  ["a display behind a switch, and an ivshmem", [
    ...["-machine", "q35", "-device", "pcie-root-port,id=p,chassis=1", "-device", "x3130-upstream,bus=p,id=u"],
    ...["-device", "xio3130-downstream,bus=u,id=d,chassis=2", "-device", "bochs-display,bus=d"],
    ...["-object", "memory-backend-ram,id=shm,size=1M", "-device", "ivshmem-plain,memdev=shm,master=on"],
  ]],
  ["a display behind an expander", [
    ...["-machine", "pc", "-device", "pxb,id=x,bus_nr=128", "-device", "secondary-vga,bus=x,addr=1"],
  ]],
];
/** Takes a module of QEMU that is often not installed. */
const QXL: typeof MACHINES = [
  ["a qxl VGA", ["-machine", "q35", "-device", "qxl-vga"]],
  ["a second qxl", ["-machine", "q35", "-vga", "std", "-device", "qxl"]],
];

/** The memory of a machine, saved and dumped; ends when both are the same. */
async function compare(args: readonly string[]): Promise<void> {
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
}

for (const [what, args] of MACHINES) {
  qemuTest(`memory of ${what} is where dump-guest-memory has it, and what it has`, () => compare(args));
}

const qxl = qemuAvailable() && hasDevice("qxl");
for (const [what, args] of QXL) {
  Deno.test({
    name: `memory of ${what} is where dump-guest-memory has it${qxl ? "" : " (needs qemu-system-modules-spice)"}`,
    ignore: !qxl,
    fn: () => compare(args),
  });
}

/** Whether QEMU has a device; one of a module that is not there is not listed. */
function hasDevice(name: string): boolean {
  const { stdout } = new Deno.Command(QEMU, { args: ["-device", "help"], stderr: "null" }).outputSync();
  return new TextDecoder().decode(stdout).includes(`name "${name}"`);
}
