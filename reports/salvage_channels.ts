/**
 * Further channels of a damaged migration, as far as they are sound, put together with the pieces of the main one.
 *
 *     multifd             packets between the marks of the main channel (salvage_epochs.ts); from its first damage on behind it
 *     postcopy-preempt    records, as those of the main channel, last
 * @module
 */
import type { Breath } from "../containers/breath.ts";
import { ChannelRow } from "../containers/channel_row.ts";
import type { StreamIndex } from "../containers/index_result.ts";
import { indexStream } from "../containers/stream_index.ts";
import { probePacketPageSize } from "../stream/multifd_channel.ts";
import { MULTIFD_INIT_BYTES } from "../stream/multifd.ts";
import { StreamReader } from "../stream/reader.ts";
import type { Tables } from "../stream/tables.ts";
import { readBareRecords } from "./salvage_bare.ts";
import { type GivenChannel, kindBeside } from "./salvage_open.ts";
import { SalvagedPackets } from "./salvage_epochs.ts";
import { PacketScan } from "./salvage_packets.ts";
import { type Damage, type Piece, type Pieces, UNKNOWN_LENGTH } from "./salvage_pieces.ts";

/** Blocks that are believed of a stream without its list. */
const BLOCK_LIMIT = 1024;

/** What became of a further channel. */
export interface SalvagedChannel {
  /** As it was given. */
  readonly file: string;
  /** "multifd 0"; "multifd" where its number is lost; "postcopy-preempt". */
  readonly name: string;
  /** Size of the file. */
  readonly bytes: number;
  /** Packets of multifd that were found. */
  readonly packets?: number;
}

/** The pieces of all channels. */
export interface JoinedPieces extends Pieces {
  readonly channels: readonly SalvagedChannel[];
  /** Pages of multifd are among the pieces. */
  readonly multifd: boolean;
  /** Nothing of the channels is damaged, and none is missing. */
  readonly sound: boolean;
  /** What cannot be counted, each a sentence. */
  readonly notes: readonly string[];
  /** Give back what unpacks, and the temporary file. */
  readonly close: () => void;
}

/** Put the pages of further channels between and behind the pieces of the main one. */
export async function joinPieces(
  found: Pieces,
  all: readonly GivenChannel[],
  tables: Partial<Tables>,
  breath: Breath,
): Promise<JoinedPieces> {
  const row = new ChannelRow(tables);
  try {
    return await joinedIn(row, found, all, tables, breath);
  } catch (error) {
    row.close();
    throw error;
  }
}

async function joinedIn(
  row: ChannelRow,
  found: Pieces,
  all: readonly GivenChannel[],
  tables: Partial<Tables>,
  breath: Breath,
): Promise<JoinedPieces> {
  const sentBeside = found.pieces.some(({ index }) => index.ramFormat === "multifd");
  const given = all.map((one) => ({ ...one, kind: kindBeside(one, all.length, sentBeside) }));
  const multifd = given.filter(({ kind }) => kind === "multifd");
  const pageSize = found.pageSizeKnown ? found.pageSize : await probed(multifd, found.pageSize);
  const blocks = new Map(found.blocks);
  const usedLength = (idstr: string) => {
    const known = blocks.get(idstr);
    if (known !== undefined || found.allBlocks || blocks.size >= BLOCK_LIMIT || !/^[ -~]+$/.test(idstr)) return known;
    blocks.set(idstr, UNKNOWN_LENGTH);
    return UNKNOWN_LENGTH;
  };
  const bases = multifd.map(({ source }) => row.add(source));
  const scans = multifd.map(({ source }, i) => new PacketScan(source, bases[i], row, { pageSize, usedLength }, breath));
  for (const scan of scans) await scan.run();
  const beside = new SalvagedPackets(scans);
  const pieces = [...found.pieces];
  const [first] = pieces;
  if (scans.length && first && first.offset === (first.source.start ?? 0)) {
    const index = await indexStream(first.source, { tables, channels: beside });
    pieces[0] = { ...first, index, source: row.join(first.source) };
  }
  const doubted = [...found.falsePages];
  const rest = beside.rest(blocks, pageSize, found.pieces.at(-1)?.index.end ?? 0);
  if (rest) {
    doubted.push(...conflicts(rest, pieces.slice(1), pageSize));
    pieces.push({ index: rest, source: row.join(found.pieces.at(-1)?.source ?? multifd[0].source), offset: 0 });
  }
  const damages: Damage[] = [
    ...found.damages,
    ...scans.flatMap((scan) => scan.damages),
    ...firstMessages(scans, beside.missing <= 0),
  ];
  for (const { kind, source } of given) {
    if (kind !== "postcopy-preempt") continue;
    const bare = await readBareRecords(source, { ...found, blocks }, pageSize, tables, breath);
    pieces.push(...bare.pieces);
    for (const [idstr, length] of bare.blocks) if (!blocks.has(idstr)) blocks.set(idstr, length);
    damages.push(...bare.damages.map((damage) => ({ ...damage, channel: source.name })));
  }
  return {
    ...found,
    pieces,
    damages,
    blocks,
    pageSize,
    falsePages: doubted,
    multifd: scans.length > 0,
    channels: given.map(({ kind, source }) => reported(kind, source.name, source.size!(), scans)),
    sound: damages.length === found.damages.length && beside.missing <= 0,
    notes: beside.notes(damages.length > found.damages.length),
    close: () => {
      scans.forEach(({ decoder }) => decoder?.close());
      row.close();
    },
  };
}

