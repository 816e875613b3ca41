/**
 * ELF cores of a machine's memory, as dump-guest-memory, `virsh dump --memory-only` and the kernel's /proc/vmcore have them.
 *
 *     e_ident   7f 45 4c 46, class 1 = 32 bits, 2 = 64; data 1 = little-endian, 2 = big
 *     PT_LOAD   p_paddr: guest-physical; p_filesz bytes at p_offset, zeros up to p_memsz
 *     PT_NOTE   u32 namesz, u32 descsz, u32 type, name, desc, both padded to 4
 *     e_phnum   0xffff: sh_info of section header 0 has the number
 *
 * With paging=true QEMU has ranges by virtual address, some of them twice, and those that span several regions of memory with
 * the bytes of the first alone: where memory is there twice, what the file holds of it counts. Source: the System V ABI; QEMU dump/dump.c (write_elf64_header, write_elf64_load, get_offset_range, prepare_elf_section_hdr_zero).
 * @module
 */
import type { ByteSource } from "../stream/channel.ts";
import { hex, StreamError, TruncatedStreamError, UnsupportedError } from "../stream/errors.ts";
import { type CoreNote, readNotes } from "./elf_note.ts";

/** Most program headers that are read: 7 MiB of them. */
const PHDR_LIMIT = 1 << 17;
/** Most bytes of notes that are read; a processor has about 1 KiB. */
const NOTE_LIMIT = 64 << 20;
/** Addresses beyond are no machine's. */
const ADDRESS_LIMIT = 2 ** 52;
const PT_LOAD = 1, PT_NOTE = 4, PN_XNUM = 0xffff;
/** p_paddr of what has no physical address. */
const NOWHERE = 2 ** 64;

/** A piece of guest-physical memory in a file. All in bytes. */
export interface MemorySegment {
  /** Guest-physical. */
  readonly address: number;
  /** In memory; what the file does not hold of it is zero. */
  readonly length: number;
  /** Of its bytes, in the file. */
  readonly offset: number;
  /** Those the file holds: `length` of them or fewer. */
  readonly fileBytes: number;
}

/** What a core says. */
export interface ElfCore {
  /** Bits of its headers. */
  readonly elfClass: 32 | 64;
  /** Of its headers and notes, and of the guest. */
  readonly byteOrder: "little" | "big";
  /** EM_*. */
  readonly machine: number;
  /** By address, not overlapping. */
  readonly segments: readonly MemorySegment[];
  /** In file order. */
  readonly notes: readonly CoreNote[];
  /** Doubts that do not stop a reader. */
  readonly warnings: readonly string[];
  /** The file ends before the memory its headers tell of. */
  readonly fault?: StreamError;
}

interface Phdr {
  readonly type: number;
  readonly offset: number;
  readonly vaddr: number;
  readonly paddr: number;
  readonly filesz: number;
  readonly memsz: number;
}

/**
 * Read headers and notes.
 * @param source with `readAt` and `size`, standing where the core begins
 * @throws {StreamError} when it has no memory that can be placed
 */
