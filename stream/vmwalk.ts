/**
 * The walk behind {@link walkDevice} and {@link measureDevice}: a description's fields, one after another, over bytes.
 *
 * Bytes and description are both hostile: every length is checked against what is left before it is used, and
 * steps are counted, because elements of no bytes cost nothing on the wire.
 * Source: QEMU migration/vmstate.c (vmstate_load_state, vmstate_subsection_load), migration/vmstate-types.c
 * (get_tmp, get_qtailq, get_gtree, get_qlist, get_nullptr).
 * @module
 */
import { QEMU_VM_SUBSECTION } from "./constants.ts";
import { StreamError, TruncatedStreamError } from "./errors.ts";
import { type FieldGroup, groupFields } from "./vmarray.ts";
import type { FieldDescription, Vmsd } from "./vmdesc.ts";
import { decodeValue, isSelfDelimiting, latin1 } from "./vmvalue.ts";
import type { VmBranch, VmNode } from "./vmvalue.ts";

/** `VMS_NULLPTR_MARKER` (include/migration/vmstate.h). */
const VMS_NULLPTR_MARKER = 0x30;

/** Where a body lies, for errors. */
export interface VmOrigin {
  /** Default "device". */
  readonly channel?: string;
  /** Offset in the channel of the body's first byte. Default 0: errors then count from the body's start. */
  readonly offset?: number;
}

/** A cursor over one body. With a place to put nodes it builds a tree, without one it only counts. */
export class Walker {
  pos: number;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #begin: number;
  readonly #limit: number;
  readonly #origin: VmOrigin;
  #budget: number;
  #framing = false;
  /** False inside elements that the description shows only by their first sibling: sizes may differ there. */
  #exact = true;
  /** The vmsds and fields being read, outermost first. */
  readonly #vmsds: string[] = [];
  readonly #names: string[] = [];

