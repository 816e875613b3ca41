/**
 * Just enough of a reader of ELF cores to hold ours against QEMU's: both classes, little-endian.
 * @module
 */

/** A PT_LOAD. */
export interface CoreLoad {
  readonly address: number;
  readonly length: number;
  /** In the file. */
  readonly offset: number;
}

/** What a core says. */
export interface Core {
  readonly elfClass: 32 | 64;
  readonly machine: number;
  /** All notes, as they stand. */
  readonly notes: Uint8Array;
  readonly loads: readonly CoreLoad[];
  /** Memory at a guest-physical address; undefined where there is none. */
  memory(address: number, length: number): Uint8Array | undefined;
}

/** Read headers and notes of a file. */
export function readCore(path: string): Core {
  const file = Deno.openSync(path);
  const bytes = new Uint8Array(1 << 16);
  file.readSync(bytes);
  const view = new DataView(bytes.buffer);
  const wide = bytes[4] === 2;
  const word = (at: number) => wide ? Number(view.getBigUint64(at, true)) : view.getUint32(at, true);
  const [table, entry, count] = wide
    ? [word(32), view.getUint16(54, true), view.getUint16(56, true)]
    : [word(28), view.getUint16(42, true), view.getUint16(44, true)];
  const loads: CoreLoad[] = [];
  let notes = new Uint8Array();
  const read = (offset: number, length: number) => {
    const target = new Uint8Array(length);
    file.seekSync(offset, Deno.SeekMode.Start);
    for (let done = 0; done < length;) {
      const n = file.readSync(target.subarray(done));
      if (!n) break;
      done += n;
    }
    return target;
  };
  for (let i = 0; i < count; i++) {
    const at = table + i * entry;
    const type = view.getUint32(at, true);
    const [offset, address, length] = wide
      ? [word(at + 8), word(at + 24), word(at + 32)]
      : [word(at + 4), word(at + 12), word(at + 16)];
    if (type === 1) loads.push({ address, length, offset });
    if (type === 4) notes = read(offset, length);
  }
  file.close();
  return {
    elfClass: wide ? 64 : 32,
    machine: view.getUint16(18, true),
    notes,
    loads,
    memory(address, length) {
      const load = loads.find((each) => address >= each.address && address + length <= each.address + each.length);
      if (!load) return undefined;
      using again = Deno.openSync(path);
      const target = new Uint8Array(length);
      again.seekSync(load.offset + address - load.address, Deno.SeekMode.Start);
      for (let done = 0; done < length;) {
        const n = again.readSync(target.subarray(done));
        if (!n) break;
        done += n;
      }
      return target;
    },
  };
}
