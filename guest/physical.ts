/**
 * Where guest-physical addresses lie in RAM blocks.
 *
 *     pc         RAM, split at 3 GiB when it has 3.5 GiB or more   } rest at 4 GiB
 *     q35        RAM, split at 2 GiB when it has 2.75 GiB or more  }
 *     microvm    RAM, split at 3 GiB when it has more              }
 *     over it    0xa0000 VGA (no RAM when there is a VGA), 0xc0000 pc.rom, up to 0xfffff the end of pc.bios,
 *                all of pc.bios below 4 GiB
 *     virt       flash at 0, RAM at 0x40000000 (arm); flash at 0x20000000, RAM at 0x80000000 (riscv)
 *
 * Between 0xc0000 and 0xfffff the chipset's PAM registers say what is read: RAM where "read enable" is set, ROM
 * otherwise, as after a reset. Where the PCI bus has nothing, RAM shows through. Memory behind PCI BARs is below all of
 * it; see pci_memory.ts. Devices' registers (I/O APIC, HPET) are not in the map; TSEG is not looked at.
 *
 * Source: QEMU hw/i386/pc_piix.c (pc_init1), pc_q35.c (pc_q35_init), microvm.c (microvm_memory_init), x86-common.c
 * (x86_bios_rom_init, x86_isa_bios_init), hw/pci-host/pam.c (pam_update), q35.c (mch_update_smram), i440fx.c, hw/arm/virt.c, hw/riscv/virt.c; checked
 * against `info mtree -f` of 10.0.2.
 * @module
 */
import type { DeviceSection, PhysicalMap, PhysicalRange } from "./guest.ts";
import type { GuestMemory, RamBlock } from "./memory.ts";
import { hasLegacyWindow, pciRanges } from "./pci_memory.ts";

const GIB = 2 ** 30;
const FOUR_GIB = 4 * GIB;

/** Blocks that always lie at one address, by the machine's RAM block. */
const BOARDS: Record<string, readonly (readonly [address: number, idstr: string])[]> = {
  "mach-virt.ram": [[0, "virt.flash0"], [0x4000000, "virt.flash1"], [0x40000000, "mach-virt.ram"]],
  "riscv_virt_board.ram": [
    [0x1000, "riscv_virt_board.mrom"],
    [0x20000000, "virt.flash0"],
    [0x22000000, "virt.flash1"],
    [0x80000000, "riscv_virt_board.ram"],
  ],
  "s390.ram": [[0, "s390.ram"]],
  "versatile.ram": [[0, "versatile.ram"], [0x34000000, "versatile.flash"]],
};

/**
 * The map of a machine.
 * @param machine versioned name: "pc-i440fx-10.0"; may be empty, then the blocks decide
 * @param devices where the PAM registers are found; without them they are as after a reset
 * @returns ranges sorted by base, not overlapping, or undefined when it is not known where the machine has its RAM
 */
export function physicalMapFor(
  machine: string,
  memory: GuestMemory,
  devices: readonly DeviceSection[] = [],
): PhysicalMap | undefined {
  for (const [ram, places] of Object.entries(BOARDS)) {
    if (!memory.block(ram)) continue;
    const ranges: PhysicalRange[] = [];
    for (const [base, idstr] of places) {
      const block = memory.block(idstr);
      if (block) overlay(ranges, { base, length: block.usedLength, idstr, blockOffset: 0 });
    }
    return ranges;
  }
  const ram = systemRam(memory);
  if (ram && (memory.block("pc.bios") || /^(pc|isapc|microvm)\b/.test(machine))) {
    return pcMap(machine, ram, memory, devices);
  }
  return undefined;
}

/** A PC: RAM below and above the PCI hole, ROMs over it. */
function pcMap(
  machine: string,
  ram: readonly RamBlock[],
  memory: GuestMemory,
  devices: readonly DeviceSection[],
): PhysicalMap {
  const ranges: PhysicalRange[] = [];
  const total = ram.reduce((sum, block) => sum + block.usedLength, 0);
  const low = lowMemory(machine, total, devices);
  let done = 0;
  for (const block of ram) {
    const below = Math.max(0, Math.min(block.usedLength, low - done));
    if (below > 0) overlay(ranges, { base: done, length: below, idstr: block.idstr, blockOffset: 0 });
    if (below < block.usedLength) {
      const base = FOUR_GIB + done + below - low;
      overlay(ranges, { base, length: block.usedLength - below, idstr: block.idstr, blockOffset: below });
    }
    done += block.usedLength;
  }
  const lowest = ranges.slice();
  if (hasVgaWindow(memory, devices)) cut(ranges, 0xa0000, 0x20000);
  const rom = memory.block("pc.rom");
  if (rom) {
    overlay(ranges, { base: 0xc0000, length: Math.min(rom.usedLength, 0x20000), idstr: rom.idstr, blockOffset: 0 });
  }
  const bios = memory.block("pc.bios");
  if (bios) {
    const n = Math.min(bios.usedLength, 0x20000);
    overlay(ranges, { base: 0x100000 - n, length: n, idstr: bios.idstr, blockOffset: bios.usedLength - n });
    overlay(ranges, {
      base: FOUR_GIB - bios.usedLength,
      length: bios.usedLength,
      idstr: bios.idstr,
      blockOffset: 0,
    });
  }
  for (const [base, length] of readEnabled(devices)) uncover(ranges, lowest, base, length);
  for (const range of pciRanges(memory, devices)) underlay(ranges, range);
  return ranges;
}

