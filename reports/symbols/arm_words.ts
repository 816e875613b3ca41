/**
 * Which Arm processor it is, and why it took an exception: MIDR_EL1 and ESR_ELx in words.
 * Source: Arm ARM (DDI 0487) D24.2.40 and D24.2.128; QEMU target/arm/syndrome.h, target/arm/tcg/cpu32.c, cpu64.c.
 * @module
 */
import { bitField, hexText } from "./rule.ts";

const IMPLEMENTERS: Readonly<Record<number, string>> = {
  0x41: "Arm",
  0x42: "Broadcom",
  0x43: "Cavium",
  0x46: "Fujitsu",
  0x48: "HiSilicon",
  0x4e: "NVIDIA",
  0x50: "APM",
  0x51: "Qualcomm",
  0x53: "Samsung",
  0x54: "Texas Instruments",
  0x56: "Marvell",
  0x61: "Apple",
  0x69: "Intel",
  0xc0: "Ampere",
};
/** Of Arm itself. */
const PARTS: Readonly<Record<number, string>> = {
  0x926: "ARM926",
  0x946: "ARM946",
  0xb36: "ARM1136",
  0xb76: "ARM1176",
  0xb02: "ARM11 MPCore",
  0xc05: "Cortex-A5",
  0xc07: "Cortex-A7",
  0xc08: "Cortex-A8",
  0xc09: "Cortex-A9",
  0xc0e: "Cortex-A17",
  0xc0f: "Cortex-A15",
  0xc15: "Cortex-R5",
  0xd03: "Cortex-A53",
  0xd04: "Cortex-A35",
  0xd05: "Cortex-A55",
  0xd07: "Cortex-A57",
  0xd08: "Cortex-A72",
  0xd09: "Cortex-A73",
  0xd0a: "Cortex-A75",
  0xd0b: "Cortex-A76",
  0xd0c: "Neoverse-N1",
  0xd13: "Cortex-R52",
  0xd40: "Neoverse-V1",
  0xd47: "Cortex-A710",
  0xd49: "Neoverse-N2",
};

/** Exception classes (ESR_ELx.EC). */
const CLASSES: Readonly<Record<number, string>> = {
  0x00: "unknown reason",
  0x01: "WFI or WFE",
  0x03: "MCR or MRC to cp15",
  0x04: "MCRR or MRRC to cp15",
  0x05: "MCR or MRC to cp14",
  0x06: "LDC or STC to cp14",
  0x07: "SVE, SIMD or floating point access",
  0x08: "VMRS to ID group",
  0x09: "pointer authentication instruction",
  0x0c: "MRRC to cp14",
  0x0d: "branch target",
  0x0e: "illegal execution state",
  0x11: "SVC, AArch32",
  0x12: "HVC, AArch32",
  0x13: "SMC, AArch32",
  0x15: "SVC",
  0x16: "HVC",
  0x17: "SMC",
  0x18: "MSR, MRS or system instruction",
  0x19: "SVE access",
  0x1a: "ERET",
  0x1c: "pointer authentication failure",
  0x1d: "SME access",
  0x1e: "granule protection check",
  0x20: "instruction abort from a lower level",
  0x21: "instruction abort",
  0x22: "PC alignment",
  0x24: "data abort from a lower level",
  0x25: "data abort",
  0x26: "SP alignment",
  0x27: "memory operation",
  0x28: "floating point exception, AArch32",
  0x2c: "floating point exception",
  0x2f: "SError",
  0x30: "breakpoint from a lower level",
  0x31: "breakpoint",
  0x32: "software step from a lower level",
  0x33: "software step",
  0x34: "watchpoint from a lower level",
  0x35: "watchpoint",
  0x38: "BKPT, AArch32",
  0x3a: "vector catch, AArch32",
  0x3c: "BRK",
};
const FAULTS = ["address size", "translation", "access flag", "permission"];

/** ESR_ELx: "data abort: translation fault level 1, write". 0 says nothing. */
export function syndrome(value: bigint): string {
  if (value === 0n) return "";
  const kind = bitField(value, 26, 31);
  const said = [CLASSES[kind] ?? `EC=${hexText(kind)}`];
  const status = bitField(value, 0, 5);
  if (kind === 0x20 || kind === 0x21 || kind === 0x24 || kind === 0x25) {
    if (status < 16) said.push(`${FAULTS[status >> 2]} fault level ${status & 3}`);
    else said.push(status === 0x10 ? "external abort" : status === 0x21 ? "alignment fault" : `FSC=${hexText(status)}`);
    if (kind >= 0x24 && value >> 6n & 1n) said.push("write");
  } else if (kind >= 0x11 && kind <= 0x17 || kind === 0x38 || kind === 0x3c) {
    said.push(`#${bitField(value, 0, 15)}`);
  } else if (value & 0x1ffffffn) said.push(`ISS=${hexText(value & 0x1ffffffn)}`);
  return said.length === 1 ? said[0] : `${said[0]}: ${said.slice(1).join(", ")}`;
}

/** MIDR_EL1: "Arm Cortex-A57 r1p0". */
export function midr(value: bigint): string | undefined {
  if (value === 0n) return undefined;
  const implementer = bitField(value, 24, 31), part = bitField(value, 4, 15);
  const maker = IMPLEMENTERS[implementer] ?? `implementer ${hexText(implementer)}`;
  const name = implementer === 0x41 && PARTS[part] || `part ${hexText(part, 3)}`;
  return `${maker} ${name} r${bitField(value, 20, 23)}p${bitField(value, 0, 3)}`;
}
