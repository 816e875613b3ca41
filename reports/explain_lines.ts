/**
 * Lines of an explanation: one a field, each with its place, bytes, value, meaning and the rule behind it.
 *
 *     path     sections[3].ram.blocks[0].idstr     what is not a plain word is quoted: ["0000:00:01.1/ide"]
 *     raw      the field's first bytes, at most 16
 *
 * @module
 */

/** Most bytes kept of a field. */
export const RAW_LIMIT = 16;

/** One field, or one run of bytes that belong together. */
export interface ExplainLine {
  /** In the file. */
  readonly offset: number;
  /** Bytes; never 0. The lengths of all lines add up to the file. */
  readonly length: number;
  /** As `sections[3].ram.blocks[0].idstr`. */
  readonly path: string;
  /** Decoded: 64-bit values that no JSON number holds are decimal strings. */
  readonly value?: string | number | boolean | null;
  /** What it is, for a reader new to the format. */
  readonly meaning: string;
  /** Where the rule is written: file and function in QEMU, with the module of ours that follows it where that says more. */
  readonly source?: string;
  /** Further channel it is of: its file as it was given. Absent in the main one. */
  readonly channel?: string;
  /** The first bytes, at most 16; fewer where they were not read. Borrowed until the next line. */
  readonly raw: Uint8Array;
}

/** A member of a path. Names of fields are expressions of C: `env.regs`, `port.ifs[0]`. */
export function member(name: string): string {
  return /^[A-Za-z_][\w.]*(\[\d+\][\w.]*)*$/.test(name) ? `.${name}` : `[${JSON.stringify(name)}]`;
}

/** A 64-bit value as JSON can hold it. */
export function plainNumber(value: number | bigint): number | string {
  return Number.isSafeInteger(Number(value)) ? Number(value) : value.toString();
}

const EMPTY = new Uint8Array();

/** Puts lines together in wire order: each field begins where the one before ended. */
export class FieldLines {
  readonly lines: ExplainLine[] = [];
  #offset: number;

  /**
   * @param offset where the first field begins in the file
   * @param prefix in front of every name
   * @param source rule of the fields that name none themselves
   */
  constructor(offset: number, readonly prefix: string, readonly source?: string) {
    this.#offset = offset;
  }

  /** Where the next field begins. */
  get offset(): number {
    return this.#offset;
  }

  u8(name: string, value: number, meaning: string, source?: string): this {
    return this.#number(1, name, value, meaning, source);
  }

  u16(name: string, value: number, meaning: string, source?: string): this {
    return this.#number(2, name, value, meaning, source);
  }

  u32(name: string, value: number, meaning: string, source?: string): this {
    return this.#number(4, name, value, meaning, source);
  }

  u64(name: string, value: number | bigint, meaning: string, source?: string): this {
    return this.#number(8, name, value, meaning, source);
  }

  /** A length byte and that many bytes of text. */
  str8(name: string, text: string, meaning: string, source?: string): this {
    const raw = new Uint8Array(Math.min(1 + text.length, RAW_LIMIT));
    raw[0] = text.length;
    for (let i = 1; i < raw.length; i++) raw[i] = text.charCodeAt(i - 1);
    return this.add(name, 1 + text.length, raw, meaning, text, source);
  }

  /** Text without a length. */
  text(name: string, text: string, meaning: string, source?: string): this {
    const raw = Uint8Array.from({ length: Math.min(text.length, RAW_LIMIT) }, (_, i) => text.charCodeAt(i));
    return this.add(name, text.length, raw, meaning, text, source);
  }

  /** Bytes as they are. `bytes` may be absent where they were not read. */
  bytes(name: string, length: number, bytes: Uint8Array | undefined, meaning: string, source?: string): this {
    return this.add(name, length, bytes?.subarray(0, Math.min(length, RAW_LIMIT)) ?? EMPTY, meaning, undefined, source);
  }

  /** Any field; one of no bytes is left out. */
  add(
    name: string,
    length: number,
    raw: Uint8Array,
    meaning: string,
    value?: ExplainLine["value"],
    source: string | undefined = this.source,
  ): this {
    if (length <= 0) return this;
    const path = name === "" ? this.prefix : this.prefix + (name.startsWith("[") ? name : `.${name}`);
    this.lines.push({
      offset: this.#offset,
      length,
      path: path.replace(/^\./, ""),
      ...(value !== undefined ? { value } : {}),
      meaning,
      ...(source !== undefined ? { source } : {}),
      raw,
    });
    this.#offset += length;
    return this;
  }

  #number(size: 1 | 2 | 4 | 8, name: string, value: number | bigint, meaning: string, source?: string): this {
    const raw = new Uint8Array(size);
    const view = new DataView(raw.buffer);
    if (size === 8) view.setBigUint64(0, BigInt(value));
    else if (size === 4) view.setUint32(0, Number(value));
    else if (size === 2) view.setUint16(0, Number(value));
    else raw[0] = Number(value);
    return this.add(name, size, raw, meaning, plainNumber(value), source);
  }
}
