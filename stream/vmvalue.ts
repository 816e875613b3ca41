/**
 * Values of device fields: the tree a walk gives, how single values are encoded, and the plain view of the tree.
 *
 *     bool            u8, 0 is false                 nullptr     "0", a NULL in an array of pointers
 *     int8 .. int64   two's complement               capability  u8 n, n bytes of text
 *     uint8 .. uint64                                timer       i64, expiry in ns, -1 when not armed
 *     "int32 le"      i32; le is "less or equal"     CPU_Double_U  u64, the bits of a double
 *     "X equal"       X; must equal the receiver's   any other    `size` bytes, as they are
 *
 * Big-endian. Source: QEMU migration/vmstate-types.c, migration/savevm.c (vmstate_info_capability, vmstate_info_timer).
 * @module
 */

/** A single value. 64-bit fields are bigint; bytes are borrowed from the body. */
export type VmValue = number | bigint | boolean | string | null | Uint8Array;

/** A field that holds one value. */
export interface VmLeaf {
  /** Tells nodes apart. */
  readonly kind: "leaf";
  /** Field name of the description; in an array the element's number. */
  readonly name: string;
  /** VMStateInfo's name. */
  readonly type: string;
  /** In the section's body, in bytes. */
  readonly offset: number;
  /** Bytes on the wire. */
  readonly length: number;
  /** Decoded; bytes where the type is opaque. */
  readonly value: VmValue;
}

/** Bytes between fields: a subsection's head, the 01 before and the 00 after list elements, a gtree's count. */
export interface VmFraming {
  /** Tells nodes apart. */
  readonly kind: "framing";
  /** "marker", "name", "version", "more", "end", "count". */
  readonly name: string;
  /** "uint8", "str8", "uint32". */
  readonly type: string;
  /** In the section's body, in bytes. */
  readonly offset: number;
  /** Bytes on the wire. */
  readonly length: number;
  /** What stands there; a str8 without its length byte. */
  readonly value: number | string;
}

/**
 * What holds further nodes: "struct" (struct, vstruct, tmp: one child per field), "array" (also qtailq, qlist:
 * children are the elements, named "0", "1", ...), "tree" (gtree: structs of "key" and "value") or "subsection".
 */
export interface VmBranch {
  /** What the children are. */
  readonly kind: "struct" | "array" | "tree" | "subsection";
  /** Field name, element number, or a subsection's `vmsd_name`. */
  readonly name: string;
  /** The description's type; "subsection" for one. */
  readonly type: string;
  /** In the section's body, in bytes. */
  readonly offset: number;
  /** Set when its last byte is known. */
  length: number;
  /** vmsd of a struct or subsection. */
  readonly vmsdName?: string;
  /** Version of that vmsd. */
  readonly version?: number;
  /** In wire order. */
  readonly children: VmNode[];
}

/** A node of the tree. */
export type VmNode = VmLeaf | VmFraming | VmBranch;

/** A value as `inspect --json` shows it. */
export type PlainValue = number | boolean | string | null | PlainValue[] | PlainFields;
/** Fields by name. */
export interface PlainFields {
  /** In wire order. */
  [name: string]: PlainValue;
}

type Kind = "bool" | "signed" | "unsigned" | "null" | "text";

const KINDS: ReadonlyMap<string, Kind> = new Map<string, Kind>([
  ["bool", "bool"],
  ...["int8", "int16", "int32", "int64", "int32 equal", "int32 le", "timer"]
    .map((type): [string, Kind] => [type, "signed"]),
  // "int64 equal" is unsigned in spite of its name (vmstate_info_uint64_equal).
  ...["uint8", "uint16", "uint32", "uint64", "uint8 equal", "uint16 equal", "uint32 equal", "int64 equal"]
    .map((type): [string, Kind] => [type, "unsigned"]),
  ...["CPU_Double_U", "int32_as_uint16", "uint16_from_uint8"].map((type): [string, Kind] => [type, "unsigned"]),
  ["nullptr", "null"],
  ["capability", "text"],
]);