/** Bytes of RAM below 4 GiB; all of it when it is not split. */
function lowMemory(machine: string, total: number, devices: readonly DeviceSection[]): number {
  if (/^microvm\b/.test(machine)) return Math.min(total, 0xc0000000);
  if (/^pc-q35\b|^q35$/.test(machine) || devices.some((device) => device.idstr === "0000:00:00.0/mch")) {
    return total >= 0xb0000000 ? 0x80000000 : total;
  }
  return total >= 0xe0000000 ? 0xc0000000 : total;
}

/** The blocks that are the machine's RAM, in address order; undefined when that cannot be told. */
function systemRam(memory: GuestMemory): readonly RamBlock[] | undefined {
  const own = memory.block("pc.ram") ?? memory.block("microvm.ram");
  if (own) return [own];
  // -machine memory-backend=ID, -numa node,memdev=ID: the backends' names. Devices' blocks have a path or a dot.
  const backends = memory.blocks.filter(({ idstr }) => !/[/.]|dimm/.test(idstr));
  if (backends.length <= 1) return backends.length ? backends : undefined;
  if (backends.every((block) => block.address !== undefined)) {
    return backends.toSorted((a, b) => Number(a.address! - b.address!));
  }
  // one name with the node's number behind it, as everybody writes them: node0, node1
  const named = backends.map((block) => ({ block, match: /^(.*?)(\d+)$/.exec(block.idstr) }));
  if (named.some(({ match }) => !match || match[1] !== named[0].match?.[1])) return undefined;
  return named.toSorted((a, b) => Number(a.match![2]) - Number(b.match![2])).map(({ block }) => block);
}

/** Whether reads at 0xa0000 go to a VGA, and not to RAM: there is none, or SMRAM is open to everybody. */
function hasVgaWindow(memory: GuestMemory, devices: readonly DeviceSection[]): boolean {
  const vrams = memory.blocks.filter(({ idstr }) => /(^|\/)vga\.vram$/.test(idstr));
  return !smramOpen(devices) && vrams.some(({ idstr }) => hasLegacyWindow(idstr, devices));
}

/**
 * D_OPEN of the SMRAM register. On q35 the window at 0xfeda0000 may be used in its place (H_SMRAME), and without SMM, as
 * under a KVM that has none, the register is not there: its lowest bits, hardwired to 2, are 0.
 */
function smramOpen(devices: readonly DeviceSection[]): boolean {
  for (const { idstr, body } of devices) {
    if (idstr === "0000:00:00.0/I440FX") return (body[4 + 0x72] & 0x40) !== 0;
    if (idstr !== "0000:00:00.0/mch") continue;
    const smram = body[4 + 0x9d], esmramc = body[4 + 0x9e];
    return (smram & 7) !== 2 || ((smram & 0x40) !== 0 && (esmramc & 0x80) === 0);
  }
  return false;
}

/** The PAM areas whose reads go to RAM. PCI configuration follows a 4-byte version in both sections. */
function readEnabled(devices: readonly DeviceSection[]): [base: number, length: number][] {
  let pam: Uint8Array | undefined;
  for (const { idstr, body } of devices) {
    if (idstr === "0000:00:00.0/I440FX") pam = body.subarray(4 + 0x59, 4 + 0x60);
    if (idstr === "0000:00:00.0/mch") pam = body.subarray(4 + 0x90, 4 + 0x97);
  }
  if (pam?.length !== 7) return [];
  const areas: [number, number][] = [];
  if (pam[0] & 0x10) areas.push([0xf0000, 0x10000]);
  for (let i = 0; i < 12; i++) {
    if (pam[1 + (i >> 1)] & (i & 1 ? 0x10 : 0x01)) areas.push([0xc0000 + i * 0x4000, 0x4000]);
  }
  return areas;
}

/** Take [base, base + length) out of the ranges. */
function cut(ranges: PhysicalRange[], base: number, length: number): void {
  const end = base + length;
  for (let i = 0; i < ranges.length; i++) {
    const range = ranges[i];
    const rangeEnd = range.base + range.length;
    if (rangeEnd <= base || range.base >= end) continue;
    const pieces: PhysicalRange[] = [];
    if (range.base < base) pieces.push({ ...range, length: base - range.base });
    if (rangeEnd > end) pieces.push(part(range, end, rangeEnd));
    ranges.splice(i, 1, ...pieces);
    i += pieces.length - 1;
  }
}

/** Put a range over what is there, and keep the order. */
function overlay(ranges: PhysicalRange[], top: PhysicalRange): void {
  cut(ranges, top.base, top.length);
  const at = ranges.findIndex((range) => range.base > top.base);
  ranges.splice(at < 0 ? ranges.length : at, 0, top);
}

/** Put a range under what is there: only where nothing is. */
function underlay(ranges: PhysicalRange[], range: PhysicalRange): void {
  const pieces: PhysicalRange[] = [range];
  for (const { base, length } of ranges) cut(pieces, base, length);
  for (const piece of pieces) overlay(ranges, piece);
}

/** Show again what lay below. */
function uncover(ranges: PhysicalRange[], below: readonly PhysicalRange[], base: number, length: number): void {
  for (const range of below) {
    const from = Math.max(base, range.base);
    const to = Math.min(base + length, range.base + range.length);
    if (from < to) overlay(ranges, part(range, from, to));
  }
}

function part(range: PhysicalRange, from: number, to: number): PhysicalRange {
  return { ...range, base: from, length: to - from, blockOffset: range.blockOffset + from - range.base };
}
