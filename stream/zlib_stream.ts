/**
 * Streams of zlib and zstd that answer at once: input in, output out, no event and no wait. That is what packets need whose
 * compression carries over from one to the next: each must give all of its output before the next begins.
 *
 * node:zlib has one-shot calls, which forget, and event streams, which do not say when an input is used up. Its streams stand
 * on a handle with a synchronous call, used here; a fault of the data is a value, where the event streams of Deno 2.9 end
 * the program for damaged zstd.
 * @module
 */
import zlib from "node:zlib";

interface Handle {
  writeSync(
    flush: number,
    input: Uint8Array,
    inputAt: number,
    inputLength: number,
    output: Uint8Array,
    outputAt: number,
    outputLength: number,
  ): void;
  onerror?: (message: string, errno: number) => void;
}

/** What a step did. */
export interface ZlibStep {
  /** Bytes of input that were used. */
  used: number;
  /** Bytes of output that were written. */
  made: number;
  /** zlib's number and message, or zstd's message, when the data are damaged. */
  error?: { readonly number?: number; readonly message: string };
}

const { Z_SYNC_FLUSH, ZSTD_e_flush, ZSTD_c_compressionLevel } = zlib.constants;

/** One compression or decompression that goes on from call to call. */
export class ZlibStream {
  readonly #stream: { destroy(): unknown };
  readonly #handle: Handle;
  readonly #state: Uint32Array;
  readonly #flush: number;
  #error?: { number?: number; message: string };

  private constructor(stream: object, flush: number) {
    const { _handle: handle, _writeState: state } = stream as { _handle?: Handle; _writeState?: Uint32Array };
    if (!handle?.writeSync || !state) {
      throw new TypeError("Cannot make a synchronous stream: node:zlib is not as this program knows it");
    }
    this.#stream = stream as { destroy(): unknown };
    this.#handle = handle;
    this.#state = state;
    this.#flush = flush;
    handle.onerror = (message, number) => this.#error = { number, message };
  }

  /** Unpack a zlib stream. */
  static inflate(): ZlibStream {
    return new ZlibStream(zlib.createInflate(), Z_SYNC_FLUSH);
  }

  /** Pack into a zlib stream. @param level 0 to 9 */
  static deflate(level: number): ZlibStream {
    return new ZlibStream(zlib.createDeflate({ level }), Z_SYNC_FLUSH);
  }

  /** Unpack a zstd frame. */
  static unzstd(): ZlibStream {
    return new ZlibStream(zlib.createZstdDecompress(), ZSTD_e_flush);
  }

  /** Pack into a zstd frame. @param level 0 to 20 */
  static zstd(level: number): ZlibStream {
    return new ZlibStream(zlib.createZstdCompress({ params: { [ZSTD_c_compressionLevel]: level } }), ZSTD_e_flush);
  }

  /**
   * Give all of `input` and take what comes of it, as far as there is room in `output`. What was packed is complete up to
   * here when room was left.
   */
  step(input: Uint8Array, output: Uint8Array): ZlibStep {
    let used = 0, made = 0;
    do {
      try {
        this.#handle.writeSync(
          this.#flush,
          input,
          used,
          input.length - used,
          output,
          made,
          output.length - made,
        );
      } catch (error) {
        return { used, made, error: { message: (error as Error).message } };
      }
      if (this.#error) return { used, made, error: this.#error };
      const [outputLeft, inputLeft] = this.#state;
      const stuck = inputLeft === input.length - used && outputLeft === output.length - made;
      used = input.length - inputLeft;
      made = output.length - outputLeft;
      if (stuck) break;
    } while (used < input.length && made < output.length);
    return { used, made };
  }

  /** Give back what the stream holds. */
  close(): void {
    this.#stream.destroy();
  }
}
