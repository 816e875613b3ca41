/**
 * Notes of an ELF core: u32 namesz, u32 descsz, u32 type, name, desc, both padded to 4.
 * @module
 */
import { hex } from "../stream/errors.ts";

/** Most notes that are listed. */
const COUNT_LIMIT = 1 << 16;
/** Longest name; the longest known has ten letters. */
const NAME_LIMIT = 64;

/** One note. */
export interface CoreNote {
  /** "CORE", "QEMU", "VMCOREINFO", "LINUX": whose type it is. */
  readonly name: string;
  /** NT_* of that name. */
  readonly type: number;
  /** Content. */
  readonly desc: Uint8Array;
  /** Of the note's head, in the file. */
  readonly offset: number;
}

/**
 * Add the notes in some bytes to a list.
 * @param offset of the bytes, in the file
 * @returns why not all bytes are notes
 */
export function readNotes(bytes: Uint8Array, offset: number, little: boolean, notes: CoreNote[]): string | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  while (at + 12 <= bytes.length) {
    const nameBytes = view.getUint32(at, little), descBytes = view.getUint32(at + 4, little);
    const type = view.getUint32(at + 8, little);
    const from = at + 12 + padded(nameBytes);
    // the last one's padding may be missing
    if (nameBytes > NAME_LIMIT || from + descBytes > bytes.length) {
      return `note at offset ${hex(offset + at)} does not fit: a name of ${nameBytes} bytes, content of ${descBytes}`;
    }
    if (notes.length >= COUNT_LIMIT) return `more than ${COUNT_LIMIT} notes`;
    let name = "";
    for (let i = 0; i < nameBytes && bytes[at + 12 + i] !== 0; i++) name += String.fromCharCode(bytes[at + 12 + i]);
    notes.push({ name, type, desc: bytes.subarray(from, from + descBytes), offset: offset + at });
    at = from + padded(descBytes);
  }
  return undefined;
}

function padded(length: number): number {
  return Math.ceil(length / 4) * 4;
}
