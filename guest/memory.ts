/**
 * Guest RAM: blocks of pages over memory that Workers can share.
 *
 *     RamBlock   = segments of 1 GiB, the last as long as is left, each a shared WebAssembly.Memory, made when first written
 *     touched    = one byte per MiB slot: 0 while nobody ever wrote there, so the slot is known to be zero
 *
 * A segment nobody wrote is not there at all: a 16 GiB block that is mostly zero costs what is in it. Memory is
 * borrowed in views that never cross a slot border unless the caller asks for an aligned range inside one segment.
 * Shared memory is not given back by V8 in time (see `poolSegment`), so freed segments are wiped and used again.
 * @module
 */
import { MemoryFaultError } from "../stream/errors.ts";

/** Bytes of a segment. */
export const SEGMENT = 1 << 30;
/** Bytes of which a WebAssembly.Memory is made. */
const WASM_PAGE = 65536;
/** Bytes of a slot: the unit in which RAM is handed to strategies, and of {@link RamBlock.touched}. */
export const SLOT = 1 << 20;

/** What a block is, apart from its bytes. Sizes in bytes. */
export interface RamBlockSpec {
  /** QEMU's name: "pc.ram", "0000:00:02.0/vga.vram". At most 255 bytes. */
  readonly idstr: string;
  /** Bytes that travel. */
  readonly usedLength: number;
  /** Larger than `usedLength` for resizable blocks (ACPI tables). */
  readonly maxLength?: number;
  /** The used length may change up to `maxLength` (RAM_RESIZEABLE). Left out: when `maxLength` is larger. */
  readonly resizeable?: boolean;
  /** Host page size behind the block: 4096, or that of the huge pages. */
  readonly pageSize?: number;
  /** A ROM to the guest; `info ramblock` shows it. */
  readonly readonly?: boolean;
  /** Guest-physical address QEMU writes with x-ignore-shared. */
  readonly address?: bigint;
}

const pool: { memory: WebAssembly.Memory; dirty: Uint8Array }[] = [];

/** Take a segment of at least `length` bytes that reads as zero. */
function takeSegment(length: number): WebAssembly.Memory {
  const pages = Math.ceil(length / WASM_PAGE);
  const found = pool.findLastIndex(({ memory }) => memory.buffer.byteLength === pages * WASM_PAGE);
  const [pooled] = found < 0 ? [] : pool.splice(found, 1);
  if (!pooled) return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  const bytes = new Uint8Array(pooled.memory.buffer);
  for (let slot = 0; slot < pooled.dirty.length; slot++) {
    if (pooled.dirty[slot]) bytes.fill(0, slot * SLOT, (slot + 1) * SLOT);
  }
  return pooled.memory;
}

/** One RAM block with its content. */
export class RamBlock {
  /** See {@link RamBlockSpec}, as for the members that follow. */
  readonly idstr: string;
  /** Bytes that travel; changes only where `resizeable`. */
  usedLength: number;
  /** Bytes there can be; views may reach up to here. */
  readonly maxLength: number;
  /** RAM_RESIZEABLE. */
  readonly resizeable: boolean;
  /** Host page size, bytes. */
  readonly pageSize: number;
  /** A ROM to the guest. We may write it all the same, as QEMU's loader does. */
  readonly readonly: boolean;
  /** Guest-physical, where the stream said so. */
  readonly address?: bigint;
  /** Offset in the ram_addr_t space, as `info ramblock` shows it. */
  ramAddr = 0;
  /** Index = 1 GiB segment, as long as the block has; null while nobody wrote there. Post to a Worker with `touched`. */
  readonly segments: (WebAssembly.Memory | null)[];
  /** One byte per MiB: 1 once somebody may have written there. Shared with Workers. */
  readonly touched: Uint8Array<SharedArrayBuffer>;
  readonly #views: (Uint8Array<ArrayBuffer> | null)[];

