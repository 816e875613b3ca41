/**
 * Sentences of QEMU's loader about RAM, and what each means. See why_rules.ts.
 *
 * Source of the sentences: QEMU 10.0 migration/ram.c, migration/file.c, system/physmem.c, migration/block-dirty-bitmap.c.
 * @module
 */
import type { WhyRule } from "./why_rules.ts";

const DAMAGED = "miglab verify tells where the file is damaged; miglab salvage what it still holds";
const SAME_MEMORY =
  "give the destination the memory of the source: -m, -numa, memory backends with their ids, firmware, option ROMs";
const CHANGED = "the stream is damaged, or was changed by a tool";

const number = (text: string) => parseInt(text, 16);

/** Rows about ordinary RAM sections, mapped-ram and dirty bitmaps. */
export const RAM_RULES: readonly WhyRule[] = [
  {
    pattern: /^Unknown ramblock "(.+)", cannot accept migration$/,
    cause: "the stream has a RAM block $1 and the destination has none of that name: other memory backends or devices",
    advice: SAME_MEMORY,
    find: (match, facts) => facts.inBlock(match[1], "idstr"),
  },
  {
    pattern: /^Unknown ramblock "", cannot accept migration$/,
    cause:
      "the list of RAM blocks went wrong: it does not add up, or with mapped-ram the next block's header is not where the " +
      "pages of the one before end, as in a file that was cut",
    advice: DAMAGED,
    find: (_, facts) => facts.line(/\.ram\.total$/),
  },
  {
    pattern: /^Size (mismatch|too large): (.+?): (0x[0-9a-f]+) (!=|>) (0x[0-9a-f]+)/,
    cause: "RAM block $2 has $3 bytes in the stream and $5 at the destination",
    advice: `${SAME_MEMORY}; for pc.ram that is -m, for ROMs the same files`,
    find: (match, facts) => facts.inBlock(match[2], "usedLength"),
  },
  {
    pattern: /^block (.+) should not be migrated !$/,
    cause: "a page of $1 came, which this destination does not migrate (x-ignore-shared, or a device's own memory)",
    advice: "use the same capabilities and backends on both sides",
    find: (match, facts) => facts.inBlock(match[1], "idstr"),
  },
  {
    pattern: /^Mismatched RAM page size (\S+) \(local\) (\d+) != (\d+)$/,
    cause: "block $1 is on pages of $3 bytes at the source and of $2 here",
    advice: "use huge pages of one size on both sides for postcopy",
    find: (match, facts) => facts.inBlock(match[1], "pageSize"),
  },
  {
    pattern: /^Mismatched GPAs for block (\S+) (\d+) ?!= (\d+)$/,
    cause: "block $1 lies at another guest-physical address",
    advice: SAME_MEMORY,
    find: (match, facts) => facts.inBlock(match[1], "address"),
  },
  {
    pattern: /^Getting RAM address failed/,
    cause: "the stream ends between two pages",
    advice: "the save did not end, or the file was cut; " + DAMAGED,
  },
  {
    pattern: /^Unknown combination of migration flags: 0x([0-9a-f]+)( \(postcopy mode\))?$/,
    cause: `a RAM record has flags 0x$1: ${CHANGED}; 0x100 are compressed pages of QEMU before 9.1, which are gone`,
    advice: `${DAMAGED}; load compressed pages with an older QEMU and save again`,
  },
  {
    pattern: /^Ack, bad migration stream!$/,
    cause: `a page record names no block and none was named before: ${CHANGED}`,
    advice: DAMAGED,
    find: (_, facts) => facts.line(/^sections\[1\]\.type$/),
  },
  {
    pattern: /^Can't find block (.+)$/,
    cause: "pages of a block $1 come, which is not in the destination",
    advice: SAME_MEMORY,
    find: (match, facts) => facts.inBlock(match[1], "idstr"),
  },
  {
    pattern: /^Illegal RAM offset ([0-9a-f]+)$/,
    cause: "a page at offset 0x$1 lies beyond the end of its block at the destination, or its block is unknown there",
    advice: SAME_MEMORY,
    find: (match, facts) => facts.record(number(match[1])),
  },
  {
    pattern: /^Found a zero page with value (\d+)$/,
    cause: "a page is said to be filled with byte $1: a form that QEMU 10 no longer reads, or damage",
    advice: DAMAGED,
  },
  {
    pattern: /^Failed to load XBZRLE page - (.+)$/,
    cause: `an XBZRLE delta cannot be applied, $1: ${CHANGED}, or a page it builds on is missing`,
    advice: DAMAGED,
  },
  {
    pattern: /^Failed to decompress XBZRLE page at ([0-9a-f]+)$/,
    cause: "the delta is for page 0x$1",
    advice: DAMAGED,
    find: (match, facts) => facts.record(number(match[1])),
  },
  {
    pattern: /^Could not read whole mapped-ram migration header \(expected (\d+), got (-?\d+) bytes\)$/,
    cause: "the file ends inside the header of a mapped-ram block",
    advice: "the file was cut; " + DAMAGED,
  },
  {
    pattern: /^Migration mapped-ram capability version not supported \(expected <= (\d+), got (\d+)\)$/,
    cause: "the header of a mapped-ram block has version $2: it is of a newer QEMU, or damaged",
    advice: "use a QEMU at least as new as the source; " + DAMAGED,
    find: (match, facts) => facts.line(/\.mapped\.version$/, Number(match[2])),
  },
  {
    pattern: /^Error reading ramblock (.+) pages, region has bad alignment$/,
    cause:
      "the pages of $1 do not begin at a whole page: bytes were put in front of the stream or taken away, x-ignore-shared was " +
      "on together with mapped-ram, or the header is damaged",
    advice:
      "offsets of mapped-ram count from the start of the file: move it back to where it was written, or miglab convert it",
    find: (match, facts) => facts.inBlock(match[1], "mapped.pagesOffset"),
  },
  {
    pattern: /^Error reading dirty bitmap$/,
    cause: "the bitmap of a mapped-ram block lies outside the file: it was cut, or moved to another offset",
    advice: "offsets of mapped-ram count from the start of the file; " + DAMAGED,
    find: (_, facts) => facts.line(/\.mapped\.bitmapOffset$/),
  },
  {
    pattern: /^page outside of ramblock (.+) range$/,
    cause:
      "the bitmap of $1 has a bit for a page the destination's block does not have: it is smaller there, or the page size in " +
      "the header is wrong",
    advice: SAME_MEMORY,
    find: (match, facts) => facts.inBlock(match[1], "mapped.pageSize"),
  },
  {
    pattern: /^\((.+)\) failed to read page ([0-9a-f]+) ?from file offset ([0-9a-f]+): (.*)$/,
    cause: "page 0x$2 of $1 should be at 0x$3 of the file and is not all there: $4",
    advice: "the file was cut, or moved to another offset; " + DAMAGED,
    find: (match, facts) => facts.inBlock(match[1], "mapped.pagesOffset"),
  },
  {
    pattern: /^Unexpected RAM flags: (\d+)$/,
    cause: `an ordinary page record in a mapped-ram stream (flags $1): ${CHANGED}`,
    advice: DAMAGED,
  },
  {
    pattern: /^Unknown flags in migrated dirty bitmap header: ([0-9a-f]+)$/,
    cause: "a dirty bitmap has flags 0x$1 this QEMU does not know: it is of a newer one, or damaged",
    advice: "use a QEMU at least as new as the source; " + DAMAGED,
    find: (match, facts) => facts.line(/\.chunks\[\d+\]\.startFlags$/, number(match[1])),
  },
  {
    pattern: /^Bitmap with the same name \('(.+)'\) already exists on destination$/,
    cause: "the destination's disk has a bitmap $1 already",
    advice: "block-dirty-bitmap-remove it there, or map the name (block-bitmap-mapping)",
    find: (match, facts) => facts.line(/\.chunks\[\d+\]\.bitmap$/, match[1]),
  },
  {
    pattern: /^Cannot find device='(.*)' nor node-name='(.*)'$/,
    cause:
      "a dirty bitmap belongs to block node $2, which the destination has not; the bitmaps are left out, the guest loads",
    advice: "give the disk the node name of the source, or set block-bitmap-mapping",
    find: (match, facts) => facts.line(/\.chunks\[\d+\]\.node$/, match[2]),
  },
  {
    pattern: /^Bitmap migration stream buffer allocation request is too large$/,
    cause: "a piece of a dirty bitmap is longer than any QEMU sends: the stream is damaged",
    advice: DAMAGED,
    find: (_, facts) => facts.line(/\.chunks\[\d+\]\.bytes$/),
  },
];
