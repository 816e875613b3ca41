/**
 * Two saves of a guest that did nothing in between: a real QEMU's devices, whose clocks went on.
 * @module
 */
import assert from "node:assert/strict";
import { openImage } from "../../containers/image.ts";
import { diffImages } from "../../reports/diff.ts";
import { diffText } from "../../reports/diff_text.ts";
import { qemuTest } from "./available.ts";
import { launchQemu } from "./qemu.ts";
import { haltingRom } from "./rom.ts";

/** Long enough for the clock in the CMOS to show another second. */
const A_WHILE_MS = 1500;
const aWhile = () => new Promise((resolve) => setTimeout(resolve, A_WHILE_MS));
/** Whether the PIT's square wave was high: no clock, and nothing that the guest did. */
const LEVEL = "i8259:last_irr";
const DEVICES = [
  "qemu-xhci,id=x",
  "usb-tablet,bus=x.0",
  "usb-ehci",
  "piix3-usb-uhci",
  "pci-ohci",
  "virtio-net-pci",
  "virtio-rng-pci",
  "virtio-balloon-pci",
  "virtio-serial-pci",
  "virtio-scsi-pci",
  "e1000",
  "e1000e",
  "rtl8139",
  "pcnet",
  "intel-hda",
  "i6300esb",
].flatMap((device) => ["-device", device]);

for (const machine of ["pc,hpet=on", "q35,hpet=on"]) {
  for (const accel of ["tcg", "kvm"] as const) {
    qemuTest(`an idle ${machine} under ${accel} differs in its clocks alone`, async () => {
      const rom = await Deno.makeTempFile();
      try {
        await Deno.writeFile(rom, haltingRom());
        const args = ["-machine", machine, "-cpu", "max", "-m", "16", "-bios", rom, ...DEVICES];
        await using vm = await launchQemu(args, { accel });
        await aWhile(); // it has halted, and what interrupts it is pending
        await vm.qmp("stop");
        await vm.migrate(`file:${vm.path("a")}`);
        await vm.qmp("cont");
        await aWhile();
        await vm.qmp("stop");
        await vm.migrate(`file:${vm.path("b")}`);
        await using a = await openImage(vm.path("a"));
        await using b = await openImage(vm.path("b"));
        const all = await diffImages(a, b);
        const names = all.devices.map(({ name }) => name);
        for (const clock of ["timer", "mc146818rtc"]) assert(names.includes(clock), `${clock} in ${names}`);
        assert.equal(diffText(await diffImages(a, b, { ignore: ["timers", LEVEL] })), "");
      } finally {
        await Deno.remove(rom);
      }
    }, ...(accel === "kvm" ? ["kvm"] as const : []));
  }
}
