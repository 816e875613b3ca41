/**
 * Iterable sections other than ram, as bytes: START, PARTs and END of one name, end to end.
 *
 *     START  01 id name instance version body 7e id        PART, END  02|03 id body 7e id
 *
 * Where the decoder knows how they end they are as it has them; elsewhere they end at the footer, which repeats the id and has
 * the type of a section behind it.
 * @module
 */
import * as fs from "node:fs";
import { Buffer } from "node:buffer";
import type { ImageSection } from "../containers/image.ts";
import type { ByteSource } from "../stream/channel.ts";
import * as C from "../stream/constants.ts";
import type { Pieces } from "./salvage_pieces.ts";
import type { SalvageTarget } from "./salvage_ram.ts";

/** Bytes read at once. */
const STEP = 1 << 20;
/** A body is not looked through further for its footer. */
const BODY_LIMIT = 64 << 20;
/** All that is looked through for footers of what may be no section. */
const SEARCH_LIMIT = 1 << 30;
/** Types of what can stand behind a footer. */
const NEXT_TYPES: ReadonlySet<number> = new Set([
  C.QEMU_VM_EOF,
  C.QEMU_VM_SECTION_START,
  C.QEMU_VM_SECTION_PART,
  C.QEMU_VM_SECTION_END,
  C.QEMU_VM_SECTION_FULL,
  C.QEMU_VM_COMMAND,
]);

/** What was recovered of an iterable. */
export interface SalvagedIterable {
  /** idstr. */
  readonly name: string;
  /** Tells sections of one name apart. */
  readonly instanceId: number;
  /** Version of its layout. */
  readonly version: number;
  /** Of all bodies. */
  readonly bytes: number;
  /** The bodies end to end, in the directory. */
  readonly file: string;
  /** START and END are there; parts between them may be missing. */
  readonly ended: boolean;
  /** Where each body stands in the input, in order. */
  readonly sections: readonly { readonly type: string; readonly offset: number; readonly bytes: number }[];
}

/** Finds footers; gives up when it has looked through too much. */
export class FooterSearch {
  #left = SEARCH_LIMIT;
  #window: Buffer | undefined;

  constructor(readonly source: ByteSource) {}

  /**
   * Where the footer of a section stands.
   * @param from   where its body begins
   * @param others ids of sections that end before it if it is none: their footers are not in its body
   * @returns undefined when there is none near enough
   */
  find(from: number, id: number, others: ReadonlySet<number>): number | undefined {
    const window = this.#window ??= Buffer.alloc(STEP);
    for (let at = from; at < from + BODY_LIMIT && this.#left > 0; at += STEP - 5) {
      const length = this.source.readAt!(window, at);
      this.#left -= length;
      const seen = window.subarray(0, length);
      for (let i = seen.indexOf(C.QEMU_VM_SECTION_FOOTER); i >= 0; i = seen.indexOf(C.QEMU_VM_SECTION_FOOTER, i + 1)) {
        if (i + 5 > length) break;
        const found = seen.readUInt32BE(i + 1);
        if (found !== id && !others.has(found)) continue;
        const last = i + 5 === length;
        if (last ? at + length < this.source.size!() : !NEXT_TYPES.has(seen[i + 5])) continue;
        return found === id ? at + i : undefined;
      }
      if (length < STEP) return undefined;
    }
    return undefined;
  }
}

/** Sections of iterables in all pieces and between them, in file order. */
function iterableSections({ pieces, iterables }: Pieces, search: FooterSearch): ImageSection[] {
  const found = new Map<number, ImageSection>();
  const ids = new Set(pieces.flatMap(({ index }) => index.sections).map(({ id }) => id));
  for (const { index, offset } of pieces) {
    const devices = new Set(index.devices.map(({ section }) => section.offset));
    for (const section of index.sections) {
      if (section.name === "ram" || section.headerOffset < offset || devices.has(section.offset)) continue;
      if (section.type === "full") continue;
      const broken = index.fault !== undefined && section === index.sections.at(-1);
      const footer = broken && index.footers !== false ? search.find(section.offset, section.id, ids) : undefined;
      found.set(section.offset, footer === undefined ? section : { ...section, bytes: footer - section.offset });
    }
  }
  for (const section of iterables) if (!found.has(section.offset)) found.set(section.offset, section);
  return [...found.values()].sort((a, b) => a.offset - b.offset);
}

/** Write the bodies of each iterable into one file. */
export function salvageIterables(source: ByteSource, pieces: Pieces, target: () => SalvageTarget): SalvagedIterable[] {
  const byName = Map.groupBy(
    iterableSections(pieces, new FooterSearch(source)),
    ({ name, instanceId }) => `${instanceId} ${name}`,
  );
  return [...byName.values()].map((sections) => {
    const { name, instanceId, version } = sections[0];
    const { fileFor, pathOf } = target();
    const file = fileFor(`${name}.${instanceId}.bin`);
    const fd = fs.openSync(pathOf(file), "wx", 0o600);
    let bytes = 0;
    try {
      for (const section of sections) bytes += copy(source, section.offset, section.bytes, fd);
    } finally {
      fs.closeSync(fd);
    }
    const has = (type: string) => sections.some((section) => section.type === type);
    return {
      name,
      instanceId,
      version,
      bytes,
      file,
      ended: has("start") && has("end"),
      sections: sections.map(({ type, offset, bytes }) => ({ type, offset, bytes })),
    };
  });
}

function copy(source: ByteSource, offset: number, length: number, fd: number): number {
  const buffer = new Uint8Array(Math.min(STEP, length));
  let done = 0;
  while (done < length) {
    const got = source.readAt!(buffer.subarray(0, Math.min(STEP, length - done)), offset + done);
    if (got <= 0) break;
    for (let put = 0; put < got;) put += fs.writeSync(fd, buffer, put, got - put);
    done += got;
  }
  return done;
}
