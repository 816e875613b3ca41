/**
 * Pages inside the stream: the strategy of a plain `migrate`.
 *
 *     u64 offset | ZERO [| CONTINUE]  [str8 block]  00
 *     u64 offset | PAGE [| CONTINUE]  [str8 block]  page
 *
 * Source: QEMU migration/ram.c save_zero_page, save_normal_page, save_page_header.
 * @module
 */
import { type RamBlock, SEGMENT } from "../guest/memory.ts";
import { ZeroScanner } from "../guest/zero.ts";
import * as C from "../stream/constants.ts";
import type { StreamWriter } from "../stream/writer.ts";
import type { PageRange, RamSaveContext, RamStrategy } from "./plugin.ts";

/** Block named last, per stream: later pages of it say CONTINUE. */
const lastBlock = new WeakMap<StreamWriter, RamBlock>();

/** Pages as records of the `ram` section. */
export const plainPages: RamStrategy = {
  capability: "",
  saveRange(context, range) {
    const room = context.writer.room(range.length + range.length / context.pageSize * 10 + 300);
    return room instanceof Promise ? room.then(() => put(context, range)) : put(context, range);
  },
};

/**
 * Say of zero pages that they are, and nothing of the others; for strategies that send data elsewhere.
 * @param flags one a page from `offset` on: 1 = not zero; left out: all are zero
 */
export function putZeroPages(
  { writer, pageSize, counters, sent }: RamSaveContext,
  { block, offset, length }: PageRange,
  flags: Uint8Array | undefined,
): void {
  const begin = writer.pos;
  let continued = lastBlock.get(writer) === block ? C.RAM_SAVE_FLAG_CONTINUE : 0;
  for (let i = 0; i < length / pageSize; i++) {
    if (flags?.[i]) continue;
    writer.u64(offset + i * pageSize + C.RAM_SAVE_FLAG_ZERO + continued);
    if (!continued) writer.str8(block.idstr);
    continued = C.RAM_SAVE_FLAG_CONTINUE;
    writer.u8(0);
    counters.duplicate++;
  }
  if (continued) lastBlock.set(writer, block);
  sent(writer.pos - begin);
}

/** All pages of a range, into a staging buffer that has room for them. */
function put(context: RamSaveContext, { block, offset, length }: PageRange): void {
  const { writer, pageSize, counters } = context;
  const begin = writer.pos;
  const pages = length / pageSize;
  const memory = context.detectZero && !block.isUntouched(offset) ? block.segments[Math.floor(offset / SEGMENT)] : null;
  const scanner = memory ? ZeroScanner.of(memory) : null;
  const normal = scanner ? scanner.scan(offset % SEGMENT, pages, pageSize) : context.detectZero ? 0 : pages;
  const view = normal > 0 ? block.view(offset, length) : null;
  let continued = lastBlock.get(writer) === block ? C.RAM_SAVE_FLAG_CONTINUE : 0;
  for (let i = 0; i < pages; i++) {
    const isPage = scanner ? scanner.flags[i] !== 0 : normal > 0;
    writer.u64(offset + i * pageSize + (isPage ? C.RAM_SAVE_FLAG_PAGE : C.RAM_SAVE_FLAG_ZERO) + continued);
    if (!continued) {
      writer.str8(block.idstr);
      continued = C.RAM_SAVE_FLAG_CONTINUE;
    }
    if (!isPage) writer.u8(0);
    else if (view) writer.bytes(view.subarray(i * pageSize, (i + 1) * pageSize));
    else {
      writer.buf.fill(0, writer.pos, writer.pos + pageSize);
      writer.pos += pageSize;
    }
  }
  lastBlock.set(writer, block);
  counters.normal += normal;
  counters.duplicate += pages - normal;
  context.sent(writer.pos - begin);
}
