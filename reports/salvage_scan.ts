/**
 * Finding one's feet again in a damaged stream: places at which something can only be what it looks like.
 *
 *     start    01 id 03 "ram" 0 4                      the list of RAM blocks
 *     section  04 id name instance version             a device: known to the description, or of a plausible name
 *     part     02|03 id of ram, word of a record       a piece of ram
 *     iterable 01 id name instance version, 02|03 id   of anything else, where the footer of that id comes first
 *     record   word [name] payload, twice or more      pages of ram; one that names no block is of the last that did
 *
 * A word is a u64 of page offset and flags. Guest memory may hold any of this: the decoder judges what follows.
 * @module
 */
import type { ImageSection } from "../containers/image.ts";
import type { ByteSource } from "../stream/channel.ts";
import * as C from "../stream/constants.ts";
import type { ScanFind, ScanKnowledge } from "./salvage_place.ts";
import { FooterSearch } from "./salvage_iterable.ts";

const WINDOW = 4 << 20;
/** Longest thing that is looked at in one piece: a few records of the largest pages, with their names. */
const REACH = 4 * (65536 + 300);
/** Records in a row that are taken for records. */
const CHAIN = 3;
/** Records in a row that no guest has in a page. */
const MANY = 32;
/** Names devices have. */
const DEVICE_NAME = /^[\w@:.+/ -]{2,}$/;
/** Offsets in a block are below this: 1 TiB. */
const OFFSET_LIMIT = 2 ** 40;

/** A record of a page, as far as it matters here. */
interface PageRecord {
  /** In the window, behind it. */
  readonly end: number;
  /** Block it names; "" for none. */
  readonly name: string;
  /** Of the page in its block. */
  readonly offset: number;
}

/** Looks through a source for places; reads ahead in windows. */
export class Scan {
  readonly #source: ByteSource;
  readonly #end: number;
  readonly #window = new Uint8Array(WINDOW);
  readonly #view = new DataView(this.#window.buffer);
  #at = 0;
  #length = 0;
  readonly #footers: FooterSearch;

  /** @param source with `readAt` and `size` */
  constructor(source: ByteSource) {
    this.#source = source;
    this.#end = source.size!();
    this.#footers = new FooterSearch(source);
  }

