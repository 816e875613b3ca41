/**
 * Codecs keyed by what is found on the wire. Plugins add rows; the registry merges them.
 * @module
 */
import type { MultifdCodec } from "./multifd_codec.ts";
import type { StreamReader } from "./reader.ts";

/** Type of the section whose body is being read. */
export type SectionPhase = "start" | "part" | "end" | "full";

/** Finds the bounds of an iterable section's body. */
export interface SectionCodec {
  /** QEMU's name: "dirty-bitmap". A codec may own a suffix: "/vfio". */
  readonly idstr: string;
  /**
   * Lengths of the body's pieces, in order. When a length is yielded that many bytes are at hand at `reader.pos` and
   * not consumed; the caller consumes them before it asks for the next. Ends with the body.
   * @throws {StreamError} when the body breaks its own rules
   */
  pieces(reader: StreamReader, phase: SectionPhase): AsyncGenerator<number>;
}

/** Applies a page record that is not plain. */
export interface RamCodec {
  /** One RAM_SAVE_FLAG_* bit. */
  readonly flag: number;
  /** QEMU's name of the feature: "xbzrle". */
  readonly feature: string;
  /**
   * @param page    current content of the page, changed in place
   * @param payload bytes after the record's header, borrowed
   * @returns QEMU's sentence when the payload is malformed, else undefined
   */
  /** Change a page by its record's payload. */
  apply(page: Uint8Array, payload: Uint8Array): string | undefined;
}

/** All tables of the decoder. */
export interface Tables {
  /** idstr of an iterable section, or its last path component with the slash. */
  readonly sections: Readonly<Record<string, SectionCodec>>;
  /** RAM_SAVE_FLAG_* bit. */
  readonly ramFlags: Readonly<Record<number, RamCodec>>;
  /** MULTIFD_FLAG_* bits of the compression. */
  readonly multifd?: Readonly<Record<number, MultifdCodec>>;
}
