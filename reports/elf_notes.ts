/**
 * Notes of an ELF core, as QEMU's dump-guest-memory writes them.
 *
 *     x86, long mode   CORE NT_PRSTATUS 336: pid at 32, user_regs_struct at 112        one a processor
 *     x86, otherwise   CORE NT_PRSTATUS 144: pid at 24, 32-bit registers at 72         one a processor
 *     x86              QEMU 0: QEMUCPUState, 440: registers, segments, cr0..cr4        one a processor, behind those
 *     aarch64          CORE NT_PRSTATUS 392: x0..x30 sp pc pstate at 112; CORE NT_PRFPREG 528: v0..v31 fpsr fpcr
 *     all              VMCOREINFO, as the guest keeps it in its memory, where it told QEMU
 *
 * pid is the number of the processor, from 1. QEMU has a third note for aarch64 processors with SVE (LINUX NT_ARM_SVE). It is
 * not written: it states the processor model's vector lengths (sve_max_vq, and sve_vq.map that the current one is cut to), and
 * a stream has the registers but not those. Source: QEMU target/i386/arch_dump.c, target/arm/arch_dump.c
 * (aarch64_write_elf64_sve), target/arm/machine.c (vmstate_sve), dump/dump.c (dump_init, write_elf64_notes).
 * @module
 */
import { encodeNote, NT_PRFPREG, NT_PRSTATUS } from "../containers/elf.ts";
import type { ArmCpu, Cpu, Segment, X86Cpu } from "./cpu_state.ts";

const QEMUCPUSTATE_VERSION = 1;

/** Puts numbers one after another. */
class Layout {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  at = 0;

  constructor(size: number) {
    this.bytes = new Uint8Array(size);
    this.#view = new DataView(this.bytes.buffer);
  }

  u16(value: number): void {
    this.#view.setUint16(this.at, value, true);
    this.at += 2;
  }

  u32(value: number): void {
    this.#view.setUint32(this.at, value, true);
    this.at += 4;
  }

  u64(value: bigint): void {
    this.#view.setBigUint64(this.at, value, true);
    this.at += 8;
  }
}

/** Notes of all processors, in QEMU's order. */
export function cpuNotes(cpus: readonly Cpu[]): Uint8Array[] {
  const notes: Uint8Array[] = [];
  const first = cpus[0];
  const longMode = first?.kind === "x86" && first.longMode;
  cpus.forEach((cpu, i) => {
    const note = (type: number, desc: Uint8Array) => notes.push(encodeNote("CORE", type, desc));
    if (cpu.kind === "x86") note(NT_PRSTATUS, longMode ? prstatus64(cpu, i + 1) : prstatus32(cpu, i + 1));
    else {
      note(NT_PRSTATUS, prstatusArm(cpu, i + 1));
      if (cpu.vregs.length) note(NT_PRFPREG, prfpregArm(cpu));
    }
  });
  for (const cpu of cpus) if (cpu.kind === "x86") notes.push(encodeNote("QEMU", 0, qemuCpuState(cpu)));
  return notes;
}

/** x86_64_elf_prstatus. */
function prstatus64({ regs, rip, rflags, segs }: X86Cpu, id: number): Uint8Array {
  const [rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15] = regs;
  const [es, cs, ss, ds, fs, gs] = segs;
  const out = new Layout(336);
  out.at = 32;
  out.u32(id);
  out.at = 112;
  const origRax = 0n;
  for (const value of [r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi, origRax, rip]) {
    out.u64(value);
  }
  out.u64(BigInt(cs.selector));
  for (const value of [rflags, rsp]) out.u64(value);
  out.u64(BigInt(ss.selector));
  for (const value of [fs.base, gs.base]) out.u64(value);
  for (const { selector } of [ds, es, fs, gs]) out.u64(BigInt(selector));
  return out.bytes;
}

/** x86_elf_prstatus: registers cut to 32 bits. */
function prstatus32({ regs, rip, rflags, segs }: X86Cpu, id: number): Uint8Array {
  const [eax, ecx, edx, ebx, esp, ebp, esi, edi] = regs;
  const [es, cs, ss, ds, fs, gs] = segs;
  const out = new Layout(144);
  const low = (value: bigint) => out.u32(Number(value & 0xffffffffn));
  const selector = (segment: Segment) => {
    out.u16(segment.selector & 0xffff);
    out.u16(0);
  };
  out.at = 24;
  out.u32(id);
  out.at = 72;
  for (const value of [ebx, ecx, edx, esi, edi, ebp, eax]) low(value);
  for (const segment of [ds, es, fs, gs]) selector(segment);
  low(0n);
  low(rip);
  selector(cs);
  low(rflags);
  low(esp);
  selector(ss);
  return out.bytes;
}

/** QEMUCPUState, version 1. */
function qemuCpuState(cpu: X86Cpu): Uint8Array {
  const [rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, ...high] = cpu.regs;
  const [es, cs, ss, ds, fs, gs] = cpu.segs;
  const out = new Layout(440);
  out.u32(QEMUCPUSTATE_VERSION);
  out.u32(out.bytes.length);
  for (const value of [rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, ...high, cpu.rip, cpu.rflags]) out.u64(value);
  for (const { selector, limit, flags, base } of [cs, ds, es, fs, gs, ss, cpu.ldt, cpu.tr, cpu.gdt, cpu.idt]) {
    for (const word of [selector, limit, flags, 0]) out.u32(word);
    out.u64(base);
  }
  for (const value of cpu.cr) out.u64(value);
  out.u64(cpu.kernelGsBase);
  return out.bytes;
}

/** aarch64_elf_prstatus. */
function prstatusArm({ xregs, sp, pc, pstate }: ArmCpu, id: number): Uint8Array {
  const out = new Layout(392);
  out.at = 32;
  out.u32(id);
  out.at = 112;
  for (const value of [...xregs, sp, pc, pstate]) out.u64(value);
  out.u32(1); // pr_fpvalid
  return out.bytes;
}

/** aarch64_user_vfp_state. */
function prfpregArm({ vregs, fpsr, fpcr }: ArmCpu): Uint8Array {
  const out = new Layout(528);
  for (const value of vregs) out.u64(value);
  out.u32(fpsr);
  out.u32(fpcr);
  return out.bytes;
}
