/**
 * Registers of s390x processors: PSW, general, access, control and vector registers, timers.
 * Source: QEMU target/s390x/machine.c, target/s390x/cpu.h (PSW_MASK_*, CR0_*), qapi/machine-common.json (S390CpuState);
 * z/Architecture Principles of Operation (SA22-7832), chapters 4 and 7. Its bit 0 is the highest.
 * @module
 */
import { cpuRegisters, layout, numbered, type Register } from "./cpu_registers.ts";
import { bitField, hexText, type SymbolRule } from "./rule.ts";
import { dateText, durationText } from "./time.ts";

const STATES = ["uninitialized", "stopped", "check-stop", "operating", "load"];
const SPACES = ["primary", "access register", "secondary", "home"];
const ADDRESSING = ["24-bit", "31-bit", "reserved", "64-bit"];
const PSW = layout(
  "62 PER, 58 DAT, 57 IO, 56 EXT, 51 short PSW, 50 MCHECK, 49 WAIT, 48 PSTATE, 43 fixed-point overflow, " +
    "42 decimal overflow, 41 HFP exponent underflow, 40 HFP significance, 39 RI",
);
/** Key, address space, condition code, addressing mode: said apart. */
const PSW_FLAGS = 0xff0f_0f80_0000_0000n;
const CR0 = layout(
  "4 timing alert, 5 measurement alert, 6 interrupt key, 9 service signal, 10 CPU timer, 11 clock comparator, 13 external call, 14 emergency signal, 15 malfunction alert, 17 vector, " +
    "18 AFP, 20 IEP, 23 EDAT, 26 secondary space, 28 low-address protection",
);
/** The bits above; others are there and mean nothing. */
const CR0_FLAGS = 0x1496_ee70n;
/** Seconds from 1900, where the TOD clock begins, to 1970. */
const TOD_EPOCH = 2_208_988_800n;

function psw(mask: bigint): string {
  const key = bitField(mask, 52, 55), mode = bitField(mask, 31, 31) | bitField(mask, 32, 32) << 1;
  return [
    PSW(mask & PSW_FLAGS),
    key ? `key=${hexText(key)}` : "",
    mask >> 58n & 1n ? SPACES[bitField(mask, 46, 47)] : "",
    `CC=${bitField(mask, 44, 45)}`,
    ADDRESSING[mode],
  ].filter((part) => part !== "").join(" ");
}

/** Units of 2^-12 us; negative once it has run out. */
function cpuTimer(value: bigint): string | undefined {
  return value === 0n ? undefined : durationText(BigInt.asIntN(64, value) * 1000n / 4096n);
}

/** A moment of the TOD clock: units of 2^-12 us since 1900; the highest is never. */
function comparator(value: bigint): string | undefined {
  if (value === 0xffffffffffffffffn) return "never";
  const date = value === 0n ? undefined : dateText(value / 4096n / 1_000_000n - TOD_EPOCH);
  return date && `${date} UTC`;
}

/** vregs[n][0] of the first 16 are the floating point registers; the halves of a vector register are far apart. */
function vectors(): Record<string, Register> {
  const table: Record<string, Register> = {};
  for (let i = 0; i < 32; i++) {
    table[i < 16 ? `cpu/fpu.env.vregs[${i}][0]` : `cpu/vregs.env.vregs[${i}][0]`] = [i < 16 ? `F${i}` : `V${i}[0]`];
    table[`cpu/vregs.env.vregs[${i}][1]`] = [`V${i}[1]`];
  }
  return table;
}

/** Registers of processors that have a PSW. */
export const S390X_CPU: readonly SymbolRule[] = [cpuRegisters("env.psw.mask", {
  "env.regs[]": [numbered("R", 16)],
  "env.psw.mask": ["PSW mask", psw],
  "env.psw.addr": ["PSW address"],
  "env.psa": ["prefix"],
  "env.todpr": ["TOD programmable"],
  "env.pfault_token": [() => undefined, (value) => value === 0xffffffffffffffffn ? "none" : undefined],
  "env.pfault_compare": [() => undefined],
  "env.pfault_select": [() => undefined],
  "env.cputm": ["CPU timer", cpuTimer],
  "env.ckc": ["clock comparator", comparator],
  "env.gbea": ["breaking event address"],
  "env.pp": ["program parameter"],
  "env.aregs[]": [numbered("A", 16)],
  "env.cregs[]": [numbered("C", 16), (value, _, index) => index === 0 ? CR0(value & CR0_FLAGS) : undefined],
  "env.cpu_state": [() => undefined, (value) => STATES[Number(value)]],
  "env.sigp_order": [() => undefined],
  ...vectors(),
  "cpu/fpu.env.fpc": [
    "FPC",
    layout(
      "2:0 BFP RM=/RZ/RP/RM/4/5/6/prepare shorter, 6:4 DFP RM, 15:8 DXC, 19 SFx, 20 SFu, 21 SFo, 22 SFz, 23 SFi, 27 IMx, 28 IMu, " +
        "29 IMo, 30 IMz, 31 IMi",
    ),
  ],
  "cpu/gscb.env.gscb[]": [["", "GSD", "GSSM", "GSEPLA"]],
})];
