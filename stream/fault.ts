/**
 * Throwing a {@link StreamError} in one line, for decoders that have a reader at hand.
 * @module
 */
import { StreamError } from "./errors.ts";
import type { StreamReader } from "./reader.ts";

/**
 * What is wrong, and where.
 * @param offset in the channel
 * @param qemu   QEMU's own sentences, innermost first
 * @param reason the C library's text for the errno QEMU ends with; EINVAL's unless given
 */
export function faultAt(
  reader: StreamReader,
  action: string,
  offset: number,
  found: string,
  expected: string,
  qemu?: readonly string[],
  reason?: string,
): never {
  throw new StreamError(action, {
    channel: reader.source.name,
    offset,
    found,
    expected,
    ...(qemu ? { qemu } : {}),
    ...(reason ? { reason } : {}),
  });
}
