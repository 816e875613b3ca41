/**
 * What stands behind the end mark: the description, and bytes nobody claims.
 *
 *     00 | 06 u32 length, JSON | nothing
 *
 * QEMU never looks at it; here it is held against the sections that came before. Source: QEMU migration/savevm.c
 * qemu_loadvm_state.
 * @module
 */
import * as C from "./constants.ts";
import { TAIL_LIMIT } from "./device.ts";
import { hex, StreamError, TruncatedStreamError } from "./errors.ts";
import { faultAt } from "./fault.ts";
import type { StreamReader } from "./reader.ts";
import type { StreamRecord } from "./records.ts";
import { parseVmdescription, type VmDescription } from "./vmdesc.ts";

/** What a description expects of its stream, as the complaint says that one is missing. */
export const EVERY_DEVICE = "every device it lists";

/** What the tail is judged by. */
export interface TailSurroundings {
  /** The stream switched to postcopy: then there is no description. */
  readonly postcopy: boolean;
  /** Do not look whether bytes follow. */
  readonly ignoreTrailing: boolean;
  /** Was there a FULL section of that name and instance? */
  readonly seen: (idstr: string, instanceId: number) => boolean;
  /** Takes the description. */
  readonly describe: (description: VmDescription) => void;
  readonly warn: (text: string, offset: number) => void;
}

/** What stands behind EOF. */
export async function* decodeTail(reader: StreamReader, around: TailSurroundings): AsyncGenerator<StreamRecord> {
  const channel = reader.source.name;
  if (!(await reader.ensure(1))) {
    if (!around.postcopy) around.warn("no description behind the end of the stream", reader.offset);
    return;
  }
  const type = reader.peekU8();
  if (type !== C.QEMU_VM_VMDESCRIPTION) {
    if (around.postcopy || around.ignoreTrailing) return;
    const behind = reader.offset;
    yield* decodeRest(reader, "trailing bytes");
    faultAt(reader, "Cannot read description", behind, `byte ${hex(type)}`, "0x6", [
      `Expected vmdescription section, but got ${type}`,
    ]);
  }
  await reader.need(5, "Cannot read description");
  const offset = reader.offset;
  const length = reader.peekU32(1);
  const left = reader.remaining();
  if (length > TAIL_LIMIT || (left !== undefined && length > left - 5)) {
    const truncated = length <= TAIL_LIMIT;
    throw new (truncated ? TruncatedStreamError : StreamError)("Cannot read description", {
      channel,
      offset: offset + 1,
      found: `a length of ${length}` + (left === undefined ? "" : ` and ${left - 5} bytes left`),
      expected: truncated ? "the whole description" : `at most ${TAIL_LIMIT}`,
    });
  }
  await reader.need(5 + length, "Cannot read description");
  reader.pos += 5;
  const json = reader.bytes(length);
  let description: VmDescription | undefined;
  let problem: string | undefined;
  try {
    description = parseVmdescription(textOf(json));
  } catch (error) {
    problem = (error as Error).message;
  }
  if (description) around.describe(description);
  yield { kind: "vmdescription", channel, offset, length: 5 + length, json };
  if (problem !== undefined) faultAt(reader, "Cannot read description", offset + 5, problem, "JSON as QEMU writes it");
  const absent = description!.devices.find((d) => !around.seen(d.name, d.instanceId));
  if (absent) {
    faultAt(
      reader,
      "Cannot match the description with the stream",
      offset,
      `no section ${absent.name} instance ${absent.instanceId}`,
      EVERY_DEVICE,
    );
  }
  if (around.ignoreTrailing || !(await reader.ensure(1))) return;
  const behind = reader.offset;
  const foreign = yield* decodeRest(reader, "trailing bytes");
  if (foreign) {
    faultAt(reader, "Cannot account for bytes behind the end", behind, `${reader.offset - behind} bytes`, "none");
  }
  around.warn(`${reader.offset - behind} zero bytes behind the end`, behind);
}

/** @throws where bytes are no text */
function textOf(json: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(json);
  } catch {
    throw new Error("bytes that are no UTF-8");
  }
}

/** Everything up to the end, as opaque pieces. @returns true when a byte of it is not zero */
export async function* decodeRest(reader: StreamReader, what: string): AsyncGenerator<StreamRecord, boolean> {
  let foreign = false;
  while (await reader.ensure(1)) {
    const offset = reader.offset;
    const data = reader.bytes(reader.available);
    if (!foreign) foreign = data.some((byte) => byte !== 0);
    yield { kind: "opaque", channel: reader.source.name, offset, length: data.length, what, data };
  }
  return foreign;
}
