/**
 * Target page size of a stream that does not say it: no page-bits subsection (QEMU leaves it out when the size is the
 * smallest its target knows, 1 KiB for arm), no description in reach, as on a pipe.
 *
 * The first pass over RAM is in order, so the second record of the first block says how far one page is:
 *
 *     00 00 00 00 00 00 00 02 | 06 pc.ram | 00        page 0 is zero
 *     00 00 00 00 00 00 04 22 | 00                    CONTINUE ZERO at 0x400: pages of 1 KiB
 * @module
 */
import * as C from "./constants.ts";
import type { StreamReader } from "./reader.ts";

const CANDIDATES = [4096, 1024, 2048, 8192, 16384, 65536];
const DEFAULT = 4096;

/**
 * The page size that makes sense of the record the reader stands before and of the one behind it.
 * @returns 4096 when no size does
 */
export async function probePageSize(reader: StreamReader): Promise<number> {
  const flags = reader.peekU32(4) & 0x3ff;
  const isPage = (flags & C.RAM_SAVE_FLAG_PAGE) !== 0;
  if (!isPage && !(flags & C.RAM_SAVE_FLAG_ZERO)) return DEFAULT;
  let head = 8;
  if (!(flags & C.RAM_SAVE_FLAG_CONTINUE)) {
    if (!(await reader.ensure(9))) return DEFAULT;
    head += 1 + reader.peekU8(8);
  }
  for (const pageSize of CANDIDATES) {
    const next = head + (isPage ? pageSize : 1);
    if (!(await reader.ensure(next + 8))) continue;
    const mask = pageSize - 1;
    const low = reader.peekU32(next + 4);
    const kind = low & mask & ~C.RAM_SAVE_FLAG_CONTINUE;
    const known = kind === C.RAM_SAVE_FLAG_PAGE || kind === C.RAM_SAVE_FLAG_ZERO;
    const step = low - (low & mask) - (reader.peekU32(4) - flags);
    if (known && (low & C.RAM_SAVE_FLAG_CONTINUE) && step === pageSize && reader.peekU32(next) === reader.peekU32()) {
      return pageSize;
    }
  }
  return DEFAULT;
}
