/**
 * qcow2 images with internal snapshots: the VM state that `savevm` put behind the disk.
 *
 *     header, 104 bytes and more          cluster_bits at 20, size at 24, L1 at 36, snapshots at 60, features at 72
 *     snapshot = u64 L1 offset, u32 L1 entries, u16 id length, u16 name length, u32 s, u32 ns, u64 clock, u32 VM state bytes,
 *                u32 extra length, extra (u64 VM state bytes, u64 disk bytes, u64 icount), id, name; padded to 8 bytes
 *     VM state begins at the first guest offset whose L1 entry no byte of the disk needs
 *
 * All big-endian. An L1 entry leads to a table of L2 entries, one a cluster: a place in the file, all zero, or deflate or zstd data.
 * Source: QEMU docs/interop/qcow2.rst; block/qcow2.h (qcow2_vm_state_offset), block/qcow2-snapshot.c.
 * @module
 */
import { inflateRawSync, zstdDecompressSync } from "node:zlib";
import type { ByteSource } from "../stream/channel.ts";
import { hex, StreamError, UnsupportedError } from "../stream/errors.ts";

const HEADER_BYTES = 112;
const INCOMPATIBLE = { corrupt: 2n, dataFile: 4n, compressionType: 8n, extendedL2: 16n };
/** QEMU's own limits: block/qcow2.h QCOW_MAX_SNAPSHOTS, QCOW_MAX_L1_SIZE. */
const SNAPSHOT_LIMIT = 65536;
const L1_BYTES_LIMIT = 32 << 20;
const EXTRA_LIMIT = 1024;
const OFFSET_MASK = 0x00fffffffffffe00n;
/** L2 tables kept at hand. */
const TABLES_KEPT = 64;

/** An entry of the snapshot table. */
export interface Qcow2Snapshot {
  /** Unique, a decimal number. */
  readonly id: string;
  /** As `savevm` was told. */
  readonly name: string;
  /** Bytes of VM state; 0 for snapshots of the disk alone. */
  readonly vmStateBytes: number;
  /** Seconds since 1970. */
  readonly date: number;
  /** Nanoseconds the guest had run. */
  readonly vmClock: bigint;
  /** Guest offset where the VM state begins. */
  readonly vmStateOffset: number;
  /** Of its L1 table, in the file. */
  readonly l1Offset: number;
  /** Entries of that table, 8 bytes each. */
  readonly l1Entries: number;
}

/** A qcow2 image, opened for the VM state of one snapshot. */
export interface Qcow2State {
  readonly snapshots: readonly Qcow2Snapshot[];
  readonly snapshot: Qcow2Snapshot;
  /** The VM state, from offset 0; can be read at any position. */
  readonly source: ByteSource;
}

/**
 * Open an image.
 * @param file     stands on the image's first byte; can be read at any position
 * @param selected name or id of a snapshot; default: the one taken last that has VM state
 * @throws {StreamError} when tables lie outside the file or make no sense
 * @throws {UnsupportedError} when no snapshot fits, or for encrypted images and external data files
 */
export function openQcow2(file: ByteSource, selected?: string): Qcow2State {
  const image = new Qcow2(file);
  const withState = image.snapshots.filter(({ vmStateBytes }) => vmStateBytes > 0);
  const snapshot = selected === undefined
    ? withState.at(-1)
    : withState.find(({ name }) => name === selected) ?? withState.find(({ id }) => id === selected);
  if (!snapshot) {
    const names = withState.map(({ name, id }) => JSON.stringify(name || id)).join(", ");
    throw new UnsupportedError("Cannot open qcow2 image", {
      channel: file.name,
      offset: image.start,
      found: withState.length ? `snapshots ${names}` : "no internal snapshot with VM state",
      expected: selected === undefined ? "one that savevm made" : `one named ${JSON.stringify(selected)}`,
      feature: "savevm",
    });
  }
  return { snapshots: image.snapshots, snapshot, source: image.vmState(snapshot) };
}

class Qcow2 {
  readonly start: number;
  readonly snapshots: readonly Qcow2Snapshot[];
  readonly #file: ByteSource;
  readonly #clusterBits: number;
  readonly #extendedL2: boolean;
  readonly #zstd: boolean;

  constructor(file: ByteSource) {
    this.#file = file;
    this.start = file.start ?? 0;
    const header = new DataView(this.#bytes("header", 0, HEADER_BYTES, 72).buffer);
    const version = header.getUint32(4);
    if (version !== 2 && version !== 3) this.#fault("header", 4, `version ${version}`, "2 or 3");
    this.#clusterBits = header.getUint32(20);
    if (this.#clusterBits < 9 || this.#clusterBits > 21) {
      this.#fault("header", 20, `clusters of 2^${this.#clusterBits} bytes`, "2^9 to 2^21");
    }
    const features = version === 3 ? header.getBigUint64(72) : 0n;
    this.#extendedL2 = (features & INCOMPATIBLE.extendedL2) !== 0n;
    this.#zstd = (features & INCOMPATIBLE.compressionType) !== 0n && header.getUint8(104) === 1;
    if (header.getUint32(32) !== 0) this.#unsupported("an encrypted image");
    if (features & INCOMPATIBLE.dataFile) this.#unsupported("an image with an external data file");
    if (features >> 5n) this.#unsupported(`incompatible features 0x${features.toString(16)}`);
    this.snapshots = this.#readSnapshots(
      header.getUint32(60),
      Number(header.getBigUint64(64)),
      header.getBigUint64(24),
    );
  }

