/**
 * `explain` of a further channel, or of a file that is one: every byte of it, as of the main channel.
 *
 *     multifd            init, packets with what they carry           reports/explain_packet.ts
 *     postcopy-preempt   bare page records                            reports/explain_ram.ts
 *
 * What pages may be of says the main channel; without it, or where it is damaged, the records themselves.
 * @module
 */
import type { ByteSource } from "../stream/channel.ts";
import { StreamError, TruncatedStreamError } from "../stream/errors.ts";
import { decodeMultifdInit, MULTIFD_CHANNEL_LIMIT, MULTIFD_INIT_BYTES, type MultifdPacket } from "../stream/multifd.ts";
import { MultifdPackets, probePacketPageSize } from "../stream/multifd_channel.ts";
import { RamDecoder } from "../stream/ram.ts";
import { StreamReader } from "../stream/reader.ts";
import type { RamBlockEntry } from "../stream/records.ts";
import type { ChannelKind } from "./channel_kind.ts";
import { Coverage } from "./explain_cover.ts";
import { type ExplainLine, RAW_LIMIT } from "./explain_lines.ts";
import {
  dataLines,
  deviceStateLines,
  initLines,
  packedLines,
  packetLines,
  stateLines,
  stateOwner,
} from "./explain_packet.ts";
import { markLines, pageLines, type PageWish } from "./explain_ram.ts";

/** QEMU's words for a channel that ends inside a packet. */
const CUT = ["Unexpected end-of-file before all data were read"];

/** What the main channel says of RAM. */
export interface KnownRam {
  readonly blocks: readonly RamBlockEntry[];
  /** No block is missing from the list. */
  readonly complete: boolean;
  /** Bytes of a target page; undefined where nothing said so. */
  readonly pageSize: number | undefined;
}

/** What is wanted of a channel. */
export interface ChannelWish extends PageWish {
  /** Only what carries state of sections of this name. */
  readonly section?: string;
}

/** Who hears of it. */
export interface Told {
  /** What is wrong with the channel. */
  readonly onFault?: (fault: StreamError) => void;
  /** How far it is, in bytes; waited for. */
  readonly onStep: (bytes: number) => Promise<void>;
}

/** The lines of one channel. */
export class ChannelExplanation {
  readonly #reader: StreamReader;
  readonly #cover: Coverage;
  readonly #known: KnownRam;
  readonly #wish: ChannelWish;
  readonly #told: Told;
  readonly #name: string;
  /** Section whose state the bytes at hand belong to. */
  #state: string | undefined;

  /** @param source stands at the channel's first byte */
  constructor(source: ByteSource, known: KnownRam, wish: ChannelWish, told: Told) {
    this.#reader = new StreamReader(source);
    this.#cover = new Coverage(this.#reader);
    this.#known = known;
    // of a packet that holds a page, the line of that page alone
    this.#wish = wish.page ? { ...wish, runs: false } : wish;
    this.#told = told;
    this.#name = source.name;
  }

  /** Bytes that have their lines. */
  get end(): number {
    return this.#cover.end;
  }

  /** From the first byte to the last. @param kind what it is, told by how it begins */
  async *lines(kind: ChannelKind): AsyncGenerator<ExplainLine> {
    const cover = this.#cover;
    try {
      if (kind === "multifd") yield* this.#packets();
      else if (kind === "postcopy-preempt") yield* this.#records();
    } catch (error) {
      if (!(error instanceof StreamError)) throw error;
      this.#told.onFault?.(error);
      this.#state = undefined;
      yield* this.#wanted(cover.before(error.offset));
      yield* this.#wanted(await cover.rest(error.message));
    }
  }

  async *#packets(): AsyncGenerator<ExplainLine> {
    const reader = this.#reader, cover = this.#cover;
    const start = reader.offset;
    await reader.need(MULTIFD_INIT_BYTES, "Cannot read first message of a channel");
    const first = reader.bytes(MULTIFD_INIT_BYTES);
    const { id } = decodeMultifdInit(first, this.#name, { channels: MULTIFD_CHANNEL_LIMIT });
    yield* this.#wanted(initLines(first, start));
    cover.reach(reader.offset);
    const { blocks, complete, pageSize = await probePacketPageSize(reader) } = this.#known;
    const lengths = new Map(blocks.map(({ idstr, usedLength }) => [idstr, usedLength]));
    const packets = new MultifdPackets(reader, {
      channel: this.#name,
      id,
      pageSize,
      usedLength: (idstr) => lengths.get(idstr) ?? (complete ? undefined : Infinity),
    });
    for (let number = 0;; number++) {
      const kind = await packets.next();
      if (kind === undefined) return;
      const { at } = packets;
      const head = reader.buf.subarray(reader.pos - (reader.offset - at), reader.pos);
      if (kind === "ram") yield* this.#pages(packets, head, pageSize, `packets[${number}]`);
      else yield* this.#deviceState(packets, head, `packets[${number}]`);
      cover.reach(reader.offset);
      await this.#told.onStep(this.end);
    }
  }

