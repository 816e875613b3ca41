/**
 * Registers of Arm's M profile: what the system control space has, for both security states.
 * Source: QEMU target/arm/machine.c (vmstate_m and what belongs to it), target/arm/cpu.h (V7M_*); Armv8-M ARM (DDI 0553) D1.2.
 * @module
 */
import { ARM } from "./arm_pstate.ts";
import { FPSCR } from "./arm_values.ts";
import { cpuRegisters, layout, type Register, type RegisterName } from "./cpu_registers.ts";
import { type DeviceView, integer, type SymbolRule } from "./rule.ts";

const EXCEPTIONS: Readonly<Record<number, string>> = {
  0: "Thread mode",
  1: "Reset",
  2: "NMI",
  3: "HardFault",
  4: "MemManage",
  5: "BusFault",
  6: "UsageFault",
  7: "SecureFault",
  11: "SVCall",
  12: "DebugMonitor",
  14: "PendSV",
  15: "SysTick",
};

const CONTROL = layout("0 nPRIV, 1 SPSEL, 2 FPCA, 3 SFPA");
const CCR = layout(
  "0 NONBASETHRDENA, 1 USERSETMPEND, 3 UNALIGN_TRP, 4 DIV_0_TRP, 8 BFHFNMIGN, 9 STKALIGN, 10 STKOFHFNMIGN, 16 DC, 17 IC, " +
    "18 BP, 19 LOB, 20 TRD",
);
const CFSR = layout(
  "0 IACCVIOL, 1 DACCVIOL, 3 MUNSTKERR, 4 MSTKERR, 5 MLSPERR, 7 MMARVALID, 8 IBUSERR, 9 PRECISERR, 10 IMPRECISERR, " +
    "11 UNSTKERR, 12 STKERR, 13 LSPERR, 15 BFARVALID, 16 UNDEFINSTR, 17 INVSTATE, 18 INVPC, 19 NOCP, 20 STKOF, 24 UNALIGNED, " +
    "25 DIVBYZERO",
);
const SCR = layout("1 SLEEPONEXIT, 2 SLEEPDEEP, 3 SLEEPDEEPS, 4 SEVONPEND");
const MPU_CTRL = layout("0 ENABLE, 1 HFNMIENA, 2 PRIVDEFENA");
const FPCCR = layout(
  "0 LSPACT, 1 USER, 2 S, 3 THREAD, 4 HFRDY, 5 MMRDY, 6 BFRDY, 7 SFRDY, 8 MONRDY, 9 SPLIMVIOL, 10 UFRDY, 26 TS, 27 CLRONRETS, " +
    "28 CLRONRET, 29 LSPENS, 30 LSPEN, 31 ASPEN",
);
const AIRCR = layout(
  "0 VECTRESET, 1 VECTCLRACTIVE, 2 SYSRESETREQ, 3 SYSRESETREQS, 10:8 PRIGROUP, 13 BFHFNMINS, 14 PRIS, 15 ENDIANNESS, " +
    "31:16 VECTKEY",
);
/** By bank: M_REG_NS, M_REG_S. */
const STATES = ["NS", "S"];

const SECURE = "cpu/m-security.env.v7m.secure";

/** "MSPLIM_NS" and "MSPLIM_S" of two elements; only "MSPLIM" without the security extension. */
function banked(name: string): RegisterName {
  return (index, device) => {
    if (device.value(SECURE) === undefined) return index === 0 ? name : undefined;
    return STATES[index] && `${name}_${STATES[index]}`;
  };
}

/** "VTOR_NS"; "VTOR" without the security extension. */
function nonSecure(name: string): RegisterName {
  return (_, device) => device.value(SECURE) === undefined ? name : `${name}_NS`;
}

/** What both security states have, of the one that "cpu/m" is of and of the Secure one. */
function both(bank: "NS" | "S", path: (field: string) => string): Record<string, Register> {
  const named = (name: string) => bank === "NS" ? nonSecure(name) : `${name}_S`;
  return {
    [path("vecbase")]: [named("VTOR")],
    [path("basepri")]: [named("BASEPRI")],
    [path("control")]: [named("CONTROL"), CONTROL],
    [path("ccr")]: [named("CCR"), CCR],
    [path("cfsr")]: [named("CFSR"), CFSR],
    [path("mmfar")]: [named("MMFAR")],
    [path("mpu_ctrl")]: [named("MPU_CTRL"), MPU_CTRL],
  };
}

