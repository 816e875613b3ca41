/**
 * Registers of the FPU and of SSE, AVX and AVX-512.
 *
 *     env.fpuc FCW               0x037f  IM DM ZM OM UM PM, 64 bits, to nearest
 *     FPR7                       0x4000c90fdaa22168c235  3.14159265358979323851
 *     XMM1                       0x00000000000000003ff0000000000000
 *
 * A vector register comes in pieces: bits 127:0, in the main part bits 255:128, in cpu/avx512 bits 511:256; ZMM16 and later
 * whole. `env.fpregs` are the registers R0 to R7 under TCG and ST(0) to ST(7) under KVM (FXSAVE's order), so neither is
 * said, nor which of them are empty.
 * Source: QEMU target/i386/machine.c (vmstate_fpreg, vmstate_xmm_reg, vmstate_ymmh_reg, vmstate_avx512, cpu_pre_save),
 * target/i386/xsave_helper.c; Intel SDM volume 1, "x87 FPU Control Word", "MXCSR Control and Status Register".
 * @module
 */
import type { VmBranch, VmLeaf } from "../../stream/vmvalue.ts";
import { bitField, type DeviceView, integer, type Meaning } from "./rule.ts";
import { float80Text } from "./x86_float.ts";
import { type FieldTable, flags, hexField, register } from "./x86_words.ts";

const EXCEPTIONS = ["I", "D", "Z", "O", "U", "P"];
const PRECISION = ["24 bits", "precision 1", "53 bits", "64 bits"];
const ROUNDING = ["to nearest", "down", "up", "to zero"];

const controlBits = flags(EXCEPTIONS.map((name, bit) => `${bit} ${name}M`).join() + ",6 -,8-9 -,10-11 -,12 X");
const statusBits = flags(
  EXCEPTIONS.map((name, bit) => `${bit} ${name}E`).join() + ",6 SF,7 ES,8 C0,9 C1,10 C2,11-13 -,14 C3,15 B",
);
const mxcsrBits = flags(
  EXCEPTIONS.map((name, bit) => `${bit} ${name}E,${bit + 7} ${name}M`).join() + ",6 DAZ,13-14 -,15 FZ",
);

function list(...words: readonly string[]): string {
  return words.filter((word) => word !== "").join(", ");
}

/** What the fields of FPU and SSE say. */
export const FPU_FIELDS: FieldTable = [
  [
    "env.fpuc",
    register("FCW", (value) => {
      return list(controlBits(value), PRECISION[bitField(value, 8, 9)], ROUNDING[bitField(value, 10, 11)]);
    }),
  ],
  ["env.fpus_vmstate", register("FSW", (value) => list(`TOP=${bitField(value, 11, 13)}`, statusBits(value)))],
  // a bit for each of R0 to R7 that is not empty, as FXSAVE has it
  ["env.fptag_vmstate", register("FTW", flags("0 R0,1 R1,2 R2,3 R3,4 R4,5 R5,6 R6,7 R7"))],
  ["env.mxcsr", register("MXCSR", (value) => list(mxcsrBits(value), ROUNDING[bitField(value, 13, 14)]))],
  ["env.fpop", register("FOP")],
  ["env.fpip", register("FIP")],
  ["env.fpdp", register("FDP")],
  ["env.opmask_regs[]", register("k[]")],
  ...Array.from({ length: 8 }, (_, i): FieldTable[number][] => [
    [`env.fpregs[${i}].tmp.tmp_mant`, register(`FPR${i} mantissa`)],
    [`env.fpregs[${i}].tmp.tmp_exp`, register(`FPR${i} sign and exponent`)],
  ]).flat(),
  ["env.pkru", hexField(protectionKeys)],
  ["env.pkrs", hexField(protectionKeys)],
];

