/**
 * Reading fields from a source: chunks with headroom, so that a record is always contiguous and nothing is copied twice.
 *
 *     buf = [ headroom | chunk as it was read ]      leftover of the last chunk is moved into the headroom
 *
 * `ensure(n)` answers at once where the bytes are at hand; only then are the getters allowed, and they never wait.
 * Big-endian throughout, as the wire is.
 * @module
 */
import type { ByteSource } from "./channel.ts";
import { TruncatedStreamError } from "./errors.ts";

const HEAD = 64 * 1024;
const CHUNK = 1 << 18;

/** A cursor over a {@link ByteSource}. */
export class StreamReader {
  /** Where the bytes come from. */
  readonly source: ByteSource;
  /** Bytes at hand: `buf.subarray(pos, end)`. Valid until the next `ensure`, `skip` or `seek`. */
  buf: Uint8Array<ArrayBuffer>;
  /** Index in `buf` of the next byte. */
  pos: number = HEAD;
  /** Index in `buf` behind the last byte at hand. */
  end: number = HEAD;
  #base: number;
  #view: DataView;
  #ended = false;
  /** Position in the file of the next byte to read into `buf`; used only where the source can seek. */
  #next: number;

  /**
   * A cursor that has read nothing yet.
   * @param source read from where it stands
   */
  constructor(source: ByteSource) {
    this.source = source;
    this.buf = new Uint8Array(HEAD + CHUNK);
    this.#view = new DataView(this.buf.buffer);
    this.#next = source.start ?? 0;
    this.#base = this.#next - HEAD;
  }

  /** Offset in the channel of the next byte. */
  get offset(): number {
    return this.#base + this.pos;
  }

  /** Bytes that need no further read. */
  get available(): number {
    return this.end - this.pos;
  }

  /** True when the source has said it is at its end (bytes may still be at hand). */
  get ended(): boolean {
    return this.#ended;
  }

