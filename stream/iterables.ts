/**
 * Iterable sections other than ram: where their bodies end. Their bytes travel as they are.
 *
 *     dirty-bitmap              chunks led by flags, until one with EOS
 *     spapr/htab                START: u32. PART/END: u32 0, then { u32 index, u16 valid, u16 invalid, 16 * valid bytes } to zeros
 *     s390-storage_attributes   u64 words: EOS ends, MORE is followed by u64 n and n bytes
 *     .../vfio                  u64 tags: DATA is followed by u64 n and n bytes, END_OF_STATE ends
 *
 * Source: QEMU migration/block-dirty-bitmap.c, hw/ppc/spapr.c htab_load, hw/s390x/s390-stattrib.c cmma_load,
 * hw/vfio/migration.c vfio_load_state.
 * @module
 */
import { hex, StreamError } from "./errors.ts";
import type { StreamReader } from "./reader.ts";
import type { SectionCodec, SectionPhase } from "./tables.ts";

const PIECE = 1 << 18;

function fault(reader: StreamReader, section: string, found: string, expected: string, qemu?: string): never {
  throw new StreamError(`Cannot read section ${section}`, {
    channel: reader.source.name,
    offset: reader.offset,
    found,
    expected,
    ...(qemu ? { qemu: [qemu] } : {}),
  });
}

/** Yield `bytes` in pieces that fit the reader's buffer. */
async function* run(reader: StreamReader, section: string, bytes: number): AsyncGenerator<number> {
  while (bytes > 0) {
    const n = Math.min(bytes, PIECE);
    await reader.need(n, `Cannot read section ${section}`);
    yield n;
    bytes -= n;
  }
}

const DIRTY_BITMAP_EOS = 0x01, DIRTY_BITMAP_ZEROES = 0x02, DIRTY_BITMAP_BITMAP_NAME = 0x04;
const DIRTY_BITMAP_DEVICE_NAME = 0x08, DIRTY_BITMAP_START = 0x10, DIRTY_BITMAP_BITS = 0x40;

/** Named block dirty bitmaps. */
export const dirtyBitmapCodec: SectionCodec = {
  idstr: "dirty-bitmap",
  async *pieces(reader) {
    const name = this.idstr;
    for (;;) {
      const action = `Cannot read section ${name}`;
      await reader.need(1, action);
      let head = 1;
      let flags = reader.peekU8();
      if (flags & 0x80) {
        await reader.need(2, action);
        head = reader.peekU8(1) & 0x80 ? 4 : 2;
        await reader.need(head, action);
        flags = reader.peekU8(head - 1);
        if (head === 4) {
          fault(reader, name, "flags of four bytes", "one byte", "Unsupported extension");
        }
      }
      let n = head;
      for (const flag of [DIRTY_BITMAP_DEVICE_NAME, DIRTY_BITMAP_BITMAP_NAME]) {
        if (!(flags & flag)) continue;
        await reader.need(n + 1, action);
        n += 1 + reader.peekU8(n);
      }
      if (flags & DIRTY_BITMAP_START) {
        await reader.need(n + 5, action);
        const startFlags = reader.peekU8(n + 4);
        if (startFlags & ~0x07) {
          fault(
            reader,
            name,
            `start flags ${hex(startFlags)}`,
            "at most 0x7",
            `Unknown flags in migrated dirty bitmap header: ${startFlags.toString(16)}`,
          );
        }
        n += 5;
      }
      let payload = 0;
      if (flags & DIRTY_BITMAP_BITS) {
        n += 12;
        if (!(flags & DIRTY_BITMAP_ZEROES)) {
          await reader.need(n + 8, action);
          payload = reader.peekU32(n) * 0x100000000 + reader.peekU32(n + 4);
          n += 8;
          if (payload > 10240) {
            fault(
              reader,
              name,
              `a buffer of ${payload} bytes`,
              "at most 10240",
              "Bitmap migration stream buffer allocation request is too large",
            );
          }
        }
      }
      await reader.need(n + payload, action);
      yield n + payload;
      if (flags & DIRTY_BITMAP_EOS) return;
    }
  },
};

/** The hash page table of pseries guests. */
export const spaprHtabCodec: SectionCodec = {
  idstr: "spapr/htab",
  async *pieces(reader, phase) {
    const action = `Cannot read section ${this.idstr}`;
    await reader.need(4, action);
    const first = reader.peekU32();
    yield 4;
    if (phase === "start" || first !== 0) return;
    for (;;) {
      await reader.need(8, action);
      const index = reader.peekU32(), valid = reader.peekU32(4) >>> 16, invalid = reader.peekU32(4) & 0xffff;
      yield 8;
      if (index === 0 && valid === 0 && invalid === 0) return;
      yield* run(reader, this.idstr, valid * 16);
    }
  },
};

/** Storage attributes of s390x guests. */
export const s390StorageAttributesCodec: SectionCodec = {
  idstr: "s390-storage_attributes",
  async *pieces(reader) {
    const name = this.idstr;
    for (;;) {
      await reader.need(8, `Cannot read section ${name}`);
      const flag = reader.peekU32(4) & 0xfff;
      if (flag === 0x02) {
        await reader.need(16, `Cannot read section ${name}`);
        const count = reader.peekU32(8) * 0x100000000 + reader.peekU32(12);
        yield 16;
        yield* run(reader, name, count);
        continue;
      }
      if (flag !== 0x01 && flag !== 0x08) fault(reader, name, `flags ${hex(flag)}`, "EOS, MORE or DONE");
      yield 8;
      if (flag === 0x01) return;
    }
  },
};

/** Device state of assigned devices. The FULL section that follows is framed by its footer. */
export const vfioCodec: SectionCodec = {
  idstr: "/vfio",
  async *pieces(reader, phase: SectionPhase) {
    for (;;) {
      await reader.need(8, "Cannot read vfio section");
      const high = reader.peekU32(), low = reader.peekU32(4);
      const tag = high === 0xffffffff ? low & 0xff : -1;
      if (high !== 0xffffffff || (low & ~0xff) >>> 0 !== 0xef100000) {
        fault(reader, "vfio", `tag ${hex(reader.peekU32() * 0x100000000 + low)}`, "0xffffffffef10000N");
      }
      if (tag === 0x04) {
        await reader.need(16, "Cannot read vfio section");
        const count = reader.peekU32(8) * 0x100000000 + reader.peekU32(12);
        yield 16;
        yield* run(reader, "vfio", count);
        continue;
      }
      yield 8;
      if (tag === 0x01 || (tag === 0x05 && phase !== "start")) return;
    }
  },
};

/** Iterable sections of QEMU 10.0 besides ram. */
export const ITERABLE_SECTIONS: Readonly<Record<string, SectionCodec>> = Object.freeze(
  Object.fromEntries(
    [dirtyBitmapCodec, spaprHtabCodec, s390StorageAttributesCodec, vfioCodec].map((codec) => [codec.idstr, codec]),
  ),
);
