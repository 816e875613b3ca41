/**
 * libvirt save images: what `virsh save`, `managedsave` and a snapshot with memory write.
 *
 *      0  LibvirtQemudSave, or LibvirtQemudPart while it is not complete
 *     16  u32 version(0..2), data_len, was_running, format, cookie offset, 14 unused      in the writer's byte order
 *     92  data area: domain XML, NUL, [cookie XML, NUL], zeros                              data_len bytes
 *      …  QEMU stream, or what gzip, bzip2, xz, lzop or zstd made of it
 *
 * Source: libvirt src/qemu/qemu_saveimage.h (virQEMUSaveHeader), qemu_saveimage.c (qemuSaveImageReadHeader).
 * @module
 */
import type { ByteSource } from "../stream/channel.ts";
import { hex, StreamError, TruncatedStreamError } from "../stream/errors.ts";
import { readFully, skip } from "./sources.ts";

/** Bytes of the header. */
export const LIBVIRT_HEADER_BYTES = 92;
/** How the doubt ends that tells of a label that is not true. */
export const NOT_RESTORED = "libvirt will not restore it";
/** By the number in the header. */
const FORMATS = ["raw", "gzip", "bzip2", "xz", "lzop", "zstd", "sparse"] as const satisfies LibvirtFormat[];
/** Most bytes of XML and cookie that are kept; real ones are a few KiB. */
const XML_LIMIT = 1 << 24;

/** Label of the stream in a save image. */
export type LibvirtFormat = "raw" | "gzip" | "bzip2" | "xz" | "lzop" | "zstd" | "sparse";

/** What libvirt puts in front of a stream. */
export interface LibvirtSave {
  /** 2 since there are compressed images; 0 and 1 are older. */
  readonly version: number;
  /** How the stream is labelled. */
  readonly format: LibvirtFormat;
  /** Of the host that wrote it. */
  readonly byteOrder: "little" | "big";
  /** False: the save was interrupted, or libvirt died before it could say that it was not. */
  readonly complete: boolean;
  /** The guest's CPUs start after a restore. */
  readonly wasRunning: boolean;
  /** Of the data area: XML, cookie and padding. */
  readonly dataBytes: number;
  /** Without the NUL. */
  readonly xmlBytes: number;
  /** Without the NUL; 0 when there is none. */
  readonly cookieBytes: number;
  /** Domain XML, secrets included. */
  readonly xml: string;
  /** "" when there is none. */
  readonly cookie: string;
}

/**
 * Read header and data area; the source stands on the magic, and behind the data area afterwards.
 * @throws {StreamError} for what libvirt refuses, and for a cookie offset outside the data area, at which libvirt aborts
 */
export async function readLibvirtSave(source: ByteSource): Promise<LibvirtSave> {
  const start = source.start ?? 0;
  const fault = (at: number, found: string, expected: string): never => {
    throw new StreamError("Cannot read libvirt save image", {
      channel: source.name,
      offset: start + at,
      found,
      expected,
    });
  };
  const truncated = (what: string, at: number, got: number, want: number): never => {
    throw new TruncatedStreamError(`Cannot read ${what} of libvirt save image`, {
      channel: source.name,
      offset: start + at,
      found: `${got} bytes before the end`,
      expected: String(want),
    });
  };
  const head = new Uint8Array(LIBVIRT_HEADER_BYTES);
  const got = await readFully(source, head);
  if (got < head.length) truncated("header", 0, got, head.length);
  const view = new DataView(head.buffer);
  const little = view.getUint32(16, true) <= 2;
  const word = (at: number) => view.getUint32(at, little);
  const version = word(16);
  if (version > 2) fault(16, `version ${view.getUint32(16, true)}`, "at most 2");
  const dataBytes = word(20), format = word(28), cookieOffset = word(32);
  if (format >= FORMATS.length) fault(28, `format ${format}`, `0 to ${FORMATS.length - 1}`);
  if (dataBytes === 0) fault(20, "a data area of 0 bytes", "one that holds the domain XML");
  if (cookieOffset > dataBytes) fault(32, `cookie offset ${hex(cookieOffset)}`, `at most ${hex(dataBytes)}`);
  const size = source.size?.();
  if (size !== undefined && start + LIBVIRT_HEADER_BYTES + dataBytes > size) {
    truncated("data area", LIBVIRT_HEADER_BYTES, Math.max(0, size - start - LIBVIRT_HEADER_BYTES), dataBytes);
  }
  const data = new Uint8Array(Math.min(dataBytes, XML_LIMIT));
  const landed = await readFully(source, data);
  if (landed < data.length) truncated("data area", LIBVIRT_HEADER_BYTES, landed, dataBytes);
  await skip(source, dataBytes - data.length);
  const xml = untilNul(data.subarray(0, cookieOffset || data.length));
  const cookie = cookieOffset ? untilNul(data.subarray(Math.min(cookieOffset, data.length))) : new Uint8Array();
  const text = new TextDecoder();
  return {
    version,
    format: FORMATS[format],
    byteOrder: little ? "little" : "big",
    complete: head[12] === 0x53, // the S of Save
    wasRunning: word(24) !== 0,
    dataBytes,
    xmlBytes: xml.length,
    cookieBytes: cookie.length,
    xml: text.decode(xml),
    cookie: text.decode(cookie),
  };
}

function untilNul(bytes: Uint8Array): Uint8Array {
  const nul = bytes.indexOf(0);
  return nul < 0 ? bytes : bytes.subarray(0, nul);
}
