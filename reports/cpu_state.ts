/**
 * Registers of a saved guest's processors, from the `cpu` sections.
 *
 *     x86   env.regs: rax rcx rdx rbx rsp rbp rsi rdi r8..r15; env.segs: es cs ss ds fs gs
 *     arm   env.xregs: x0..x30, sp; env.pc; cpsr: PSTATE, or CPSR in AArch32; cpu/vfp: v0..v31
 *
 * Source: QEMU target/i386/machine.c (vmstate_x86_cpu), target/arm/machine.c (vmstate_arm_cpu, vmstate_vfp).
 * @module
 */
import type { Image } from "../containers/image.ts";
import type { PlainFields, PlainValue } from "../stream/vmstate.ts";

/** A segment register with its hidden part. */
export interface Segment {
  /** What the register shows. */
  readonly selector: number;
  /** Address the segment begins at. */
  readonly base: bigint;
  /** Last byte of the segment. */
  readonly limit: number;
  /** Second word of the descriptor, as QEMU keeps it. */
  readonly flags: number;
}

/** An x86 processor. */
export interface X86Cpu {
  /** Tells processors apart. */
  readonly kind: "x86";
  /** rax rcx rdx rbx rsp rbp rsi rdi r8 .. r15 */
  readonly regs: readonly bigint[];
  /** Instruction pointer. */
  readonly rip: bigint;
  /** Flags. */
  readonly rflags: bigint;
  /** es cs ss ds fs gs */
  readonly segs: readonly Segment[];
  /** Local descriptor table. */
  readonly ldt: Segment;
  /** Task register. */
  readonly tr: Segment;
  /** Global descriptor table. */
  readonly gdt: Segment;
  /** Interrupt descriptor table. */
  readonly idt: Segment;
  /** cr0 .. cr4; cr1 is 0. */
  readonly cr: readonly bigint[];
  /** IA32_KERNEL_GS_BASE. */
  readonly kernelGsBase: bigint;
  /** IA-32e mode was active (HF_LMA_MASK). */
  readonly longMode: boolean;
}

/** An Arm processor. */
export interface ArmCpu {
  /** Tells processors apart. */
  readonly kind: "arm";
  /** x0 .. x30 */
  readonly xregs: readonly bigint[];
  /** Stack pointer of the current exception level; 0 in AArch32. */
  readonly sp: bigint;
  /** Program counter. */
  readonly pc: bigint;
  /** PSTATE; CPSR in AArch32. */
  readonly pstate: bigint;
  /** In AArch32 state: `xregs` are r0 .. r14. */
  readonly aarch32: boolean;
  /** Low and high half of v0 .. v31; empty without cpu/vfp. */
  readonly vregs: readonly bigint[];
  /** Floating-point status. */
  readonly fpsr: number;
  /** Floating-point control. */
  readonly fpcr: number;
}

/** A processor. */
export type Cpu = X86Cpu | ArmCpu;

/** HF_LMA_MASK of env.hflags. */
const HF_LMA_MASK = 1 << 14;
/** nRW of PSTATE: AArch32. */
const PSTATE_nRW = 0x10n;
/** Bits of FPSCR that are FPSR, and FPCR. */
const FPSR_BITS = 0xf800009f, FPCR_BITS = 0x07ff9f00;

/** All processors in stream order; those of other architectures, and what does not decode, are left out. */
export function cpuStates(image: Image): Cpu[] {
  const cpus: Cpu[] = [];
  for (const device of image.devices) {
    if (device.name !== "cpu") continue;
    const { fields } = device;
    const cpu = "env.segs" in fields ? x86(fields) : "env.xregs" in fields ? arm(fields) : undefined;
    if (cpu) cpus.push(cpu);
  }
  return cpus;
}

function x86(fields: PlainFields): X86Cpu | undefined {
  const regs = numbers(fields["env.regs"]);
  const segs = list(fields["env.segs"]).map(segment);
  if (regs.length < 8 || segs.length < 6) return undefined;
  while (regs.length < 16) regs.push(0n); // qemu-system-i386 has eight
  return {
    kind: "x86",
    regs,
    rip: number(fields["env.eip"]),
    rflags: number(fields["env.eflags"]),
    segs,
    ldt: segment(fields["env.ldt"]),
    tr: segment(fields["env.tr"]),
    gdt: segment(fields["env.gdt"]),
    idt: segment(fields["env.idt"]),
    cr: [0, 1, 2, 3, 4].map((i) => number(fields[`env.cr[${i}]`])),
    kernelGsBase: number(fields["env.kernelgsbase"]),
    longMode: (Number(number(fields["env.hflags"])) & HF_LMA_MASK) !== 0,
  };
}

function segment(value: PlainValue | undefined): Segment {
  const fields = (value && typeof value === "object" && !Array.isArray(value) ? value : {}) as PlainFields;
  return {
    selector: Number(number(fields.selector)),
    base: number(fields.base),
    limit: Number(number(fields.limit)),
    flags: Number(number(fields.flags)),
  };
}

function arm(fields: PlainFields): ArmCpu | undefined {
  const xregs = numbers(fields["env.xregs"]);
  const regs = numbers(fields["env.regs"]);
  if (xregs.length !== 32 || regs.length !== 16) return undefined;
  const pstate = number("0x" + String(fields.cpsr ?? "0"));
  const aarch32 = (pstate & PSTATE_nRW) !== 0n;
  const vfp = (fields["cpu/vfp"] ?? {}) as PlainFields;
  const split = (vfp["cpu/vfp/fpcr_fpsr"] ?? {}) as PlainFields;
  const fpscr = Number(number("0x" + String(vfp.fpscr ?? "0")));
  const word = (name: string, bits: number) => {
    return split[name] === undefined ? (fpscr & bits) >>> 0 : Number(number("0x" + String(split[name])) & 0xffffffffn);
  };
  const vregs = Array.from({ length: 32 }, (_, i) => numbers(vfp[`env.vfp.zregs[${i}].d`])).flat();
  return {
    kind: "arm",
    xregs: aarch32 ? [...regs.slice(0, 15), ...xregs.slice(15, 31)] : xregs.slice(0, 31),
    sp: aarch32 ? 0n : xregs[31],
    pc: aarch32 ? regs[15] : number(fields["env.pc"]),
    pstate,
    aarch32,
    vregs: vregs.length === 64 ? vregs : [],
    fpsr: word("fpsr", FPSR_BITS),
    fpcr: word("fpcr", FPCR_BITS),
  };
}

/** A field that is a number: plain, or in decimal because it does not fit one. */
function number(value: PlainValue | undefined): bigint {
  if (typeof value === "number") return BigInt(value);
  return typeof value === "string" && /^(-?\d+|0x[0-9a-f]+)$/.test(value) ? BigInt(value) : 0n;
}

function list(value: PlainValue | undefined): readonly PlainValue[] {
  return Array.isArray(value) ? value : [];
}

function numbers(value: PlainValue | undefined): bigint[] {
  return list(value).map(number);
}
