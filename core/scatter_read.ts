/**
 * Following a row of page records in a file: a slot at a time, and by a team of two threads where it is long. Only where guest
 * memory is still zero, so that what a wrong guess put down can be wiped.
 * @module
 */
import { type RamBlock, SEGMENT, SLOT } from "../guest/memory.ts";
import { scanBlock } from "../guest/zero.ts";
import type { Lane } from "./lane.ts";
import { adviseLargePages } from "./large_pages.ts";
import { addressOf } from "../threads/machine_address.ts";
import { HEAD } from "../threads/record_head.ts";
import { RecordRow } from "../threads/record_row.ts";
import { type RowJob, rowState, settleRow, takePieces } from "../threads/row_team.ts";

/** Bytes of guest memory from which on a team is worth its messages. */
const LONG = 8 << 20;

/** One file read this way. */
export class ScatterRead {
  readonly #row: RecordRow;
  readonly #path: string;
  readonly #lane: Lane | undefined;
  readonly #flags = new Uint8Array(SLOT / 1024);

  private constructor(row: RecordRow, path: string, lane: Lane | undefined) {
    this.#row = row;
    this.#path = path;
    this.#lane = lane;
  }

  /**
   * Open a file, or undefined where FFI may not be used. Never asks for a permission.
   * @param lane a Worker that helps; closed by the caller, before this
   */
  static open(path: string, lane: Lane | undefined): ScatterRead | undefined {
    const row = RecordRow.open(path);
    return row && new ScatterRead(row, path, lane);
  }

  /**
   * Read records from `position` on, as long as they are the pages of `block` from `offset` on.
   * @param breathe called after each read with the position; may wait, and ends the reading by throwing
   * @returns pages that are now in place; 0 where the memory is not zero or the guess was wrong
   */
  async follow(
    block: RamBlock,
    offset: number,
    position: number,
    pageSize: number,
    breathe: (position: number) => Promise<void> | undefined,
  ): Promise<number> {
    let total = 0;
    while (offset < block.usedLength) {
      const fresh = freshBytes(block, offset) / pageSize;
      const long = fresh * pageSize >= LONG && this.#row.reach(offset, fresh, pageSize, position) * pageSize >= LONG;
      const room = Math.min(SLOT - offset % SLOT, block.usedLength - offset);
      const pages = long ? fresh : Math.floor(room / pageSize);
      const good = long
        ? await this.#together(block, offset, position, pages, pageSize, breathe)
        : this.#alone(block, offset, position, pages, pageSize);
      total += good;
      offset += good * pageSize;
      position += good * (HEAD + pageSize);
      if (good < pages || pages === 0) break;
      const wait = breathe(position);
      if (wait) await wait;
    }
    return total;
  }

  /** A piece inside one slot. */
  #alone(block: RamBlock, offset: number, position: number, pages: number, pageSize: number): number {
    if (pages === 0 || scanBlock(block, offset, pages, pageSize, this.#flags) > 0) return 0;
    const target = block.writable(offset, pages * pageSize);
    const good = this.#row.read(addressOf(target), offset, pages, pageSize, position);
    if (good < pages) target.fill(0, good * pageSize);
    return good;
  }

  /** Slots nobody wrote, inside one segment. */
  async #together(
    block: RamBlock,
    offset: number,
    position: number,
    pages: number,
    pageSize: number,
    breathe: (position: number) => Promise<void> | undefined,
  ): Promise<number> {
    block.materialise(offset, 1);
    const memory = block.segments[Math.floor(offset / SEGMENT)]!;
    const at = offset % SEGMENT;
    const bytes = new Uint8Array(memory.buffer as ArrayBuffer, at, pages * pageSize);
    adviseLargePages(bytes, 0, bytes.length);
    const job: RowJob = { pages, pageSize, at: addressOf(bytes), offset, position, state: rowState(pages) };
    this.#lane?.row({ path: this.#path, job });
    let settled: ReturnType<typeof settleRow>;
    try {
      for (const reached of takePieces(job, this.#row)) {
        const wait = breathe(reached);
        if (wait) await wait;
      }
    } finally {
      settled = settleRow(job);
      bytes.fill(0, settled.good * pageSize, Math.max(settled.good, settled.written) * pageSize);
      block.touched.fill(1, Math.floor(offset / SLOT), Math.ceil((offset + settled.good * pageSize) / SLOT));
    }
    return settled.good;
  }

  close(): void {
    this.#row.close();
  }
}

/** Bytes of untouched slots from a slot's beginning on, inside the segment and the block; whole pieces. */
function freshBytes(block: RamBlock, offset: number): number {
  if (offset % SLOT !== 0) return 0;
  const border = Math.min(block.usedLength, (Math.floor(offset / SEGMENT) + 1) * SEGMENT);
  let end = offset;
  while (end + SLOT <= border && block.isUntouched(end)) end += SLOT;
  return end - offset;
}
