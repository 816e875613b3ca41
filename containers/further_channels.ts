/**
 * The other channels of a captured migration, each in a file of its own, read beside the main one.
 *
 *     multifd            init, packets; what stands between two SYNC packets belongs between two marks of the main channel
 *     postcopy-preempt   bare RAM records, of pages that came on no other channel
 *
 * Pages are told by their place in one long row of bytes (channel_row.ts). Files may be given in any order, the numbers in
 * them count.
 * Source: QEMU migration/multifd.c multifd_recv_thread, multifd_recv_sync_main.
 * @module
 */
import { bufferSource, type ByteSource } from "../stream/channel.ts";
import { MULTIFD_MAGIC, QEMU_VM_FILE_MAGIC } from "../stream/constants.ts";
import { StreamError, TruncatedStreamError } from "../stream/errors.ts";
import { decodeMultifdInit, MULTIFD_CHANNEL_LIMIT, MULTIFD_INIT_BYTES, type MultifdPacket } from "../stream/multifd.ts";
import { MultifdPackets } from "../stream/multifd_channel.ts";
import type { MultifdDecoder } from "../stream/multifd_codec.ts";
import { RamDecoder } from "../stream/ram.ts";
import { StreamReader } from "../stream/reader.ts";
import type { RamBlockEntry, RamPagesRecord } from "../stream/records.ts";
import type { Tables } from "../stream/tables.ts";
import { ChannelRow } from "./channel_row.ts";
import { unpackChannel } from "./channel_file.ts";
import { fileSource } from "./file_source.ts";
import { renamed } from "./sources.ts";

/** How the doubt ends that tells of channels that are missing. */
export const NOT_GIVEN = "are on channels that were not given";

/** One channel as an image tells of it. */
export interface ImageChannel {
  /** "multifd 0", "preempt". */
  readonly name: string;
  /** Number of a multifd channel. */
  readonly id?: number;
  /** Bytes of the file, where known. */
  readonly bytes: number | undefined;
  /** Packets of multifd, SYNC packets included. */
  readonly packets?: number;
  /** SYNC packets. */
  readonly syncs?: number;
}

/** Who is told of pages. */
export interface PagePlaces {
  /** A page of data. @param position in the common row */
  place(block: number, pageOffset: number, position: number): void;
  /** A page of zeros. */
  zero(block: number, pageOffset: number): void;
  /** A run of records of a preempt channel, its offset in the common row. */
  records(record: RamPagesRecord): void;
}

/** The block list, once it is known. */
export interface ListedBlocks {
  readonly blocks: readonly RamBlockEntry[];
  readonly pageSize: number;
}

/** Further channels as a pass over the main one asks for their pages. */
export interface ChannelsBeside {
  /** True when pages of multifd are among them. */
  readonly multifd: boolean;
  /** The block list is read: packets can be. */
  list(listed: ListedBlocks): void;
  /** The main channel came to a mark: tell of all pages up to the next SYNC of each multifd channel. */
  sync(places: PagePlaces): Promise<void>;
  /** The main channel is at its end: tell of what is left. @returns doubts */
  finish(places: PagePlaces): Promise<string[]>;
}

/** What is given as a channel: path, bytes or source. */
export type ChannelInput = string | Uint8Array | ByteSource;

interface MultifdFile {
  readonly id: number;
  readonly name: string;
  readonly reader: StreamReader;
  readonly base: number;
  reading?: MultifdPackets;
  decoder?: MultifdDecoder;
  packets: number;
  syncs: number;
  ended: boolean;
}

interface PreemptFile {
  readonly name: "preempt";
  readonly reader: StreamReader;
  readonly base: number;
  /** As it was given, where it is empty: nobody asked for a page. */
  readonly unused?: string;
}

const FIRST_MESSAGE = "Cannot read first message of a channel";

/** All further channels of one image. */
export class FurtherChannels implements ChannelsBeside {
  readonly #inputs: { readonly source: ByteSource; readonly close: () => void }[] = [];
  readonly #row: ChannelRow;
  readonly #multifd: MultifdFile[] = [];
  #preempt?: PreemptFile;
  #listed!: ListedBlocks;
  readonly #index = new Map<string, number>();
  #highest = -1;

