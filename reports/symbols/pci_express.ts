/**
 * The PCI Express capability: type of the device, its link, its slot with the state of hotplug.
 *
 * Offsets from its beginning: 0x02 flags, 0x04 device, 0x0c link, 0x14 slot, 0x1c root, 0x24.. the second set. Source: PCI Express
 * 5.0, 7.5.3; QEMU hw/pci/pcie.c, include/standard-headers/linux/pci_regs.h (PCI_EXP_*).
 * @module
 */
import { flags, present, register, type Registers } from "./pci_parts.ts";
import { bitNames, bits, type Part } from "./rule.ts";

const TYPES: Readonly<Record<number, string>> = {
  0: "endpoint",
  1: "legacy endpoint",
  4: "root port",
  5: "upstream port",
  6: "downstream port",
  7: "PCIe to PCI bridge",
  8: "PCI to PCIe bridge",
  9: "root complex integrated endpoint",
  10: "root complex event collector",
};
const ROOT_PORT = 4, DOWNSTREAM = 6, INTEGRATED = 9, EVENT_COLLECTOR = 10;
const SPEEDS: readonly (string | undefined)[] = [undefined, "2.5GT/s", "5GT/s", "8GT/s", "16GT/s", "32GT/s", "64GT/s"];

const DEVICE_CONTROL = bits(
  "0 CERE, 1 NFERE, 2 FERE, 3 URRE, 4 RELAX_EN, 8 EXT_TAG, 9 PHANTOM, 10 AUX_PME, 11 NOSNOOP_EN, 15 BCR_FLR",
);
const DEVICE_STATUS = bits("0 CED, 1 NFED, 2 FED, 3 URD, 4 AUXPD, 5 TRPND");
const LINK_CONTROL = bits("3 RCB, 4 LD, 5 RL, 6 CCC, 7 ES, 8 CLKREQ_EN, 9 HAWD, 10 LBMIE, 11 LABIE");
const LINK_STATUS = bits("11 LT, 12 SLC, 13 DLLLA, 14 LBMS, 15 LABS");
const SLOT_CAPABILITIES = bits("0 ABP, 1 PCP, 2 MRLSP, 3 AIP, 4 PIP, 5 HPS, 6 HPC, 17 EIP, 18 NCCS");
const SLOT_CONTROL = bits("0 ABPE, 1 PFDE, 2 MRLSCE, 3 PDCE, 4 CCIE, 5 HPIE, 11 EIC, 12 DLLSCE");
const SLOT_STATUS = bits("0 ABP, 1 PFD, 2 MRLSC, 3 PDC, 4 CC, 5 MRLSS, 6 PDS, 7 EIS, 8 DLLSC");
const ROOT_CONTROL = bits("0 SECEE, 1 SENFEE, 2 SEFEE, 3 PMEIE, 4 CRSSVE");
const DEVICE_CONTROL_2 = bits(
  "4 COMP_TMOUT_DIS, 5 ARI, 6 ATOMIC_REQ, 7 ATOMIC_EGRESS_BLOCK, 8 IDO_REQ_EN, 9 IDO_CMP_EN, 10 LTR_EN",
);
const INDICATORS: readonly (string | undefined)[] = [undefined, "on", "blinks", "off"];

/** Main registers. @param at of the capability */
export function expressParts(config: Registers, at: number): Part[] {
  const kind = config.u16(at + 2), version = kind & 0xf, type = kind >> 4 & 0xf;
  const link = type !== INTEGRATED && type !== EVENT_COLLECTOR;
  const slot = (type === ROOT_PORT || type === DOWNSTREAM) && (kind & 0x100) !== 0;
  const number = kind >> 9 & 0x1f;
  const said = [TYPES[type], slot ? "slot" : "", number ? `interrupt message ${number}` : ""];
  return present([
    register("flags", kind, 4, [`version ${version}`, ...said.filter((word) => word)].join(", ")),
    deviceControl(config.u16(at + 0x08)),
    flags("device_status", config.u16(at + 0x0a), 4, DEVICE_STATUS),
    ...(link ? linkParts(config, at) : []),
    ...(slot ? slotParts(config, at) : []),
    (type === ROOT_PORT || type === EVENT_COLLECTOR) && flags("root_control", config.u16(at + 0x1c), 4, ROOT_CONTROL),
    type === ROOT_PORT && rootStatus(config.u32(at + 0x20)),
    version > 1 && flags("device_control2", config.u16(at + 0x28), 4, DEVICE_CONTROL_2),
    version > 1 && link &&
    register("link_control2", config.u16(at + 0x30), 4, `target ${speed(config.u16(at + 0x30))}`),
  ]);
}

function deviceControl(value: number): Part {
  const sizes = `payload ${128 << (value >> 5 & 7)}, read request ${128 << (value >> 12 & 7)}`;
  return register("device_control", value, 4, join(bitNames(value & ~0x70e0, DEVICE_CONTROL), sizes));
}

function linkParts(config: Registers, at: number): Part[] {
  const able = config.u32(at + 0x0c), control = config.u16(at + 0x10), status = config.u16(at + 0x12);
  const aspm = ["", "ASPM L0s", "ASPM L1", "ASPM L0s L1"];
  return [
    register("link_capabilities", able, 8, join(`${width(able)} ${speed(able)}`, `port ${able >>> 24}`)),
    register("link_control", control, 4, join(aspm[control & 3], bitNames(control & ~3, LINK_CONTROL))),
    register(
      "link_status",
      status,
      4,
      join(`${width(status)} ${speed(status)}`, bitNames(status & ~0x3ff, LINK_STATUS)),
    ),
  ];
}

/** Hotplug as pciehp and QEMU play it: PDS a device is there, ABP the button was pressed, PIC and AIC are lamps. */
function slotParts(config: Registers, at: number): Part[] {
  const able = config.u32(at + 0x14), control = config.u16(at + 0x18), status = config.u16(at + 0x1a);
  const lamps = [
    lamp("attention", control >> 6),
    lamp("power", control >> 8),
    able & 2 ? `power ${control & 0x400 ? "off" : "on"}` : "",
  ];
  const occupied = status & 0x40 ? "occupied" : "empty";
  return [
    register("slot_capabilities", able, 8, join(`slot ${able >>> 19}`, bitNames(able & 0x6007f, SLOT_CAPABILITIES))),
    register("slot_control", control, 4, join(bitNames(control & ~0x7c0, SLOT_CONTROL), ...lamps)),
    register("slot_status", status, 4, join(occupied, bitNames(status, SLOT_STATUS))),
  ];
}

function lamp(name: string, value: number): string {
  const state = INDICATORS[value & 3];
  return state ? `${name} indicator ${state}` : "";
}

function rootStatus(value: number): Part {
  return register("root_status", value, 8, join(value & 0x10000 ? "PME" : "", value & 0x20000 ? "PENDING" : ""));
}

function width(value: number): string {
  return `x${value >> 4 & 0x3f}`;
}

function speed(value: number): string {
  return SPEEDS[value & 0xf] ?? `speed ${value & 0xf}`;
}

function join(...said: string[]): string {
  return said.filter((word) => word !== "").join(", ");
}