  /** A block that reads as zero. */
  constructor(spec: RamBlockSpec) {
    this.idstr = spec.idstr;
    this.usedLength = spec.usedLength;
    this.maxLength = Math.max(spec.maxLength ?? 0, spec.usedLength);
    this.resizeable = spec.resizeable ?? this.maxLength > spec.usedLength;
    this.pageSize = spec.pageSize ?? 4096;
    this.readonly = spec.readonly ?? false;
    this.address = spec.address;
    const segments = Math.ceil(this.maxLength / SEGMENT);
    this.segments = new Array(segments).fill(null);
    this.#views = new Array(segments).fill(null);
    this.touched = new Uint8Array(new SharedArrayBuffer(Math.ceil(this.maxLength / SLOT)));
  }

  /**
   * Look at `length` bytes at `offset`, which must lie inside one segment.
   * @returns a view to read from, or null when the range is known to be zero
   * @throws {MemoryFaultError} when the range leaves the block or crosses a segment
   */
  view(offset: number, length: number): Uint8Array<ArrayBuffer> | null {
    this.#check(offset, length);
    const first = Math.floor(offset / SLOT);
    const last = Math.floor((offset + Math.max(length, 1) - 1) / SLOT);
    let seen = false;
    for (let slot = first; slot <= last; slot++) if (this.touched[slot]) seen = true;
    if (!seen) return null;
    const segment = this.#segment(Math.floor(offset / SEGMENT));
    const at = offset % SEGMENT;
    return segment.subarray(at, at + length);
  }

  /**
   * Borrow `length` bytes at `offset` for writing and mark their slots as touched. Inside one segment.
   * @throws {MemoryFaultError} when the range leaves the block or crosses a segment
   */
  writable(offset: number, length: number): Uint8Array<ArrayBuffer> {
    this.#check(offset, length);
    const first = Math.floor(offset / SLOT);
    const last = Math.floor((offset + Math.max(length, 1) - 1) / SLOT);
    for (let slot = first; slot <= last; slot++) this.touched[slot] = 1;
    const segment = this.#segment(Math.floor(offset / SEGMENT));
    const at = offset % SEGMENT;
    return segment.subarray(at, at + length);
  }

  /** Copy `length` bytes of `from`, beginning at `at`, to `offset`; inside one slot and not beyond the block. */
  land(offset: number, from: Uint8Array, at: number, length: number): void {
    this.touched[Math.floor(offset / SLOT)] = 1;
    this.#segment(Math.floor(offset / SEGMENT)).set(from.subarray(at, at + length), offset % SEGMENT);
  }

  /** True when the slot holding `offset` was never written. */
  isUntouched(offset: number): boolean {
    return this.touched[Math.floor(offset / SLOT)] === 0;
  }

  /** Copy bytes out, over any borders. `target` is filled from its start. */
  read(offset: number, target: Uint8Array): void {
    this.#check(offset, 0);
    if (offset + target.length > this.usedLength) this.#fault(offset, target.length);
    for (let done = 0; done < target.length;) {
      const at = offset + done;
      const n = Math.min(target.length - done, SLOT - at % SLOT);
      const view = this.view(at, n);
      if (view) target.set(view, done);
      else target.fill(0, done, done + n);
      done += n;
    }
  }

  /** Copy bytes in, over any borders. */
  write(offset: number, bytes: Uint8Array): void {
    if (offset + bytes.length > this.usedLength) this.#fault(offset, bytes.length);
    for (let done = 0; done < bytes.length;) {
      const at = offset + done;
      const n = Math.min(bytes.length - done, SEGMENT - at % SEGMENT);
      this.writable(at, n).set(bytes.subarray(done, done + n));
      done += n;
    }
  }

  /** Set a range to zero; touches nothing that is zero already. */
  zero(offset: number, length: number): void {
    for (let done = 0; done < length;) {
      const at = offset + done;
      const n = Math.min(length - done, SLOT - at % SLOT);
      this.view(at, n)?.fill(0);
      done += n;
    }
  }

