/**
 * Registers of Arm processors: general ones of both execution states, banked ones, SIMD and floating point.
 *
 * What belongs to the other execution state than the one the processor is in keeps its plain name: a guest in AArch64 has
 * no R0 to R15, and X0 to X30 are not kept up in AArch32.
 * Source: QEMU target/arm/machine.c (vmstate_arm_cpu and its subsections), target/arm/internals.h (BANK_*,
 * aarch64_banked_spsr_index), target/arm/cpu.h (ARM_VFP_*, CPU_INTERRUPT_*).
 * @module
 */
import type { VmBranch } from "../../stream/vmvalue.ts";
import { ARM_CPREGS } from "./arm_cpregs.ts";
import { ARM_GIC } from "./arm_gic.ts";
import { ARM_M } from "./arm_m.ts";
import { ARM, armState, programStatus, stateWord } from "./arm_pstate.ts";
import { FPCR, FPSCR, FPSR } from "./arm_values.ts";
import { syndrome } from "./arm_words.ts";
import { cpuRegisters, layout, numbered, type RegisterName, type Says } from "./cpu_registers.ts";
import { hexText, integer, type Meaning, type SymbolRule } from "./rule.ts";

const A32_NAMES = [...numbered("R", 13), "SP", "LR", "PC"];
/** By bank; "usr" is also of sys. */
const BANKS = ["usr", "svc", "abt", "und", "irq", "fiq", "hyp", "mon"];
/** SPSR_EL1, SPSR_EL2 and SPSR_EL3 are in the banks of these modes. */
const LEVEL_OF_BANK: Readonly<Record<number, number>> = { 1: 1, 6: 2, 7: 3 };
/** ARM_VFP_*; cpu/vfp.env.vfp.xregs begins with number 2. */
const VFP_NAMES = ["", "", "", "MVFR2", "MVFR1", "MVFR0", "FPEXC", "FPINST", "FPINST2"].map((name) =>
  name || undefined
);

function a32(name: (index: number) => string | undefined): RegisterName {
  return (index, device) => armState(device) === "a32" ? name(index) : undefined;
}

function a64(name: (index: number) => string | undefined): RegisterName {
  return (index, device) => armState(device) === "a64" ? name(index) : undefined;
}

const savedStatus: Says = (value) => value === 0n ? undefined : programStatus(value);
const LINES = layout("1 IRQ, 3 VINMI, 4 FIQ, 6 VIRQ, 8 VSERR, 9 VFIQ, 11 VFNMI, 12 NMI");

