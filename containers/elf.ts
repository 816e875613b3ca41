/**
 * The front of an ELF64 core of a machine's memory: everything before the memory itself.
 *
 *     Ehdr 64 | Phdr 56 each: PT_NOTE, then one PT_LOAD a range | notes | zeros up to a page | ranges, one after another
 *     note = u32 namesz, u32 descsz, u32 type, name, desc, both padded to 4
 *
 * p_vaddr and p_paddr are the guest-physical address, as QEMU's dump-guest-memory has them without paging. A core with more
 * than 65534 ranges would need an extra section header; there are a dozen. Source: the System V ABI; QEMU dump/dump.c
 * (write_elf64_load, prepare_elf64_phdr_note).
 * @module
 */

export const EM_386 = 3, EM_S390 = 22, EM_ARM = 40, EM_X86_64 = 62, EM_AARCH64 = 183, EM_RISCV = 243;
export const NT_PRSTATUS = 1, NT_PRFPREG = 2;

const EHDR = 64, PHDR = 56;
const ET_CORE = 4, PT_LOAD = 1, PT_NOTE = 4, PF_RWX = 7;
const ALIGN = 4096;

/** A piece of memory. Addresses and lengths in bytes. */
export interface ElfLoad {
  readonly address: number;
  readonly length: number;
}

/** What a core says. */
export interface ElfCoreShape {
  /** EM_*. */
  readonly machine: number;
  readonly byteOrder: "little" | "big";
  /** Encoded notes, in order; see {@link encodeNote}. */
  readonly notes: readonly Uint8Array[];
  /** By address, not overlapping. */
  readonly loads: readonly ElfLoad[];
}

/** Headers and notes, and where each load's bytes go. */
export interface ElfFront {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** File offset of each load. */
  readonly offsets: readonly number[];
  /** Bytes of the whole file. */
  readonly size: number;
}

/** Lay out a core. */
export function encodeElfFront({ machine, byteOrder, notes, loads }: ElfCoreShape): ElfFront {
  const little = byteOrder === "little";
  const noteBytes = notes.reduce((sum, note) => sum + note.length, 0);
  const noteOffset = EHDR + PHDR * (1 + loads.length);
  let end = Math.ceil((noteOffset + noteBytes) / ALIGN) * ALIGN;
  const bytes = new Uint8Array(end);
  const view = new DataView(bytes.buffer);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, little ? 1 : 2, 1]);
  view.setUint16(16, ET_CORE, little);
  view.setUint16(18, machine, little);
  view.setUint32(20, 1, little);
  view.setBigUint64(32, BigInt(EHDR), little);
  view.setUint16(52, EHDR, little);
  view.setUint16(54, PHDR, little);
  view.setUint16(56, 1 + loads.length, little);
  const program = (index: number, type: number, offset: number, address: number, length: number) => {
    const at = EHDR + PHDR * index;
    view.setUint32(at, type, little);
    view.setUint32(at + 4, type === PT_LOAD ? PF_RWX : 0, little);
    const words = [offset, address, address, length, length, type === PT_LOAD ? ALIGN : 4];
    words.forEach((word, i) => view.setBigUint64(at + 8 + 8 * i, BigInt(word), little));
  };
  program(0, PT_NOTE, noteOffset, 0, noteBytes);
  const offsets = loads.map(({ address, length }, i) => {
    program(1 + i, PT_LOAD, end, address, length);
    const offset = end;
    end += Math.ceil(length / ALIGN) * ALIGN;
    return offset;
  });
  let at = noteOffset;
  for (const note of notes) {
    bytes.set(note, at);
    at += note.length;
  }
  return { bytes, offsets, size: end };
}

/** One note. @param name with its NUL counted, as in the file: "CORE" has 5 */
export function encodeNote(name: string, type: number, desc: Uint8Array, little = true): Uint8Array {
  const nameBytes = name.length + 1;
  const bytes = new Uint8Array(12 + padded(nameBytes) + padded(desc.length));
  const view = new DataView(bytes.buffer);
  view.setUint32(0, nameBytes, little);
  view.setUint32(4, desc.length, little);
  view.setUint32(8, type, little);
  for (let i = 0; i < name.length; i++) bytes[12 + i] = name.charCodeAt(i);
  bytes.set(desc, 12 + padded(nameBytes));
  return bytes;
}

/** Bytes of the note that begins a buffer, by its own head; 0 when they are not all there. */
export function noteLength(bytes: Uint8Array, little = true): number {
  if (bytes.length < 12) return 0;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const length = 12 + padded(view.getUint32(0, little)) + padded(view.getUint32(4, little));
  return length <= bytes.length ? length : 0;
}

function padded(length: number): number {
  return Math.ceil(length / 4) * 4;
}
