/**
 * What one pass over a stream found: the value, without how it came about (stream_index.ts).
 * @module
 */
import type { MigCommandName } from "../stream/constants.ts";
import type { StreamError } from "../stream/errors.ts";
import type { ConfigurationRecord, DeviceRecord, RamBlockEntry, SectionType } from "../stream/records.ts";
import type { VmDescription } from "../stream/vmdesc.ts";
import type { DeltaList, PageIndex } from "./page_index.ts";
import type { RamPass } from "./ram_passes.ts";

/** A doubt about the stream. */
export interface ImageWarning {
  /** One sentence. */
  readonly text: string;
  /** In the file, where it has a place. */
  readonly offset?: number;
}

/** A section as it stands in the stream. */
export interface ImageSection {
  /** "start", "part", "end" or "full". */
  readonly type: SectionType;
  /** Section id. */
  readonly id: number;
  /** idstr. */
  readonly name: string;
  /** Tells sections of one name apart. */
  readonly instanceId: number;
  /** Version of its layout. */
  readonly version: number;
  /** Of the section's type byte, in the file. */
  readonly headerOffset: number;
  /** Of the body, in the file. */
  readonly offset: number;
  /** Bytes of the body, without the footer. */
  bytes: number;
}

/** A command of the main channel. */
export interface ImageCommand {
  /** QEMU's name: "SWITCHOVER_START". */
  readonly name: MigCommandName;
  /** Of the command's type byte, in the file. */
  readonly offset: number;
  /** Bytes of the payload, 5 bytes behind `offset`; of PACKAGED the blob follows. */
  readonly bytes: number;
}

/** A device body found in the stream. */
export interface IndexedDevice {
  readonly section: ImageSection;
  readonly early: boolean;
  readonly bounds: DeviceRecord["bounds"];
  /** A copy, where the source cannot be read again. */
  readonly body?: Uint8Array;
}

/** A block of the list and what is known of its pages. */
export interface IndexedBlock {
  readonly entry: RamBlockEntry;
  /** Bytes of a target page. */
  readonly pageSize: number;
  /** Pages in the stream; for mapped-ram empty. */
  readonly pages: PageIndex;
  /** mapped-ram: bit i (LSB first) is page i; undefined when the file ends before. */
  bitmap?: Uint8Array;
}

/** What one pass found. */
export interface StreamIndex {
  readonly version: number;
  readonly configuration?: ConfigurationRecord;
  readonly description?: VmDescription;
  readonly sections: readonly ImageSection[];
  readonly devices: readonly IndexedDevice[];
  /** In stream order. */
  readonly commands: readonly ImageCommand[];
  /** Sections end in footers. */
  readonly footers: boolean;
  /** Sections beyond the limits of the list. */
  readonly unlisted: number;
  readonly blocks: readonly IndexedBlock[];
  readonly deltas: DeltaList;
  /** Passes of the source over RAM; none of mapped-ram. */
  readonly passes: readonly RamPass[];
  readonly warnings: readonly ImageWarning[];
  /** The bytes break a rule there; nothing after it was read. */
  readonly fault?: StreamError;
  /** The end mark was seen and nothing was wrong up to the last byte. */
  readonly complete: boolean;
  readonly ramFormat: "stream" | "mapped-ram" | "multifd" | null;
  /** Pages of multifd channels are among those placed. */
  readonly furtherChannels: boolean;
  readonly pageSize: number;
  /** Offset behind the last byte that was understood. */
  readonly end: number;
  /** The last page record: those behind it that name no block are of the same. */
  readonly lastPage?: { readonly block: string; readonly pageOffset: number };
}
