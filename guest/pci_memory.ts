/**
 * RAM of PCI devices in guest-physical memory: what their base address registers show, where the device decodes memory.
 *
 *     section body    u32 version | configuration space, little-endian: 0x04 command, bit 1 decodes memory; 0x0a class;
 *                     0x10 six BARs: bit 0 I/O, bits 2..1 = 2 for 64 bits, address from bit 4 on; 0x30 ROM, bit 0 enables
 *     vga.vram        BAR 0 of every VGA, BAR 1 of vmware-svga        bochs-display-vram   BAR 0
 *     vmsvga.fifo     BAR 2 of vmware-svga                            NAME.rom             the expansion ROM
 *
 * Devices behind bridges are left out, and so is VRAM that a VGA shows in banks at 0xa0000. Source: QEMU hw/pci/pci.c
 * (pci_bar_address, vmstate_pci_device), hw/display/vga-pci.c, vmware_vga.c, bochs-display.c, virtio-vga.c, cirrus_vga.c;
 * checked against `info mtree -f` and dump-guest-memory of 10.0.2, both of which have this memory.
 * @module
 */
import type { DeviceSection, PhysicalRange } from "./guest.ts";
import type { GuestMemory } from "./memory.ts";

/** version_id of vmstate_pci_device. */
const PCI_VERSION = 2;
const PCI_COMMAND = 0x04, PCI_CLASS = 0x0a, PCI_HEADER_TYPE = 0x0e, PCI_BASE_ADDRESS_0 = 0x10, PCI_ROM_ADDRESS = 0x30;
const PCI_COMMAND_MEMORY = 2, PCI_CLASS_DISPLAY_VGA = 0x0300;
/** Bytes of the configuration that are looked at. */
const HEADER = 0x40;
/** A device on a root bus: domain, bus, slot and function, then the section's own name. */
const ROOT_DEVICE = /^([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])\/([^/]+)$/;

/** Where a block of a device is shown. */
interface Place {
  /** Name of the block, with the device's path where blocks of that name have one. */
  readonly idstr: string;
  readonly bar: number | "rom";
}

/** Whether a section may say where RAM of a PCI device lies. */
export function isPciDevice(idstr: string): boolean {
  return ROOT_DEVICE.test(idstr);
}

/** Ranges that base address registers show, in no order; they may lie over each other and over RAM. */
export function pciRanges(memory: GuestMemory, devices: readonly DeviceSection[]): PhysicalRange[] {
  const ranges: PhysicalRange[] = [];
  for (const { idstr, body } of devices) {
    const [, path, name] = ROOT_DEVICE.exec(idstr) ?? [];
    const config = path === undefined ? undefined : configuration(body);
    if (!config || !(config.getUint16(PCI_COMMAND, true) & PCI_COMMAND_MEMORY)) continue;
    for (const { idstr, bar } of places(path, name, memory)) {
      const block = memory.block(idstr);
      const base = block && barAddress(config, bar, block.usedLength);
      if (base !== undefined) ranges.push({ base, length: block!.usedLength, idstr, blockOffset: 0 });
    }
  }
  return ranges;
}

/**
 * Whether a display has the legacy window at 0xa0000. Where its section is not there to say so, it has.
 * @param vram name of its block
 */
export function hasLegacyWindow(vram: string, devices: readonly DeviceSection[]): boolean {
  const path = vram.slice(0, vram.lastIndexOf("/"));
  const configs = devices.filter(({ idstr }) => ROOT_DEVICE.exec(idstr)?.[1] === path)
    .map(({ body }) => configuration(body)).filter((config) => config !== undefined);
  return !configs.length || configs.some((config) => config.getUint16(PCI_CLASS, true) === PCI_CLASS_DISPLAY_VGA);
}

/** The beginning of the configuration space; undefined where the section does not begin with one. */
function configuration(body: Uint8Array): DataView | undefined {
  if (body.length < 4 + HEADER) return undefined;
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  if (view.getUint32(0) !== PCI_VERSION || (view.getUint8(4 + PCI_HEADER_TYPE) & 0x7f) !== 0) return undefined;
  return new DataView(body.buffer, body.byteOffset + 4, HEADER);
}

function places(path: string, name: string, memory: GuestMemory): Place[] {
  const vmware = name === "vmware_vga";
  const found: Place[] = [
    { idstr: `${path}/vga.vram`, bar: vmware ? 1 : 0 },
    { idstr: `${path}/bochs-display-vram`, bar: 0 },
    ...(vmware ? [{ idstr: "vmsvga.fifo", bar: 2 }] : []),
  ];
  const rom = memory.blocks.find(({ idstr }) => idstr.startsWith(`${path}/`) && idstr.endsWith(".rom"));
  if (rom) found.push({ idstr: rom.idstr, bar: "rom" });
  return found;
}

/** Address in a BAR; undefined where it is off, or cannot hold memory of this length. */
function barAddress(config: DataView, bar: number | "rom", length: number): number | undefined {
  const at = bar === "rom" ? PCI_ROM_ADDRESS : PCI_BASE_ADDRESS_0 + 4 * bar;
  const low = config.getUint32(at, true);
  if (bar === "rom" ? !(low & 1) : low & 1) return undefined;
  const high = bar !== "rom" && (low & 6) === 4 ? config.getUint32(at + 4, true) : 0;
  const address = high * 2 ** 32 + (low - low % (bar === "rom" ? 0x800 : 16));
  const misplaced = address === 0 || address % length !== 0 || !Number.isSafeInteger(address + length);
  // the last address of 4 GiB is nobody's: a BAR that is being sized shows it
  return misplaced || address + length === 2 ** 32 ? undefined : address;
}