export function readElfCore(source: ByteSource): ElfCore {
  const { elfClass, byteOrder, machine, headers } = new HeaderReader(source).read();
  const little = byteOrder === "little", start = source.start ?? 0, end = source.size!();
  const warnings: string[] = [];
  const loads = headers.filter(({ type, memsz, filesz }) => type === PT_LOAD && (memsz > 0 || filesz > 0));
  if (
    loads.length > 1 && loads.every(({ paddr }) => paddr === 0) && loads.some(({ vaddr }) => vaddr !== loads[0].vaddr)
  ) {
    throw new UnsupportedError("Cannot open", {
      channel: source.name,
      offset: start,
      found: "an ELF core of a process: its segments have no physical addresses",
      expected: "a core of a machine's memory",
      feature: "containers",
    });
  }
  const placed: MemorySegment[] = [];
  let cut: Phdr | undefined;
  for (const load of loads) {
    const { paddr, filesz, offset } = load;
    if (paddr >= NOWHERE - 1) continue;
    const length = Math.max(load.memsz, filesz);
    if (paddr + length > ADDRESS_LIMIT) {
      throw new StreamError("Cannot place a segment of memory", {
        channel: source.name,
        offset: start,
        found: `${hex(BigInt(length))} bytes at guest-physical ${hex(BigInt(paddr))}`,
        expected: `an end below ${hex(ADDRESS_LIMIT)}`,
      });
    }
    if (filesz > load.memsz) warnings.push(`segment at ${hex(paddr)} has more bytes in the file than in memory`);
    if (start + offset + filesz > end && filesz > 0) cut ??= load;
    placed.push({ address: paddr, length, offset: filesz > 0 ? start + offset : 0, fileBytes: filesz });
  }
  const segments = withoutOverlap(placed);
  if (!segments.length) {
    throw new StreamError("Cannot open", {
      channel: source.name,
      offset: start,
      found: "an ELF core without memory",
      expected: "segments of type PT_LOAD with physical addresses",
    });
  }
  const notes: CoreNote[] = [];
  let room = NOTE_LIMIT;
  for (const { type, offset, filesz } of headers) {
    if (type !== PT_NOTE || filesz === 0) continue;
    const there = Math.max(0, Math.min(filesz, end - start - offset));
    const bytes = new Uint8Array(Math.min(there, room));
    const got = bytes.length ? source.readAt!(bytes, start + offset) : 0;
    room -= got;
    const problem = readNotes(bytes.subarray(0, got), start + offset, little, notes);
    if (problem ?? got < filesz) warnings.push(problem ?? `the notes end after ${got} of ${filesz} bytes`);
  }
  return {
    elfClass,
    byteOrder,
    machine,
    segments,
    notes,
    warnings,
    ...(cut ? { fault: truncated(source, start + cut.offset, end, start + cut.offset + cut.filesz) } : {}),
  };
}

/** Reads the ELF header and the table behind it. */
class HeaderReader {
  readonly #source: ByteSource;
  readonly #start: number;
  readonly #end: number;
  #little = true;

  constructor(source: ByteSource) {
    this.#source = source;
    this.#start = source.start ?? 0;
    this.#end = source.size!();
  }

  read() {
    const ident = this.#bytes(0, 16, "the ELF header");
    const [fileClass, data] = [ident.getUint8(4), ident.getUint8(5)];
    if ((fileClass !== 1 && fileClass !== 2) || (data !== 1 && data !== 2)) {
      this.#refuse(4, `class ${fileClass}, byte order ${data}`, "1 or 2 for both");
    }
    const wide = fileClass === 2, little = this.#little = data === 1;
    const ehdr = this.#bytes(0, wide ? 64 : 52, "the ELF header");
    const word = (at: number) => this.#word(ehdr, at, wide);
    const machine = ehdr.getUint16(18, little);
    const [phoff, shoff] = wide ? [word(32), word(40)] : [word(28), word(32)];
    const tail = wide ? 54 : 42;
    const entry = ehdr.getUint16(tail, little);
    let count = ehdr.getUint16(tail + 2, little);
    if (count === PN_XNUM) {
      count = this.#bytes(shoff, wide ? 64 : 40, "section header 0").getUint32(wide ? 44 : 28, little);
      if (count < PN_XNUM) this.#refuse(shoff + (wide ? 44 : 28), `sh_info ${count}`, `${PN_XNUM} or more`);
    }
    const size = wide ? 56 : 32;
    if (entry !== size) this.#refuse(tail, `program headers of ${entry} bytes`, String(size));
    if (count > PHDR_LIMIT) this.#refuse(tail + 2, `${count} program headers`, `at most ${PHDR_LIMIT}`);
    const table = this.#bytes(phoff, count * size, "the program headers");
    const headers: Phdr[] = [];
    for (let i = 0; i < count; i++) {
      const at = i * size;
      const type = table.getUint32(at, little);
      if (type !== PT_LOAD && type !== PT_NOTE) continue;
      const [offset, vaddr, paddr, filesz, memsz] = (wide ? [8, 16, 24, 32, 40] : [4, 8, 12, 16, 20])
        .map((field) => this.#word(table, at + field, wide));
      headers.push({ type, offset, vaddr, paddr, filesz, memsz });
    }
    return {
      elfClass: wide ? 64 as const : 32 as const,
      byteOrder: little ? "little" as const : "big" as const,
      machine,
      headers,
    };
  }

  #word(view: DataView, at: number, wide: boolean): number {
    return wide ? Number(view.getBigUint64(at, this.#little)) : view.getUint32(at, this.#little);
  }

  #bytes(offset: number, length: number, what: string): DataView {
    const at = this.#start + offset;
    if (at + length > this.#end) {
      throw new TruncatedStreamError(`Cannot read ${what}`, {
        channel: this.#source.name,
        offset: at,
        found: `${Math.max(0, this.#end - at)} bytes before the end`,
        expected: String(length),
      });
    }
    const bytes = new Uint8Array(length);
    const got = this.#source.readAt!(bytes, at);
    return new DataView(bytes.buffer, 0, got === length ? length : got);
  }

  #refuse(offset: number, found: string, expected: string): never {
    throw new StreamError("Cannot read the ELF header", {
      channel: this.#source.name,
      offset: this.#start + offset,
      found,
      expected,
    });
  }
}

