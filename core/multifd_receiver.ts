/**
 * A destination's multifd channels over sockets: packets come on all of them at once, pages land where they belong.
 *
 *     channel k   init was read by who accepted it | { packet } SYNC --stop-- { packet } SYNC --stop-- ...
 *     main        ... mark: waits until every channel has stopped, then lets them go on ...
 *
 * The first channel that fails fails the load: the main channel is woken, and what it waited for rejects. While a mark is
 * waited for and no channel gives a byte for half a minute, the peer is taken for dead (QEMU waits for ever).
 * Source: QEMU migration/multifd.c multifd_recv_thread, multifd_recv_sync_main; multifd-nocomp.c multifd_nocomp_recv.
 * @module
 */
import { type RamBlock, SLOT } from "../guest/memory.ts";
import { StreamError, TransportError, TruncatedStreamError } from "../stream/errors.ts";
import {
  MULTIFD_HEADER_BYTES,
  MULTIFD_INIT_BYTES,
  MULTIFD_PACKET_SIZE,
  MULTIFD_PAYLOAD_LIMIT,
  MultifdPacket,
} from "../stream/multifd.ts";
import type { MultifdCodec, MultifdDecoder } from "../stream/multifd_codec.ts";
import type { TouchAhead } from "./lane.ts";
import type { Channel } from "./transport.ts";

/** Milliseconds without a byte after which a mark is waited for no longer. */
const SILENCE_MS = 30_000;
const DEVICE_STATE_BYTES = 276;
/** QEMU's words for a channel that ends inside a packet. */
const CUT = "Unexpected end-of-file before all data were read";

/** What the channels work on. */
export interface MultifdReceiverOptions {
  /** In the order of their numbers; the first message of each was read. */
  readonly channels: readonly Channel[];
  /** Block of that name; undefined when there is none. */
  block(idstr: string): RamBlock | undefined;
  /** Bytes of a target page. */
  readonly pageSize: number;
  /** How pages are packed; undefined: not at all. */
  readonly codec?: MultifdCodec;
  /** Told of pages that were written. */
  readonly ahead?: TouchAhead;
  /** Called once, when the first channel failed. */
  onFailure(error: Error): void;
  /** Instead of 30 s. */
  readonly silenceMs?: number;
}

interface Lane {
  readonly id: number;
  readonly name: string;
  readonly channel: Channel;
  readonly packet: MultifdPacket;
  /** Head of the packet being read. */
  readonly head: Uint8Array<ArrayBuffer>;
  readonly view: DataView;
  decoder?: MultifdDecoder;
  /** Payload that does not go straight into guest memory. */
  staging?: Uint8Array<ArrayBuffer>;
  /** Bytes read so far, init included. */
  offset: number;
  /** Stands at a SYNC packet. */
  stopped: boolean;
  /** The peer has closed it. */
  ended: boolean;
  goOn?: () => void;
}

/** Reads all multifd channels of one load. */
export class MultifdReceiver {
  readonly #options: MultifdReceiverOptions;
  readonly #lanes: Lane[];
  #done = false;
  #failure?: Error;
  #woken: () => void = () => {};
  /** Pages of the packet that is being unpacked: nobody waits between filling and emptying it. */
  #unpacked?: Uint8Array<ArrayBuffer>;

