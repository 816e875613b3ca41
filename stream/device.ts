/**
 * Where the body of a FULL section ends. Nothing on the wire says so: the description behind the end of the stream does,
 * and the footer `7e <u32 section id>` marks the place.
 *
 *     description at hand      its fields are walked over the bytes, the footer must stand where they end
 *     no description, footers  the first footer of this section with something plausible behind it
 *     neither                  bounds unknown; the caller takes the rest of the stream as one piece
 *
 * Over 573 sections of real captures the first footer found was always the right one; it remains a guess, since device
 * memory may hold the pattern.
 * @module
 */
import * as C from "./constants.ts";
import { hex, StreamError, TruncatedStreamError } from "./errors.ts";
import type { StreamReader } from "./reader.ts";
import type { SectionRecord } from "./records.ts";
import type { DeviceDescription } from "./vmdesc.ts";
import { measureDevice } from "./vmstate.ts";

/** Bytes held at most while the end of one body (or of the whole device tail) is looked for. */
export const TAIL_LIMIT = 64 << 20;
const WINDOW = 1 << 16;

/** What is known around a body. */
export interface DeviceSurroundings {
  readonly description?: DeviceDescription;
  /** True: footers are sent; false: not; undefined: this section decides. */
  readonly footers: boolean | undefined;
  /** Offset at which the enclosing package ends. */
  readonly end?: number;
  /** Has a START or FULL announced that id? */
  readonly announced: (sectionId: number) => boolean;
  readonly warn: (text: string, offset: number) => void;
}

/** Length of a body and how it was found. */
export interface DeviceBounds {
  readonly length: number;
  readonly by: "description" | "footer";
}

/**
 * Find the end of the body the reader stands before. Nothing is consumed; afterwards body and footer are at hand.
 * @returns undefined when neither a description nor footers can tell
 * @throws {StreamError} when bytes and description disagree, or no footer is found
 */
export async function deviceBounds(
  reader: StreamReader,
  section: SectionRecord,
  around: DeviceSurroundings,
): Promise<DeviceBounds | undefined> {
  const { description, footers } = around;
  if (!description) {
    return footers === false ? undefined : { length: await scanForFooter(reader, section, around), by: "footer" };
  }
  let fault: StreamError | undefined;
  try {
    const length = await measure(reader, section, description);
    if (footers === false) return { length, by: "description" };
    await reader.ensure(length + 5);
    if (reader.available >= length + 1 && reader.peekU8(length) === C.QEMU_VM_SECTION_FOOTER) {
      return { length, by: "description" };
    }
    if (footers === undefined) return { length, by: "description" };
    fault = missingFooter(reader, section, length);
  } catch (error) {
    if (!(error instanceof StreamError)) throw error;
    fault = error;
  }
  // Arrays of pointers with NULLs among them are described wrongly by QEMU 10.0 (migration/vmstate.c): trust the footer
  if (!description.text.includes('"nullptr"') || footers === false) throw fault;
  const length = await scanForFooter(reader, section, around);
  around.warn(`description of ${section.idstr} does not fit its bytes; its end was found by its footer`, reader.offset);
  return { length, by: "footer" };
}

async function measure(reader: StreamReader, section: SectionRecord, description: DeviceDescription): Promise<number> {
  for (let window = WINDOW;; window *= 4) {
    await reader.ensure(window);
    try {
      return measureDevice(description, reader.buf, reader.pos, reader.end);
    } catch (error) {
      if (!(error instanceof StreamError)) throw error;
      const truncated = error instanceof TruncatedStreamError;
      if (truncated && reader.available >= window && window < TAIL_LIMIT) continue;
      throw new (truncated ? TruncatedStreamError : StreamError)(`Cannot decode device ${section.idstr}`, {
        channel: reader.source.name,
        offset: reader.offset + error.offset,
        ...(error.found ? { found: error.found } : {}),
        ...(error.expected ? { expected: error.expected } : {}),
        qemu: [`error while loading state for instance ${hex(section.instanceId)} of device '${section.idstr}'`],
        cause: error,
      });
    }
  }
}

function missingFooter(reader: StreamReader, section: SectionRecord, at: number): StreamError {
  const atHand = reader.available > at;
  return new (atHand ? StreamError : TruncatedStreamError)(`Cannot find footer of section ${section.idstr}`, {
    channel: reader.source.name,
    offset: reader.offset + at,
    found: atHand ? `byte ${hex(reader.peekU8(at))}` : "the end",
    expected: "0x7e",
    qemu: [`Missing section footer for ${section.idstr}`],
    reason: "Invalid argument",
  });
}

/** Length of the body up to the first plausible footer of this section. */
async function scanForFooter(
  reader: StreamReader,
  section: SectionRecord,
  around: DeviceSurroundings,
): Promise<number> {
  const limit = Math.min(TAIL_LIMIT, around.end === undefined ? Infinity : around.end - reader.offset);
  // never waits for more than the next bytes: a live source that needs an answer keeps its connection open
  for (let from = 0;;) {
    const have = Math.min(reader.available, limit);
    for (; from + 5 <= have; from++) {
      if (reader.peekU8(from) !== C.QEMU_VM_SECTION_FOOTER || reader.peekU32(from + 1) !== section.sectionId) continue;
      if (await plausible(reader, from + 5, around)) return from;
    }
    if (have === limit || !(await reader.ensure(have + 1))) break;
  }
  const Kind = around.end === undefined && reader.ended ? TruncatedStreamError : StreamError;
  throw new Kind(`Cannot find footer of section ${section.idstr}`, {
    channel: reader.source.name,
    offset: reader.offset,
    found: `none in ${reader.available} bytes`,
    expected: `7e and section id ${section.sectionId}`,
    qemu: [`Missing section footer for ${section.idstr}`],
    reason: "Input/output error",
  });
}

/** Could a new element of the stream begin `at` bytes ahead? */
async function plausible(reader: StreamReader, at: number, around: DeviceSurroundings): Promise<boolean> {
  if (around.end !== undefined && reader.offset + at >= around.end) return true;
  if (!(await reader.ensure(at + 1))) return true;
  switch (reader.peekU8(at)) {
    case C.QEMU_VM_EOF:
      return !(await reader.ensure(at + 2)) || reader.peekU8(at + 1) === C.QEMU_VM_VMDESCRIPTION ||
        around.end !== undefined;
    case C.QEMU_VM_SECTION_START:
    case C.QEMU_VM_SECTION_FULL: {
      if (!(await reader.ensure(at + 6))) return true;
      const length = reader.peekU8(at + 5);
      if (length === 0 || !(await reader.ensure(at + 14 + length))) return length !== 0;
      for (let i = 0; i < length; i++) {
        const code = reader.peekU8(at + 6 + i);
        if (code < 0x20 || code > 0x7e) return false;
      }
      return true;
    }
    case C.QEMU_VM_SECTION_PART:
    case C.QEMU_VM_SECTION_END:
      return !(await reader.ensure(at + 5)) || around.announced(reader.peekU32(at + 1));
    case C.QEMU_VM_COMMAND: {
      if (!(await reader.ensure(at + 5))) return true;
      const command = reader.peekU8(at + 1) << 8 | reader.peekU8(at + 2);
      const length = C.MIG_CMD_LENGTH[command];
      return command > 0 && command < C.MIG_CMD.length &&
        (length === undefined || length === (reader.peekU8(at + 3) << 8 | reader.peekU8(at + 4)));
    }
    default:
      return false;
  }
}
