/**
 * The Worker behind a {@link ThreadSendLane}: takes packets in order and waits in sendmsg(2) until the socket has them. Pages
 * are never seen as views; packing works on a copy, as the guest may go on writing.
 * @module
 */
import { MULTIFD_PACKET_SIZE, MULTIFD_PAYLOAD_LIMIT } from "../stream/multifd.ts";
import type { MultifdEncoder } from "../stream/multifd_codec.ts";
import { errnoText } from "./errno.ts";
import { addressOf } from "../threads/machine_address.ts";
import { bringCodec } from "./multifd_bring.ts";
import { SystemError } from "./scm_rights.ts";
import {
  DEPTH,
  FINISHED,
  IOVEC,
  PUBLISHED,
  RUNNING,
  type SendStart,
  type SendWord,
  STATE,
  WATCHED,
} from "./send_thread.ts";

const EINTR = 4;
const MSG_NOSIGNAL = 0x4000;
/** struct msghdr: where the pieces are and how many; the rest is zero. */
const MSGHDR_BYTES = 56, MSG_IOV = 4, MSG_IOVLEN = 6;
/** Of a packet's head: bytes of the payload. */
const NEXT_PACKET_SIZE = 20;

const SYMBOLS = {
  // less than 2 GiB is sent: 32 bits hold the answer, and need no BigInt
  sendmsg: { parameters: ["i32", "usize", "i32"], result: "i32" },
  memcpy: { parameters: ["usize", "usize", "usize"], result: "void" },
  __errno_location: { parameters: [], result: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

/** As it is called: addresses of 47 bits are numbers, for which the types know BigInt alone. */
interface Libc {
  sendmsg(fd: number, header: number, flags: number): number;
  memcpy(to: number, from: number, length: number): void;
  __errno_location(): Deno.PointerValue;
}

interface Scope {
  onmessage: ((event: MessageEvent<SendStart>) => void) | null;
  postMessage(word: SendWord): void;
}

const scope = globalThis as unknown as Scope;

/** Sends pieces of memory. */
class Sender {
  readonly libc = Deno.dlopen("libc.so.6", SYMBOLS).symbols as unknown as Libc;
  readonly #fd: number;
  readonly #header = new Uint32Array(MSGHDR_BYTES / 4);
  readonly #headerAt: number;

  constructor(fd: number) {
    this.#fd = fd;
    this.#headerAt = addressOf(new Uint8Array(this.#header.buffer));
  }

  /**
   * Send all of some pieces; their entries are used up.
   * @param words struct iovec each, `count` of them from index `at` on, which is address `address`
   * @throws with the reason
   */
  send(words: Uint32Array, at: number, address: number, count: number): void {
    const header = this.#header;
    for (let first = 0; first < count;) {
      const where = address + first * IOVEC;
      header[MSG_IOV] = where % 2 ** 32;
      header[MSG_IOV + 1] = Math.floor(where / 2 ** 32);
      header[MSG_IOVLEN] = count - first;
      let sent = this.libc.sendmsg(this.#fd, this.#headerAt, MSG_NOSIGNAL);
      if (sent < 0) sent = this.#again();
      for (; first < count; first++) {
        const i = at + first * IOVEC / 4;
        if (sent < words[i + 2]) {
          setPiece(words, i, words[i] + words[i + 1] * 2 ** 32 + sent, words[i + 2] - sent);
          break;
        }
        sent -= words[i + 2];
      }
    }
  }

  #again(): 0 {
    const errno = new Deno.UnsafePointerView(this.libc.__errno_location()!).getInt32();
    if (errno === EINTR) return 0;
    throw new Error(`Unable to write to socket: ${errnoText(new SystemError(errno))}`);
  }
}

/** Packs the pages of a packet. */
class Packer {
  readonly #plain = new Uint8Array(MULTIFD_PACKET_SIZE);
  readonly #packed = new Uint8Array(MULTIFD_PAYLOAD_LIMIT);
  readonly #plainAt = addressOf(this.#plain);
  readonly #packedAt = addressOf(this.#packed);

  constructor(readonly encoder: MultifdEncoder, private readonly id: number, private readonly sender: Sender) {}

  /** Put the packed bytes in the place of the pages. @returns how many there are; pieces become two */
  pack(words: Uint32Array, at: number, count: number): number {
    let length = 0;
    for (let i = at + IOVEC / 4; i < at + count * IOVEC / 4; i += IOVEC / 4) {
      this.sender.libc.memcpy(this.#plainAt + length, words[i] + words[i + 1] * 2 ** 32, words[i + 2]);
      length += words[i + 2];
    }
    const packed = this.encoder.pack(this.#plain.subarray(0, length), this.#packed);
    if (packed < 0) throw new Error(`multifd ${this.id}: packing ${length} bytes of pages failed`);
    setPiece(words, at + IOVEC / 4, this.#packedAt, packed);
    return packed;
  }
}

function setPiece(words: Uint32Array, at: number, address: number, length: number): void {
  words[at] = address % 2 ** 32;
  words[at + 1] = Math.floor(address / 2 ** 32);
  words[at + 2] = length;
}

function work(start: SendStart, sender: Sender, packer: Packer | undefined): void {
  const { head, slotBytes } = start;
  const control = new Int32Array(start.control);
  const totals = new Float64Array(start.totals);
  const words = new Uint32Array(start.slots);
  const heads = new DataView(start.slots);
  // a shared buffer in truth, typed as guest memory is (guest/memory.ts)
  const slotsAt = addressOf(new Uint8Array(start.slots as unknown as ArrayBuffer));
  for (let done = 0;; done = done + 1 | 0) {
    Atomics.wait(control, PUBLISHED, done);
    if (Atomics.load(control, STATE) !== RUNNING) return;
    const slot = (done >>> 0) % DEPTH;
    const at = slot * slotBytes;
    let pieces = totals[1 + slot];
    if (packer && pieces > 1) {
      const packed = packer.pack(words, (at + head) / 4, pieces);
      heads.setUint32(at + NEXT_PACKET_SIZE, packed);
      pieces = 2;
      totals[0] += packed;
    }
    sender.send(words, (at + head) / 4, slotsAt + at + head, pieces);
    Atomics.add(control, FINISHED, 1);
    if (Atomics.exchange(control, WATCHED, 0)) scope.postMessage({ kind: "sent" });
  }
}

scope.onmessage = async ({ data }) => {
  let packer: Packer | undefined;
  try {
    const sender = new Sender(data.fd);
    const codec = data.codec && await bringCodec(data.codec);
    if (codec) packer = new Packer(codec.encoder(() => data.codec!.level), data.id, sender);
    work(data, sender, packer);
  } catch (error) {
    scope.postMessage({ kind: "failed", reason: (error as Error).message });
  }
  packer?.encoder.close();
  scope.postMessage({ kind: "done" });
};
