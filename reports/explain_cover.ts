/**
 * What of a channel has its lines already, and the lines of bytes that nobody claims: in front, behind a fault, at the end.
 * @module
 */
import type { ByteSource } from "../stream/channel.ts";
import type { StreamReader } from "../stream/reader.ts";
import { opaqueLines } from "./explain_frame.ts";
import { type ExplainLine, RAW_LIMIT } from "./explain_lines.ts";

/** Goes along with the lines of one channel. */
export class Coverage {
  /** Offset behind the last byte that has a line. */
  end: number;
  readonly #reader: StreamReader;
  readonly #source: ByteSource;

  constructor(reader: StreamReader) {
    this.#reader = reader;
    this.#source = reader.source;
    this.end = reader.source.start ?? 0;
  }

  /** A record is told up to its end, or to where the file ends in it. */
  reach(end: number): void {
    this.end = Math.min(end, this.#source.size?.() ?? end);
  }

  /** One line of bytes as they are. */
  opaque(offset: number, length: number, meaning: string, raw = this.peek(offset)): ExplainLine[] {
    return opaqueLines(offset, length, raw, meaning);
  }

  /** What stands before a fault and has no line: one line for it. */
  before(fault: number): ExplainLine[] {
    const at = this.end;
    const length = Math.min(fault, this.#source.size?.() ?? fault) - at;
    if (length <= 0) return [];
    this.end += length;
    return this.opaque(at, length, "begins what the fault behind it belongs to");
  }

  /** Up to the end of the channel, as one line. */
  async rest(meaning: string): Promise<ExplainLine[]> {
    const reader = this.#reader;
    const at = this.end;
    let end = this.#source.size?.();
    if (end === undefined) {
      while (await reader.ensure(1)) reader.pos = reader.end;
      end = reader.offset;
    }
    if (end <= at) return [];
    this.end = end;
    return this.opaque(at, end - at, meaning);
  }

  /** The first bytes at an offset, where the source can seek. */
  readonly peek = (offset: number): Uint8Array | undefined => {
    if (!this.#source.readAt) return undefined;
    const raw = new Uint8Array(RAW_LIMIT);
    return raw.subarray(0, this.#source.readAt(raw, offset));
  };
}