/** By address; where two lie over each other what the file holds keeps the place, and of that what comes first in the table. */
function withoutOverlap(segments: readonly MemorySegment[]): MemorySegment[] {
  const held = inOrder(
    segments.filter(({ fileBytes }) => fileBytes > 0).map((each) => ({ ...each, length: each.fileBytes })),
  );
  const rest = inOrder(
    segments.filter(({ length, fileBytes }) => length > fileBytes).map((each) => ({
      address: each.address + each.fileBytes,
      length: each.length - each.fileBytes,
      offset: 0,
      fileBytes: 0,
    })),
  );
  const result: MemorySegment[] = [];
  const add = (segment: MemorySegment) => {
    const last = result[result.length - 1];
    if (last && segment.fileBytes === 0 && last.address + last.length === segment.address) {
      result[result.length - 1] = { ...last, length: last.length + segment.length };
    } else result.push(segment);
  };
  let i = 0;
  for (const { address, length } of rest) {
    let at = address;
    for (; i < held.length && held[i].address < address + length; i++) {
      const next = held[i];
      if (at < next.address) add({ address: at, length: next.address - at, offset: 0, fileBytes: 0 });
      add(next);
      at = Math.max(at, next.address + next.length);
    }
    // what was last may go on over this one
    const last = result[result.length - 1];
    at = Math.max(at, last ? last.address + last.length : 0);
    if (at < address + length) add({ address: at, length: address + length - at, offset: 0, fileBytes: 0 });
  }
  return [...result, ...held.slice(i)];
}

/** By address, each cut off where the one before it reaches. */
function inOrder(segments: readonly MemorySegment[]): MemorySegment[] {
  const sorted = segments.map((segment, order) => ({ segment, order }))
    .sort((a, b) => a.segment.address - b.segment.address || a.order - b.order);
  const result: MemorySegment[] = [];
  let end = 0;
  for (const { segment: { address, length, offset, fileBytes } } of sorted) {
    const skipped = Math.max(0, end - address);
    if (skipped >= length) continue;
    const left = Math.max(0, fileBytes - skipped);
    result.push({
      address: address + skipped,
      length: length - skipped,
      offset: left && offset + skipped,
      fileBytes: left,
    });
    end = address + length;
  }
  return result;
}

function truncated(source: ByteSource, offset: number, end: number, expected: number): TruncatedStreamError {
  return new TruncatedStreamError("Cannot read all memory of the core", {
    channel: source.name,
    offset: Math.max(offset, end),
    found: "the end of the file",
    expected: `memory up to offset ${hex(expected)}`,
  });
}