  constructor(bytes: Uint8Array, at: number, limit: number, origin: VmOrigin, budget: number) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.pos = this.#begin = at;
    this.#limit = limit;
    this.#origin = origin;
    this.#budget = budget;
  }

  /** Read what a vmsd wrote. Without `out` nothing is built. */
  vmsd(vmsd: Vmsd, out?: VmNode[], framing?: boolean): void {
    if (framing !== undefined) this.#framing = framing;
    const depth = this.#vmsds.push(vmsd.vmsdName);
    this.#names.push("");
    for (const group of groupFields(vmsd.fields)) {
      this.#names[depth - 1] = group.name;
      this.#group(group, out);
    }
    for (const subsection of vmsd.subsections) {
      this.#names[depth - 1] = subsection.vmsdName;
      this.#subsection(subsection, vmsd, out);
    }
    this.#noMoreSubsections(vmsd);
    this.#vmsds.pop();
    this.#names.pop();
  }

  #group(group: FieldGroup, out?: VmNode[]): void {
    if (!group.isArray) {
      this.#element(group.runs[0].field, group.name, out);
      return;
    }
    const branch = out && this.#open("array", group.name, group.runs[0].field.type, out);
    let index = 0;
    for (const { field, count } of group.runs) {
      if (!branch && this.#passAlike(field, count)) continue;
      const exact = this.#exact;
      for (let i = 0; i < count; i++) {
        const before = this.pos;
        this.#exact = exact && i === 0;
        this.#element(field, branch ? String(index++) : "", branch?.children);
        if (!branch && i === 0 && this.pos === before) break; // empty elements: the rest are, too
      }
      this.#exact = exact;
    }
    if (branch) this.#close(branch);
  }

  /** Step over a run of elements of one fixed size at once, where there is nothing to check in them. */
  #passAlike(field: FieldDescription, count: number): boolean {
    if (field.struct || field.inline.length > 0 || isSelfDelimiting(field.type)) return false;
    if (field.type === "nullptr" || isList(field.type)) return false;
    this.#step();
    this.#need(field.size * count);
    this.pos += field.size * count;
    return true;
  }

  #element(field: FieldDescription, name: string, out?: VmNode[]): void {
    this.#step();
    const begin = this.pos;
    if (field.type === "struct" || ((field.type === "vstruct" || field.type === "tmp") && field.inline.length > 0)) {
      this.#struct(field.struct ?? field.inline[0], field.type, name, out);
    } else if (field.type === "qtailq" || field.type === "qlist") {
      this.#list(field, name, out);
    } else if (field.type === "gtree") {
      this.#tree(field, name, out);
    } else if (field.type === "pci irq state" && out) {
      this.#irqState(field, name, out);
    } else {
      this.#leaf(field, name, out);
    }
    if (this.#exact && this.pos - begin !== field.size) {
      this.#fail(begin, `${this.pos - begin} bytes`, `${field.size} by the description`);
    }
  }

  #struct(vmsd: Vmsd, type: string, name: string, out?: VmNode[]): void {
    const branch = out && this.#open("struct", name, type, out, vmsd);
    this.vmsd(vmsd, branch?.children);
    if (branch) this.#close(branch);
  }

  #leaf(field: FieldDescription, name: string, out?: VmNode[]): void {
    const offset = this.pos;
    let length = field.size;
    if (isSelfDelimiting(field.type)) {
      this.#need(1);
      length = 1 + this.#bytes[offset];
    }
    this.#need(length);
    if (field.type === "nullptr" && this.#bytes[offset] !== VMS_NULLPTR_MARKER) {
      this.#fail(offset, `0x${this.#bytes[offset].toString(16)}`, 'a NULL pointer, "0"', [
        "vmstate: get_nullptr expected VMS_NULLPTR_MARKER",
      ]);
    }
    this.pos += length;
    if (out) {
      const value = decodeValue(field.type, this.#view, offset, length);
      out.push({ kind: "leaf", name, type: field.type, offset: offset - this.#begin, length, value });
    }
  }

  /** The four INTx lines, each be32 0 or 1 (hw/pci/pci.c get_pci_irq_state). */
  #irqState(field: FieldDescription, name: string, out: VmNode[]): void {
    const branch = this.#open("array", name, field.type, out);
    for (let index = 0; index < field.size >> 2; index++) {
      this.#need(4);
      const value = this.#view.getUint32(this.pos);
      if (value > 1) {
        this.#fail(this.pos, `${value}`, "0 or 1", [`irq state ${value | 0}: must be 0 or 1.`]);
      }
      const offset = this.pos - this.#begin;
      branch.children.push({ kind: "leaf", name: String(index), type: "uint32", offset, length: 4, value });
      this.pos += 4;
    }
    this.#close(branch);
  }

  /** qtailq, qlist: each element has a description of its own; where this is a later sibling's, the last serves on. */
  #list(field: FieldDescription, name: string, out?: VmNode[]): void {
    const branch = out && this.#open("array", name, field.type, out);
    for (let index = 0; this.#more(branch?.children); index++) {
      this.#step();
      const vmsd = field.inline[Math.min(index, field.inline.length - 1)];
      if (!vmsd) this.#fail(this.pos - 1, "an element", "none by the description");
      this.#struct(vmsd, "struct", branch ? String(index) : "", branch?.children);
    }
    if (branch) this.#close(branch);
  }

  /** gtree: descriptions of key and value alternate; a "direct" key has none and is a be64. */
  #tree(field: FieldDescription, name: string, out?: VmNode[]): void {
    const branch = out && this.#open("tree", name, field.type, out);
    const copies = field.inline;
    const countAt = this.pos;
    const count = this.#u32("count", branch?.children);
    const keyed = copies.length === count * 2 ||
      (copies.length !== count && copies.length > 1 && copies[0].vmsdName !== copies[1].vmsdName);
    let index = 0;
    for (; this.#more(branch?.children); index++) {
      this.#step();
      const at = Math.min(index * (keyed ? 2 : 1), copies.length - (keyed ? 2 : 1));
      if (at < 0) this.#fail(this.pos - 1, "a node", "none by the description");
      const node = branch && this.#open("struct", String(index), "struct", branch.children);
      if (keyed) this.#struct(copies[at], "struct", "key", node?.children);
      else this.#directKey(node?.children);
      this.#struct(copies[at + (keyed ? 1 : 0)], "struct", "value", node?.children);
      if (node) this.#close(node);
    }
    if (index !== count) {
      this.#fail(countAt, `a count of ${count}`, `${index}`, [`${name} inconsistent stream when loading the gtree`]);
    }
    if (branch) this.#close(branch);
  }

  #directKey(out?: VmNode[]): void {
    this.#need(8);
    const offset = this.pos - this.#begin;
    const value = this.#view.getBigUint64(this.pos);
    out?.push({ kind: "leaf", name: "key", type: "uint64", offset, length: 8, value });
    this.pos += 8;
  }

  /** The byte before an element, or the one after the last. QEMU takes any value but 0 for "more". */
  #more(out?: VmNode[]): boolean {
    this.#need(1);
    const value = this.#bytes[this.pos];
    this.#frame(value ? "more" : "end", "uint8", 1, value, out);
    this.pos++;
    return value !== 0;
  }

  #u32(name: string, out?: VmNode[]): number {
    this.#need(4);
    const value = this.#view.getUint32(this.pos);
    this.#frame(name, "uint32", 4, value, out);
    this.pos += 4;
    return value;
  }

  #subsection(vmsd: Vmsd, parent: Vmsd, out?: VmNode[]): void {
    this.#step();
    const begin = this.pos;
    const branch = out && this.#open("subsection", vmsd.vmsdName, "subsection", out, vmsd);
    const children = branch?.children;
    this.#need(1);
    if (this.#bytes[begin] !== QEMU_VM_SUBSECTION) {
      this.#fail(begin, `0x${this.#bytes[begin].toString(16)}`, `subsection "${vmsd.vmsdName}"`);
    }
    this.#frame("marker", "uint8", 1, QEMU_VM_SUBSECTION, children);
    this.pos++;
    this.#need(1);
    const length = this.#bytes[this.pos];
    this.#need(1 + length);
    const name = latin1(this.#view, this.pos + 1, length);
    if (name !== vmsd.vmsdName) {
      const known = name.length > parent.vmsdName.length && name.startsWith(parent.vmsdName);
      const reason = known ? "No such file or directory" : undefined;
      this.#fail(begin, `subsection ${JSON.stringify(name)}`, JSON.stringify(vmsd.vmsdName), undefined, reason);
    }
    this.#frame("name", "str8", 1 + length, name, children);
    this.pos += 1 + length;
    const versionAt = this.pos;
    const version = this.#u32("version", children);
    if (version !== vmsd.version) {
      this.#fail(versionAt, `version ${version} of "${name}"`, `${vmsd.version} by the description`);
    }
    this.vmsd(vmsd, children);
    if (branch) this.#close(branch);
  }

  /** QEMU would go on with a subsection here; the description has none left. */
  #noMoreSubsections(vmsd: Vmsd): void {
    const { pos } = this;
    if (pos + 2 > this.#limit || this.#bytes[pos] !== QEMU_VM_SUBSECTION) return;
    const length = this.#bytes[pos + 1];
    if (length <= vmsd.vmsdName.length || pos + 2 + length > this.#limit || vmsd.vmsdName === "") return;
    for (let i = 0; i < vmsd.vmsdName.length; i++) {
      if (this.#bytes[pos + 2 + i] !== vmsd.vmsdName.charCodeAt(i)) return;
    }
    const found = `subsection ${JSON.stringify(latin1(this.#view, pos + 2, length))}`;
    this.#fail(pos, found, "no further one by the description", undefined, "No such file or directory");
  }

  #frame(name: string, type: string, length: number, value: number | string, out?: VmNode[]): void {
    if (!out || !this.#framing) return;
    this.#step();
    out.push({ kind: "framing", name, type, offset: this.pos - this.#begin, length, value });
  }

  #open(kind: VmBranch["kind"], name: string, type: string, out: VmNode[], vmsd?: Vmsd): VmBranch {
    this.#step();
    const about = vmsd ? { vmsdName: vmsd.vmsdName, version: vmsd.version } : {};
    const branch: VmBranch = { kind, name, type, offset: this.pos - this.#begin, length: 0, ...about, children: [] };
    out.push(branch);
    return branch;
  }

  #close(branch: VmBranch): void {
    branch.length = this.pos - this.#begin - branch.offset;
  }

  #step(): void {
    if (--this.#budget < 0) this.#fail(this.pos, "more values than a device has", "a plausible description");
  }

  #need(length: number): void {
    if (this.pos + length <= this.#limit) return;
    throw new TruncatedStreamError(this.#action(), {
      channel: this.#origin.channel ?? "device",
      offset: this.#offset(this.pos),
      found: `${this.#limit - this.pos} bytes before the end`,
      expected: `${length}`,
      qemu: this.#failedToLoad(),
    });
  }

  #fail(at: number, found: string, expected: string, qemu: readonly string[] = [], reason?: string): never {
    throw new StreamError(this.#action(), {
      channel: this.#origin.channel ?? "device",
      offset: this.#offset(at),
      found,
      expected,
      qemu: qemu.length > 0 ? [...qemu, ...this.#failedToLoad()] : [],
      ...(reason ? { reason } : {}),
    });
  }

  #action(): string {
    return `Cannot decode ${this.#vmsds[0] ?? "device"} ${this.#names.join(".")}`;
  }

  #offset(at: number): number {
    return (this.#origin.offset ?? 0) + at - this.#begin;
  }

  /** What QEMU prints on its way out, innermost first. Its names are without the `[k]` of repeated ones. */
  #failedToLoad(): string[] {
    return this.#names.map((name, depth) => `Failed to load ${this.#vmsds[depth]}:${name.replace(/\[\d+\]$/, "")}`)
      .reverse();
  }
}

function isList(type: string): boolean {
  return type === "qtailq" || type === "qlist" || type === "gtree";
}
