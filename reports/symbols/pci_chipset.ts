/**
 * Registers of PC chipsets that lie in their configuration spaces: routing of PCI interrupts, memory that is shadowed, where
 * further registers are.
 *
 *     i440FX   0x59 PAM0..6                        0x72 SMRAM
 *     Q35 MCH  0x60 PCIEXBAR, u64                  0x90 PAM0..6      0x9d SMRAM      0x9e ESMRAMC
 *     PIIX     0x60 PIRQA..D: bit 7 off, else IRQ in 3..0
 *     PIIX4 PM 0x40 PMBASE, 0x80 bit 0 on          0x90 SMBBASE, 0xd2 bit 0 on
 *     ICH9 LPC 0x40 PMBASE, 0x44 ACPI control      0x60 PIRQA..D, 0x68 PIRQE..H      0xf0 RCBA, bit 0 on
 *     PAM      bits 1..0 and 5..4: 1 reads RAM, 2 writes RAM; PAM0 has 5..4 alone
 *
 * Source: QEMU hw/pci-host/i440fx.c, pam.c, include/hw/pci-host/q35.h, hw/isa/piix.c, hw/acpi/piix4.c, include/hw/southbridge/ich9.h,
 * hw/isa/lpc_ich9.c.
 * @module
 */
import { flags, register, type Registers } from "./pci_parts.ts";
import { bits, hexText, type Part } from "./rule.ts";

const INTEL = 0x8086;
const SMRAM = bits("3 G_SMRAME, 4 D_LCK, 5 D_CLS, 6 D_OPEN");
const ESMRAMC = bits("0 T_EN, 3 SM_L2, 4 SM_L1, 5 SM_CACHE, 6 E_SMERR, 7 H_SMRAME");
const ACPI_CONTROL = bits("7 ACPI_EN");

/** device -> its registers. */
const CHIPSETS: Readonly<Record<number, (config: Registers) => Part[]>> = {
  0x1237: (config) => [...pamParts(config, 0x59), smram(config.u8(0x72), "smram")],
  0x29c0: (config) => [
    pciExpressBar(config.u64(0x60)),
    ...pamParts(config, 0x90),
    smram(config.u8(0x9d), "smram"),
    flags("esmramc", config.u8(0x9e) & 0xf9, 2, ESMRAMC),
  ],
  0x7000: (config) => routes(config, 0x60, "ABCD"),
  0x7110: (config) => routes(config, 0x60, "ABCD"),
  0x7113: (config) => [
    base("pmbase", config.u32(0x40), 0xffc0, (config.u8(0x80) & 1) !== 0),
    base("smbbase", config.u32(0x90), 0xffc0, (config.u8(0xd2) & 1) !== 0),
  ],
  0x2918: (config) => [
    base("pmbase", config.u32(0x40), 0xff80, (config.u8(0x44) & 0x80) !== 0),
    flags("acpi_control", config.u8(0x44) & 0x80, 2, ACPI_CONTROL),
    ...routes(config, 0x60, "ABCD"),
    ...routes(config, 0x68, "EFGH"),
    base("rcba", config.u32(0xf0), 0xffffc000, (config.u8(0xf0) & 1) !== 0),
  ],
};

/** What a chipset has; [] for any other device. */
export function chipsetRegisters(config: Registers): Part[] {
  return config.u16(0) === INTEL && config.has(0, 0x100) ? CHIPSETS[config.u16(2)]?.(config) ?? [] : [];
}

function routes(config: Registers, at: number, letters: string): Part[] {
  return [...letters].map((letter, n) => {
    const value = config.u8(at + n);
    return register(`pirq${letter.toLowerCase()}`, value, 2, value & 0x80 ? "not routed" : `IRQ ${value & 0xf}`);
  });
}

function base(name: string, value: number, mask: number, on: boolean): Part {
  const address = (value & mask) >>> 0;
  return register(name, value, 8, `${hexText(address)}${on ? "" : ", off"}`);
}

function smram(value: number, name: string): Part {
  return flags(name, value & 0x78, 2, SMRAM);
}

function pamParts(config: Registers, at: number): Part[] {
  const parts: Part[] = [];
  for (let n = 0; n < 7; n++) {
    const value = config.u8(at + n);
    // PAM1 has the 32 KiB from 0xc0000 on, in halves; PAM0 the BIOS at 0xf0000, in one
    const low = 0xc0000 + (n - 1) * 0x8000;
    const said = n === 0 ? [segment(0xf0000, value >> 4)] : [segment(low, value), segment(low + 0x4000, value >> 4)];
    parts.push(register(`pam${n}`, value, 2, said.join(", ")));
  }
  return parts;
}

function segment(address: number, mode: number): string {
  return `${hexText(address)} ${["PCI", "RAM read-only", "RAM write-only", "RAM"][mode & 3]}`;
}

function pciExpressBar(value: bigint): Part {
  const size = [256, 128, 64][Number(value >> 1n & 3n)];
  const address = value & 0xf_ffff_ffffn & ~((BigInt(size ?? 1) << 20n) - 1n);
  const on = (value & 1n) !== 0n;
  const said = size === undefined ? "reserved length" : `${size} MiB at ${hexText(address)}${on ? "" : ", off"}`;
  return register("pciexbar", value, 16, said);
}
