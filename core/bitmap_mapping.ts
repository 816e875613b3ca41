/**
 * block-bitmap-mapping: which names block nodes and their dirty bitmaps travel under.
 *
 * Both directions must be one to one, so the list is walked twice, names first. Lengths are in bytes.
 * Source: QEMU migration/block-dirty-bitmap.c (construct_alias_map).
 * @module
 */
import { array, BOOL, object, type Schema, STRING } from "./schema.ts";

/** One bitmap of a node. */
export interface BitmapAlias {
  /** On this side. */
  readonly name: string;
  /** In the stream. At most 255 bytes. */
  readonly alias: string;
  /** What changes on the way. */
  readonly transform?: { readonly persistent?: boolean };
}

/** One node. */
export interface NodeAlias {
  /** Of the block node on this side. */
  readonly "node-name": string;
  /** In the stream. At most 255 bytes. */
  readonly alias: string;
  /** Bitmaps that travel; the others stay. */
  readonly bitmaps: readonly BitmapAlias[];
}

/** QAPI [BitmapMigrationNodeAlias]. */
export const BITMAP_MAPPING: Schema = array(object({
  "node-name": STRING,
  alias: STRING,
  bitmaps: array(object({ name: STRING, alias: STRING, "*transform": object({ "*persistent": BOOL }) })),
}));

const MAX_ALIAS = 255;
const MAX_NODE_NAME = 31;
const MAX_BITMAP_NAME = 1023;

/** @returns QEMU's complaint, or undefined when the mapping is sound */
export function checkBitmapMapping(mapping: readonly NodeAlias[]): string | undefined {
  const fault = checkDirection(mapping, true) ?? checkDirection(mapping, false);
  return fault && `Invalid mapping given for block-bitmap-mapping: ${fault}`;
}

function checkDirection(mapping: readonly NodeAlias[], byName: boolean): string | undefined {
  const nodes = new Set<string>();
  for (const { "node-name": name, alias, bitmaps } of mapping) {
    if (!/^[A-Za-z][-A-Za-z0-9._]*$/.test(alias)) return `The node alias '${alias}' is not well-formed`;
    if (bytes(alias) > MAX_ALIAS) return `The node alias '${alias}' is longer than ${MAX_ALIAS} bytes`;
    if (bytes(name) > MAX_NODE_NAME) return `The node name '${name}' is longer than ${MAX_NODE_NAME} bytes`;
    const key = byName ? name : alias;
    if (nodes.has(key)) {
      return byName ? `The node name '${name}' is mapped twice` : `The node alias '${alias}' is used twice`;
    }
    nodes.add(key);
    const fault = checkBitmaps(name, alias, bitmaps, byName);
    if (fault) return fault;
  }
  return undefined;
}

function checkBitmaps(
  node: string,
  nodeAlias: string,
  bitmaps: readonly BitmapAlias[],
  byName: boolean,
): string | undefined {
  const seen = new Set<string>();
  for (const { name, alias } of bitmaps) {
    if (bytes(alias) > MAX_ALIAS) return `The bitmap alias '${alias}' is longer than ${MAX_ALIAS} bytes`;
    if (bytes(name) > MAX_BITMAP_NAME) return `The bitmap name '${name}' is longer than ${MAX_BITMAP_NAME} bytes`;
    const key = byName ? name : alias;
    if (seen.has(key)) {
      return byName
        ? `The bitmap '${node}'/'${name}' is mapped twice`
        : `The bitmap alias '${nodeAlias}'/'${alias}' is used twice`;
    }
    seen.add(key);
  }
  return undefined;
}

function bytes(text: string): number {
  return new TextEncoder().encode(text).length;
}