  /** A RAM packet and its pages; of a channel that ends among them those that are whole. */
  async *#pages(
    { packet, payload, at }: MultifdPackets,
    head: Uint8Array,
    pageSize: number,
    path: string,
  ): AsyncGenerator<ExplainLine> {
    const reader = this.#reader, cover = this.#cover, wish = this.#wish;
    const offset = reader.offset;
    const only = wish.page && this.#indexOf(packet, pageSize);
    const behind = offset + payload <= wish.from || only === -1;
    this.#state = "ram";
    if (!behind) yield* this.#wanted(packetLines(head, packet, at, path, wish), only);
    cover.reach(offset);
    if (behind && (reader.remaining() ?? 0) >= payload) return await reader.skip(payload);
    const whole = await reader.ensure(payload);
    const bytes = reader.buf.subarray(reader.pos, Math.min(reader.end, reader.pos + payload));
    if (!packet.compression) {
      const count = Math.floor(bytes.length / pageSize);
      yield* this.#wanted(dataLines(packet, count, pageSize, bytes, offset, path, wish), only);
      cover.reach(offset + count * pageSize);
    } else if (whole && packet.normal > 0) {
      yield* this.#wanted(packedLines(packet, pageSize, bytes, offset, path), only);
    }
    if (!whole) await reader.need(payload, "Cannot read pages of a packet", CUT);
    reader.pos += payload;
  }

  async *#deviceState({ payload, at }: MultifdPackets, head: Uint8Array, path: string): AsyncGenerator<ExplainLine> {
    const reader = this.#reader, cover = this.#cover;
    const offset = reader.offset;
    this.#state = stateOwner(head);
    yield* this.#wanted(deviceStateLines(head, at, path));
    cover.reach(offset);
    await reader.ensure(Math.min(payload, RAW_LIMIT));
    const bytes = reader.buf.slice(reader.pos, Math.min(reader.end, reader.pos + payload, reader.pos + RAW_LIMIT));
    const left = reader.remaining();
    if (left === undefined || left >= payload) await reader.skip(payload);
    if (reader.offset < offset + payload) {
      throw new TruncatedStreamError("Cannot read state of a device", {
        channel: this.#name,
        offset,
        found: `${left ?? reader.offset - offset} bytes before the end`,
        expected: String(payload),
        qemu: CUT,
      });
    }
    yield* this.#wanted(stateLines(bytes, payload, offset, path));
  }

  /** Records without a frame; machines up to 7.2 put an EOS behind them. */
  async *#records(): AsyncGenerator<ExplainLine> {
    const reader = this.#reader, cover = this.#cover;
    const { blocks, complete, pageSize } = this.#known;
    const decoder = new RamDecoder(reader, {
      pageSize: pageSize ?? 4096,
      pageSizeKnown: pageSize !== undefined,
      mappedRam: false,
      ignoreShared: false,
      postcopyAdvised: false,
      anyBlock: !complete,
    }, blocks);
    this.#state = "ram";
    let records = 0, marks = 0;
    while (await reader.ensure(1)) {
      try {
        for await (const record of decoder.body()) {
          if (record.kind === "ram-pages") {
            yield* this.#wanted(pageLines(record, "", records, this.#wish));
            records += record.count;
          } else if (record.kind === "ram-mark") {
            yield* this.#wanted(markLines(record, `marks[${marks++}]`));
          }
          cover.reach(record.offset + record.length);
          await this.#told.onStep(this.end);
        }
      } catch (error) {
        if (!(error instanceof TruncatedStreamError) || reader.available > 0) throw error;
      }
    }
  }

  /** Which of a packet's pages is the one that is asked for; -1: none. */
  #indexOf({ idstr, offsets, normal, zero }: MultifdPacket, pageSize: number): number {
    const { block, offset } = this.#wish.page!;
    return idstr === block ? offsets.subarray(0, normal + zero).indexOf(offset - offset % pageSize) : -1;
  }

  /** The lines somebody asked for. @param only of this page of a packet */
  *#wanted(lines: Iterable<ExplainLine>, only?: number): Generator<ExplainLine> {
    const { section, page, from } = this.#wish;
    if (section !== undefined && !isNamed(this.#state, section)) return;
    for (const line of lines) {
      if (line.offset + line.length <= from) continue;
      if (page && !/\brecords\[/.test(line.path) && !holds(line.path, only)) continue;
      yield line;
    }
  }
}

/** A line of a packet that holds its i-th page: the offset, the content, or all pages packed. */
function holds(path: string, i: number | undefined): boolean {
  return i !== undefined && i >= 0 && (path.endsWith(`.offset[${i}]`) || path.endsWith(`.pages[${i}]`) ||
    path.endsWith("].data"));
}

/** Whether a section is meant by a name. @param idstr of it, or none */
export function isNamed(idstr: string | undefined, name: string): boolean {
  return idstr === name || (idstr?.endsWith("/" + name) ?? false);
}
