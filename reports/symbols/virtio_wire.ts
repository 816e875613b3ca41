/**
 * Bytes of a value that has a layout of its own, read one after the other. Big-endian, as QEMUFile writes.
 *
 *     subsection     05, u8 n, n bytes of name, u32 version, fields, further subsections
 *
 * What does not fit is a Misfit: it never leaves the rules of virtio. Source: QEMU migration/qemu-file.c, vmstate.c
 * (vmstate_subsection_save).
 * @module
 */

const SUBSECTION = 5;

/** Bytes are not as the layout has them. */
export class Misfit extends Error {}

/** A place in bytes. */
export class Wire {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  /** Where to read next. */
  at: number;

  constructor(bytes: Uint8Array, at = 0) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = at;
  }

  /** Bytes not read so far. */
  get left(): number {
    return this.bytes.length - this.at;
  }

  /** The next `size` bytes, which are borrowed. */
  take(size: number): Uint8Array {
    const at = this.#skip(size);
    return this.bytes.subarray(at, at + size);
  }

  u8(): number {
    return this.#view.getUint8(this.#skip(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#skip(2));
  }

  u32(): number {
    return this.#view.getUint32(this.#skip(4));
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.#skip(8));
  }

  /** A byte that is 0 or 1. */
  bool(): boolean {
    const value = this.u8();
    if (value > 1) throw new Misfit();
    return value === 1;
  }

  /** The name of the subsection that comes next; undefined where none does. Its head is not read. */
  peekSubsection(): string | undefined {
    if (this.left < 2 || this.bytes[this.at] !== SUBSECTION) return undefined;
    const size = this.bytes[this.at + 1];
    if (this.left < 2 + size + 4) return undefined;
    let name = "";
    for (const byte of this.bytes.subarray(this.at + 2, this.at + 2 + size)) name += String.fromCharCode(byte);
    return name;
  }

  /** Read the head of the next subsection, where it has this name. @returns whether it has */
  enter(name: string): boolean {
    if (this.peekSubsection() !== name) return false;
    this.take(2 + name.length);
    if (this.u32() !== 1) throw new Misfit();
    return true;
  }

  #skip(size: number): number {
    if (size > this.left) throw new Misfit();
    const at = this.at;
    this.at += size;
    return at;
  }
}