  /** Open. @throws {TransportError} when a file cannot be opened */
  constructor(inputs: readonly ChannelInput[], tables: Partial<Tables>) {
    this.#row = new ChannelRow(tables);
    if (inputs.length > MULTIFD_CHANNEL_LIMIT) {
      throw new RangeError(`Cannot open ${inputs.length} channels: expected at most ${MULTIFD_CHANNEL_LIMIT}`);
    }
    try {
      inputs.forEach((input, i) => {
        const name = typeof input === "string" ? input : `channel ${i}`;
        if (typeof input === "string") {
          const source = fileSource(input, { name });
          this.#inputs.push({ source, close: () => source.close() });
        } else {
          const source = input instanceof Uint8Array ? bufferSource(input, { name }) : input;
          this.#inputs.push({ source, close: () => {} });
        }
      });
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** What there is, multifd channels by their number. */
  get channels(): readonly ImageChannel[] {
    const multifd = this.#multifd.map(({ id, name, reader, packets, syncs }): ImageChannel => {
      return { name, id, bytes: reader.source.size?.(), packets, syncs };
    });
    const { name, reader } = this.#preempt ?? {};
    return [...multifd, ...(name ? [{ name, bytes: reader!.source.size?.() }] : [])];
  }

  /** True when pages of multifd are among them. */
  get multifd(): boolean {
    return this.#multifd.length > 0;
  }

