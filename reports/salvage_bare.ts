/**
 * Page records without a frame, as a postcopy-preempt channel has them: read as a main channel's part of ram, so that what is
 * damaged is gone about as there.
 * @module
 */
import type { Breath } from "../containers/breath.ts";
import type { ByteSource } from "../stream/channel.ts";
import type { Tables } from "../stream/tables.ts";
import { behind, encodeFront } from "./salvage_front.ts";
import { type Pieces, readPieces } from "./salvage_pieces.ts";

/**
 * Read what there is.
 * @param source with `readAt` and `size`
 * @param main   what is known of the blocks
 */
export async function readBareRecords(
  source: ByteSource,
  main: Pieces,
  pageSize: number,
  tables: Partial<Tables>,
  breath: Breath,
): Promise<Pick<Pieces, "pieces" | "damages" | "blocks">> {
  const front = await encodeFront({
    kind: "record",
    ramId: undefined,
    pageSize,
    blocks: main.blocks,
    footers: true,
    withoutRam: false,
    block: undefined,
  });
  const size = source.size!();
  const { pieces, damages, blocks } = await readPieces(behind(front, source, 0, true), tables, breath, true);
  // it ends where a record does: what is missing behind that is the frame's
  return { pieces, blocks, damages: damages.filter(({ offset }) => offset < size) };
}