  /** Make sure the segment behind `offset` is there, so that Workers can write into it. */
  materialise(offset: number, length: number): void {
    for (let at = offset; at < offset + length; at += SEGMENT - at % SEGMENT) this.#segment(Math.floor(at / SEGMENT));
  }

  /** Give the memory back to the pool. The block reads as zero afterwards. */
  release(): void {
    for (let i = 0; i < this.segments.length; i++) {
      const memory = this.segments[i];
      if (memory) {
        pool.push({ memory, dirty: this.touched.slice(i * (SEGMENT / SLOT), (i + 1) * (SEGMENT / SLOT)) });
      }
      this.segments[i] = null;
      this.#views[i] = null;
    }
    this.touched.fill(0);
  }

  #segment(index: number): Uint8Array<ArrayBuffer> {
    let view = this.#views[index];
    if (!view) {
      const memory = this.segments[index] ??= takeSegment(Math.min(SEGMENT, this.maxLength - index * SEGMENT));
      // A shared buffer in truth; typed as a plain one so that every API that accepts shared views can be called.
      view = this.#views[index] = new Uint8Array(memory.buffer as ArrayBuffer);
    }
    return view;
  }

  #check(offset: number, length: number): void {
    if (
      !(offset >= 0) || !(length >= 0) || offset + length > this.maxLength ||
      (length > 0 && Math.floor(offset / SEGMENT) !== Math.floor((offset + length - 1) / SEGMENT))
    ) this.#fault(offset, length);
  }

  #fault(offset: number, length: number): never {
    throw new MemoryFaultError(
      `Cannot reach ${length} bytes at 0x${offset.toString(16)} of ${this.idstr}: the block has 0x${
        this.usedLength.toString(16)
      } bytes`,
      this.idstr,
      offset,
    );
  }
}

/** Give blocks, in creation order, their place in the ram_addr_t space (QEMU: find_ram_offset). */
function placeBlocks(blocks: readonly RamBlock[]): void {
  let addr = 0;
  for (const block of blocks) {
    block.ramAddr = addr;
    // a block begins at the first multiple of 256 KiB (BITS_PER_LONG target pages) that is free
    addr = Math.ceil((addr + block.maxLength) / 0x40000) * 0x40000;
  }
}

/** When QEMU makes a block, as far as its name tells: RAM, firmware, devices, tables for the firmware. */
function creationRank(idstr: string): number {
  if (idstr.startsWith("/rom@")) return 4;
  if (idstr.includes("/")) return 3;
  return idstr === "pc.rom" ? 2 : idstr === "pc.bios" ? 1 : 0;
}

/** All blocks of a guest, in the order QEMU lists them: by maximum length, largest first, ties as created. */
export class GuestMemory {
  /** In the order of a stream's block list. */
  readonly blocks: readonly RamBlock[];
  readonly #byName: ReadonlyMap<string, RamBlock>;

  /**
   * Blocks without content.
   * @param specs in creation order, which `ramAddr` follows
   * @param order "created": sorted as QEMU does; "listed": `specs` is the list of a stream, kept as it is
   */
  constructor(specs: readonly RamBlockSpec[], order: "created" | "listed" = "created") {
    const blocks = specs.map((spec) => new RamBlock(spec));
    if (order === "created") {
      placeBlocks(blocks);
      this.blocks = blocks.toSorted((a, b) => b.maxLength - a.maxLength);
    } else {
      placeBlocks(blocks.toSorted((a, b) => creationRank(a.idstr) - creationRank(b.idstr)));
      this.blocks = blocks;
    }
    this.#byName = new Map(this.blocks.toReversed().map((block) => [block.idstr, block]));
  }

  /** Bytes of all blocks (their used lengths). */
  get totalBytes(): number {
    return this.blocks.reduce((sum, block) => sum + block.usedLength, 0);
  }

  /** The block of that name, or undefined. */
  block(idstr: string): RamBlock | undefined {
    return this.#byName.get(idstr);
  }

  /** Give all memory back. */
  release(): void {
    for (const block of this.blocks) block.release();
  }
}
