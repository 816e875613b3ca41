/**
 * The Worker behind a {@link ThreadLane}: waits in recv(2) for the bytes of one multifd channel and lets the kernel put them
 * where they belong. Guest memory is never seen as a view: its weight would bring V8 to collect garbage all the time.
 * @module
 */
import { SEGMENT, SLOT } from "../guest/memory.ts";
import { StreamError, TransportError, TruncatedStreamError } from "../stream/errors.ts";
import { errnoText } from "./errno.ts";
import { addressOf } from "../threads/machine_address.ts";
import { bringCodec } from "./multifd_bring.ts";
import { unpackedMemory } from "./packet_lane.ts";
import { type PacketPort, PacketReader } from "./packet_reader.ts";
import type { PacketFault, PacketOrder, PacketWord } from "./packet_thread.ts";
import { SystemError } from "./scm_rights.ts";

const EINTR = 4;

const SYMBOLS = {
  // at most 1 MiB is asked for: 32 bits hold the answer, and need no BigInt
  recv: { parameters: ["i32", "usize", "usize", "i32"], result: "i32" },
  memset: { parameters: ["usize", "i32", "usize"], result: "void" },
  memcpy: { parameters: ["usize", "usize", "usize"], result: "void" },
  __errno_location: { parameters: [], result: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

/** As it is called: addresses of 47 bits are numbers, for which the types know BigInt alone. */
interface Libc {
  recv(fd: number, address: number, length: number, flags: number): number;
  memset(address: number, byte: number, length: number): void;
  memcpy(to: number, from: number, length: number): void;
  __errno_location(): Deno.PointerValue;
}
type Start = Extract<PacketOrder, { kind: "start" }>;

interface Scope {
  onmessage: ((event: MessageEvent<PacketOrder>) => void) | null;
  postMessage(word: PacketWord): void;
}

const scope = globalThis as unknown as Scope;

interface Block {
  readonly index: number;
  readonly usedLength: number;
  readonly touched: Uint8Array<SharedArrayBuffer>;
  /** Where each segment begins; 0 while that is not known. */
  readonly addresses: Float64Array<ArrayBuffer>;
}

/** Bytes from a socket, pages to places. */
class SocketPort implements PacketPort {
  readonly blocks = new Map<string, Block>();
  readonly #libc: Libc;
  readonly #fd: number;
  readonly #offset: Float64Array<SharedArrayBuffer>;
  readonly #over: Int32Array<SharedArrayBuffer>;
  #idstr = "";
  #block: Block | undefined;
  /** Buffers bytes were copied from, and where they are. */
  #from?: Uint8Array<ArrayBuffer>;
  #fromAt = 0;
  #told: () => void = () => {};
  #goOn: () => void = () => {};

  constructor(libc: Libc, { fd, blocks, shared }: Start) {
    this.#libc = libc;
    this.#fd = fd;
    this.#offset = new Float64Array(shared, 0, 1);
    this.#over = new Int32Array(shared, 8, 1);
    for (const [index, { idstr, usedLength, segments, touched }] of blocks.entries()) {
      // the first of a name counts, as it does for the blocks themselves
      if (!this.blocks.has(idstr)) {
        this.blocks.set(idstr, { index, usedLength, touched, addresses: new Float64Array(segments) });
      }
    }
  }

  hear(order: PacketOrder): void {
    if (order.kind === "go") return this.#goOn();
    if (order.kind !== "segment") return;
    for (const { index, addresses } of this.blocks.values()) {
      if (index === order.block) addresses[order.segment] = order.address;
    }
    this.#told();
  }

  read(view: Uint8Array<ArrayBuffer>): number {
    return this.#recv(addressOf(view), view.length);
  }

  receive(idstr: string, offset: number, length: number): number | Promise<number> {
    const block = this.#find(idstr);
    const base = block.addresses[Math.floor(offset / SEGMENT)];
    if (base === 0) return this.#segment(block, offset).then(() => this.receive(idstr, offset, length));
    block.touched[Math.floor(offset / SLOT)] = 1;
    return this.#recv(base + offset % SEGMENT, length);
  }

  land(
    idstr: string,
    offset: number,
    from: Uint8Array<ArrayBuffer>,
    at: number,
    length: number,
  ): void | Promise<void> {
    const block = this.#find(idstr);
    const base = block.addresses[Math.floor(offset / SEGMENT)];
    if (base === 0) return this.#segment(block, offset).then(() => this.land(idstr, offset, from, at, length));
    block.touched[Math.floor(offset / SLOT)] = 1;
    if (from !== this.#from) [this.#from, this.#fromAt] = [from, addressOf(from)];
    this.#libc.memcpy(base + offset % SEGMENT, this.#fromAt + at, length);
  }

  zero(idstr: string, offset: number, length: number): void | Promise<void> {
    const block = this.#find(idstr);
    if (block.touched[Math.floor(offset / SLOT)] === 0) return;
    const base = block.addresses[Math.floor(offset / SEGMENT)];
    if (base === 0) return this.#segment(block, offset).then(() => this.zero(idstr, offset, length));
    this.#libc.memset(base + offset % SEGMENT, 0, length);
  }

  stop(): Promise<void> {
    if (this.over()) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#goOn = resolve;
    scope.postMessage({ kind: "stopped" });
    return promise;
  }

  progress(offset: number): void {
    this.#offset[0] = offset;
  }

  over(): boolean {
    return Atomics.load(this.#over, 0) !== 0;
  }

  #find(idstr: string): Block {
    if (idstr !== this.#idstr || !this.#block) [this.#idstr, this.#block] = [idstr, this.blocks.get(idstr)];
    return this.#block!;
  }

  async #segment({ index, addresses }: Block, offset: number): Promise<void> {
    const segment = Math.floor(offset / SEGMENT);
    scope.postMessage({ kind: "need", block: index, segment });
    while (addresses[segment] === 0) await new Promise<void>((resolve) => this.#told = resolve);
  }

  #recv(address: number, length: number): number {
    for (;;) {
      const got = this.#libc.recv(this.#fd, address, length, 0);
      if (got >= 0) return got;
      const errno = new Deno.UnsafePointerView(this.#libc.__errno_location()!).getInt32();
      if (errno !== EINTR) throw new TransportError(`Unable to read from socket: ${errnoText(new SystemError(errno))}`);
    }
  }
}

let port: SocketPort | undefined;

scope.onmessage = ({ data }) => {
  if (data.kind === "start") start(data);
  else port?.hear(data);
};

async function start(order: Start): Promise<void> {
  try {
    const reader = await prepare(order);
    if (reader) await reader.run();
    else scope.postMessage({ kind: "refused" });
  } catch (error) {
    scope.postMessage({ kind: "failed", fault: describe(error) });
  }
  scope.postMessage({ kind: "done" });
}

/** @returns undefined when a library or the packing cannot be had here */
async function prepare(order: Start): Promise<PacketReader | undefined> {
  const { id, pageSize } = order;
  try {
    const made = port = new SocketPort(Deno.dlopen("libc.so.6", SYMBOLS).symbols as unknown as Libc, order);
    const usedLength = (idstr: string) => made.blocks.get(idstr)?.usedLength;
    const codec = order.codec && await bringCodec(order.codec);
    return new PacketReader({ id, pageSize, usedLength, codec, unpacked: unpackedMemory(pageSize) }, made);
  } catch {
    return undefined;
  }
}

function describe(error: unknown): PacketFault {
  const { message } = error as Error;
  if (!(error instanceof StreamError)) {
    return { kind: "transport", message, channel: "", offset: 0, qemu: [], reason: "" };
  }
  const { channel, offset, found, expected, qemu, reason } = error;
  const kind = error instanceof TruncatedStreamError ? "truncated" : "stream";
  return { kind, message, channel, offset, found, expected, qemu, reason };
}
