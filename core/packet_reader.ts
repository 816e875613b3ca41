/**
 * Reading the packets of one multifd channel: the same on the thread of the load and on a thread of its own, which differ in
 * how bytes come and how they land.
 *
 *     head -> checks -> pages, packed or not -> guest memory -> zero pages -> at SYNC: stop until the main channel's mark
 *
 * Nothing is allocated for a page. Source: QEMU migration/multifd.c multifd_recv_thread, multifd-nocomp.c multifd_nocomp_recv.
 * @module
 */
import { SLOT } from "../guest/memory.ts";
import { StreamError, TruncatedStreamError } from "../stream/errors.ts";
import {
  MULTIFD_HEADER_BYTES,
  MULTIFD_INIT_BYTES,
  MULTIFD_PACKET_SIZE,
  MULTIFD_PAYLOAD_LIMIT,
  MultifdPacket,
} from "../stream/multifd.ts";
import type { MultifdCodec, MultifdDecoder } from "../stream/multifd_codec.ts";

const DEVICE_STATE_BYTES = 276;
/** QEMU's words for a channel that ends inside a packet. */
const CUT = "Unexpected end-of-file before all data were read";

/** Where packets come from and where pages go. Ranges lie inside one slot of a block that is there. */
export interface PacketPort {
  /** Fill the beginning of a view. @returns bytes; 0 at the end */
  read(view: Uint8Array<ArrayBuffer>): number | Promise<number>;
  /** Read at most `length` bytes straight into guest memory. Left out where they go by way of a buffer. @returns as `read` */
  receive?(idstr: string, offset: number, length: number): number | Promise<number>;
  /** Copy `length` bytes of `from`, beginning at `at`, into guest memory. */
  land(idstr: string, offset: number, from: Uint8Array<ArrayBuffer>, at: number, length: number): void | Promise<void>;
  /** Set to zero what is not so already. */
  zero(idstr: string, offset: number, length: number): void | Promise<void>;
  /** A SYNC packet came: until the main channel has come to its mark. */
  stop(): Promise<void>;
  /** Told of the bytes read so far, the first message included. */
  progress(offset: number): void;
  /** The load is over: nothing more is to be read. */
  over(): boolean;
}

/** What packets are held against. */
export interface PacketReaderOptions {
  /** Number of the channel. */
  readonly id: number;
  /** Bytes of a target page. */
  readonly pageSize: number;
  /** Used length of a block in bytes; undefined when there is none of that name. */
  usedLength(idstr: string): number | undefined;
  /** How pages are packed; undefined: not at all. */
  readonly codec?: MultifdCodec;
  /** Memory for the pages of a packet that is being unpacked, {@link UNPACKED_BYTES} and a page; asked for when needed. */
  unpacked(): Uint8Array<ArrayBuffer>;
}

/** Bytes of a full packet's pages. */
export const UNPACKED_BYTES = MULTIFD_PACKET_SIZE;

/** Reads one channel whose first message was read. */
export class PacketReader {
  /** "multifd 0". */
  readonly name: string;
  readonly #options: PacketReaderOptions;
  readonly #port: PacketPort;
  readonly #packet: MultifdPacket;
  readonly #head: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  #decoder?: MultifdDecoder;
  /** Payload that does not go straight into guest memory. */
  #staging?: Uint8Array<ArrayBuffer>;
  #offset = MULTIFD_INIT_BYTES;