  #readSnapshots(count: number, offset: number, diskBytes: bigint): Qcow2Snapshot[] {
    if (count > SNAPSHOT_LIMIT) this.#fault("header", 60, `${count} snapshots`, `at most ${SNAPSHOT_LIMIT}`);
    const l1Bits = this.#clusterBits + this.#l2Bits;
    const snapshots: Qcow2Snapshot[] = [];
    for (let i = 0, at = offset; i < count; i++) {
      const entry = new DataView(this.#bytes("snapshot table", at, 40).buffer);
      const idBytes = entry.getUint16(12), nameBytes = entry.getUint16(14), extraBytes = entry.getUint32(36);
      if (extraBytes > EXTRA_LIMIT) {
        this.#fault("snapshot table", at + 36, `${extraBytes} bytes of extra data`, `at most ${EXTRA_LIMIT}`);
      }
      const rest = this.#bytes("snapshot table", at + 40, extraBytes + idBytes + nameBytes);
      const extra = new DataView(rest.buffer);
      const text = new TextDecoder();
      const disk = extraBytes >= 16 ? extra.getBigUint64(8) : diskBytes;
      snapshots.push({
        id: text.decode(rest.subarray(extraBytes, extraBytes + idBytes)),
        name: text.decode(rest.subarray(extraBytes + idBytes)),
        vmStateBytes: extraBytes >= 8 ? Number(extra.getBigUint64(0)) : entry.getUint32(32),
        date: entry.getUint32(16),
        vmClock: entry.getBigUint64(24),
        vmStateOffset: Math.ceil(Number(disk) / 2 ** l1Bits) * 2 ** l1Bits,
        l1Offset: Number(entry.getBigUint64(0)),
        l1Entries: entry.getUint32(8),
      });
      at += Math.ceil((40 + rest.length) / 8) * 8;
    }
    return snapshots;
  }

  /** The VM state of a snapshot as a source of its own. */
  vmState(snapshot: Qcow2Snapshot): ByteSource {
    const { l1Offset, l1Entries, vmStateOffset, vmStateBytes } = snapshot;
    if (l1Entries * 8 > L1_BYTES_LIMIT) {
      this.#fault("snapshot table", l1Offset, `${l1Entries} L1 entries`, `at most ${L1_BYTES_LIMIT / 8}`);
    }
    const l1 = new DataView(this.#bytes("L1 table", l1Offset, l1Entries * 8).buffer);
    const clusterBytes = 2 ** this.#clusterBits;
    const clusters = new ClusterReader(l1, (what, at, length) => this.#bytes(what, at, length, 0), {
      clusterBits: this.#clusterBits,
      l2Bits: this.#l2Bits,
      extendedL2: this.#extendedL2,
      zstd: this.#zstd,
      fault: (at, found, expected) => this.#fault("L2 table", at, found, expected),
    });
    let position = 0;
    const readAt = (view: Uint8Array, from: number): number => {
      const length = Math.max(0, Math.min(view.length, vmStateBytes - from));
      for (let done = 0; done < length;) {
        const guest = vmStateOffset + from + done;
        const n = Math.min(length - done, clusterBytes - guest % clusterBytes);
        clusters.read(view.subarray(done, done + n), guest, (part, at) => this.#file.readAt!(part, this.start + at));
        done += n;
      }
      return length;
    };
    return {
      name: "VM state",
      start: 0,
      read(view) {
        const got = readAt(view, position);
        position += got;
        return got;
      },
      readAt,
      size: () => vmStateBytes,
    };
  }

  get #l2Bits(): number {
    return this.#clusterBits - (this.#extendedL2 ? 4 : 3);
  }

  /** A piece of the file, at least `least` bytes of it. */
  #bytes(what: string, at: number, length: number, least = length): Uint8Array<ArrayBuffer> {
    const size = this.#file.size?.() ?? Infinity;
    if (!(at >= 0 && this.start + at + least <= size)) {
      this.#fault(what, at, `${length} bytes at ${hex(at)}`, `a place inside the ${hex(size)} bytes of the file`);
    }
    const bytes = new Uint8Array(length);
    this.#file.readAt!(bytes, this.start + at);
    return bytes;
  }

  #fault(what: string, at: number, found: string, expected: string): never {
    const offset = this.start + at;
    throw new StreamError(`Cannot read ${what} of qcow2 image`, { channel: this.#file.name, offset, found, expected });
  }

  #unsupported(found: string): never {
    throw new UnsupportedError("Cannot open qcow2 image", {
      channel: this.#file.name,
      offset: this.start,
      found,
      expected: "a plain one",
      feature: "qcow2",
    });
  }
}

