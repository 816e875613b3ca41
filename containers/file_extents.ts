/**
 * Where a file has bytes and where it has none: lseek(SEEK_DATA) and lseek(SEEK_HOLE), the C library's, where it may be called.
 *
 * A hole reads as zero, and costs as much as data does: the kernel makes pages of zeros for it. A file system that knows no
 * holes says that all is data.
 * @module
 */
import * as fs from "node:fs";

const SEEK_SET = 0;
const SEEK_CUR = 1;
const SEEK_DATA = 3;
const SEEK_HOLE = 4;
/** Holes shorter than this are read: asking about each of many costs more. */
const SHORTEST = 1 << 20;
/** Questions asked for one answer. */
const PATIENCE = 256;
/** Of `st_blocks`. */
const BLOCK = 512;

/** Bytes of one kind from a position on: positive ones are data, negative ones a hole. */
export type Extents = (position: number) => number;

type Seek = (fd: number, position: number, whence: number) => number;

let library: { readonly seek: Seek } | undefined;

/**
 * What a file says of its holes.
 * @param fd of a regular file; its own position stays where it is
 * @returns undefined where there are none, or nobody may ask (`--allow-ffi`)
 */
export function fileExtents(fd: number): Extents | undefined {
  const { size, blocks } = fs.fstatSync(fd);
  if (blocks * BLOCK >= size) return undefined;
  const call = seekCall();
  if (!call) return undefined;
  let known = { from: 0, to: 0, hole: false };
  return (position) => {
    if (position >= size) return Infinity; // nothing is no hole: who reads there is told
    if (position < known.from || position >= known.to) {
      const before = call(fd, 0, SEEK_CUR);
      if (before < 0) return Infinity;
      try {
        known = ask((whence, at) => call(fd, at, whence), position);
      } finally {
        call(fd, before, SEEK_SET);
      }
    }
    return known.hole ? position - Math.min(known.to, size) : known.to - position;
  };
}

/** The extent that a position is in, from there on. A hole at the end of the file has no end here. */
function ask(seek: (whence: number, at: number) => number, from: number) {
  const dataFrom = (at: number) => {
    const found = seek(SEEK_DATA, at);
    return found < at ? Infinity : found;
  };
  const first = dataFrom(from);
  if (first - from >= SHORTEST) return { from, to: first, hole: true };
  let to = first;
  for (let asked = 0; asked < PATIENCE; asked++) {
    const end = seek(SEEK_HOLE, to);
    if (end <= to) return { from, to: Infinity, hole: false }; // the file changed: read on
    to = end;
    const next = dataFrom(to);
    if (next - to >= SHORTEST) break;
    to = next;
  }
  return { from, to, hole: false };
}

/** lseek, where it may be called. Never asks for a permission. */
function seekCall(): Seek | undefined {
  try {
    if (Deno.permissions.querySync({ name: "ffi" }).state !== "granted") return undefined;
    library ??= open();
    return library.seek;
  } catch {
    return undefined;
  }
}

function open(): { readonly seek: Seek } {
  const { symbols: { lseek } } = Deno.dlopen("libc.so.6", {
    lseek: { parameters: ["i32", "i64", "i32"], result: "i64" },
  });
  return { seek: (fd, position, whence) => Number(lseek(fd, BigInt(position), whence)) };
}
