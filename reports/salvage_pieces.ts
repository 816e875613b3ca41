/**
 * A damaged stream in pieces, each of which decodes: from the beginning to the first fault, then from each place where one
 * can begin again to the next.
 *
 *     what a piece is read as = a header, a configuration and a list of blocks made here | the bytes from that place on
 *
 * So there is one decoder for whole streams and broken ones. Offsets are those in the file.
 * @module
 */
import type { Breath } from "../containers/breath.ts";
import { indexStream } from "../containers/stream_index.ts";
import type { ImageSection, StreamIndex } from "../containers/index_result.ts";
import type { ByteSource } from "../stream/channel.ts";
import { StreamError } from "../stream/errors.ts";
import type { Tables } from "../stream/tables.ts";
import { EVERY_DEVICE } from "../stream/tail.ts";
import { findVmdescription, parseVmdescription, type VmDescription } from "../stream/vmdesc.ts";
import { guessBlock } from "./salvage_block.ts";
import { behind, encodeFront } from "./salvage_front.ts";
import { findMappedBlocks } from "./salvage_mapped.ts";
import type { ScanFind, ScanKnowledge } from "./salvage_place.ts";
import { Scan } from "./salvage_scan.ts";

/** Pieces of a stream that are looked for at most. */
const PIECE_LIMIT = 1024;
/** Bytes of a footer. */
const FOOTER = 5;
/** Length of a block whose own is not known. */
export const UNKNOWN_LENGTH = 2 ** 40;

/** A part of the stream that decodes. */
export interface Piece {
  readonly index: StreamIndex;
  /** Gives its bytes at their offsets in the file. */
  readonly source: ByteSource;
  /** Where it begins. */
  readonly offset: number;
  /** Block its first pages were taken for: the record that named it is damaged. */
  readonly inferred?: string;
  /** They may be of another. */
  readonly doubtful?: boolean;
}

/** A place where decoding stopped. */
export interface Damage {
  /** In the file. */
  readonly offset: number;
  /** What is wrong, one line. */
  readonly message: string;
  /** Further channel it is on: its file as it was given. Absent for the main one. */
  readonly channel?: string;
}

/** All that could be decoded. */
export interface Pieces {
  readonly pieces: readonly Piece[];
  readonly damages: readonly Damage[];
  readonly description?: VmDescription;
  /** Lengths of the blocks; {@link UNKNOWN_LENGTH} where only pages of it were seen. */
  readonly blocks: ReadonlyMap<string, number>;
  /** There are no other blocks. */
  readonly allBlocks: boolean;
  readonly pageSize: number;
  /** The stream said so. */
  readonly pageSizeKnown: boolean;
  /** Pages whose content is not to be relied on: the flags of their records are damaged, or which copy is the last is lost. */
  readonly falsePages: readonly { readonly block: string; readonly pageOffset: number }[];
  /** Sections of iterables other than ram that stand between the pieces. */
  readonly iterables: readonly ImageSection[];
  /** The search was given up: too many pieces. */
  readonly givenUp: boolean;
}

/**
 * Read what there is.
 * @param source with `readAt` and `size`, standing where the stream begins
 * @param bare   behind what stands in front of it there is nothing but page records
 */
export async function readPieces(
  source: ByteSource,
  tables: Partial<Tables>,
  breath: Breath,
  bare = false,
): Promise<Pieces> {
  return await new PieceReader(source, tables, breath, bare).read();
}

class PieceReader {
  readonly #pieces: Piece[] = [];
  readonly #damages: Damage[] = [];
  readonly #blocks = new Map<string, number>();
  readonly #description: VmDescription | undefined;
  #pageSize = 4096;
  #pageSizeKnown = false;
  #ramId: number | undefined;
  #allBlocks = false;
  #swallowedAt = -1;
  readonly #false: NonNullable<StreamIndex["lastPage"]>[] = [];
  readonly #iterables: ImageSection[] = [];
  readonly #known = new Map<number, ImageSection>();
  #lastPage: StreamIndex["lastPage"];
  #lastEnd = 0;
  #footers = true;
  #mapped = false;