const REGISTERS = cpuRegisters(ARM, {
  "env.regs[]": [(index, device) => armState(device) === "a64" ? undefined : A32_NAMES[index]],
  "env.xregs[]": [a64((index) => index === 31 ? "SP" : `X${index}`)],
  "env.pc": [a64(() => "PC")],
  "cpsr": [(_, device) => ({ a64: "PSTATE", a32: "CPSR", m: "XPSR" })[armState(device) ?? "a32"], stateWord],
  "env.spsr": [a32(() => "SPSR"), savedStatus],
  "env.banked_spsr[]": [(index, device) => {
    const state = armState(device), level = state === "a64" ? LEVEL_OF_BANK[index] : undefined;
    if (state === "m" || state === undefined) return undefined;
    return level !== undefined ? `SPSR_EL${level}` : index === 0 ? undefined : `SPSR_${BANKS[index]}`;
  }, savedStatus],
  "env.banked_r13[]": [a32((index) => `SP_${BANKS[index]}`)],
  "env.banked_r14[]": [a32((index) => `LR_${BANKS[index]}`)],
  "env.usr_regs[]": [a32((index) => `R${index + 8}_usr`)],
  "env.fiq_regs[]": [a32((index) => `R${index + 8}_fiq`)],
  "env.elr_el[]": [(index, device) => {
    return armState(device) === "a64"
      ? index === 0 ? undefined : `ELR_EL${index}`
      : index === 2
      ? "ELR_hyp"
      : undefined;
  }],
  "env.sp_el[]": [a64((index) => `SP_EL${index}`)],
  "env.exclusive_addr": [() => undefined, (value) => value === 0xffffffffffffffffn ? "monitor is open" : undefined],
  "env.exclusive_val": [() => undefined],
  "env.exclusive_high": [() => undefined],
  "env.exception.syndrome": [() => undefined, syndrome],
  "env.exception.fsr": [() => undefined],
  "env.exception.vaddress": [() => undefined],
  "power_state": [() => undefined, (value) => value === 0n ? "on" : "off"],
  "cpu/vfp.env.vfp.xregs[0]": ["FPSID"],
  "cpu/vfp.env.vfp.xregs[]": [(index) => VFP_NAMES[index]],
  "cpu/vfp.fpscr": ["FPSCR", FPSCR],
  "cpu/vfp.cpu/vfp/fpcr_fpsr.fpcr": ["FPCR", FPCR],
  "cpu/vfp.cpu/vfp/fpcr_fpsr.fpsr": ["FPSR", FPSR],
  "cpu/serror.env.serror.esr": [() => undefined, syndrome],
  "cpu/irq-line-state.env.irq_line_state": [() => undefined, LINES],
  "cpu/thumb2ee.env.teecr": ["TEECR"],
  "cpu/thumb2ee.env.teehbr": ["TEEHBR"],
  "cpu/pmsav7.env.pmsav7.drbar[]": [(index) => `DRBAR${index}`],
  "cpu/pmsav7.env.pmsav7.drsr[]": [(index) => `DRSR${index}`, regionSize],
  "cpu/pmsav7.env.pmsav7.dracr[]": [(index) => `DRACR${index}`],
  "cpu/pmsav7-rnr.env.pmsav7.rnr[M_REG_NS]": ["MPU_RNR"],
});

/** DRSR: "4096 bytes". */
function regionSize(value: bigint): string {
  if (!(value & 1n)) return "off";
  const off = value >> 8n & 0xffn;
  return `${2n << (value >> 1n & 0x1fn)} bytes${off === 0n ? "" : `, subregions off ${hexText(off, 2)}`}`;
}

/** A SIMD register is two elements, the low half first; SVE's higher parts are elsewhere. */
const VECTORS: SymbolRule = {
  device: /^cpu$/,
  field: /^cpu\/vfp\.env\.vfp\.zregs\[(\d+)\]\.d$/,
  describe: () => undefined,
  whole([, number], device, branch) {
    const state = armState(device);
    const halves = state === undefined ? undefined : halvesOf(branch);
    if (!halves) return undefined;
    return { symbol: state === "a64" ? `V${number}` : `Q${number}`, text: hexText(halves[1] << 64n | halves[0], 32) };
  },
};

function halvesOf({ children }: VmBranch): [bigint, bigint] | undefined {
  if (children.length !== 2) return undefined;
  const [low, high] = children.map((child) =>
    child.kind === "leaf" && child.length === 8 ? integer(child.value) : undefined
  );
  return low === undefined || high === undefined ? undefined : [BigInt.asUintN(64, low), BigInt.asUintN(64, high)];
}

/** SVE: predicates and the parts of vectors behind their first 128 bits have no names of their own. */
const SVE: SymbolRule = {
  device: /^cpu$/,
  field: /^cpu\/s[vm]e\.env\.(vfp\.[zp]regs|zarray)\[\d+\]\.[dp]\[\d+\]$/,
  describe(value): Meaning | undefined {
    const number = integer(value);
    return number === undefined || number === 0n ? undefined : { text: hexText(BigInt.asUintN(64, number), 16) };
  },
};

/** Processors, their system registers, and their interrupt controllers. */
export const ARM_CPU: readonly SymbolRule[] = [REGISTERS, VECTORS, SVE, ...ARM_CPREGS, ...ARM_M, ...ARM_GIC];
