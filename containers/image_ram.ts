/**
 * What every image offers of its RAM, wherever the bytes lie: blocks, pages by block and offset, and how far content of one
 * kind goes.
 *
 *     StoredRam   blocks of a migration stream
 *     FlatRam     guest-physical memory as it is: one block, "memory", whose offsets are addresses
 *     PhysicalRam the same view of a stream's blocks
 *
 * @module
 */

/** Name of the one block of guest-physical memory: QEMU's name of that address space. */
export const MEMORY_BLOCK = "memory";

/** A RAM block in a file. */
export interface ImageBlock {
  /** QEMU's name: "pc.ram". May hold "/" and "@". */
  readonly id: string;
  /** Used length. */
  readonly bytes: number;
  /** Bytes of a target page, the unit of the counts. */
  readonly pageBytes: number;
  /** Pages last sent as data (mapped-ram: bit set). */
  readonly normalPages: number;
  /** The others: zero, or never sent. */
  readonly zeroPages: number;
  /** Those of `zeroPages` that were never sent at all; of guest-physical memory, those where there is none. */
  readonly missingPages: number;
  /** mapped-ram: where page 0 lies in the file. */
  readonly pagesOffset?: number;
  /** mapped-ram: where the bitmap lies in the file. */
  readonly bitmapOffset?: number;
  /** Host page size, where the stream says it: blocks on huge pages when postcopy was advised. */
  readonly hostPageBytes?: number;
  /** Guest-physical address, where the stream says it (x-ignore-shared). */
  readonly address?: bigint;
}

/** Pages of all blocks. */
export interface ImageRam {
  /** Bytes of a target page. */
  readonly pageBytes: number;
  /** Bytes of all blocks together. */
  readonly totalBytes: number;
  /** In list order. */
  readonly blocks: readonly ImageBlock[];
  /** Content of pages is here. */
  readonly readable: boolean;
  /** The block of that name, or undefined. */
  block(id: string): ImageBlock | undefined;
  /** Make pages readable; wanted before {@link ImageRam.readRange}. */
  prepare(): Promise<void>;
  /** Give back what `prepare` took. */
  close(): void;
  /**
   * The page that holds a byte.
   * @param block  block or its name
   * @param offset byte offset in the block
   * @returns a copy, the caller's own
   * @throws {MemoryFaultError} outside the block
   * @throws {StreamError} when the file does not hold the page
   */
  readPage(block: string | ImageBlock, offset: number): Promise<Uint8Array<ArrayBuffer>>;
  /**
   * Fill `target` with the block's bytes from `offset` on.
   * @throws as {@link ImageRam.readPage}
   */
  readRange(block: string | ImageBlock, offset: number, target: Uint8Array): void;
  /**
   * How far content of one kind goes.
   * @returns bytes from `offset` on: positive where pages are data, negative where they are zero or were never sent
   */
  run(block: string | ImageBlock, offset: number): number;
  /** Whether a page is in the file at all, if only as a zero one. */
  isSent(block: string | ImageBlock, offset: number): boolean;
}
