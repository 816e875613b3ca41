/**
 * What a file beside the main channel is, by how it begins.
 *
 *     11 22 33 44                       a multifd channel, its number in the first message
 *     00 00 .. 08 | 02, name of a block  a postcopy-preempt channel: page records without a frame
 *
 * @module
 */
import { MULTIFD_MAGIC, QEMU_VM_FILE_MAGIC, RAM_SAVE_FLAG_PAGE, RAM_SAVE_FLAG_ZERO } from "../stream/constants.ts";
import { StreamError } from "../stream/errors.ts";
import { MULTIFD_INIT_BYTES } from "../stream/multifd.ts";

/** A channel of which nobody asked for a page is empty. */
export type ChannelKind = "multifd" | "postcopy-preempt" | "empty";

/** Bytes from the beginning that tell: a word, a name. */
export const CHANNEL_HEAD_BYTES = 8 + 1 + 255;

/** What a further channel is. */
export interface KnownChannel {
  /** What its bytes are. */
  readonly kind: ChannelKind;
  /** Number of a multifd channel, where the first message has it. */
  readonly id?: number;
}

/**
 * What a file is that was given as a further channel.
 * @param head up to {@link CHANNEL_HEAD_BYTES}
 * @throws {StreamError} when it is a main channel
 */
export function kindOfGiven(head: Uint8Array, channel: string): KnownChannel {
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const magic = head.length < 4 ? undefined : view.getUint32(0);
  if (magic === QEMU_VM_FILE_MAGIC) {
    throw new StreamError("Cannot use as a further channel", {
      channel,
      offset: 0,
      found: "QEVM: a main channel",
      expected: "a further one",
    });
  }
  if (head.length === 0) return { kind: "empty" };
  if (magic !== undefined && magic >>> 16 === 0) return { kind: "postcopy-preempt" };
  const whole = magic === MULTIFD_MAGIC && head.length >= MULTIFD_INIT_BYTES;
  return { kind: "multifd", ...(whole ? { id: head[24] } : {}) };
}

/**
 * What a file is of which nobody said anything.
 * @param head up to {@link CHANNEL_HEAD_BYTES}
 * @returns undefined for what begins as no further channel
 */
export function kindOfFile(head: Uint8Array): KnownChannel | undefined {
  if (head.length < 10) return undefined;
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  if (view.getUint32(0) === MULTIFD_MAGIC) return kindOfGiven(head, "");
  // the first record names its block
  const flags = view.getUint32(4) & 0x3ff, length = head[8];
  const name = head.subarray(9, 9 + length);
  const named = length > 0 && name.length === length && name.every((byte) => byte > 0x20 && byte < 0x7f);
  const page = flags === RAM_SAVE_FLAG_PAGE || flags === RAM_SAVE_FLAG_ZERO;
  return view.getUint16(0) === 0 && named && page ? { kind: "postcopy-preempt" } : undefined;
}