interface Layout {
  readonly clusterBits: number;
  readonly l2Bits: number;
  readonly extendedL2: boolean;
  readonly zstd: boolean;
  fault(at: number, found: string, expected: string): never;
}

/** Guest offsets to bytes, through L1 and L2. */
class ClusterReader {
  readonly #l1: DataView;
  readonly #load: (what: string, at: number, length: number) => Uint8Array<ArrayBuffer>;
  readonly #layout: Layout;
  readonly #tables = new Map<number, DataView>();
  /** The compressed cluster unpacked last. */
  #unpacked?: { at: number; bytes: Uint8Array };

  constructor(
    l1: DataView,
    load: (what: string, at: number, length: number) => Uint8Array<ArrayBuffer>,
    layout: Layout,
  ) {
    this.#l1 = l1;
    this.#load = load;
    this.#layout = layout;
  }

  /** Fill `view` from one cluster. */
  read(view: Uint8Array, guest: number, readAt: (view: Uint8Array, at: number) => number): void {
    const { clusterBits, l2Bits, extendedL2 } = this.#layout;
    const cluster = Math.floor(guest / 2 ** clusterBits);
    const within = guest % 2 ** clusterBits;
    const l1Index = Math.floor(cluster / 2 ** l2Bits);
    if (l1Index * 8 >= this.#l1.byteLength) {
      view.fill(0);
      return;
    }
    const l2Offset = Number(this.#l1.getBigUint64(l1Index * 8) & OFFSET_MASK);
    if (l2Offset === 0) {
      view.fill(0);
      return;
    }
    const table = this.#table(l2Offset);
    const at = cluster % 2 ** l2Bits * (extendedL2 ? 16 : 8);
    const entry = table.getBigUint64(at);
    if (entry >> 62n & 1n) {
      view.set(this.#unpack(entry, l2Offset + at).subarray(within, within + view.length));
      return;
    }
    const host = Number(entry & OFFSET_MASK);
    if (!extendedL2) {
      if (host === 0 || entry & 1n) view.fill(0);
      else this.#copy(view, host + within, readAt);
      return;
    }
    // 32 subclusters: low half of the bitmap says which have data
    const bitmap = table.getBigUint64(at + 8);
    const subBytes = 2 ** clusterBits / 32;
    for (let done = 0; done < view.length;) {
      const sub = Math.floor((within + done) / subBytes);
      const n = Math.min(view.length - done, (sub + 1) * subBytes - within - done);
      const part = view.subarray(done, done + n);
      if (host !== 0 && bitmap >> BigInt(sub) & 1n) this.#copy(part, host + within + done, readAt);
      else part.fill(0);
      done += n;
    }
  }

  #copy(view: Uint8Array, at: number, readAt: (view: Uint8Array, at: number) => number): void {
    const got = readAt(view, at);
    // clusters at the end of a file may be shorter on disk than they are: what is not there is zero
    if (got < view.length) view.fill(0, Math.max(0, got));
  }

  #table(offset: number): DataView {
    let table = this.#tables.get(offset);
    if (!table) {
      table = new DataView(this.#load("L2 table", offset, 2 ** this.#layout.clusterBits).buffer);
      if (this.#tables.size >= TABLES_KEPT) this.#tables.delete(this.#tables.keys().next().value!);
      this.#tables.set(offset, table);
    }
    return table;
  }

  /** A compressed cluster: its offset in the low bits, the number of further 512-byte sectors above them. */
  #unpack(entry: bigint, entryAt: number): Uint8Array {
    const { clusterBits, zstd, fault } = this.#layout;
    const sectorShift = BigInt(62 - (clusterBits - 8));
    const at = Number(entry & ((1n << sectorShift) - 1n));
    if (this.#unpacked?.at === at) return this.#unpacked.bytes;
    const sectors = Number(entry >> sectorShift & ((1n << BigInt(clusterBits - 8)) - 1n)) + 1;
    const packed = this.#load("compressed cluster", at, sectors * 512 - at % 512);
    const clusterBytes = 2 ** clusterBits;
    let bytes: Uint8Array;
    try {
      const options = { maxOutputLength: clusterBytes };
      bytes = zstd ? zstdDecompressSync(packed, options) : inflateRawSync(packed, options);
    } catch (error) {
      return fault(entryAt, `a compressed cluster at ${hex(at)}: ${(error as Error).message}`, "one that unpacks");
    }
    if (bytes.length !== clusterBytes) fault(entryAt, `${bytes.length} bytes unpacked`, String(clusterBytes));
    this.#unpacked = { at, bytes };
    return bytes;
  }
}
