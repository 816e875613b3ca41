/**
 * A device section's body, read by the layout its stream describes.
 *
 *     body       = fields subsections          of the device's vmsd
 *     subsection = 05, str8 name, be32 version, fields, subsections
 *     struct, vstruct, tmp = fields subsections of their vmsd
 *     qtailq, qlist = { 01 element } 00
 *     gtree      = be32 n, { 01 key value } 00     key: be64, or a vmsd's fields
 *     array      = its elements, one after another
 *     the rest   = `size` bytes (vmvalue.ts)
 *
 * Nothing in the bytes says how long a body is; the description does, and where both can be compared they must agree: a
 * subsection's name and version, the size of a described struct or list, the "0" that stands for a NULL pointer.
 * Like QEMU's loader, a walk takes 05 and a name that begins with the vmsd's for a subsection.
 * Source: QEMU migration/vmstate.c (vmstate_load_state, vmstate_subsection_load), migration/vmstate-types.c.
 * @module
 */
import { StreamError } from "./errors.ts";
import type { Vmsd } from "./vmdesc.ts";
import { type PlainFields, plainFields, type VmNode } from "./vmvalue.ts";
import { type VmOrigin, Walker } from "./vmwalk.ts";

export { plainFields, vmLeaves } from "./vmvalue.ts";
export type { VmOrigin } from "./vmwalk.ts";
export type { PlainFields, PlainValue, VmBranch, VmFraming, VmLeaf, VmLeafAt, VmNode, VmValue } from "./vmvalue.ts";

/** Most steps of one measuring, and most nodes of one tree. */
const STEP_LIMIT = 1 << 22;
const NODE_LIMIT = 1 << 21;

/** Options of {@link walkDevice}. */
export interface WalkOptions extends VmOrigin {
  /** Keep nodes for the bytes between fields, so that the leaves cover every byte. */
  readonly framing?: boolean;
  /** On a fault keep what was decoded before it, and put the fault into `problem`. */
  readonly partial?: boolean;
}

/** A decoded body. */
export interface WalkedDevice {
  /** Fields in wire order, then subsections. */
  readonly nodes: readonly VmNode[];
  /** Plain view of `nodes`, as `inspect --json` shows it. Worked out when first asked for. */
  readonly fields: PlainFields;
  /** Bytes of the body that the description accounts for. */
  readonly consumed: number;
  /** Only with `partial`: why the walk stopped. The last nodes may be incomplete. */
  readonly problem?: StreamError;
}

/**
 * Decode a body.
 *
 * @param description a device's (or the configuration's) vmsd
 * @param body        its bytes, more may follow; values borrow from it
 * @throws {TruncatedStreamError} when the body ends inside a field
 * @throws {StreamError} when bytes and description disagree, or the description asks for absurdly much
 */
export function walkDevice(description: Vmsd, body: Uint8Array, options: WalkOptions = {}): WalkedDevice {
  const walker = new Walker(body, 0, body.length, options, Math.min(NODE_LIMIT, body.length * 16 + 0x10000));
  const nodes: VmNode[] = [];
  let problem: StreamError | undefined;
  try {
    walker.vmsd(description, nodes, options.framing ?? false);
  } catch (error) {
    if (!options.partial || !(error instanceof StreamError)) throw error;
    problem = error;
  }
  let fields: PlainFields | undefined;
  return {
    nodes,
    get fields() {
      return fields ??= plainFields(nodes);
    },
    consumed: walker.pos,
    ...(problem ? { problem } : {}),
  };
}

/**
 * Count the bytes of a body without building anything.
 *
 * @param description the device's vmsd
 * @param bytes       holds the body
 * @param at          where it begins in `bytes`
 * @param limit       where the bytes that may belong to it end
 * @returns           bytes the body takes
 * @throws {TruncatedStreamError} when `limit` comes first
 * @throws {StreamError} when bytes and description disagree
 */
export function measureDevice(
  description: Vmsd,
  bytes: Uint8Array,
  at = 0,
  limit: number = bytes.length,
  origin: VmOrigin = {},
): number {
  const walker = new Walker(bytes, at, Math.min(limit, bytes.length), origin, STEP_LIMIT);
  walker.vmsd(description);
  return walker.pos - at;
}
