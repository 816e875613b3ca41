/**
 * The fields of a device with their meaning, as a tree: what a walk found, in the words of those who know such devices.
 * @module
 */
import { type VmBranch, type VmLeaf, vmLeaves, type VmNode, type VmValue } from "../../stream/vmvalue.ts";
import { type DeviceView, hexText, type Meaning, type Part, type SymbolRule } from "./rule.ts";
import { RULES } from "./table.ts";

/** Rules that know structs and arrays. */
const WHOLE = RULES.filter(({ whole }) => whole);
/** Bytes shown of a value that is bytes. */
const BYTES_SHOWN = 32;

/** A field, or what it consists of. */
export interface DescribedField {
  /** As the description calls it; an element's number. */
  readonly name: string;
  /** What it is called otherwise: "RAX". */
  readonly symbol?: string;
  /** The value as people read it: "0x46", "1.5 s", "true". */
  readonly text?: string;
  /** What the value says: "PF ZF". */
  readonly meaning?: string;
  /** What it consists of: fields of a struct, elements of an array, parts of a value. */
  readonly children?: readonly DescribedField[];
}

/** Meaning of single values of one device. */
export class DeviceSymbols implements DeviceView {
  readonly idstr: string;
  readonly name: string;
  readonly clock?: bigint;
  readonly #nodes: readonly VmNode[];
  readonly #rules: readonly SymbolRule[];
  #values: Map<string, VmValue> | undefined;

  /**
   * @param nodes of the whole device, as a walk gives them
   * @param clock what QEMU_CLOCK_VIRTUAL showed, in ns
   */
  constructor(idstr: string, nodes: readonly VmNode[], clock?: bigint) {
    this.idstr = idstr;
    this.name = idstr.slice(idstr.lastIndexOf("/") + 1);
    if (clock !== undefined) this.clock = clock;
    this.#nodes = nodes;
    this.#rules = RULES.filter(({ device }) => device?.test(this.name) ?? true);
  }

  value(path: string): VmValue | undefined {
    this.#values ??= new Map([...vmLeaves(this.#nodes)].map(({ path, leaf }) => [path, leaf.value]));
    return this.#values.get(path);
  }

  /** What is known of a field's value; `{}` when nothing is. @param path as `VmLeafAt` has it */
  of(leaf: VmLeaf, path: string): Meaning {
    for (const rule of this.#rules) {
      if (rule.type !== undefined && rule.type !== leaf.type) continue;
      const match = rule.field ? rule.field.exec(path) : /^/.exec(path);
      const meaning = match && rule.describe(leaf.value, match, this, leaf);
      if (meaning) return meaning;
    }
    return {};
  }

  /** What is known of a struct or an array as a whole; `{}` when nothing is. @param path as of its fields: "env.segs[2]" */
  whole(branch: VmBranch, path: string): Meaning {
    for (const rule of WHOLE) {
      if (rule.device?.test(this.name) === false) continue;
      const match = rule.field ? rule.field.exec(path) : /^/.exec(path);
      const meaning = match && rule.whole!(match, this, branch);
      if (meaning) return meaning;
    }
    return {};
  }
}

/**
 * All fields of a device, in wire order.
 * @param nodes without framing
 * @param clock as `virtualClock` has it: lets timers say how long they have to go
 */
export function describeDevice(idstr: string, nodes: readonly VmNode[], clock?: bigint): DescribedField[] {
  return fieldsOf(nodes, "", new DeviceSymbols(idstr, nodes, clock));
}

function fieldsOf(nodes: readonly VmNode[], prefix: string, symbols: DeviceSymbols): DescribedField[] {
  const fields: DescribedField[] = [];
  for (const node of nodes) {
    if (node.kind === "framing") continue;
    const path = prefix === "" ? node.name : `${prefix}.${node.name}`;
    fields.push(node.kind === "leaf" ? describeLeaf(node, path, symbols) : branchField(node, path, symbols));
  }
  return fields;
}

function branchField(branch: VmBranch, path: string, symbols: DeviceSymbols): DescribedField {
  const { kind, children } = branch;
  const { symbol, text, meaning } = symbols.whole(branch, path);
  const named = {
    name: branch.name,
    ...(symbol !== undefined ? { symbol } : {}),
    ...(text !== undefined ? { text } : {}),
    ...(meaning ? { meaning } : {}),
  };
  if (text !== undefined) return named;
  if (kind === "struct" || kind === "subsection") return { ...named, children: fieldsOf(children, path, symbols) };
  const elements: DescribedField[] = [];
  for (const child of children) {
    if (child.kind === "framing") continue;
    const at = `${path}[${child.name}]`;
    elements.push(child.kind === "leaf" ? describeLeaf(child, at, symbols) : branchField(child, at, symbols));
  }
  return { ...named, children: elements };
}

/** One field. @param path as `VmLeafAt` has it */
export function describeLeaf(leaf: VmLeaf, path: string, symbols: DeviceSymbols): DescribedField {
  const { symbol, text = valueText(leaf), meaning, parts } = symbols.of(leaf, path);
  return {
    name: leaf.name,
    ...(symbol !== undefined ? { symbol } : {}),
    text,
    ...(meaning ? { meaning } : {}),
    ...(parts ? { children: parts.map(partField) } : {}),
  };
}

function partField({ name, value, symbol, text, meaning, parts }: Part): DescribedField {
  const shown = text ?? (value === undefined ? undefined : plainText(value));
  return {
    name,
    ...(symbol !== undefined ? { symbol } : {}),
    ...(shown !== undefined ? { text: shown } : {}),
    ...(meaning ? { meaning } : {}),
    ...(parts ? { children: parts.map(partField) } : {}),
  };
}

/** A value of which nothing is known: numbers that are more than a digit also in hex, bytes in hex. */
function valueText({ value, type }: VmLeaf): string {
  if (value instanceof Uint8Array) return bytesText(value);
  if (typeof value === "string") return JSON.stringify(value);
  if ((typeof value === "number" || typeof value === "bigint") && !type.startsWith("u")) return value.toString();
  return value === null ? "NULL" : plainText(value);
}

function plainText(value: number | bigint | string | boolean): string {
  if (typeof value === "string" || typeof value === "boolean" || value < 10) return String(value);
  return `${hexText(value)} (${value})`;
}

function bytesText(bytes: Uint8Array): string {
  if (bytes.length > 4 && bytes.every((byte) => byte === 0)) return `${bytes.length} bytes, all zero`;
  const shown = bytes.subarray(0, BYTES_SHOWN).toHex().replace(/..(?=.)/g, "$& ");
  return bytes.length <= BYTES_SHOWN ? shown : `${shown} ... ${bytes.length} bytes`;
}
