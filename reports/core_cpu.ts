/**
 * Registers of a core's processors, from its notes, under the names gdb has for them.
 *
 *     CORE NT_PRSTATUS   x86_64 336 bytes: registers of 8 at 112      i386 144: of 4 at 72
 *                        aarch64 392: of 8 at 112                     arm 148: of 4 at 72
 *     QEMU 0             x86, 440 bytes: u32 version, u32 size, 18 registers, 10 segments of 24, cr0..cr4, kernel_gs_base
 *
 * Where a processor has both the second counts: it has all that the first has. Source: QEMU target/i386/arch_dump.c
 * (x86_64_elf_prstatus, QEMUCPUState), target/arm/arch_dump.c (aarch64_elf_prstatus, arm_elf_prstatus).
 * @module
 */
import { EM_386, EM_AARCH64, EM_ARM, EM_X86_64, NT_PRSTATUS } from "../containers/elf.ts";
import type { CoreNote } from "../containers/image.ts";

/** Register -> value, in the order of the note. */
export type Registers = ReadonlyMap<string, bigint>;

interface Layout {
  /** Of the note. */
  readonly bytes: number;
  /** Of the first register. */
  readonly at: number;
  readonly width: 4 | 8;
  readonly names: readonly string[];
}

const numbered = (prefix: string, count: number) => Array.from({ length: count }, (_, i) => `${prefix}${i}`);
const words = (text: string) => text.split(" ");

const PRSTATUS: readonly (readonly [machines: readonly number[], Layout])[] = [
  [[EM_X86_64, EM_386], {
    bytes: 336,
    at: 112,
    width: 8,
    names: words(
      "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs rflags rsp ss fs_base gs_base ds es fs gs",
    ),
  }],
  [[EM_386, EM_X86_64], {
    bytes: 144,
    at: 72,
    width: 4,
    names: words("ebx ecx edx esi edi ebp eax ds es fs gs orig_eax eip cs eflags esp ss"),
  }],
  [[EM_AARCH64], { bytes: 392, at: 112, width: 8, names: [...numbered("x", 31), "sp", "pc", "pstate"] }],
  [[EM_ARM], { bytes: 148, at: 72, width: 4, names: [...numbered("r", 13), "sp", "lr", "pc", "cpsr"] }],
];

const QEMU_STATE_BYTES = 440;
const QEMU_REGISTERS = words("rax rbx rcx rdx rsi rdi rsp rbp r8 r9 r10 r11 r12 r13 r14 r15 rip rflags");
const QEMU_SEGMENTS = words("cs ds es fs gs ss ldt tr gdt idt");
const QEMU_CONTROL = words("cr0 cr1 cr2 cr3 cr4 kernel_gs_base");

/** What notes are read with. */
export interface NoteOrigin {
  /** EM_*. */
  readonly machine: number;
  /** Of words in the notes. */
  readonly byteOrder: "little" | "big";
  /** In file order. */
  readonly notes: readonly CoreNote[];
}

/** Registers of all processors whose notes are of a known layout, in note order. */
export function coreCpus({ machine, byteOrder, notes }: NoteOrigin): Registers[] {
  const little = byteOrder === "little";
  const cpus: Registers[] = [];
  for (const { name, type, desc } of notes) {
    if (name !== "CORE" || type !== NT_PRSTATUS) continue;
    const layout = PRSTATUS.find(([machines, { bytes }]) => machines.includes(machine) && bytes === desc.length)?.[1];
    if (layout) cpus.push(prstatus(desc, layout, little));
  }
  if (machine !== EM_X86_64 && machine !== EM_386) return cpus;
  const states = notes.filter(({ name, type, desc }) =>
    name === "QEMU" && type === 0 && desc.length === QEMU_STATE_BYTES
  );
  return states.length >= cpus.length ? states.map(({ desc }) => qemuState(desc, little)) : cpus;
}

function prstatus(desc: Uint8Array, { at, width, names }: Layout, little: boolean): Registers {
  const view = new DataView(desc.buffer, desc.byteOffset, desc.byteLength);
  return new Map(names.map((name, i) => {
    const place = at + i * width;
    return [name, width === 8 ? view.getBigUint64(place, little) : BigInt(view.getUint32(place, little))];
  }));
}

function qemuState(desc: Uint8Array, little: boolean): Registers {
  const view = new DataView(desc.buffer, desc.byteOffset, desc.byteLength);
  const registers = new Map<string, bigint>();
  let at = 8; // behind version and size
  const u64 = () => view.getBigUint64((at += 8) - 8, little);
  for (const name of QEMU_REGISTERS) registers.set(name, u64());
  for (const name of QEMU_SEGMENTS) {
    for (const part of ["selector", "limit", "flags"]) {
      registers.set(`${name}.${part}`, BigInt(view.getUint32(at, little)));
      at += 4;
    }
    at += 4;
    registers.set(`${name}.base`, u64());
  }
  for (const name of QEMU_CONTROL) registers.set(name, u64());
  return registers;
}

/** Lines of a VMCOREINFO note, "OSRELEASE" and others; undefined where there is none. */
export function vmcoreinfoLines(notes: readonly CoreNote[]): ReadonlyMap<string, string> | undefined {
  const note = notes.find(({ name }) => name === "VMCOREINFO");
  if (!note) return undefined;
  let text = "";
  for (const byte of note.desc.subarray(0, 1 << 16)) text += String.fromCharCode(byte);
  const lines = text.split("\n").map((line) => /^([^=]+)=(.*)$/.exec(line)).filter((match) => match !== null);
  return new Map(lines.map(([, name, value]) => [name, value]));
}

const MACHINES: Readonly<Record<number, string>> = {
  [EM_386]: "i386",
  [EM_X86_64]: "x86_64",
  [EM_ARM]: "arm",
  [EM_AARCH64]: "aarch64",
  8: "mips",
  20: "ppc",
  21: "ppc64",
  22: "s390x",
  243: "riscv",
  258: "loongarch",
};

/** Name of an EM_*: "x86_64"; "machine 999" where it has none here. */
export function machineName(machine: number): string {
  return MACHINES[machine] ?? `machine ${machine}`;
}
