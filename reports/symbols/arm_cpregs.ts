/**
 * The list of system registers of an Arm processor: numbers of registers in one array, values in another.
 *
 *     cpreg_vmstate_indexes[85]   0x603000000013c080   SCTLR_EL1
 *     cpreg_vmstate_values[85]    SCTLR_EL1 0x0000000000c50838   SA0 CP15BEN nTWI nTWE EIS SPAN
 *
 * A number is KVM's of that register, which TCG uses too: 63..60 architecture, 55..52 size, 27..16 kind; below that
 *
 *     AArch64   15..14 op0, 13..11 op1, 10..7 CRn, 6..3 CRm, 2..0 op2
 *     AArch32   29 not the Secure instance, 19..16 coprocessor, 14..11 CRn, 10..7 CRm, 6..3 opc1, 2..0 opc2
 *
 * Source: QEMU target/arm/cpregs.h (ENCODE_CP_REG, cpreg_to_kvm_id), target/arm/kvm-consts.h; Linux
 * arch/arm64/include/uapi/asm/kvm.h (KVM_REG_ARM_*). KVM numbers the virtual timer's counter and compare value the
 * wrong way round (Documentation/virt/kvm/api.rst).
 * @module
 */
import type { VmValue } from "../../stream/vmvalue.ts";
import { coprocessorRegister, systemRegister, wideCoprocessorRegister } from "./arm_cpreg_names.ts";
import { armState } from "./arm_pstate.ts";
import { type ArmContext, armValueText } from "./arm_values.ts";
import { bitField, type DeviceView, hexText, integer, type SymbolRule } from "./rule.ts";

const INDEXES = "cpreg_vmstate_indexes", VALUES = "cpreg_vmstate_values";

/** Architecture and size of a number. */
const ARCH_ARM = 0x4, ARCH_ARM64 = 0x6, SIZE_32 = 2, SIZE_64 = 3;
/** Kinds of registers of KVM. */
const KIND_DEMUX = 0x11, KIND_SYSREG = 0x13, KIND_FIRMWARE = 0x14, KIND_FEATURES = 0x16;
const FIRMWARE = ["PSCI_VERSION", "SMCCC_ARCH_WORKAROUND_1", "SMCCC_ARCH_WORKAROUND_2", "SMCCC_ARCH_WORKAROUND_3"];
const FEATURES = ["STD_BMAP", "STD_HYP_BMAP", "VENDOR_HYP_BMAP", "VENDOR_HYP_BMAP_2"];
/** KVM_REG_ARM_TIMER_CVAL, KVM_REG_ARM_TIMER_CNT: see above. TCG has only the second number, and means what it says. */
const KVM_TIMER_CVAL = 0x603000000013df02n, KVM_TIMER_CNT = 0x603000000013df1an;
/** Of CNTFRQ_EL0 and CNTFRQ. */
const FREQUENCIES = [0x603000000013df00n, 0x40200000200f7000n];
/** Most registers that are looked through. */
const MOST = 4096;

/** ID_MMFR0: bits 3 to 0 and 7 to 4 are the memory systems VMSA and PMSA, from 3 on those of ARMv7. */
const ID_MMFR0 = [0x40200000200f0084n, 0x603000000013c00cn];

interface Registers extends ArmContext {
  readonly kvm: boolean;
}

const known = new WeakMap<DeviceView, Registers>();

/** What the whole list says of single registers; looked through once. */
function registersOf(device: DeviceView): Registers {
  const found = known.get(device);
  if (found) return found;
  let kvm = false, v7 = false, frequency: bigint | undefined;
  for (let i = 0; i < MOST; i++) {
    const index = integer(device.value(`${INDEXES}[${i}]`));
    if (index === undefined) break;
    const value = integer(device.value(`${VALUES}[${i}]`)) ?? 0n;
    if (index === KVM_TIMER_CVAL) kvm = true;
    if (FREQUENCIES.includes(index)) frequency ??= value;
    if (ID_MMFR0.includes(index)) v7 ||= (value & 0xfn) >= 3n || (value >> 4n & 0xfn) >= 3n;
  }
  const registers = { kvm, v7, aarch64: armState(device) === "a64", ...(frequency ? { frequency } : {}) };
  known.set(device, registers);
  return registers;
}

/** Name of the register with this number; undefined for what is no number of an Arm register. */
export function cpregName(index: bigint, kvm = false): string | undefined {
  const arch = bitField(index, 60, 63), size = bitField(index, 52, 55), kind = bitField(index, 16, 27);
  const low = bitField(index, 0, 15);
  const op2 = bitField(index, 0, 2);
  if (arch === ARCH_ARM && (size === SIZE_32 || size === SIZE_64)) {
    const cp = bitField(index, 16, 19), opc1 = bitField(index, 3, 6), crn = bitField(index, 11, 14);
    const crm = bitField(index, 7, 10);
    const name = size === SIZE_64
      ? wideCoprocessorRegister(cp, opc1, crm)
      : coprocessorRegister(cp, opc1, crn, crm, op2);
    return index >> 29n & 1n ? name : `${name}_S`;
  }
  if (arch !== ARCH_ARM64) return undefined;
  if (kind === KIND_DEMUX) return `CCSIDR[${low & 0xff}]`;
  if (kind === KIND_FIRMWARE) return FIRMWARE[low] ?? `KVM_REG_ARM_FW_REG(${low})`;
  if (kind === KIND_FEATURES) return FEATURES[low] ?? `KVM_REG_ARM_FW_FEAT_BMAP_REG(${low})`;
  if (kind !== KIND_SYSREG) return undefined;
  if (kvm && index === KVM_TIMER_CVAL) return "CNTV_CVAL_EL0";
  if (kvm && index === KVM_TIMER_CNT) return "CNTVCT_EL0";
  return systemRegister(
    bitField(index, 14, 15),
    bitField(index, 11, 13),
    bitField(index, 7, 10),
    bitField(index, 3, 6),
    op2,
  );
}

/** The list of system registers. */
export const ARM_CPREGS: readonly SymbolRule[] = [
  {
    device: /^cpu$/,
    field: /^cpreg_vmstate_indexes\[\d+\]$/,
    describe(value, _match, device) {
      const index = integer(value);
      const name = index === undefined ? undefined : cpregName(index, registersOf(device).kvm);
      return name === undefined ? undefined : { text: hexText(index!, 16), meaning: name };
    },
  },
  {
    device: /^cpu$/,
    field: /^cpreg_vmstate_values\[(\d+)\]$/,
    describe: (value, [, i], device) => cpreg(value, integer(device.value(`${INDEXES}[${i}]`)), device),
  },
];

function cpreg(value: VmValue, index: bigint | undefined, device: DeviceView) {
  const number = integer(value);
  if (number === undefined || index === undefined) return undefined;
  const registers = registersOf(device);
  const symbol = cpregName(index, registers.kvm);
  if (symbol === undefined) return undefined;
  const meaning = armValueText(symbol, number, registers);
  const digits = bitField(index, 52, 55) === SIZE_32 ? 8 : 16;
  return { symbol, text: hexText(number, digits), ...(meaning ? { meaning } : {}) };
}