/** Whether a value of this type says itself how long it is, so that elements of an array may differ. */
export function isSelfDelimiting(type: string): boolean {
  return type === "capability";
}

/**
 * Decode the bytes of one value.
 *
 * @param at   where it begins in `view`
 * @param size its bytes; all of them are there
 * @returns    bytes where the type is opaque, or has a size no number of that type has
 */
export function decodeValue(type: string, view: DataView, at: number, size: number): VmValue {
  switch (KINDS.get(type)) {
    case "bool":
      if (size === 1) return view.getUint8(at) !== 0;
      break;
    case "signed":
      if (size === 1) return view.getInt8(at);
      if (size === 2) return view.getInt16(at);
      if (size === 4) return view.getInt32(at);
      if (size === 8) return view.getBigInt64(at);
      break;
    case "unsigned":
      if (size === 1) return view.getUint8(at);
      if (size === 2) return view.getUint16(at);
      if (size === 4) return view.getUint32(at);
      if (size === 8) return view.getBigUint64(at);
      break;
    case "null":
      if (size === 1) return null;
      break;
    case "text":
      return latin1(view, at + 1, size - 1);
  }
  return new Uint8Array(view.buffer, view.byteOffset + at, size);
}

/** Bytes as text, one character each. */
export function latin1(view: DataView, at: number, length: number): string {
  let text = "";
  for (let i = 0; i < length; i++) text += String.fromCharCode(view.getUint8(at + i));
  return text;
}

/**
 * The tree as plain values: structs as objects, arrays and lists as arrays, subsections under their own name, a gtree as
 * an array of `{key, value}`. 64-bit values are numbers where they are safe integers, else decimal strings;
 * every kind of bytes (buffer, bitmap, pci config, virtio, unknown types) is hex in wire order; NULL is null.
 * A bitmap's hex is therefore its big-endian u64 words: bit i is bit i % 64 of word i / 64.
 */
export function plainFields(nodes: readonly VmNode[]): PlainFields {
  const fields: PlainFields = {};
  for (const node of nodes) {
    if (node.kind === "framing") continue;
    // A hostile description may name a field "__proto__": define it, never assign.
    Object.defineProperty(fields, node.name, {
      value: plainValue(node),
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }
  return fields;
}

function plainValue(node: VmLeaf | VmBranch): PlainValue {
  if (node.kind === "leaf") return plainLeaf(node.value);
  if (node.kind === "struct" || node.kind === "subsection") return plainFields(node.children);
  const values: PlainValue[] = [];
  for (const child of node.children) if (child.kind !== "framing") values.push(plainValue(child));
  return values;
}

function plainLeaf(value: VmValue): PlainValue {
  if (typeof value === "bigint") {
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value.toString();
  }
  return value instanceof Uint8Array ? value.toHex() : value;
}

/** A leaf and where it stands: `env.segs[2].base`, `cpu/msr.env.x`. */
export interface VmLeafAt {
  /** Names joined with ".", elements as "[n]". */
  readonly path: string;
  /** The node itself. */
  readonly leaf: VmLeaf | VmFraming;
}

/** Every leaf of a tree with its path, in wire order; framing too, where the walk kept it. */
export function* vmLeaves(nodes: readonly VmNode[], prefix = ""): Generator<VmLeafAt> {
  for (const node of nodes) {
    const path = prefix === "" ? node.name : `${prefix}.${node.name}`;
    if (node.kind === "leaf" || node.kind === "framing") yield { path, leaf: node };
    else if (node.kind === "struct" || node.kind === "subsection") yield* vmLeaves(node.children, path);
    else yield* elementLeaves(node, path);
  }
}

function* elementLeaves(branch: VmBranch, path: string): Generator<VmLeafAt> {
  for (const child of branch.children) {
    const at = child.kind === "framing" ? `${path}.${child.name}` : `${path}[${child.name}]`;
    if (child.kind === "leaf" || child.kind === "framing") yield { path: at, leaf: child };
    else if (child.kind === "struct" || child.kind === "subsection") yield* vmLeaves(child.children, at);
    else yield* elementLeaves(child, at);
  }
}
