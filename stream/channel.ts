/**
 * The two narrow doors between bytes and records. A transport's channel is both, a buffer in a test is one.
 * @module
 */

/** Where bytes come from, in order. */
export interface ByteSource {
  /** "main", "multifd 0": stands in every error. */
  readonly name: string;
  /** Offset of the first byte that `read` gives, counted in the file; 0 where there is no file. */
  readonly start?: number;
  /**
   * Fill the beginning of `view`.
   * @returns bytes landed, 0 at the end; a number at once where the bytes are at hand, else a promise of it
   */
  read(view: Uint8Array): number | Promise<number>;
  /**
   * Read at an absolute position, independent of `read`. Present only where the source can seek.
   * @returns bytes landed, fewer than asked only at the end
   */
  readAt?(view: Uint8Array, position: number): number;
  /** Bytes in the whole file. Present with `readAt`. */
  size?(): number;
  /** Number of the open file whose positions these are; only of a regular file that is read as it is. */
  readonly fd?: number;
  /**
   * How far the file goes on as it is at a position, without reading it: positive bytes may be anything, negative ones are a
   * hole, which reads as zero. Only what is data may go beyond the end. Present only where there are holes, and somebody who
   * knows of them.
   */
  extent?(position: number): number;
}

/** Where bytes go, in order. */
export interface ByteSink {
  /** "main", "multifd 0": stands in every error. */
  readonly name: string;
  /** Offset in the file of the first byte `write` puts; 0 where there is no file. */
  readonly start?: number;
  /** Write all of `view`. The view is the caller's again when the call (or its promise) is done. */
  write(view: Uint8Array): void | Promise<void>;
  /** Write all of `view` at an absolute position, independent of `write`. Only where the sink can seek. */
  writeAt?(view: Uint8Array, position: number): void;
  /** Move the position of `write`. Only where the sink can seek. */
  seek?(position: number): void;
  /**
   * Instead of `write`: take a staging buffer with `length` bytes in it and give another to go on with, so that filling
   * and writing overlap. The first call passes `undefined` and only asks for a buffer; all are of one size.
   */
  exchange?(filled: Uint8Array<ArrayBuffer> | undefined, length: number):
    | Uint8Array<ArrayBuffer>
    | Promise<Uint8Array<ArrayBuffer>>;
}

/** A source over bytes in memory. Random access included unless `sequential`. */
export function bufferSource(
  bytes: Uint8Array,
  options: { name?: string; sequential?: boolean; chunk?: number; start?: number } = {},
): ByteSource {
  let position = options.start ?? 0;
  const source: ByteSource = {
    name: options.name ?? "main",
    start: position,
    read(view) {
      const n = Math.min(view.length, bytes.length - position, options.chunk ?? Infinity);
      if (n <= 0) return 0;
      view.set(bytes.subarray(position, position + n));
      position += n;
      return n;
    },
  };
  if (!options.sequential) {
    source.readAt = (view, at) => {
      const n = Math.max(0, Math.min(view.length, bytes.length - at));
      if (n > 0) view.set(bytes.subarray(at, at + n));
      return n;
    };
    source.size = () => bytes.length;
  }
  return source;
}

/** A sink that keeps what it is given; `bytes()` hands out a copy of all of it. */
export function bufferSink(name = "main"): ByteSink & { bytes(): Uint8Array } {
  let buffer = new Uint8Array(1 << 16);
  let position = 0;
  let end = 0;
  const put = (view: Uint8Array, at: number) => {
    if (at + view.length > buffer.length) {
      const larger = new Uint8Array(Math.max(buffer.length * 2, at + view.length));
      larger.set(buffer.subarray(0, end));
      buffer = larger;
    }
    buffer.set(view, at);
    end = Math.max(end, at + view.length);
  };
  return {
    name,
    write(view) {
      put(view, position);
      position += view.length;
    },
    writeAt: put,
    seek(to) {
      position = to;
    },
    bytes: () => buffer.slice(0, end),
  };
}
