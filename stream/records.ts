/**
 * What a stream consists of. The records of one stream cover every byte of it, in order; `offset` and `length` say
 * where, in the channel (in a file: from its beginning).
 *
 *     stream  = header [configuration] { command | section | body | footer } eof [vmdescription] [opaque]
 *     section = section header, body records, [footer]
 *     ram     = ram-total { ram-block [mapped-bitmap] [opaque] [mapped-pages] } { ram-pages | ram-mark }
 *
 * Byte arrays in records are *borrowed*: they are valid until the next record is asked for.
 * @module
 */
import type { MigCommandName } from "./constants.ts";

/** Where a record stands. */
export interface RecordPlace {
  /** "main", "multifd 0", or the file's name. */
  readonly channel: string;
  /** Of its first byte in the channel, or in the file. */
  readonly offset: number;
  /** Bytes on the wire. */
  readonly length: number;
}

/** `QEVM` and the version. */
export interface HeaderRecord extends RecordPlace {
  readonly kind: "header";
  readonly version: number;
}

/** One subsection of the configuration. */
export interface ConfigurationSubsection {
  /** "configuration/capabilities". */
  readonly name: string;
  /** Version of its layout. */
  readonly version: number;
}

/** Machine name and the subsections behind it. */
export interface ConfigurationRecord extends RecordPlace {
  /** Tells the records apart. */
  readonly kind: "configuration";
  /** Versioned machine name: "pc-i440fx-10.0". */
  readonly machine: string;
  /** In the order of the stream. */
  readonly subsections: readonly ConfigurationSubsection[];
  /** log2 of the target page size, where the stream says it. */
  readonly targetPageBits?: number;
  /** Those both sides must agree about, where any is on. */
  readonly capabilities?: readonly string[];
  /** 16 bytes in printed order; owned by the record. */
  readonly uuid?: Uint8Array;
}

/** Type words of sections, as reports print them. */
export type SectionType = "start" | "part" | "end" | "full";

/** Header of a section. */
export interface SectionRecord extends RecordPlace {
  readonly kind: "section";
  readonly type: SectionType;
  readonly sectionId: number;
  readonly idstr: string;
  readonly instanceId: number;
  readonly versionId: number;
}

/** `7e` and the section id again. */
export interface FooterRecord extends RecordPlace {
  readonly kind: "footer";
  readonly sectionId: number;
}

/** RAM_SAVE_FLAG_MEM_SIZE: bytes of all blocks in the list that follows. */
export interface RamTotalRecord extends RecordPlace {
  readonly kind: "ram-total";
  readonly total: number;
}

/** Header of a block's mapped-ram area. Offsets are absolute in the file. */
export interface MappedRamHeader {
  readonly version: number;
  readonly pageSize: number;
  readonly bitmapOffset: number;
  readonly pagesOffset: number;
  /** Bytes of the bitmap; not stored, follows from the block's length. */
  readonly bitmapBytes: number;
}

/** An entry of the block list. */
export interface RamBlockEntry {
  readonly idstr: string;
  /** Bytes in use. */
  readonly usedLength: number;
  /** Host page size, present for blocks on huge pages when postcopy was advised. */
  readonly pageSize?: number;
  /** Guest-physical address, present with x-ignore-shared. */
  readonly address?: bigint;
  /** Present with mapped-ram. */
  readonly mapped?: MappedRamHeader;
}

/** One entry of the block list, with its mapped-ram header where it has one. */
export interface RamBlockRecord extends RecordPlace {
  readonly kind: "ram-block";
  readonly block: RamBlockEntry;
  /** Position in the list. */
  readonly index: number;
}

/** Which pages of a mapped-ram block hold data. Bit i (LSB first) is page i. */
export interface MappedBitmapRecord extends RecordPlace {
  readonly kind: "mapped-bitmap";
  readonly block: RamBlockEntry;
  readonly index: number;
  readonly bitmap: Uint8Array;
}