function reported(
  kind: GivenChannel["kind"],
  file: string,
  bytes: number,
  scans: readonly PacketScan[],
): SalvagedChannel {
  const scan = scans.find(({ source }) => source.name === file);
  if (kind !== "multifd" || !scan) return { file, name: "postcopy-preempt", bytes };
  const name = scan.number === undefined ? "multifd" : `multifd ${scan.number}`;
  return { file, name, bytes, packets: scan.packets.length };
}

/** Page size as the first channel tells that can. */
async function probed(channels: readonly GivenChannel[], otherwise: number): Promise<number> {
  for (const { source } of channels) {
    const reader = new StreamReader(source);
    reader.seek(MULTIFD_INIT_BYTES);
    const size = await probePacketPageSize(reader);
    if (size !== otherwise) return size;
  }
  return otherwise;
}

/** What is wrong with first messages beside one another. @param all no channel is missing */
function firstMessages(scans: readonly PacketScan[], all: boolean): Damage[] {
  const uuid = scans.find((scan) => scan.uuid !== undefined)?.uuid;
  return scans.flatMap(({ number, uuid: own, name: channel }, i) => {
    if (number === undefined) return [];
    const again = scans.slice(0, i).some((other) => other.number === number);
    const messages = [
      ...(own === uuid ? [] : [{ offset: 8, message: `uuid ${own}, expected ${uuid} as on another channel` }]),
      ...(again ? [{ offset: 24, message: `channel id ${number} again, expected each once` }] : []),
      ...(all && number >= scans.length
        ? [{ offset: 24, message: `channel id ${number}, expected one below ${scans.length}` }]
        : []),
    ];
    return messages.map((damage) => ({ ...damage, channel }));
  });
}

/** Pages that the main channel has, too, behind its first damage: which came later is not known. */
function conflicts(rest: StreamIndex, later: readonly Piece[], pageSize: number): Pieces["falsePages"] {
  const doubts: { block: string; pageOffset: number }[] = [];
  for (const { entry: { idstr }, pages } of rest.blocks) {
    const others = later.flatMap(({ index }) => index.blocks.filter(({ entry }) => entry.idstr === idstr))
      .map((block) => block.pages).filter(({ sentPages }) => sentPages > 0);
    for (let page = 0, end = others.length ? pages.sentEnd : 0; page < end; page++) {
      if (pages.isSent(page) && others.some((other) => other.isSent(page))) {
        doubts.push({ block: idstr, pageOffset: page * pageSize });
      }
    }
  }
  return doubts;
}
