/**
 * What `explain` notes of RAM while it goes through a main channel: which blocks there are, and where pages may be that no
 * record of it holds.
 * @module
 */
import { wentBeside } from "../containers/index_judge.ts";
import * as C from "../stream/constants.ts";
import type { StreamDecoder } from "../stream/decode.ts";
import type { RamPagesRecord, StreamRecord } from "../stream/records.ts";

/** What a pass over all of a guest saw of its RAM: why a page may have no line. */
export interface ExplainedRam {
  /** The list of blocks; absent where the file is a further channel, which has none. */
  readonly blocks?: readonly { readonly id: string; readonly bytes: number }[];
  /** Where pages are that have no line; "nowhere": nobody sent them, they count as zero. */
  readonly others: "nowhere" | "multifd" | "postcopy-preempt" | "x-ignore-shared";
}

/** Takes notes. */
export class RamPass {
  /** The list of blocks was read to its end. */
  listed = false;
  #machine: string | undefined;
  #flush = false;
  #ramEnd = false;
  #discarded = false;
  #pageRecords = 0;
  #dataPages = 0;

  take(record: StreamRecord): void {
    switch (record.kind) {
      case "configuration":
        this.#machine = record.machine;
        return;
      case "section":
        if (record.idstr === "ram" && record.type === "end") this.#ramEnd = true;
        return;
      case "command":
        if (record.name === "POSTCOPY_RAM_DISCARD") this.#discarded = true;
        return;
      case "ram-mark":
        this.listed = true;
        if (record.flags & C.RAM_SAVE_FLAG_MULTIFD_FLUSH) this.#flush = true;
        return;
      case "ram-pages":
        this.listed = true;
        return this.#pages(record);
    }
  }

  #pages({ count, flags }: RamPagesRecord): void {
    this.#pageRecords += count;
    for (let i = 0; i < count; i++) if (!(flags[i] & C.RAM_SAVE_FLAG_ZERO)) this.#dataPages++;
  }

  /** At the end of the main channel. */
  seen({ ram, eofSeen }: StreamDecoder): ExplainedRam {
    const { blocks, framing } = ram;
    const judged = {
      framing,
      machine: this.#machine,
      flush: this.#flush,
      ramEnd: this.#ramEnd,
      dataPages: this.#dataPages,
      pageRecords: this.#pageRecords,
    };
    const others = framing.mappedRam
      ? "nowhere"
      : wentBeside(judged)
      ? "multifd"
      : framing.ignoreShared
      ? "x-ignore-shared"
      : this.#discarded && eofSeen
      ? "postcopy-preempt"
      : "nowhere";
    return { blocks: blocks.map(({ idstr, usedLength }) => ({ id: idstr, bytes: usedLength })), others };
  }
}
