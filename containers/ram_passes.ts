/**
 * Passes over RAM. A source goes over its blocks in list order, page after page; what the guest wrote meanwhile it sends again, in
 * another pass.
 *
 *     pass 1   pc.ram 0, 1, 2 ... 2047, vga.vram 0 ...         all of it
 *     pass 2   pc.ram 7, 8, 1900                               what was dirty
 *
 * A pass begins with a page that comes again and stands before the last one. Pages of multifd channels come in no order between
 * two points where channels wait for each other, so what lies between is taken as one. In postcopy pages come as they are asked
 * for: that is one pass however often it jumps. Source: QEMU migration/ram.c (find_dirty_block: complete_round).
 * @module
 */

/** What became of the pages of one block in one pass. */
export interface PassBlock {
  /** Index in the list of blocks. */
  readonly block: number;
  /** Pages that came as data. */
  normalPages: number;
  /** Pages that came as zero. */
  zeroPages: number;
  /** Pages that came as a difference (xbzrle). */
  deltaPages: number;
}

/** One pass. */
export interface RamPass {
  /** In the channel of its first page record; of multifd pages the mark of the main channel behind them. */
  readonly offset: number;
  /** Blocks of which pages came, as they came. */
  readonly blocks: PassBlock[];
}

/** Passes that are told apart; pages of more are counted to the last. */
const LIMIT = 4096;

/** Kinds of pages. */
export type PageKind = keyof Omit<PassBlock, "block">;

/** Tells passes apart, page by page. */
export class RamPasses {
  /** In stream order. */
  readonly list: RamPass[] = [];
  /** Pages are told in no order until the next {@link RamPasses.sync}. */
  unordered = false;
  readonly #entered = new Map<number, PassBlock>();
  #current: PassBlock | undefined;
  /** Position up to which the last pass came, of its last page or, without order, of its furthest. */
  #reached = -1;
  #postcopy = false;
  /** Since the last sync, where pages come in no order. */
  #waiting = new Map<number, PassBlock>();
  #since = 0;
  #firstAgain = Infinity;
  #furthest = -1;

  /** Whether a page may begin a pass, should it have come before. */
  isBack(block: number, page: number): boolean {
    return this.unordered || position(block, page) <= this.#reached;
  }

  /**
   * Pages in a row came.
   * @param again the first of them came before, and {@link RamPasses.isBack}
   * @param offset of the first record
   */
  add(kind: PageKind, block: number, page: number, count: number, again: boolean, offset: number): void {
    if (this.unordered) return this.#wait(kind, block, page, count, again, offset);
    if (this.list.length === 0 || (again && !this.#postcopy)) this.#begin(offset);
    if (this.#current?.block !== block) this.#enter(block);
    this.#current![kind] += count;
    this.#reached = position(block, page + count - 1);
  }

  /** Channels have waited for each other: what came since the last time belongs to one pass. */
  sync(): void {
    if (this.#waiting.size === 0) return;
    const begins = this.list.length === 0 || (this.#firstAgain <= this.#reached && !this.#postcopy);
    if (begins) this.#begin(this.#since);
    for (const { block, normalPages, zeroPages, deltaPages } of this.#waiting.values()) {
      this.#enter(block);
      this.#current!.normalPages += normalPages;
      this.#current!.zeroPages += zeroPages;
      this.#current!.deltaPages += deltaPages;
    }
    this.#reached = begins ? this.#furthest : Math.max(this.#reached, this.#furthest);
    this.#waiting.clear();
    this.#firstAgain = Infinity;
    this.#furthest = -1;
  }

  /** Pages come as they are asked for from here on. */
  postcopy(): void {
    this.#postcopy = true;
  }

  #wait(kind: PageKind, block: number, page: number, count: number, again: boolean, offset: number): void {
    if (this.#waiting.size === 0) this.#since = offset;
    let waiting = this.#waiting.get(block);
    if (!waiting) this.#waiting.set(block, waiting = nothing(block));
    waiting[kind] += count;
    if (again) this.#firstAgain = Math.min(this.#firstAgain, position(block, page));
    this.#furthest = Math.max(this.#furthest, position(block, page + count - 1));
  }

  #begin(offset: number): void {
    if (this.list.length === LIMIT) return;
    this.list.push({ offset, blocks: [] });
    this.#entered.clear();
    this.#current = undefined;
  }

  #enter(block: number): void {
    let entered = this.#entered.get(block);
    if (!entered) {
      this.#entered.set(block, entered = nothing(block));
      this.list[this.list.length - 1].blocks.push(entered);
    }
    this.#current = entered;
  }
}

/** Orders pages of all blocks: none has 2^40. */
function position(block: number, page: number): number {
  return block * 2 ** 40 + page;
}

function nothing(block: number): PassBlock {
  return { block, normalPages: 0, zeroPages: 0, deltaPages: 0 };
}