  /**
   * Have `n` bytes contiguous at `pos`.
   * @returns true, or false when the source ends before; a promise only where the source must wait
   */
  ensure(n: number): boolean | Promise<boolean> {
    while (this.end - this.pos < n) {
      if (this.#ended) return false;
      const got = this.#fill(n);
      if (typeof got !== "number") return got.then((count) => this.#landed(count) ? this.ensure(n) : false);
      if (!this.#landed(got)) return false;
    }
    return true;
  }

  /**
   * Have `n` bytes, or fail.
   * @param action what is being read, for the error: "Cannot read section header"
   * @throws {TruncatedStreamError}
   */
  need(n: number, action: string, qemu?: readonly string[], reason?: string): void | Promise<void> {
    const ok = this.ensure(n);
    if (ok === true) return;
    if (ok === false) this.#truncated(n, action, qemu, reason);
    return ok.then((yes) => {
      if (!yes) this.#truncated(n, action, qemu, reason);
    });
  }

  /** Error for bytes that are not there. */
  #truncated(n: number, action: string, qemu?: readonly string[], reason?: string): never {
    throw new TruncatedStreamError(action, {
      channel: this.source.name,
      offset: this.offset,
      found: `${this.available} bytes before the end`,
      expected: `${n}`,
      ...(qemu ? { qemu } : {}),
      ...(reason ? { reason } : {}),
    });
  }

  /** Bytes left in the file after `offset`, or undefined where that is not known. */
  remaining(): number | undefined {
    if (this.source.size) return Math.max(0, this.source.size() - this.offset);
    return this.#ended ? this.available : undefined;
  }

  /** The next byte. */
  u8(): number {
    return this.buf[this.pos++];
  }

  /** The next 2 bytes, big-endian. */
  u16(): number {
    const value = this.#view.getUint16(this.pos);
    this.pos += 2;
    return value;
  }

  /** The next 4 bytes, big-endian, unsigned. */
  u32(): number {
    const value = this.#view.getUint32(this.pos);
    this.pos += 4;
    return value;
  }

  /** The next 8 bytes, big-endian, unsigned. */
  u64(): bigint {
    const value = this.#view.getBigUint64(this.pos);
    this.pos += 8;
    return value;
  }

  /** A u64 as a number; values of 2^53 and more lose their low bits, callers compare against a bound at once. */
  u64n(): number {
    const value = this.#view.getUint32(this.pos) * 0x100000000 + this.#view.getUint32(this.pos + 4);
    this.pos += 8;
    return value;
  }

  /** u8 at `at` bytes ahead, without moving. */
  peekU8(at = 0): number {
    return this.buf[this.pos + at];
  }

  /** u32 at `at` bytes ahead, without moving. */
  peekU32(at = 0): number {
    return this.#view.getUint32(this.pos + at);
  }

  /** The next `n` bytes, borrowed until the next `ensure`. */
  bytes(n: number): Uint8Array<ArrayBuffer> {
    const view = this.buf.subarray(this.pos, this.pos + n);
    this.pos += n;
    return view;
  }

  /** The next `n` bytes as text: Latin-1, so that every byte survives. */
  latin1(n: number): string {
    let text = "";
    for (let i = 0; i < n; i++) text += String.fromCharCode(this.buf[this.pos + i]);
    this.pos += n;
    return text;
  }

  /** Move `n` bytes forward; seeks where the source can, reads on otherwise. May pass the end: then the next read fails. */
  skip(n: number): void | Promise<void> {
    if (n <= this.available) {
      this.pos += n;
      return;
    }
    if (this.source.readAt) {
      this.seek(this.offset + n);
      return;
    }
    return this.#skipBySource(n);
  }

  async #skipBySource(n: number): Promise<void> {
    while (n > 0) {
      if (this.available === 0 && !(await this.ensure(1))) return;
      const step = Math.min(n, this.available);
      this.pos += step;
      n -= step;
    }
  }

  /** Go to an absolute offset. Only where the source can seek. */
  seek(offset: number): void {
    if (offset >= this.#base + HEAD && offset <= this.#base + this.end && offset >= this.offset) {
      this.pos = offset - this.#base;
      return;
    }
    this.#next = offset;
    this.#base = offset - HEAD;
    this.pos = this.end = HEAD;
    this.#ended = false;
  }

  /** Read more behind `end`, so that `n` bytes can stand at `pos`. */
  #fill(n: number): number | Promise<number> {
    const left = this.end - this.pos;
    let at: number;
    if (n <= HEAD + CHUNK && left <= HEAD && this.buf.length === HEAD + CHUNK) {
      // leftover in front of a fresh chunk
      this.buf.copyWithin(HEAD - left, this.pos, this.end);
      this.#base += this.pos - (HEAD - left);
      this.pos = HEAD - left;
      this.end = at = HEAD;
      if (n > left + CHUNK) return this.#grow(n);
    } else if (this.pos + n <= this.buf.length && this.end < this.buf.length) {
      at = this.end;
    } else {
      return this.#grow(n);
    }
    return this.#pull(at);
  }

  /**
   * A longer buffer for a record (or a device tail) that does not fit a chunk: doubled each time, however little is wanted,
   * so that bytes are moved twice at most; and never by more than that, however much a stream claims.
   */
  #grow(n: number): number | Promise<number> {
    const left = this.end - this.pos;
    const larger = new Uint8Array(HEAD + (n <= CHUNK ? CHUNK : left * 2 + CHUNK));
    larger.set(this.buf.subarray(this.pos, this.end), HEAD);
    this.#base += this.pos - HEAD;
    this.buf = larger;
    this.#view = new DataView(larger.buffer);
    this.pos = HEAD;
    this.end = HEAD + left;
    return this.#pull(this.end);
  }

  #pull(at: number): number | Promise<number> {
    const view = this.buf.subarray(at);
    if (this.source.readAt) return this.source.readAt(view, this.#next);
    return this.source.read(view);
  }

  #landed(count: number): boolean {
    if (count <= 0) {
      this.#ended = true;
      return false;
    }
    this.end += count;
    this.#next += count;
    return true;
  }
}
