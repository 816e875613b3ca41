/**
 * RAM of PCI devices in guest-physical memory: what their base address registers show, where the device decodes memory and the
 * bridges above it let that through; see pci_config.ts.
 *
 *     BAR             0x10 + 4 N; 0x30 ROM: see pci_registers.ts
 *     vga.vram        BAR 0 of every VGA, BAR 1 of vmware-svga        bochs-display-vram   BAR 0
 *     vmsvga.fifo     BAR 2 of vmware-svga                            ivshmem's backend    BAR 2
 *     qxl.vgavram     BAR 0 of a qxl that is no VGA                   qxl.vrom             BAR 2
 *     qxl.vram        BAR 4 where there is one, BAR 1 where not       NAME.rom             the expansion ROM
 *
 * Left out: BAR 1 of a qxl that has BAR 4 (vram64_size_mb), a beginning of the same block whose length no stream tells; and VRAM
 * that a VGA shows in banks at 0xa0000. Source: QEMU hw/pci/pci.c (pci_bar_address), hw/display/vga-pci.c, vmware_vga.c,
 * bochs-display.c, virtio-vga.c, cirrus_vga.c, qxl.c (qxl_realize_common), hw/misc/ivshmem-pci.c; checked against `info mtree
 * -f` and dump-guest-memory of 10.0.2, both of which have this memory.
 * @module
 */
import type { DeviceSection, PhysicalRange } from "./guest.ts";
import type { GuestMemory } from "./memory.ts";
import { decodesMemory, type PciDevice, PciDevices } from "./pci_config.ts";
import { readBar, readRom } from "./pci_registers.ts";

const PCI_CLASS = 0x0a, PCI_BASE_ADDRESS_0 = 0x10, PCI_ROM_ADDRESS = 0x30;
const PCI_CLASS_DISPLAY_VGA = 0x0300;

/** Where a block of a device is shown. */
interface Place {
  /** Name of the block, with the device's path where blocks of that name have one. */
  readonly idstr: string;
  readonly bar: number | "rom";
}

/** Ranges that base address registers show, in no order; they may lie over each other and over RAM. */
export function pciRanges(memory: GuestMemory, sections: readonly DeviceSection[]): PhysicalRange[] {
  const ranges: PhysicalRange[] = [];
  const devices = new PciDevices(sections);
  for (const device of devices.endpoints) {
    if (!decodesMemory(device.config)) continue;
    for (const { idstr, bar } of places(device, memory)) {
      const block = memory.block(idstr);
      const start = block && barAddress(device.config, bar, block.usedLength);
      if (start === undefined) continue;
      for (const { base, end } of devices.through(device.path, { base: start, end: start + block!.usedLength })) {
        ranges.push({ base, length: end - base, idstr, blockOffset: base - start });
      }
    }
  }
  return ranges;
}

/**
 * Whether a display has the legacy window at 0xa0000. Where its section is not there to say so, it has.
 * @param vram name of its block
 */
export function hasLegacyWindow(vram: string, sections: readonly DeviceSection[]): boolean {
  const path = vram.slice(0, vram.lastIndexOf("/"));
  const devices = new PciDevices(sections);
  const displays = devices.endpoints.filter((device) => device.path === path);
  if (displays.length === 0) return true;
  return displays.some(({ config }) => config.getUint16(PCI_CLASS, true) === PCI_CLASS_DISPLAY_VGA) &&
    devices.letsVgaThrough(path);
}

function places({ path, name, config }: PciDevice, memory: GuestMemory): Place[] {
  const vmware = name === "vmware_vga";
  const found: Place[] = [
    { idstr: `${path}/vga.vram`, bar: vmware ? 1 : 0 },
    { idstr: `${path}/bochs-display-vram`, bar: 0 },
    { idstr: `${path}/qxl.vgavram`, bar: 0 },
    { idstr: `${path}/qxl.vrom`, bar: 2 },
    { idstr: `${path}/qxl.vram`, bar: config.getUint32(PCI_BASE_ADDRESS_0 + 4 * 4, true) === 0 ? 1 : 4 },
    ...(vmware ? [{ idstr: "vmsvga.fifo", bar: 2 }] : []),
  ];
  for (const { idstr } of memory.blocks) {
    if (!idstr.startsWith(`${path}/`)) continue;
    if (idstr.endsWith(".rom")) found.push({ idstr, bar: "rom" });
    else if (name.startsWith("ivshmem")) found.push({ idstr, bar: 2 });
  }
  return found;
}

/** Address in a BAR; undefined where it is off, or cannot hold memory of this length. */
function barAddress(config: DataView, bar: number | "rom", length: number): number | undefined {
  const shown = bar === "rom" ? readRom(config, PCI_ROM_ADDRESS) : readBar(config, PCI_BASE_ADDRESS_0 + 4 * bar);
  if ("enabled" in shown ? !shown.enabled : shown.space === "I/O") return undefined;
  const address = Number(shown.address);
  const misplaced = address === 0 || address % length !== 0 || !Number.isSafeInteger(address + length);
  // the last address of 4 GiB is nobody's: a BAR that is being sized shows it
  return misplaced || address + length === 2 ** 32 ? undefined : address;
}
