/**
 * Writing fields to a sink through one staging buffer. Big-endian, as the wire is.
 * @module
 */
import type { ByteSink } from "./channel.ts";

const STAGING = 1 << 20;

/** A cursor over a {@link ByteSink}. Puts never wait; call `room` first, `flush` last. */
export class StreamWriter {
  /** Where the bytes go. */
  readonly sink: ByteSink;
  /** Staging: bytes put since the last flush are `buf.subarray(0, pos)`. Another one after a flush, where the sink exchanges. */
  buf: Uint8Array<ArrayBuffer>;
  /** Bytes in `buf` that wait for a flush. */
  pos: number = 0;
  #flushed: number;
  #view: DataView;

  /**
   * A cursor that has written nothing yet.
   * @param size bytes of the staging buffer; a sink that exchanges buffers brings its own
   */
  constructor(sink: ByteSink, size: number = STAGING) {
    this.sink = sink;
    const own = sink.exchange?.(undefined, 0);
    this.buf = own instanceof Uint8Array ? own : new Uint8Array(size);
    this.#view = viewOf(this.buf);
    this.#flushed = sink.start ?? 0;
  }

  /** Offset in the channel of the next byte. */
  get offset(): number {
    return this.#flushed + this.pos;
  }

  /** Make sure `n` bytes (at most the staging size) can be put; flushes when they cannot. */
  room(n: number): void | Promise<void> {
    if (this.pos + n > this.buf.length) return this.flush();
  }

  /** One byte. */
  u8(value: number): void {
    this.buf[this.pos++] = value;
  }

  /** 2 bytes, big-endian. */
  u16(value: number): void {
    this.#view.setUint16(this.pos, value);
    this.pos += 2;
  }

  /** 4 bytes, big-endian. */
  u32(value: number): void {
    this.#view.setUint32(this.pos, value);
    this.pos += 4;
  }

  /** 8 bytes, big-endian; a number up to 2^53. */
  u64(value: bigint | number): void {
    if (typeof value === "bigint") this.#view.setBigUint64(this.pos, value);
    else {
      this.#view.setUint32(this.pos, Math.floor(value / 0x100000000));
      this.#view.setUint32(this.pos + 4, value >>> 0);
    }
    this.pos += 8;
  }

  /** One length byte and the text (Latin-1). */
  str8(text: string): void {
    this.u8(text.length);
    this.latin1(text);
  }

  /** Text, one byte a character. */
  latin1(text: string): void {
    for (let i = 0; i < text.length; i++) this.buf[this.pos++] = text.charCodeAt(i);
  }

  /** Copy bytes that fit the room asked for. */
  bytes(view: Uint8Array): void {
    this.buf.set(view, this.pos);
    this.pos += view.length;
  }

  /** Put bytes of any length; larger ones than the staging buffer go straight to the sink. */
  put(view: Uint8Array): void | Promise<void> {
    if (this.pos + view.length <= this.buf.length) {
      this.bytes(view);
      return;
    }
    return this.#putLarge(view);
  }

  async #putLarge(view: Uint8Array): Promise<void> {
    await this.flush();
    if (view.length <= this.buf.length) this.bytes(view);
    else {
      for (let at = 0; at < view.length; at += this.buf.length) {
        this.bytes(view.subarray(at, at + this.buf.length));
        await this.flush();
      }
    }
  }

  /** Hand everything staged to the sink. */
  flush(): void | Promise<void> {
    if (this.pos === 0) return;
    const n = this.pos;
    if (this.sink.exchange) {
      const next = this.sink.exchange(this.buf, n);
      return next instanceof Promise ? next.then((buf) => this.#flushedInto(n, buf)) : this.#flushedInto(n, next);
    }
    const done = this.sink.write(this.buf.subarray(0, n));
    return done instanceof Promise ? done.then(() => this.#flushedInto(n, this.buf)) : this.#flushedInto(n, this.buf);
  }

  #flushedInto(n: number, next: Uint8Array<ArrayBuffer>): void {
    this.#flushed += n;
    this.pos = 0;
    if (next === this.buf) return;
    this.buf = next;
    this.#view = viewOf(next);
  }

  /** Continue at another position of the sink, which must be able to seek. */
  async seek(offset: number): Promise<void> {
    await this.flush();
    this.sink.seek!(offset);
    this.#flushed = offset;
  }
}

function viewOf(bytes: Uint8Array<ArrayBuffer>): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
