/**
 * PCI: configuration spaces, interrupt lines, MSI-X tables, the register that picks one in a host bridge.
 *
 *     config[0]      "pci config": 256 bytes, or 4096 in config[1], as the guest sees them but for PCI_STATUS_INTERRUPT, which irq_state has
 *     irq_state      "uint32": level of INTA..INTD
 *     msix           "msix state"
 *     config_reg     of PCIHost, port 0xcf8: bit 31 on, 23..16 bus, 15..8 device and function, 7..2 register
 *
 * Source: QEMU hw/pci/pci.c (vmstate_pci_device, vmstate_pcibus), pci_host.c (vmstate_pcihost), hw/isa/piix.c (vmstate_piix3).
 * @module
 */
import { describeConfig, pinName } from "./pci_config.ts";
import { describeMsix } from "./pci_msix.ts";
import { type DeviceView, hexText, integer, type Meaning, type SymbolRule } from "./rule.ts";
import type { VmValue } from "../../stream/vmvalue.ts";

/** See the module. */
export const PCI: readonly SymbolRule[] = [
  {
    type: "pci config",
    describe: (value) => value instanceof Uint8Array ? describeConfig(value) : undefined,
  },
  {
    type: "msix state",
    describe: (value) => value instanceof Uint8Array ? describeMsix(value) : undefined,
  },
  {
    type: "uint32",
    field: /^(.*\.)?irq_state\[([0-3])\]$/,
    describe: (value, [, prefix = "", pin], device) =>
      hasConfig(device, prefix) ? level(value, `${pinName(Number(pin) + 1)} asserted`) : undefined,
  },
  { device: /^PCIHost$/, field: /^config_reg$/, describe: (value) => configAddress(value) },
  {
    device: /^PCIBUS$/,
    field: /^irq_count\[\d+\]$/,
    describe: (value) => level(value, "asserted"),
  },
  {
    device: /^PIIX3$/,
    field: /^pci_irq_levels_vmstate\[([0-3])\]$/,
    describe: (value, [, n]) => level(value, `PIRQ${"ABCD"[Number(n)]} asserted`),
  },
];

/** Whether a struct is a PCI device's: its space of 256 bytes is config[0], that of 4 KiB config[1]. */
function hasConfig(device: DeviceView, prefix: string): boolean {
  return [0, 1].some((n) => device.value(`${prefix}config[${n}]`) instanceof Uint8Array);
}

/** A line that is asserted; the plain 0 of one that is not stays as it is. */
function level(value: VmValue, meaning: string): Meaning | undefined {
  const number = integer(value);
  return number ? { text: number.toString(), meaning } : undefined;
}

function configAddress(value: VmValue): Meaning | undefined {
  const number = integer(value);
  if (number === undefined || number < 0n || number >= 1n << 32n) return undefined;
  const address = Number(number);
  const [bus, slot] = [address >> 16 & 0xff, address >> 11 & 0x1f].map((part) => part.toString(16).padStart(2, "0"));
  const meaning = `${bus}:${slot}.${address >> 8 & 7} register ${hexText(address & 0xfc, 2)}`;
  return { text: hexText(address, 8), meaning: address & 0x8000_0000 ? meaning : `${meaning}, off` };
}