  /**
   * Find out what each is.
   * @throws {StreamError} when one does not begin as a channel of this migration
   */
  async identify(): Promise<void> {
    const count = this.#inputs.length;
    let uuid: Uint8Array | undefined;
    for (const { source: given } of this.#inputs.slice()) {
      const unpacked = await unpackChannel(given);
      if (unpacked) this.#inputs.push({ source: unpacked, close: () => unpacked.close() });
      const source = unpacked ?? given;
      const reader = new StreamReader(source);
      const base = this.#row.add(source);
      if (count === 1 && !(await reader.ensure(1))) {
        this.#preempt = {
          name: "preempt",
          reader: new StreamReader(renamed(source, "preempt")),
          base,
          unused: source.name,
        };
        continue;
      }
      await reader.need(4, FIRST_MESSAGE);
      const magic = reader.peekU32();
      if (magic === QEMU_VM_FILE_MAGIC) this.#refuse(source.name, "QEVM: a main channel", "a further one");
      if (magic !== MULTIFD_MAGIC && count === 1 && magic >>> 16 === 0) {
        this.#preempt = { name: "preempt", reader: new StreamReader(renamed(source, "preempt")), base };
        continue;
      }
      await reader.need(MULTIFD_INIT_BYTES, FIRST_MESSAGE);
      const expected = { channels: count, ...(uuid ? { uuid } : {}) };
      const init = decodeMultifdInit(reader.bytes(MULTIFD_INIT_BYTES), source.name, expected);
      uuid = init.uuid;
      const { id } = init;
      if (this.#multifd.some((other) => other.id === id)) {
        this.#refuse(source.name, `channel id ${id} again`, "each once", `multifd: received id '${id}' already setup'`);
      }
      const name = `multifd ${id}`;
      const again = new StreamReader(renamed(source, name));
      if (again.source.readAt) again.seek((source.start ?? 0) + MULTIFD_INIT_BYTES);
      const kept = again.source.readAt ? again : reader;
      this.#multifd.push({ id, name, reader: kept, base, packets: 0, syncs: 0, ended: false });
    }
    this.#multifd.sort((a, b) => a.id - b.id);
  }

  /** The block list is read: packets can be. */
  list(listed: ListedBlocks): void {
    if (this.#listed) return;
    this.#listed = listed;
    listed.blocks.forEach(({ idstr }, i) => this.#index.set(idstr, i));
  }

  /**
   * The main channel came to a mark: tell of all pages up to the next SYNC of each multifd channel.
   * @throws {StreamError} when a channel breaks a rule, or ends before
   */
  async sync(places: PagePlaces): Promise<void> {
    for (const channel of this.#multifd) {
      const { reader } = channel;
      const { syncs } = channel;
      while (channel.syncs === syncs && await this.#next(channel, places) !== undefined);
      if (!channel.ended) continue;
      throw new TruncatedStreamError("Cannot find SYNC packet", {
        channel: channel.name,
        offset: reader.offset,
        found: "the end",
        expected: `the SYNC packet of mark ${channel.syncs + 1} on the main channel`,
      });
    }
  }

  /**
   * The main channel is at its end: tell of what is left.
   * @returns doubts
   */
  async finish(places: PagePlaces): Promise<string[]> {
    const doubts: string[] = [];
    for (const channel of this.#multifd) {
      const { syncs } = channel;
      let pages = 0;
      for (let more; (more = await this.#next(channel, places)) !== undefined;) pages += more;
      if (pages > 0) doubts.push(`${channel.name} has ${pages} pages behind the last mark of the main channel`);
      if (channel.syncs > syncs) doubts.push(`${channel.name} has SYNC packets without a mark on the main channel`);
    }
    const packets = this.#multifd.reduce((sum, channel) => sum + channel.packets, 0);
    const missing = this.#highest + 1 - packets;
    if (missing > 0) doubts.push(`${missing} packets ${NOT_GIVEN}`);
    if (this.#preempt) await this.#preemptPages(this.#preempt, places);
    return doubts;
  }

  /** Pages travelled by multifd. @throws {StreamError} when the one channel that is there is empty */
  expectMultifd(): void {
    if (this.#preempt?.unused === undefined) return;
    throw new TruncatedStreamError(FIRST_MESSAGE, {
      channel: this.#preempt.unused,
      offset: 0,
      found: "0 bytes before the end",
      expected: String(MULTIFD_INIT_BYTES),
    });
  }

  /** The main channel and these as one row of bytes. */
  join(main: ByteSource): ByteSource {
    return this.#row.join(main);
  }

  /** Give everything back. */
  close(): void {
    for (const { close } of this.#inputs) close();
    for (const { decoder } of this.#multifd) decoder?.close();
    this.#row.close();
  }

  /** One packet. @returns its pages; undefined at the end of the channel */
  async #next(channel: MultifdFile, places: PagePlaces): Promise<number | undefined> {
    const { reader, id, name } = channel;
    if (channel.ended) return undefined;
    const packets = channel.reading ??= new MultifdPackets(reader, {
      channel: name,
      id,
      pageSize: this.#listed.pageSize,
      usedLength: (idstr) => this.#listed.blocks[this.#index.get(idstr) ?? -1]?.usedLength,
    });
    const kind = await packets.next();
    channel.ended = kind === undefined;
    if (kind !== "ram") {
      // state of a vfio device: not RAM, not looked into
      if (kind) await reader.skip(packets.payload);
      return kind && 0;
    }
    const { packet } = packets;
    channel.packets++;
    if (packet.sync) channel.syncs++;
    this.#highest = Math.max(this.#highest, packet.number);
    await this.#pages(channel, packet, places);
    return packet.normal + packet.zero;
  }

  async #pages(channel: MultifdFile, packet: MultifdPacket, places: PagePlaces): Promise<void> {
    const { reader } = channel;
    const { normal, zero, offsets, payload } = packet;
    if (normal + zero === 0) return;
    const { pageSize } = this.#listed;
    const block = this.#index.get(packet.idstr)!;
    let position = channel.base + reader.offset;
    if (normal > 0) {
      const short = ["Unexpected end-of-file before all data were read"];
      if (!packet.compression && reader.source.readAt) {
        // the end is looked for once, the pages themselves when they are asked for
        if (reader.remaining()! < payload) await reader.need(payload, "Cannot read pages of a packet", short);
        await reader.skip(payload);
      } else {
        await reader.need(payload, "Cannot read pages of a packet", short);
        const offset = reader.offset, data = reader.bytes(payload);
        position = packet.compression
          ? this.#row.unpack(channel, packet, data, offset, pageSize)
          : this.#row.keep(data);
      }
    }
    for (let i = 0; i < normal; i++) places.place(block, offsets[i], position + i * pageSize);
    for (let i = normal; i < normal + zero; i++) places.zero(block, offsets[i]);
  }

  /** Records without a frame; machines up to 7.2 put an EOS behind them. */
  async #preemptPages({ reader, base }: PreemptFile, places: PagePlaces): Promise<void> {
    const { blocks, pageSize } = this.#listed;
    const decoder = new RamDecoder(reader, {
      pageSize,
      pageSizeKnown: true,
      mappedRam: false,
      ignoreShared: false,
      postcopyAdvised: false,
    }, blocks);
    try {
      for await (const record of decoder.body()) {
        if (record.kind === "ram-pages") places.records({ ...record, offset: base + record.offset });
      }
    } catch (error) {
      if (!(error instanceof TruncatedStreamError) || reader.available > 0) throw error;
    }
  }

  #refuse(channel: string, found: string, expected: string, qemu?: string): never {
    throw new StreamError("Cannot use as a further channel", {
      channel,
      offset: 0,
      found,
      expected,
      ...(qemu ? { qemu: [qemu] } : {}),
    });
  }
}