  constructor(options: MultifdReceiverOptions) {
    const { channels, block, pageSize, codec } = options;
    this.#options = options;
    this.#lanes = channels.map((channel, id): Lane => {
      const name = `multifd ${id}`;
      const packet = new MultifdPacket({
        channel: name,
        id,
        pageSize,
        usedLength: (idstr) => block(idstr)?.usedLength,
        compression: codec?.flag ?? 0,
      });
      const head = new Uint8Array(packet.bytes);
      const view = new DataView(head.buffer);
      return { id, name, channel, packet, head, view, offset: MULTIFD_INIT_BYTES, stopped: false, ended: false };
    });
  }

  /** Why the load cannot go on. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  /** Bytes that came on all channels. */
  get bytes(): number {
    return this.#lanes.reduce((sum, { offset }) => sum + offset, 0);
  }

  /** Begin to read. The block list must be known. */
  start(): void {
    for (const lane of this.#lanes) {
      this.#run(lane).catch((error) => this.#fail(error)).finally(() => lane.decoder?.close());
    }
  }

  /**
   * The main channel came to a mark: wait until every channel has come to its SYNC packet, then let all go on.
   * @throws {StreamError} {TransportError} why one did not
   */
  async sync(): Promise<void> {
    const until = this.#options.silenceMs ?? SILENCE_MS;
    let seen = -1, since = performance.now();
    for (;;) {
      if (this.#failure) throw this.#failure;
      const dead = this.#lanes.find(({ ended }) => ended);
      if (dead) {
        this.#fail(
          new TruncatedStreamError("Cannot find SYNC packet", {
            channel: dead.name,
            offset: dead.offset,
            found: "the end of the connection",
            expected: "as many SYNC packets as marks on the main channel",
          }),
        );
        continue;
      }
      const missing = this.#lanes.find(({ stopped }) => !stopped);
      if (!missing) break;
      const { bytes } = this;
      if (bytes !== seen) [seen, since] = [bytes, performance.now()];
      const left = since + until - performance.now();
      if (left <= 0) {
        this.#fail(
          new TransportError(
            `Unable to read from ${missing.name}: no SYNC packet, and nothing else for ${until / 1000} s`,
          ),
        );
        continue;
      }
      await this.#look(left);
    }
    for (const lane of this.#lanes) {
      lane.stopped = false;
      lane.goOn?.();
    }
  }

  /** The load is over: what channels still say does not matter. They stay their owner's. */
  stop(): void {
    this.#done = true;
    this.#woken();
    for (const { goOn } of this.#lanes) goOn?.();
  }

  /** Until a channel stops or fails, at most `ms`. */
  async #look(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#woken = resolve; // first: setTimeout may run what was waiting for its turn
    const timer = setTimeout(resolve, ms);
    await promise;
    clearTimeout(timer);
  }

  #fail(error: Error): void {
    if (this.#done || this.#failure) return;
    this.#failure = error;
    this.#woken();
    this.#options.onFailure(error);
  }

  async #run(lane: Lane): Promise<void> {
    const { packet, view } = lane;
    while (!this.#done) {
      const at = lane.offset;
      if (!(await this.#head(lane))) {
        lane.ended = true;
        return this.#woken();
      }
      if (!packet.head(view, 0, at)) this.#deviceState(lane, at);
      packet.body(view, 0, at);
      if (packet.normal > 0) await this.#data(lane);
      if (packet.zero > 0) this.#zeros(packet);
      if (!packet.sync) continue;
      await new Promise<void>((resolve) => {
        lane.goOn = resolve;
        lane.stopped = true;
        this.#woken();
      });
    }
  }

  /** The head of a packet; usually there at once. @returns false when the connection ended in front of it */
  async #head(lane: Lane): Promise<boolean> {
    const { channel, head, view, packet } = lane;
    const begin = lane.offset;
    for (let filled = 0, want = head.length; filled < want;) {
      const got = await channel.read!(head.subarray(filled, want));
      if (got <= 0) {
        if (filled === 0) return false;
        this.#short(lane, filled === MULTIFD_HEADER_BYTES ? "multifd: unexpected EOF after packet header" : CUT);
      }
      const seen = filled >= MULTIFD_HEADER_BYTES;
      filled += got;
      lane.offset += got;
      if (!seen && filled >= MULTIFD_HEADER_BYTES && !packet.head(view, 0, begin)) want = DEVICE_STATE_BYTES;
    }
    return true;
  }

  /** Read by way of a buffer: V8 collects garbage for seconds when views of guest memory are handed to reads. */
  async #data(lane: Lane): Promise<void> {
    const { packet } = lane;
    const { pageSize, block: blockOf, ahead } = this.#options;
    const block = blockOf(packet.idstr)!;
    const { offsets, normal } = packet;
    if (ahead) {
      block.materialise(offsets[0], pageSize);
      ahead.wrote(block, offsets[0]);
    }
    const staging = lane.staging ??= new Uint8Array(packet.compression ? MULTIFD_PAYLOAD_LIMIT : MULTIFD_PACKET_SIZE);
    const bytes = staging.subarray(0, packet.payload);
    await this.#fill(lane, bytes);
    const pages = packet.compression ? this.#unpack(lane, bytes, normal * pageSize) : bytes;
    for (let i = 0; i < normal;) {
      const begin = i++;
      while (i < normal && offsets[i] === offsets[i - 1] + pageSize && offsets[i] % SLOT !== 0) i++;
      block.land(offsets[begin], pages, begin * pageSize, (i - begin) * pageSize);
    }
  }

  #unpack(lane: Lane, packed: Uint8Array, length: number): Uint8Array {
    const { pageSize, codec } = this.#options;
    lane.decoder ??= codec!.decoder();
    const into = this.#unpacked ??= new Uint8Array(MULTIFD_PACKET_SIZE + pageSize);
    const refused = lane.decoder.unpack(packed, into.subarray(0, length + pageSize), length);
    if (!refused) return into;
    throw new StreamError("Cannot unpack multifd packet", {
      channel: lane.name,
      offset: lane.offset - packed.length,
      found: `${packed.length} bytes of ${codec!.name} that are not ${length / pageSize} pages`,
      qemu: [`multifd ${lane.id}: ${refused}`],
    });
  }

  #zeros({ idstr, normal, zero, offsets }: MultifdPacket): void {
    const { pageSize } = this.#options;
    const block = this.#options.block(idstr)!;
    for (let i = normal; i < normal + zero; i++) {
      if (!block.isUntouched(offsets[i])) block.zero(offsets[i], pageSize);
    }
  }

  /** State of a vfio device: there is none here that would take it. */
  #deviceState({ name, head, view }: Lane, at: number): never {
    const field = head.subarray(MULTIFD_HEADER_BYTES, MULTIFD_HEADER_BYTES + 256);
    const end = field.indexOf(0);
    const idstr = String.fromCharCode(...field.subarray(0, end < 0 ? field.length : end));
    const unknown = `Unknown idstr ${idstr} or instance id ${view.getUint32(268)} for load state buffer`;
    throw new StreamError("Cannot take device state", {
      channel: name,
      offset: at,
      found: `state of ${JSON.stringify(idstr)}`,
      expected: "pages of RAM",
      qemu: [end < 0 ? "unterminated multifd device state idstr" : unknown],
    });
  }

  async #fill(lane: Lane, target: Uint8Array): Promise<void> {
    for (let done = 0; done < target.length;) {
      const got = await lane.channel.read!(done ? target.subarray(done) : target);
      if (got <= 0) this.#short(lane, CUT);
      done += got;
      lane.offset += got;
    }
  }

  #short({ name, offset }: Lane, qemu: string): never {
    throw new TruncatedStreamError("Cannot read multifd packet", {
      channel: name,
      offset,
      found: "the end of the connection",
      expected: "the rest of the packet",
      qemu: [qemu],
    });
  }
}
