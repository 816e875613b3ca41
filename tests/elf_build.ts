/**
 * ELF cores of any class and byte order, put together for tests.
 * @module
 */

/** A program header and what it points at. */
export interface BuiltSegment {
  /** PT_LOAD unless given. */
  readonly type?: number;
  readonly address: number | bigint;
  /** Virtual; the same unless given. */
  readonly virtual?: number | bigint;
  readonly data: Uint8Array;
  /** Default: that of `data`. */
  readonly memoryBytes?: number | bigint;
}

/** How to build. */
export interface BuiltCore {
  readonly elfClass?: 32 | 64;
  readonly little?: boolean;
  readonly machine?: number;
  readonly segments: readonly BuiltSegment[];
  /** Put the number of program headers into section header 0. */
  readonly extended?: boolean;
}

/** All bytes of a core: header, program headers, one section header, contents one after another without padding. */
export function buildCore(core: BuiltCore): Uint8Array<ArrayBuffer> {
  const { elfClass = 64, little = true, machine = 62, segments, extended = false } = core;
  const wide = elfClass === 64;
  const [ehdr, phdr, shdr] = wide ? [64, 56, 64] : [52, 32, 40];
  let at = ehdr + phdr * segments.length + shdr;
  const offsets = segments.map(({ data }) => (at += data.length) - data.length);
  const bytes = new Uint8Array(at);
  const view = new DataView(bytes.buffer);
  const u16 = (at: number, value: number) => view.setUint16(at, value, little);
  const u32 = (at: number, value: number) => view.setUint32(at, value, little);
  const word = (at: number, value: number | bigint) => {
    if (wide) view.setBigUint64(at, BigInt(value), little);
    else u32(at, Number(value));
  };
  bytes.set([0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, little ? 1 : 2, 1]);
  u16(16, 4);
  u16(18, machine);
  const sections = ehdr + phdr * segments.length;
  if (wide) [word(32, ehdr), word(40, sections)];
  else [word(28, ehdr), word(32, sections)];
  const tail = wide ? 52 : 40;
  [ehdr, phdr, extended ? 0xffff : segments.length, shdr, 1].forEach((value, i) => u16(tail + 2 * i, value));
  u32(sections + (wide ? 44 : 28), segments.length);
  segments.forEach(({ type = 1, address, virtual = address, data, memoryBytes = data.length }, i) => {
    const at = ehdr + phdr * i;
    u32(at, type);
    const step = wide ? 8 : 4;
    const from = wide ? at + 8 : at + 4;
    [offsets[i], virtual, address, data.length, memoryBytes].forEach((value, n) => word(from + n * step, value));
    bytes.set(data, offsets[i]);
  });
  return bytes;
}
