/**
 * Guest-physical memory as an ELF core, for gdb, crash and volatility.
 * @module
 */
import { Breath, type LongWork } from "../containers/breath.ts";
import {
  EM_386,
  EM_AARCH64,
  EM_ARM,
  EM_RISCV,
  EM_S390,
  EM_X86_64,
  encodeElfFront,
  encodeNote,
  noteLength,
} from "../containers/elf.ts";
import type { ElfCore, Image } from "../containers/image.ts";
import { createOutput, type OutputFile } from "../containers/output_file.ts";
import { physicalRanges, readPhysical } from "../containers/physical_ram.ts";
import type { PhysicalRange } from "../guest/guest.ts";
import { coreCpus } from "./core_cpu.ts";
import { type Cpu, cpuStates } from "./cpu_state.ts";
import { cpuNotes } from "./elf_notes.ts";
import { RamCopy } from "./ram_copy.ts";
import { ramProblems, refuse } from "./readable.ts";

/** Most ranges whose number fits e_phnum. */
const RANGE_LIMIT = 65533;
/** FW_CFG_VMCOREINFO_FORMAT_ELF. */
const VMCOREINFO_ELF = 1;
/** MAX_GUEST_NOTE_SIZE of dump/dump.c. */
const NOTE_LIMIT = 1 << 20;

/** What was written. */
export interface WrittenCore {
  /** Bytes of the file. */
  readonly bytes: number;
  /** Bytes of it that are data; the rest are holes. */
  readonly dataBytes: number;
  /** Processors with notes. */
  readonly cpus: number;
  /** Guest-physical ranges, by address. */
  readonly ranges: readonly PhysicalRange[];
}

/**
 * Write all RAM of an image as an ELF64 core.
 * @param path of the new file, which appears when it is whole
 * @throws {RefusedError} naming every reason why it cannot be
 * @throws {TransportError} when the file cannot be written
 */
export async function writeElfCore(image: Image, path: string, work: LongWork = {}): Promise<WrittenCore> {
  await image.ram.prepare();
  refuse("write an ELF core", [...ramProblems(image), ...mapProblems(image), ...machineProblems(image)]);
  using out = createOutput(path);
  return await writeCore(image, out, work);
}

/** Reasons why guest-physical memory cannot be laid out. */
export function mapProblems(image: Image): string[] {
  const ranges = physicalRanges(image);
  if (ranges && ranges.length > RANGE_LIMIT) return [`it has ${ranges.length} ranges of memory, more than are written`];
  if (ranges?.length) return [];
  const machine = image.stream.machine === undefined ? "this machine" : `machine ${image.stream.machine}`;
  return [`it is not known where ${machine} has its RAM`];
}

/** Reasons why it cannot be said whose memory it is. */
export function machineProblems({ format }: Image): string[] {
  return format === "raw" ? ["raw memory does not say of what machine it is"] : [];
}

/** The same into an open file; RAM is readable and its place known. */
export async function writeCore(image: Image, out: OutputFile, work: LongWork): Promise<WrittenCore> {
  const ranges = physicalRanges(image)!;
  const cpus = cpuStates(image);
  const machine = machineCode(image, cpus);
  const byteOrder = image.core?.byteOrder ?? (machine === EM_S390 ? "big" : "little");
  const front = encodeElfFront({
    machine,
    byteOrder,
    notes: image.core ? keptNotes(image.core) : guestNotes(image, cpus, ranges),
    loads: ranges.map(({ base, length }) => ({ address: base, length })),
  });
  const breath = new Breath(ranges.reduce((sum, { length }) => sum + length, 0), work);
  using copy = new RamCopy(image.ram, out, breath);
  out.writeAt(front.bytes, 0);
  for (let i = 0; i < ranges.length; i++) {
    const { idstr, blockOffset, length } = ranges[i];
    await copy.copy(image.ram.block(idstr)!, blockOffset, length, front.offsets[i]);
  }
  await copy.drain();
  breath.end();
  out.finish(front.size);
  const count = image.core ? coreCpus(image.core).length : cpus.length;
  return { bytes: front.size, dataBytes: front.bytes.length + copy.written, cpus: count, ranges };
}

/** Notes of a core, as they are. */
function keptNotes({ notes, byteOrder }: ElfCore): Uint8Array[] {
  return notes.map(({ name, type, desc }) => encodeNote(name, type, desc, byteOrder === "little"));
}

function guestNotes(image: Image, cpus: readonly Cpu[], ranges: readonly PhysicalRange[]): Uint8Array[] {
  const guestNote = vmcoreinfo(image, ranges);
  return [...cpuNotes(cpus), ...(guestNote ? [guestNote] : [])];
}

/** EM_* of the guest. @param cpus its processors, as {@link cpuStates} has them */
export function machineCode(image: Image, cpus: readonly Cpu[]): number {
  if (image.core) return image.core.machine;
  const [cpu] = cpus;
  if (cpu?.kind === "x86") return cpu.longMode ? EM_X86_64 : EM_386;
  if (cpu) return cpu.aarch32 ? EM_ARM : EM_AARCH64;
  const has = (idstr: string) => image.ram.block(idstr) !== undefined;
  if (has("riscv_virt_board.ram")) return EM_RISCV;
  if (has("s390.ram")) return EM_S390;
  if (has("mach-virt.ram")) return EM_AARCH64;
  return has("versatile.ram") ? EM_ARM : EM_X86_64;
}

/** The note a Linux guest told QEMU about, read from its memory. */
function vmcoreinfo(image: Image, ranges: readonly PhysicalRange[]): Uint8Array | undefined {
  const fields = image.devices.find(({ name }) => name === "vmcoreinfo")?.fields;
  if (!fields?.has_vmcoreinfo || fields["vmcoreinfo.guest_format"] !== VMCOREINFO_ELF) return undefined;
  const size = Number(fields["vmcoreinfo.size"]), address = Number(fields["vmcoreinfo.paddr"]);
  if (!(size >= 12 && size <= NOTE_LIMIT) || !Number.isSafeInteger(address)) return undefined;
  const note = readPhysical(image, ranges, address, size);
  const length = note ? noteLength(note) : 0;
  return length > 0 ? note!.subarray(0, length) : undefined;
}
