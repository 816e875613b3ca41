/**
 * What an ELF core says besides its memory, as a value: ranges, notes, registers, the kernel's VMCOREINFO.
 * @module
 */
import type { ElfCore, MemorySegment } from "../containers/image.ts";
import { coreCpus, machineName, vmcoreinfoLines } from "./core_cpu.ts";

/** Most ranges and notes in the JSON. */
const LIST_LIMIT = 1 << 16;
/** Note types by name; others are numbers. */
const NOTE_TYPES: Readonly<Record<string, string>> = {
  "CORE 1": "NT_PRSTATUS",
  "CORE 2": "NT_PRFPREG",
  "LINUX 1029": "NT_ARM_SVE",
};

/** `core` of `inspect --json`. */
export interface InspectCore {
  /** Bits of its headers. */
  readonly elfClass: 32 | 64;
  /** Of headers and guest. */
  readonly byteOrder: "little" | "big";
  /** "x86_64". */
  readonly machine: string;
  /** Guest-physical ranges, by address: `address` is where, `length` how much, `fileBytes` of it at `offset` of the file. */
  readonly memory: readonly MemorySegment[];
  /** In file order; `type` by name where it has one. */
  readonly notes: readonly {
    readonly name: string;
    readonly type: string | number;
    readonly offset: number;
    readonly bytes: number;
  }[];
  /** Registers of each processor, as hex: "0xfff0". */
  readonly cpus: readonly Readonly<Record<string, string>>[];
  /** Lines of VMCOREINFO, where the guest told QEMU. */
  readonly vmcoreinfo?: Readonly<Record<string, string>>;
}

/** The value of a core. */
export function inspectCore(core: ElfCore): InspectCore {
  const { elfClass, byteOrder, machine, segments, notes } = core;
  const lines = vmcoreinfoLines(notes);
  return {
    elfClass,
    byteOrder,
    machine: machineName(machine),
    memory: segments.slice(0, LIST_LIMIT),
    notes: notes.map(({ name, type, offset, desc }) => {
      return { name, type: NOTE_TYPES[`${name} ${type}`] ?? type, offset, bytes: desc.length };
    }),
    cpus: coreCpus(core).map((registers) => {
      return Object.fromEntries([...registers].map(([name, value]) => [name, `0x${value.toString(16)}`]));
    }),
    ...(lines ? { vmcoreinfo: Object.fromEntries(lines) } : {}),
  };
}