  /**
   * The first place at or after `from`.
   * @param pause called now and then with the offset reached
   */
  async next(
    from: number,
    knowledge: ScanKnowledge,
    pause: (offset: number) => Promise<void> | undefined,
  ): Promise<ScanFind | undefined> {
    for (let at = from; at < this.#end;) {
      this.#at = at;
      this.#length = this.#source.readAt!(this.#window, at);
      if (this.#length <= 0) return undefined;
      const last = at + this.#length >= this.#end;
      const stop = last ? this.#length : this.#length - REACH;
      for (let i = 0; i < stop; i++) {
        const find = this.#look(i, knowledge);
        if (find) return find;
      }
      at += stop;
      const wait = pause(at);
      if (wait) await wait;
    }
    return undefined;
  }

  /**
   * Records that stand in the data of the last page and go on behind it: its own record was no page's, its flags are damaged.
   * @param end behind that data
   */
  swallowed(end: number, knowledge: ScanKnowledge): ScanFind | undefined {
    this.#at = Math.max(this.#source.start ?? 0, end - knowledge.pageSize);
    const inside = end - this.#at;
    this.#length = this.#source.readAt!(this.#window.subarray(0, inside + REACH), this.#at);
    for (let i = 0; i < inside && !knowledge.devicesOnly; i++) {
      const first = this.#window[i] === 0 ? this.#chain(i, knowledge) : undefined;
      if (!first) continue;
      let count = 0, at = i, before = -1;
      for (; at < inside; count++) {
        const record = this.#record(at, knowledge);
        if (!record || (record.name === "" && record.offset <= before)) break;
        before = record.offset;
        at = record.end;
      }
      const find = { offset: this.#at + i, kind: "record", pageOffset: first.offset } as const;
      if (at > inside || count >= MANY) return first.name ? { ...find, block: first.name } : find;
    }
    return undefined;
  }

  #look(i: number, knowledge: ScanKnowledge): ScanFind | undefined {
    const window = this.#window;
    const offset = this.#at + i;
    if (knowledge.recordsOnly && window[i] !== 0) return undefined;
    switch (window[i]) {
      case C.QEMU_VM_SECTION_FULL:
        return this.#isSection(i, knowledge) ? { offset, kind: "section" } : undefined;
      case C.QEMU_VM_SECTION_START:
        if (!knowledge.devicesOnly && this.#isStart(i)) return { offset, kind: "start" };
        return this.#iterableStart(i, knowledge);
      case C.QEMU_VM_SECTION_PART:
      case C.QEMU_VM_SECTION_END:
        if (!knowledge.devicesOnly && this.#isPart(i, knowledge)) return { offset, kind: "part" };
        return this.#iterablePart(i, knowledge);
      case 0: {
        // the upper three bytes of a word are zero: offsets are below OFFSET_LIMIT
        if (knowledge.devicesOnly || window[i + 1] !== 0 || window[i + 2] !== 0) return undefined;
        const first = this.#chain(i, knowledge);
        if (!first) return undefined;
        const { name, offset: pageOffset } = first;
        return { offset, kind: "record", pageOffset, ...(name ? { block: name } : {}) };
      }
    }
    return undefined;
  }

  #isStart(i: number): boolean {
    const window = this.#window;
    return i + 17 <= this.#length && window[i + 5] === 3 && this.#text(i + 6, 3) === "ram" &&
      this.#view.getUint32(i + 9) === 0 && this.#view.getUint32(i + 13) === C.RAM_SAVE_VERSION;
  }

  #isSection(i: number, { description }: ScanKnowledge): boolean {
    const window = this.#window;
    if (window[i + 1] !== 0 || window[i + 2] !== 0) return false; // ids are small
    const length = window[i + 5];
    if (length < 2 || i + 14 + length > this.#length) return false;
    const name = this.#text(i + 6, length);
    if (!DEVICE_NAME.test(name)) return false;
    const instance = this.#view.getUint32(i + 6 + length), version = this.#view.getUint32(i + 10 + length);
    if (!description) return version < 256;
    const device = description.device(name, instance);
    return device !== undefined && (device.oldStyle || device.version === version);
  }

  /** A START of anything but ram; whether it is one, its footer tells. */
  #iterableStart(i: number, knowledge: ScanKnowledge): ScanFind | undefined {
    const window = this.#window;
    const length = window[i + 5];
    if (window[i + 1] !== 0 || window[i + 2] !== 0 || length < 2 || i + 14 + length > this.#length) return undefined;
    const name = this.#text(i + 6, length);
    const instanceId = this.#view.getUint32(i + 6 + length), version = this.#view.getUint32(i + 10 + length);
    if (!DEVICE_NAME.test(name) || name === "ram" || version > 255) return undefined;
    return this.#iterable(i, 14 + length, "start", { name, instanceId, version }, knowledge);
  }

  #iterablePart(i: number, knowledge: ScanKnowledge): ScanFind | undefined {
    const { iterables } = knowledge;
    if (!iterables.size || i + 5 > this.#length) return undefined;
    const known = iterables.get(this.#view.getUint32(i + 1));
    return known && this.#iterable(i, 5, this.#window[i] === C.QEMU_VM_SECTION_END ? "end" : "part", known, knowledge);
  }

  #iterable(
    i: number,
    head: number,
    type: "start" | "part" | "end",
    known: Pick<ImageSection, "name" | "instanceId" | "version">,
    { ramId, iterables }: ScanKnowledge,
  ): ScanFind | undefined {
    const offset = this.#at + i, id = this.#view.getUint32(i + 1);
    const others = new Set(iterables.keys());
    if (ramId !== undefined) others.add(ramId);
    const footer = this.#footers.find(offset + head, id, others);
    if (footer === undefined) return undefined;
    const { name, instanceId, version } = known;
    const place = { headerOffset: offset, offset: offset + head, bytes: footer - offset - head };
    return { offset, kind: "iterable", section: { type, id, name, instanceId, version, ...place } };
  }

  #isPart(i: number, knowledge: ScanKnowledge): boolean {
    if (knowledge.ramId === undefined || i + 13 > this.#length) return false;
    if (this.#view.getUint32(i + 1) !== knowledge.ramId) return false;
    return this.#isEos(i + 5) || this.#record(i + 5, knowledge) !== undefined;
  }

  #isEos(i: number): boolean {
    return this.#view.getUint32(i) === 0 && this.#view.getUint32(i + 4) === C.RAM_SAVE_FLAG_EOS;
  }

  /** Records one after another. @returns the first; undefined where there are none */
  #chain(i: number, knowledge: ScanKnowledge): PageRecord | undefined {
    const first = this.#record(i, knowledge);
    if (!first) return undefined;
    let at = first.end;
    for (let n = 1; n < CHAIN; n++) {
      if (at + 8 > this.#length) return undefined;
      if (this.#isEos(at)) return n > 1 || this.#window[at + 8] === C.QEMU_VM_SECTION_FOOTER ? first : undefined;
      const record = this.#record(at, knowledge);
      // pages of one pass come in order
      if (!record || (record.name === "" && record.offset <= first.offset)) return undefined;
      at = record.end;
    }
    return first;
  }

  #record(i: number, { pageSize, blocks, allBlocks }: ScanKnowledge): PageRecord | undefined {
    if (i + 9 > this.#length) return undefined;
    const window = this.#window;
    const low = this.#view.getUint32(i + 4);
    const flags = low & (pageSize - 1);
    const kind = flags & ~C.RAM_SAVE_FLAG_CONTINUE;
    if (kind !== C.RAM_SAVE_FLAG_PAGE && kind !== C.RAM_SAVE_FLAG_ZERO && kind !== C.RAM_SAVE_FLAG_XBZRLE) {
      return undefined;
    }
    const offset = this.#view.getUint32(i) * 0x100000000 + (low - flags);
    if (offset >= OFFSET_LIMIT) return undefined;
    let at = i + 8;
    let name = "";
    if (!(flags & C.RAM_SAVE_FLAG_CONTINUE)) {
      const length = window[at];
      if (length === 0 || at + 1 + length > this.#length) return undefined;
      name = this.#text(at + 1, length);
      const used = blocks.get(name);
      if (used === undefined ? allBlocks || !DEVICE_NAME.test(name) : offset >= used) return undefined;
      at += 1 + length;
    }
    if (kind === C.RAM_SAVE_FLAG_ZERO) {
      return at < this.#length && window[at] === 0 ? { end: at + 1, name, offset } : undefined;
    }
    if (kind === C.RAM_SAVE_FLAG_PAGE) {
      return at + pageSize <= this.#length ? { end: at + pageSize, name, offset } : undefined;
    }
    if (at + 3 > this.#length || window[at] !== 1) return undefined;
    const size = window[at + 1] << 8 | window[at + 2];
    return size <= pageSize && at + 3 + size <= this.#length ? { end: at + 3 + size, name, offset } : undefined;
  }

  #text(i: number, length: number): string {
    let text = "";
    for (let k = 0; k < length; k++) text += String.fromCharCode(this.#window[i + k]);
    return text;
  }
}
