/**
 * Lines of iterable sections other than ram: pieces as they came, and chunks of dirty bitmaps.
 *
 *     sections[4].dirty-bitmap.chunks[0].flags = "DEVICE_NAME|BITMAP_NAME|START"   what this chunk holds
 *
 * Source: QEMU migration/block-dirty-bitmap.c; stream/iterables.ts.
 * @module
 */
import { hex } from "../stream/errors.ts";
import type { SectionDataRecord } from "../stream/records.ts";
import { type ExplainLine, FieldLines } from "./explain_lines.ts";

const CHUNK_FLAGS = ["EOS", "ZEROES", "BITMAP_NAME", "DEVICE_NAME", "START", "COMPLETE", "BITS"];

/** A piece of an iterable section other than ram. */
export function dataLines(record: SectionDataRecord, path: string, piece: number): ExplainLine[] {
  const { offset, length, idstr, data } = record;
  if (idstr === "dirty-bitmap") return chunkLines(record, `${path}.chunks[${piece}]`);
  const source = DATA_RULES[idstr] ?? DATA_RULES[idstr.slice(idstr.lastIndexOf("/"))];
  return new FieldLines(offset, path, source).bytes(`pieces[${piece}]`, length, data, `a piece of ${idstr}`).lines;
}

const DATA_RULES: Record<string, string> = {
  "spapr/htab": "hw/ppc/spapr.c htab_load; stream/iterables.ts",
  "s390-storage_attributes": "hw/s390x/s390-stattrib.c cmma_load; stream/iterables.ts",
  "/vfio": "hw/vfio/migration.c vfio_load_state; stream/iterables.ts",
};

/** One chunk of a dirty-bitmap section. */
function chunkLines({ offset, data, length }: SectionDataRecord, path: string): ExplainLine[] {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const fields = new FieldLines(offset, path, "migration/block-dirty-bitmap.c; stream/iterables.ts");
  let at = 0;
  const u8 = () => view.getUint8(at++);
  const name = () => {
    const n = u8();
    at += n;
    return String.fromCharCode(...data.subarray(at - n, at));
  };
  const head = data[0] & 0x80 ? 2 : 1;
  const flags = data[head - 1];
  at = head;
  const words = CHUNK_FLAGS.filter((_, i) => flags & 1 << i).join("|") || hex(flags);
  fields.add("flags", head, data.subarray(0, head), "what this chunk holds", words);
  if (flags & 0x08) fields.str8("node", name(), "block node, or its alias");
  if (flags & 0x04) fields.str8("bitmap", name(), "bitmap of that node, or its alias");
  if (flags & 0x10) {
    fields.u32("granularity", view.getUint32(at), "bytes of the disk that one bit stands for");
    at += 4;
    fields.u8("startFlags", u8(), "1 enabled, 2 persistent, 4 ignored");
  }
  if (flags & 0x40) {
    fields.u64("firstSector", view.getBigUint64(at), "where the bits begin, sectors of 512 bytes");
    fields.u32("sectors", view.getUint32(at + 8), "how far they reach, sectors of 512 bytes");
    at += 12;
    if (!(flags & 0x02)) {
      fields.u64("bytes", view.getBigUint64(at), "bytes of bits that follow");
      at += 8;
    }
  }
  fields.bytes("bits", length - at, data.subarray(at), "the bits");
  return fields.lines;
}