/** PKRU and PKRS: two bits a key. "AD 1-15", "AD 2 3, WD 4". */
export function protectionKeys(value: bigint): string {
  const keys = (bit: number) => [...Array(16).keys()].filter((key) => bitField(value, key * 2 + bit, key * 2 + bit));
  return (["AD", "WD"] as const).map((name, bit) => {
    const set = keys(bit);
    const row = set.length > 2 && set.at(-1)! - set[0] === set.length - 1;
    return set.length === 0 ? "" : `${name} ${row ? `${set[0]}-${set.at(-1)}` : set.join(" ")}`;
  }).filter((words) => words !== "").join(", ");
}

/** FPR0 .. FPR7 as one value each. @param path of the struct */
export function floatRegister(path: string, device: DeviceView): Meaning | undefined {
  const match = /^env\.fpregs\[([0-7])\]$/.exec(path);
  const mantissa = integer(match ? device.value(`${path}.tmp.tmp_mant`) : undefined);
  const signExponent = integer(match ? device.value(`${path}.tmp.tmp_exp`) : undefined);
  if (!match || mantissa === undefined || signExponent === undefined || mantissa < 0n || signExponent < 0n) {
    return undefined;
  }
  const decimal = mantissa >> 64n === 0n && signExponent >> 16n === 0n
    ? float80Text(mantissa, Number(signExponent))
    : undefined;
  const digits = signExponent.toString(16).padStart(4, "0") + mantissa.toString(16).padStart(16, "0");
  return { symbol: `FPR${match[1]}`, text: `0x${digits}`, ...(decimal !== undefined ? { meaning: decimal } : {}) };
}

/** Pieces of vector registers by their struct: which register, which bits, how many words of 64 bits. */
const PIECES: Readonly<Record<string, readonly [name: string, first: number, bits: string, words: number]>> = {
  xmm_reg: ["XMM", 0, "", 2],
  ymmh_reg: ["YMM", 0, "[255:128]", 2],
  zmmh_reg: ["ZMM", 0, "[511:256]", 4],
  hi16_zmm_reg: ["ZMM", 16, "", 8],
};

/** A piece of a vector register as one value. @param path of the struct */
export function vectorRegister(path: string, { vmsdName = "", children }: VmBranch): Meaning | undefined {
  const match = /^(?:cpu\/avx512\.)?env\.xmm_regs(?:\[[01]\])?\[(\d|1[0-5])\]$/.exec(path);
  const piece = match && Object.hasOwn(PIECES, vmsdName) ? PIECES[vmsdName] : undefined;
  if (!match || !piece) return undefined;
  const [name, first, bits, words] = piece;
  if (children.length !== words) return undefined;
  let digits = "";
  for (const child of children) {
    const value = child.kind === "leaf" && child.type === "uint64" ? integer((child as VmLeaf).value) : undefined;
    if (value === undefined || value < 0n) return undefined;
    digits = value.toString(16).padStart(16, "0") + digits;
  }
  return { symbol: `${name}${first + Number(match[1])}${bits}`, text: `0x${digits}` };
}

/**
 * A word of a vector register: "XMM3[127:64]".
 * @param path "env.xmm_regs[0][3]._q_ZMMReg[1]"; of two arrays of one name the second has the upper bits, or registers
 */
export function vectorWord(leaf: VmLeaf, path: string): Meaning | undefined {
  const match = /^(cpu\/avx512\.)?env\.xmm_regs(?:\[([01])\])?\[(\d|1[0-5])\]\._q_ZMMReg\[([0-7])\]$/.exec(path);
  const value = integer(leaf.value);
  if (!match || value === undefined || value < 0n || leaf.type !== "uint64") return undefined;
  const [, avx512, which, register, word] = match;
  const low = Number(word) * 64;
  const upper = avx512 !== undefined && which === "1" ? 16 : 0;
  const name = upper || low >= 256 ? "ZMM" : low >= 128 ? "YMM" : "XMM";
  return {
    symbol: `${name}${upper + Number(register)}[${low + 63}:${low}]`,
    text: "0x" + value.toString(16).padStart(16, "0"),
  };
}
