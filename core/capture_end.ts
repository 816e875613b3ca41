/**
 * Did a captured stream come to its end, or was its migration cut off? Told from the file's last bytes, whatever its size.
 *
 *     precopy   ... 00 | 06 | be32 length | { ... }      the description of the devices is the last thing sent
 *     postcopy  ... 7e | be32 section | 00               behind the last footer EOF alone: the devices went before, in a package;
 *                                                        a machine that sends no description ends a precopy so, too
 *
 * Source: QEMU migration/savevm.c (qemu_savevm_state_complete_precopy_non_iterable, qemu_savevm_state_complete_postcopy).
 * @module
 */
import fs from "node:fs";
import { QEMU_VM_EOF, QEMU_VM_SECTION_FOOTER } from "../stream/constants.ts";
import { findVmdescription } from "../stream/vmdesc.ts";

/** Bytes of type and length in front of a description. */
const HEAD = 5;
/** Footer, section id, EOF. */
const LAST = 6;
/** Section ids count up from 0, one for each device. */
const MOST_SECTIONS = 1 << 16;

/** Whether the stream in this file is whole to its end; not so when the file cannot be read. */
export function streamEnded(path: string): boolean {
  let fd: number | undefined;
  try {
    fd = fs.openSync(path, "r");
    return endsAsStream(fd);
  } catch {
    return false;
  } finally {
    if (fd !== undefined) fs.closeSync(fd);
  }
}

function endsAsStream(fd: number): boolean {
  const { size } = fs.fstatSync(fd);
  if (size < LAST) return false;
  const readAt = (view: Uint8Array, position: number) => fs.readSync(fd, view, 0, view.length, position);
  const last = new Uint8Array(LAST);
  readAt(last, size - LAST);
  if (last[0] === QEMU_VM_SECTION_FOOTER && last[LAST - 1] === QEMU_VM_EOF) {
    return new DataView(last.buffer).getUint32(1) < MOST_SECTIONS;
  }
  const found = findVmdescription({ name: "main", read: () => 0, readAt, size: () => size });
  return found !== undefined && found.offset + HEAD + found.length === size;
}