/** The pages area of a mapped-ram block, or a piece of it where the channel cannot seek. */
export interface MappedPagesRecord extends RecordPlace {
  readonly kind: "mapped-pages";
  readonly block: RamBlockEntry;
  readonly index: number;
  /** Byte offset in the block of the first page. */
  readonly pageOffset: number;
  /** The bytes, where they had to be read; absent where the channel can be read at any position. */
  readonly data?: Uint8Array;
}

/** A run of page records, contiguous on the wire. All arrays belong to the decoder and are used again. */
export interface RamPagesRecord extends RecordPlace {
  readonly kind: "ram-pages";
  /** Number of page records. */
  readonly count: number;
  /** All bytes of the run, headers included. */
  readonly bytes: Uint8Array;
  /** Where in `bytes` each record begins. */
  readonly at: Uint32Array;
  /** Where in `bytes` each record's page, zero byte or delta begins. */
  readonly dataAt: Uint32Array;
  /** Byte offset in the block. */
  readonly pageOffset: Float64Array;
  /** RAM_SAVE_FLAG_* as on the wire, CONTINUE included. */
  readonly flags: Uint16Array;
  /** Bytes of payload: page size for PAGE, 1 for ZERO, delta bytes for XBZRLE. */
  readonly dataLength: Uint16Array | Uint32Array;
  /** Index into `blocks`. */
  readonly block: Uint16Array;
  readonly blocks: readonly RamBlockEntry[];
  readonly pageSize: number;
}

/** A record of ram without a page: EOS, MULTIFD_FLUSH or HOOK. */
export interface RamMarkRecord extends RecordPlace {
  readonly kind: "ram-mark";
  /** The whole word, offset bits included. */
  readonly word: bigint;
  readonly flags: number;
}

/** Body of a FULL section. */
export interface DeviceRecord extends RecordPlace {
  readonly kind: "device";
  readonly sectionId: number;
  readonly idstr: string;
  readonly instanceId: number;
  readonly versionId: number;
  readonly body: Uint8Array;
  /** How its length was found: by the description, by scanning for the footer, or taken to the end. */
  readonly bounds: "description" | "footer" | "rest";
  /** True before the first PART of ram (early_setup devices). */
  readonly early: boolean;
}

/** A piece of the body of an iterable section other than ram. */
export interface SectionDataRecord extends RecordPlace {
  readonly kind: "section-data";
  readonly sectionId: number;
  readonly idstr: string;
  readonly type: SectionType;
  readonly data: Uint8Array;
}

/** A MIG_CMD. For PACKAGED the blob's records follow, with `packaged` in their place. */
export interface CommandRecord extends RecordPlace {
  readonly kind: "command";
  readonly command: number;
  readonly name: MigCommandName;
  readonly payload: Uint8Array;
}

/** End of the section list. */
export interface EofRecord extends RecordPlace {
  readonly kind: "eof";
}

/** The JSON behind the end. */
export interface VmdescriptionRecord extends RecordPlace {
  readonly kind: "vmdescription";
  readonly json: Uint8Array;
}

/** Bytes nobody claims: a gap before an aligned area, bytes after the end, a body whose bounds are unknown. */
export interface OpaqueRecord extends RecordPlace {
  readonly kind: "opaque";
  /** What it is taken for: "gap", "trailing bytes". */
  readonly what: string;
  /** Absent for long ones on channels that can seek. */
  readonly data?: Uint8Array;
}

/** Anything in a stream. */
export type StreamRecord =
  | HeaderRecord
  | ConfigurationRecord
  | SectionRecord
  | FooterRecord
  | RamTotalRecord
  | RamBlockRecord
  | MappedBitmapRecord
  | MappedPagesRecord
  | RamPagesRecord
  | RamMarkRecord
  | DeviceRecord
  | SectionDataRecord
  | CommandRecord
  | EofRecord
  | VmdescriptionRecord
  | OpaqueRecord;