/** Registers of processors that have a "cpu/m". */
export const ARM_M: readonly SymbolRule[] = [
  cpuRegisters(ARM, {
    ...both("NS", (field) => `cpu/m.env.v7m.${field}[M_REG_NS]`),
    ...both("S", (field) => `cpu/m-security.env.v7m.${field}[M_REG_S]`),
    "cpu/m.env.v7m.hfsr": ["HFSR", layout("1 VECTTBL, 30 FORCED, 31 DEBUGEVT")],
    "cpu/m.env.v7m.dfsr": ["DFSR", layout("0 HALTED, 1 BKPT, 2 DWTTRAP, 3 VCATCH, 4 EXTERNAL")],
    "cpu/m.env.v7m.bfar": ["BFAR"],
    "cpu/m.env.v7m.exception": ["IPSR", exception],
    "cpu/m.cpu/m/faultmask-primask.env.v7m.faultmask[M_REG_NS]": [nonSecure("FAULTMASK")],
    "cpu/m.cpu/m/faultmask-primask.env.v7m.primask[M_REG_NS]": [nonSecure("PRIMASK")],
    "cpu/m.cpu/m/csselr.env.v7m.csselr[]": [banked("CSSELR")],
    "cpu/m.cpu/m/scr.env.v7m.scr[M_REG_NS]": [nonSecure("SCR"), SCR],
    "cpu/m.cpu/m/other-sp.env.v7m.other_sp": [otherStack],
    "cpu/m.cpu/m/v8m.env.v7m.msplim[]": [banked("MSPLIM")],
    "cpu/m.cpu/m/v8m.env.v7m.psplim[]": [banked("PSPLIM")],
    "cpu/m.cpu/m/fp.env.v7m.fpcar[]": [banked("FPCAR")],
    "cpu/m.cpu/m/fp.env.v7m.fpccr[]": [banked("FPCCR"), FPCCR],
    "cpu/m.cpu/m/fp.env.v7m.fpdscr[]": [banked("FPDSCR"), FPSCR],
    "cpu/m.cpu/m/fp.env.v7m.cpacr[]": [banked("CPACR")],
    "cpu/m.cpu/m/fp.env.v7m.nsacr": ["NSACR"],
    "cpu/m.cpu/m/mve.env.v7m.vpr": ["VPR", layout("15:0 P0, 19:16 MASK01, 23:20 MASK23")],
    "cpu/m.cpu/m/mve.env.v7m.ltpsize": ["LTPSIZE"],
    "cpu/pmsav8.env.pmsav8.mair0[M_REG_NS]": [nonSecure("MPU_MAIR0")],
    "cpu/pmsav8.env.pmsav8.mair1[M_REG_NS]": [nonSecure("MPU_MAIR1")],
    "cpu/m-security.env.v7m.secure": [() => undefined, (value) => value ? "Secure" : "Non-secure"],
    "cpu/m-security.env.v7m.other_ss_msp": [
      (_, device) => otherState(device.value(SECURE), "MSP"),
    ],
    "cpu/m-security.env.v7m.other_ss_psp": [
      (_, device) => otherState(device.value(SECURE), "PSP"),
    ],
    "cpu/m-security.env.v7m.primask[M_REG_S]": ["PRIMASK_S"],
    "cpu/m-security.env.v7m.faultmask[M_REG_S]": ["FAULTMASK_S"],
    "cpu/m-security.env.pmsav8.mair0[M_REG_S]": ["MPU_MAIR0_S"],
    "cpu/m-security.env.pmsav8.mair1[M_REG_S]": ["MPU_MAIR1_S"],
    "cpu/m-security.env.v7m.sfsr": [
      "SFSR",
      layout("0 INVEP, 1 INVIS, 2 INVER, 3 AUVIOL, 4 INVTRAN, 5 LSPERR, 6 SFARVALID, 7 LSERR"),
    ],
    "cpu/m-security.env.v7m.sfar": ["SFAR"],
    "cpu/m-security.env.sau.ctrl": ["SAU_CTRL", layout("0 ENABLE, 1 ALLNS")],
    "cpu/m-security.env.sau.rnr": ["SAU_RNR"],
    "cpu/m-security.env.v7m.scr[M_REG_S]": ["SCR_S", SCR],
    "cpu/m-security.env.v7m.aircr": ["AIRCR", AIRCR],
  }),
];

/** MSP or PSP, whichever R13 is not: PSP is used in Thread mode with CONTROL.SPSEL of the current state. */
function otherStack(_: number, device: DeviceView): string | undefined {
  const bank = device.value(SECURE) === 1 ? "cpu/m-security.env.v7m.control[M_REG_S]" : undefined;
  const control = integer(device.value(bank ?? "cpu/m.env.v7m.control[M_REG_NS]"));
  const handler = integer(device.value("cpu/m.env.v7m.exception"));
  if (control === undefined || handler === undefined) return undefined;
  return handler === 0n && control & 2n ? "MSP" : "PSP";
}

/** The stack pointers of the security state the processor is not in. */
function otherState(secure: unknown, name: string): string | undefined {
  return secure === 1 ? `${name}_NS` : secure === 0 ? `${name}_S` : undefined;
}

function exception(value: bigint): string | undefined {
  const number = Number(value);
  return EXCEPTIONS[number] ?? (number >= 16 && number < 512 ? `IRQ ${number - 16}` : undefined);
}