  constructor(
    readonly source: ByteSource,
    readonly tables: Partial<Tables>,
    readonly breath: Breath,
    readonly bare: boolean,
  ) {
    this.#description = bare ? undefined : describe(source);
    if (this.#description?.pageSize) this.#pageSizeIs(this.#description.pageSize);
  }

  async read(): Promise<Pieces> {
    const { source } = this;
    let at = source.start ?? 0;
    let whole = false;
    try {
      const index = await indexStream(source, { tables: this.tables });
      const { targetPageBits } = index.configuration ?? {};
      if (targetPageBits !== undefined) this.#pageSizeIs(1 << targetPageBits);
      this.#mapped = index.configuration?.capabilities?.includes("mapped-ram") ?? false;
      if (index.sections.length > 0) this.#footers = index.footers || index.sections.length === 1;
      this.#take({ index, source, offset: at });
      whole = index.complete;
      at = this.#furtherOn(index);
    } catch (error) {
      if (!(error instanceof StreamError)) throw error;
      this.#damaged(error);
    }
    let tries = 0;
    if (!whole) {
      const scan = new Scan(source);
      if (!this.#pieces.some(({ index }) => index.blocks.length)) {
        // what came before the list may have swallowed it
        at = this.bare ? 0 : source.start ?? 0;
        const mapped = this.bare ? [] : await findMappedBlocks(source, at, this.breath);
        if (mapped.length) this.#mapped = true;
        at = Math.max(at, ...mapped.map(({ pagesOffset, bytes }) => pagesOffset + bytes));
      }
      if (this.#mapped) at = Math.max(at, this.#behindMappedPages());
      for (; tries < PIECE_LIMIT; tries++) {
        const find = this.#swallowed(scan, at) ?? await scan.next(at, this.#knowledge(), () => this.breath.taken(0));
        if (!find) break;
        if (find.section) {
          this.#iterables.push(find.section);
          this.#known.set(find.section.id, find.section);
          at = find.section.offset + find.section.bytes + FOOTER;
          continue;
        }
        const piece = await this.#begin(find);
        if (piece?.index.complete) break;
        at = Math.max(find.offset + 1, piece ? this.#furtherOn(piece.index) : 0);
      }
    }
    return {
      pieces: this.#pieces,
      damages: this.#damages,
      ...(this.#description ? { description: this.#description } : {}),
      blocks: this.#blocks,
      allBlocks: this.#allBlocks,
      pageSize: this.#pageSize,
      pageSizeKnown: this.#pageSizeKnown,
      falsePages: this.#false,
      iterables: this.#iterables,
      givenUp: tries === PIECE_LIMIT,
    };
  }

  /** Where to go on looking: an end mark that stands too early makes all behind it the rest of the file. */
  #furtherOn({ end, fault }: StreamIndex): number {
    return fault && end >= this.source.size!() ? Math.min(fault.offset, end) : end;
  }

  #pageSizeIs(pageSize: number): void {
    this.#pageSize = pageSize;
    this.#pageSizeKnown = true;
  }

  #knowledge(): ScanKnowledge {
    return {
      ...(this.#ramId !== undefined ? { ramId: this.#ramId } : {}),
      pageSize: this.#pageSize,
      blocks: this.#blocks,
      allBlocks: this.#allBlocks,
      iterables: this.#known,
      devicesOnly: this.#mapped,
      recordsOnly: this.bare,
      ...(this.#description ? { description: this.#description } : {}),
    };
  }

  /** Behind the pages of the last block that is known: nothing of a mapped-ram stream stands in between. */
  #behindMappedPages(): number {
    const ends = this.#pieces.flatMap(({ index }) => index.blocks).map(({ entry }) => {
      return entry.mapped ? entry.mapped.pagesOffset + entry.usedLength : 0;
    });
    // with its description at the end the file was not cut: pages beyond that are nowhere
    const size = this.#description ? this.source.size!() : Infinity;
    return Math.max(0, ...ends.filter((end) => end <= size));
  }

