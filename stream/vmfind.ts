/**
 * Finding the VMDESCRIPTION from the end of a file, before anything else is read.
 *
 *     ... 00 | 06 | be32 length | { ... } | bytes nobody reads
 *         ^EOF  ^type             ^ searched for, from the end backwards
 *
 * Device sections carry no length, so a reader wants this first. The search looks at one position at a time for
 * a `{"` with a plausible head in front: type 06 behind an EOF byte, a length that fits the file, a `}` at its end. What
 * is found must be JSON with a `devices` array. A `{` inside the length itself (0x7b) is nothing special here.
 * Source: QEMU migration/savevm.c qemu_savevm_state_complete_precopy_non_iterable.
 * @module
 */
import { bufferSource, type ByteSource } from "./channel.ts";
import { QEMU_VM_EOF, QEMU_VM_VMDESCRIPTION } from "./constants.ts";

/** How far from the end the search goes; also the longest description. */
const REACH = 64 * 1024 * 1024;
const CHUNK = 1024 * 1024;
/** Bytes of type and length. */
const HEAD = 5;
/** Candidates that may turn out not to be JSON before the search gives up. */
const CANDIDATE_LIMIT = 16;
const BRACE = 0x7b;

/** A VMDESCRIPTION record. */
export interface FoundVmdescription {
  /** Of the type byte 06, in the file; the JSON begins 5 bytes later. */
  readonly offset: number;
  /** Bytes of JSON. */
  readonly length: number;
  /** The JSON, as it stands in the file. */
  readonly text: string;
}

/**
 * Find the last VMDESCRIPTION of a file.
 *
 * @param source bytes, or a source with `readAt` and `size`; of a source only the tail is read
 * @param from   nothing before this offset is looked at: the start of the stream in the file
 * @returns      undefined where there is none, it is cut short, it is not JSON, or the source cannot seek
 */
export function findVmdescription(source: ByteSource | Uint8Array, from = 0): FoundVmdescription | undefined {
  if (source instanceof Uint8Array) source = bufferSource(source);
  if (!source.readAt || !source.size) return undefined;
  const size = source.size();
  const lowest = Math.max(from, size - REACH);
  let tries = 0;
  // Each chunk is read with the record's head in front of it and one byte behind it.
  for (let end = size; end > lowest; end -= CHUNK) {
    const begin = Math.max(lowest, end - CHUNK);
    const margin = Math.min(begin - lowest, HEAD + 1);
    const chunk = new Uint8Array(margin + (end - begin) + 1);
    const landed = source.readAt(chunk, begin - margin);
    for (let at = chunk.lastIndexOf(BRACE, margin + (end - begin) - 1); at >= margin;) {
      if (at < landed && headBefore(chunk, at)) {
        const found = readRecord(source, begin - margin + at - HEAD, size);
        if (found) return found;
        if (++tries >= CANDIDATE_LIMIT) return undefined;
      }
      if (at === 0) break;
      at = chunk.lastIndexOf(BRACE, at - 1);
    }
  }
  return undefined;
}

/** Whether `{"` at `at` has EOF, type and a length in front of it. */
function headBefore(chunk: Uint8Array, at: number): boolean {
  return at > HEAD && chunk[at + 1] === 0x22 && chunk[at - HEAD] === QEMU_VM_VMDESCRIPTION &&
    chunk[at - HEAD - 1] === QEMU_VM_EOF;
}

/** Read and check the record whose type byte is at `offset`. */
function readRecord(source: ByteSource, offset: number, size: number): FoundVmdescription | undefined {
  const head = new Uint8Array(HEAD);
  source.readAt!(head, offset);
  const length = new DataView(head.buffer).getUint32(1);
  if (length > REACH || offset + HEAD + length > size) return undefined;
  const json = new Uint8Array(length);
  if (source.readAt!(json, offset + HEAD) < length || json[length - 1] !== 0x7d) return undefined;
  const text = new TextDecoder().decode(json);
  try {
    const value = JSON.parse(text);
    return Array.isArray(value.devices) ? { offset, length, text } : undefined;
  } catch {
    return undefined;
  }
}
