/**
 * The first eight bytes: `QEVM` and the version. What begins otherwise is told apart as far as it can be.
 *
 *     51 45 56 4d  00 00 00 03     a main channel
 *     11 22 33 44                  a multifd channel
 *     51 43 50 52                  a cpr channel
 *     08 00 0a                     RECV_BITMAP: a main channel resumed by postcopy recovery, which has no header
 *
 * Source: QEMU migration/savevm.c qemu_loadvm_state_header.
 * @module
 */
import * as C from "./constants.ts";
import { hex, StreamError, UnsupportedError } from "./errors.ts";
import { faultAt } from "./fault.ts";
import type { StreamReader } from "./reader.ts";
import type { HeaderRecord } from "./records.ts";

/** Decode the header. @throws {UnsupportedError} for channels that cannot be read alone */
export async function decodeHeader(reader: StreamReader): Promise<HeaderRecord> {
  const channel = reader.source.name, offset = reader.offset;
  const not = ["Not a migration stream"];
  await reader.need(4, "Cannot read stream header", not, "Invalid argument");
  const magic = reader.peekU32();
  if (magic === C.MULTIFD_MAGIC || magic === C.CPR_MAGIC) {
    const multifd = magic === C.MULTIFD_MAGIC;
    throw new UnsupportedError("Cannot decode on its own", {
      channel,
      offset,
      found: `magic ${hex(magic)}: ${multifd ? "a multifd channel" : "a cpr channel"}`,
      expected: "the main channel of the migration, which begins with QEVM",
      qemu: not,
      feature: multifd ? "multifd" : "cpr-transfer",
    });
  }
  if (await reader.ensure(8) && reader.peekU8() === C.QEMU_VM_COMMAND && reader.peekU8(2) === 10) {
    throw new UnsupportedError("Cannot decode on its own", {
      channel,
      offset,
      found: "RECV_BITMAP: a connection resumed by postcopy recovery",
      expected: "the connection it resumes, which begins with QEVM and lists sections and blocks",
      qemu: not,
      feature: "postcopy recovery",
    });
  }
  if (magic !== C.QEMU_VM_FILE_MAGIC) {
    faultAt(
      reader,
      "Cannot read stream header",
      offset,
      `magic ${hex(magic)}`,
      `${hex(C.QEMU_VM_FILE_MAGIC)} (QEVM)`,
      not,
    );
  }
  const unsupported = ["Unsupported migration stream version"];
  await reader.need(8, "Cannot read stream version", unsupported, "Operation not supported");
  const version = reader.peekU32(4);
  if (version !== C.QEMU_VM_FILE_VERSION) {
    const old = version === C.QEMU_VM_FILE_VERSION_COMPAT;
    throw new StreamError("Cannot read stream header", {
      channel,
      offset: offset + 4,
      found: `version ${version}`,
      expected: "3",
      qemu: old ? ["SaveVM v2 format is obsolete and don't work anymore"] : unsupported,
      reason: "Operation not supported",
    });
  }
  reader.pos += 8;
  return { kind: "header", channel, offset, length: 8, version };
}