  /** Decode from a place on. @returns undefined when nothing came of it */
  async #begin(find: ScanFind): Promise<Piece | undefined> {
    const { offset, kind, block } = find;
    if (block !== undefined && !this.#blocks.has(block)) this.#blocks.set(block, UNKNOWN_LENGTH);
    const guess = kind === "record" && block === undefined ? this.#guess(find) : undefined;
    if (kind === "record" && (block ?? guess) === undefined) return undefined;
    const front = await encodeFront({
      kind,
      ramId: this.#ramId,
      pageSize: this.#pageSize,
      blocks: this.#blocks,
      footers: this.#footers,
      withoutRam: this.#mapped,
      block: guess?.block,
    });
    const source = behind(front, this.source, offset, this.#description !== undefined);
    try {
      const index = await indexStream(source, { tables: this.tables });
      if (index.end <= offset) return undefined;
      const inferred = guess && guess.by !== "same" ? { inferred: guess.block, doubtful: guess.by === "order" } : {};
      const piece: Piece = { index, source, offset, ...inferred };
      this.#take(piece);
      return piece;
    } catch (error) {
      if (error instanceof StreamError) return undefined;
      throw error;
    }
  }

  /** Of which block pages are that name none. */
  #guess({ offset, pageOffset = 0 }: ScanFind) {
    return guessBlock(this.source, {
      offset,
      pageOffset,
      last: this.#lastPage,
      end: Math.min(this.#lastEnd, offset),
      endsInData: this.#endsInData(),
      blocks: this.#blocks,
      pageSize: this.#pageSize,
    });
  }

  /** The last piece ends with the data of a page. */
  #endsInData(): boolean {
    const index = this.#pieces.at(-1)?.index, last = index?.lastPage;
    const pages = index?.blocks.find(({ entry }) => entry.idstr === last?.block)?.pages;
    return last !== undefined && pages?.code(last.pageOffset / this.#pageSize) === index!.end - this.#pageSize;
  }

  /** Records that the last page of the last piece holds in its data; looked for once. */
  #swallowed(scan: Scan, at: number): ScanFind | undefined {
    if (at !== this.#lastEnd || at === this.#swallowedAt || !this.#endsInData()) return undefined;
    this.#swallowedAt = at;
    const find = scan.swallowed(at, this.#knowledge());
    if (find) this.#false.push(this.#lastPage!);
    return find;
  }

  #damaged({ offset, message }: StreamError): void {
    const known = this.#damages.some((damage) => damage.offset === offset && damage.message === message);
    if (!known) this.#damages.push({ offset, message });
  }

  #take(piece: Piece): void {
    const { index, offset } = piece;
    this.#pieces.push(piece);
    const { fault } = index;
    // the description lists devices of other pieces: that is no damage
    if (fault && !(offset !== this.source.start && fault.expected === EVERY_DEVICE)) this.#damaged(fault);
    if (!this.#pageSizeKnown && index.blocks.length) this.#pageSize = index.pageSize;
    const ram = index.sections.find(({ name, type }) => name === "ram" && (type === "start" || type === "full"));
    if (ram && ram.headerOffset >= offset) this.#ramId = ram.id;
    for (const section of index.sections) {
      if (section.type === "start" && section.name !== "ram") this.#known.set(section.id, section);
    }
    // where the list breaks off, what it said before is not to be trusted either
    const broken = fault && ram && ram === index.sections.at(-1) && index.blocks.every(({ entry }) => !entry.mapped);
    for (const { entry: { idstr, usedLength } } of index.blocks) {
      const known = this.#blocks.get(idstr);
      if (known === undefined || known === UNKNOWN_LENGTH) {
        this.#blocks.set(idstr, broken ? UNKNOWN_LENGTH : usedLength);
      }
    }
    if (ram && ram.headerOffset >= offset && index.blocks.length && !broken) this.#allBlocks = true;
    this.#lastPage = index.lastPage ?? this.#lastPage;
    this.#lastEnd = index.end;
  }
}

/** The description, where the file still has one. */
function describe(source: ByteSource): VmDescription | undefined {
  try {
    const found = findVmdescription(source, source.start);
    return found && parseVmdescription(found.text);
  } catch {
    return undefined; // damaged, too
  }
}