  constructor(options: PacketReaderOptions, port: PacketPort) {
    const { id, pageSize, codec, usedLength } = options;
    this.name = `multifd ${id}`;
    this.#options = options;
    this.#port = port;
    this.#packet = new MultifdPacket({ channel: this.name, id, pageSize, usedLength, compression: codec?.flag ?? 0 });
    this.#head = new Uint8Array(this.#packet.bytes);
    this.#view = new DataView(this.#head.buffer);
    port.progress(this.#offset);
  }

  /**
   * Read until the connection ends between two packets, or the load is over.
   * @throws {StreamError} with QEMU's sentence where it has one
   * @throws what reading throws
   */
  async run(): Promise<void> {
    const packet = this.#packet, port = this.#port;
    try {
      while (!port.over()) {
        const at = this.#offset;
        if (!await this.#readHead()) return;
        if (!packet.head(this.#view, 0, at)) this.#deviceState(at);
        packet.body(this.#view, 0, at);
        if (packet.normal > 0) await this.#data();
        if (packet.zero > 0) await this.#zeros();
        if (packet.sync) await port.stop();
      }
    } finally {
      this.#decoder?.close();
    }
  }

  /** The head of a packet; usually there at once. @returns false when the connection ended in front of it */
  async #readHead(): Promise<boolean> {
    const head = this.#head, packet = this.#packet;
    const begin = this.#offset;
    for (let filled = 0, want = head.length; filled < want;) {
      const read = this.#port.read(head.subarray(filled, want));
      const got = typeof read === "number" ? read : await read;
      if (got <= 0) {
        if (filled === 0) return false;
        this.#short(filled === MULTIFD_HEADER_BYTES ? "multifd: unexpected EOF after packet header" : CUT);
      }
      const seen = filled >= MULTIFD_HEADER_BYTES;
      filled += got;
      this.#count(got);
      if (!seen && filled >= MULTIFD_HEADER_BYTES && !packet.head(this.#view, 0, begin)) want = DEVICE_STATE_BYTES;
    }
    return true;
  }

  async #data(): Promise<void> {
    const { pageSize } = this.#options;
    const packet = this.#packet, port = this.#port;
    const { idstr, offsets, normal, compression } = packet;
    const payload = port.receive && !compression ? undefined : await this.#payload();
    // from here to the last page landed nobody waits: memory for unpacking may be shared with other channels
    const pages = payload && compression ? this.#unpack(payload, normal * pageSize) : payload;
    for (let i = 0; i < normal;) {
      const begin = i++;
      while (i < normal && offsets[i] === offsets[i - 1] + pageSize && offsets[i] % SLOT !== 0) i++;
      const length = (i - begin) * pageSize;
      if (pages) {
        const landed = port.land(idstr, offsets[begin], pages, begin * pageSize, length);
        if (landed) await landed;
        continue;
      }
      for (let done = 0; done < length;) {
        const read = port.receive!(idstr, offsets[begin] + done, length - done);
        const got = typeof read === "number" ? read : await read;
        if (got <= 0) this.#short(CUT);
        done += got;
        this.#count(got);
      }
    }
  }

  /** Read the payload into memory of this thread. */
  async #payload(): Promise<Uint8Array<ArrayBuffer>> {
    const { compression, payload } = this.#packet;
    const limit = compression ? MULTIFD_PAYLOAD_LIMIT : MULTIFD_PACKET_SIZE;
    const bytes = (this.#staging ??= new Uint8Array(limit)).subarray(0, payload);
    for (let done = 0; done < bytes.length;) {
      const read = this.#port.read(done ? bytes.subarray(done) : bytes);
      const got = typeof read === "number" ? read : await read;
      if (got <= 0) this.#short(CUT);
      done += got;
      this.#count(got);
    }
    return bytes;
  }

  #unpack(packed: Uint8Array<ArrayBuffer>, length: number): Uint8Array<ArrayBuffer> {
    const { id, pageSize, codec, unpacked } = this.#options;
    this.#decoder ??= codec!.decoder();
    const into = unpacked();
    const refused = this.#decoder.unpack(packed, into.subarray(0, length + pageSize), length);
    if (!refused) return into;
    throw new StreamError("Cannot unpack multifd packet", {
      channel: this.name,
      offset: this.#offset - packed.length,
      found: `${packed.length} bytes of ${codec!.name} that are not ${length / pageSize} pages`,
      qemu: [`multifd ${id}: ${refused}`],
    });
  }

  async #zeros(): Promise<void> {
    const { pageSize } = this.#options;
    const { idstr, normal, zero, offsets } = this.#packet;
    for (let i = normal, end = normal + zero; i < end;) {
      const begin = i++;
      while (i < end && offsets[i] === offsets[i - 1] + pageSize && offsets[i] % SLOT !== 0) i++;
      const wiped = this.#port.zero(idstr, offsets[begin], (i - begin) * pageSize);
      if (wiped) await wiped;
    }
  }

  #count(bytes: number): void {
    this.#offset += bytes;
    this.#port.progress(this.#offset);
  }

  /** State of a vfio device: there is none here that would take it. */
  #deviceState(at: number): never {
    const field = this.#head.subarray(MULTIFD_HEADER_BYTES, MULTIFD_HEADER_BYTES + 256);
    const end = field.indexOf(0);
    const idstr = String.fromCharCode(...field.subarray(0, end < 0 ? field.length : end));
    const unknown = `Unknown idstr ${idstr} or instance id ${this.#view.getUint32(268)} for load state buffer`;
    throw new StreamError("Cannot take device state", {
      channel: this.name,
      offset: at,
      found: `state of ${JSON.stringify(idstr)}`,
      expected: "pages of RAM",
      qemu: [end < 0 ? "unterminated multifd device state idstr" : unknown],
    });
  }

  #short(qemu: string): never {
    throw new TruncatedStreamError("Cannot read multifd packet", {
      channel: this.name,
      offset: this.#offset,
      found: "the end of the connection",
      expected: "the rest of the packet",
      qemu: [qemu],
    });
  }
}
