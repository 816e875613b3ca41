/**
 * Packets of damaged multifd channels in the order of the sync points.
 *
 *     epoch of a packet   SYNC packets before it on its channel; behind a damaged place, where some may be lost, what its
 *                         number says beside the numbers of SYNC packets on sound channels
 *     main channel        each of its marks brings an epoch; what is left when it ends, or is damaged, comes behind
 *
 * Source: QEMU migration/multifd.c multifd_send_sync_main, multifd_recv_sync_main.
 * @module
 */
import type { ChannelsBeside, ListedBlocks, PagePlaces } from "../containers/further_channels.ts";
import type { IndexedBlock, StreamIndex } from "../containers/index_result.ts";
import { DeltaList, PageIndex } from "../containers/page_index.ts";
import type { PacketPlace, PacketScan } from "./salvage_packets.ts";

/** A packet in the order of all. */
interface Due {
  readonly scan: PacketScan;
  readonly place: PacketPlace;
  readonly epoch: number;
}

/** Packets of all channels, for a main channel whose marks are counted. */
export class SalvagedPackets implements ChannelsBeside {
  readonly #scans: readonly PacketScan[];
  readonly #due: readonly Due[];
  readonly #syncs: readonly number[];
  /** Packets of blocks that the list of the main channel lacks. */
  readonly #left: Due[] = [];
  readonly #index = new Map<string, number>();
  #listed!: ListedBlocks;
  #next = 0;
  #marks = 0;

  constructor(scans: readonly PacketScan[]) {
    this.#scans = scans;
    this.#due = inOrder(scans);
    this.#syncs = scans.map(({ packets }) => packets.filter(({ sync }) => sync).length);
  }

  get multifd(): boolean {
    return this.#scans.length > 0;
  }

  list(listed: ListedBlocks): void {
    if (this.#listed === listed) return;
    this.#listed = listed;
    this.#index.clear();
    listed.blocks.forEach(({ idstr }, i) => this.#index.set(idstr, i));
  }

  sync(places: PagePlaces): Promise<void> {
    for (const [i, scan] of this.#scans.entries()) {
      if (scan.sound === Infinity && this.#syncs[i] <= this.#marks) scan.missesSync(this.#marks + 1);
    }
    this.#upTo(this.#marks++, places);
    return Promise.resolve();
  }

  finish(places: PagePlaces): Promise<string[]> {
    this.#upTo(Infinity, places);
    return Promise.resolve([]);
  }

  /** What no mark of the main channel brought. @returns undefined where that is nothing */
  rest(blocks: ReadonlyMap<string, number>, pageSize: number, end: number): StreamIndex | undefined {
    if (this.#next === this.#due.length && this.#left.length === 0) return undefined;
    const deltas = new DeltaList();
    const indexed: IndexedBlock[] = [...blocks].map(([idstr, usedLength]) => ({
      entry: { idstr, usedLength },
      pageSize,
      pages: new PageIndex(Math.ceil(usedLength / pageSize), deltas),
    }));
    const places: PagePlaces = {
      place: (block, pageOffset, position) => indexed[block].pages.place(pageOffset / pageSize, position),
      zero: (block, pageOffset) => indexed[block].pages.zero(pageOffset / pageSize),
      records: () => {},
    };
    this.list({ blocks: indexed.map(({ entry }) => entry), pageSize });
    for (const due of this.#left.splice(0)) this.#apply(due, places);
    this.#upTo(Infinity, places);
    return {
      version: 3,
      sections: [],
      devices: [],
      commands: [],
      footers: true,
      unlisted: 0,
      blocks: indexed,
      deltas,
      passes: [],
      warnings: [],
      complete: false,
      ramFormat: "multifd",
      furtherChannels: true,
      pageSize,
      end,
    };
  }

  /** Packets that are not there, as far as the numbers of others tell. */
  get missing(): number {
    const highest = this.#scans.reduce((most, { packets }) => Math.max(most, packets.at(-1)?.number ?? -1), -1);
    return highest + 1 - this.#due.length;
  }

  /** What is known of packets that are not there. @param damaged any channel is */
  notes(damaged: boolean): string[] {
    const { missing } = this;
    const sum = (of: (scan: PacketScan) => number) => this.#scans.reduce((all, scan) => all + of(scan), 0);
    const packed = sum((scan) => scan.packed), states = sum((scan) => scan.states);
    return [
      ...(missing > 0
        ? [`${missing} packets are ${damaged ? "damaged, or " : ""}on channels that were not given`]
        : []),
      ...(packed > 0 ? [`${packed} packets cannot be unpacked: they go on from one that is damaged`] : []),
      ...(states > 0 ? [`${states} packets of device state (vfio) are left on their channels`] : []),
    ];
  }

  #upTo(epoch: number, places: PagePlaces): void {
    const due = this.#due;
    while (this.#next < due.length && due[this.#next].epoch <= epoch) this.#apply(due[this.#next++], places);
  }

  #apply(due: Due, places: PagePlaces): void {
    const { scan, place } = due;
    const { normal, zero, idstr, offsets } = scan.read(place);
    if (normal + zero === 0) return;
    const block = this.#index.get(idstr);
    if (block === undefined) {
      this.#left.push(due);
      return;
    }
    const { pageSize } = this.#listed;
    for (let i = 0; i < place.normal; i++) places.place(block, offsets[i], place.position + i * pageSize);
    for (let i = normal; i < normal + zero; i++) places.zero(block, offsets[i]);
  }
}

/** All packets by epoch, within one by number. */
function inOrder(scans: readonly PacketScan[]): Due[] {
  // the highest number each SYNC has on channels that are sound up to it
  const bounds: number[] = [];
  for (const { packets, sound } of scans) {
    let epoch = 0;
    for (const { sync, number } of packets.slice(0, Math.min(sound, packets.length))) {
      if (sync) bounds[epoch] = Math.max(bounds[epoch++] ?? -1, number);
    }
  }
  const due: Due[] = [];
  for (const scan of scans) {
    let own = 0, told = 0;
    for (const [i, place] of scan.packets.entries()) {
      while (told < bounds.length && bounds[told] < place.number) told++;
      due.push({ scan, place, epoch: i < scan.sound ? own : Math.max(own, told) });
      if (place.sync) own++;
    }
  }
  return due.sort((a, b) => a.epoch - b.epoch || a.place.number - b.place.number);
}
