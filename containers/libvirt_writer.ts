/**
 * The front of a libvirt save image, as libvirt writes it on a little-endian host: header and data area, up to the stream.
 *
 *      0  LibvirtQemudSave
 *     16  u32 version 2, data_len, was_running, format, cookie offset; 14 zero words
 *     92  XML, NUL, [cookie, NUL], zeros up to data_len
 *
 * A new image gets 64 KiB of zeros behind its XML, so that an edit can make that longer. Source: libvirt
 * src/qemu/qemu_saveimage.c (virQEMUSaveDataNew, virQEMUSaveDataWrite).
 * @module
 */
import { LIBVIRT_HEADER_BYTES } from "./libvirt.ts";

const PADDING = 65536;
const VERSION = 2;
const FORMAT_CODES = { raw: 0, sparse: 6 } as const;

/** What stands in front of a stream. */
export interface LibvirtFront {
  /** "sparse": mapped-ram. */
  readonly format: keyof typeof FORMAT_CODES;
  /** Domain XML. */
  readonly xml: string;
  /** "" for none. */
  readonly cookie?: string;
  /** The guest's CPUs start after a restore. */
  readonly wasRunning: boolean;
  /** Bytes of the data area, where they are enough; default: what is needed and the padding. */
  readonly dataBytes?: number;
}

/** Header and data area; the stream begins where they end. */
export function encodeLibvirtFront(front: LibvirtFront): Uint8Array<ArrayBuffer> {
  const encoder = new TextEncoder();
  const xml = encoder.encode(front.xml), cookie = encoder.encode(front.cookie ?? "");
  const used = xml.length + 1 + (cookie.length ? cookie.length + 1 : 0);
  const dataBytes = front.dataBytes !== undefined && front.dataBytes >= used ? front.dataBytes : used + PADDING;
  const bytes = new Uint8Array(LIBVIRT_HEADER_BYTES + dataBytes);
  bytes.set(encoder.encode("LibvirtQemudSave"));
  const view = new DataView(bytes.buffer);
  const cookieOffset = cookie.length ? xml.length + 1 : 0;
  [VERSION, dataBytes, Number(front.wasRunning), FORMAT_CODES[front.format], cookieOffset].forEach((word, i) => {
    view.setUint32(16 + 4 * i, word, true);
  });
  bytes.set(xml, LIBVIRT_HEADER_BYTES);
  if (cookieOffset) bytes.set(cookie, LIBVIRT_HEADER_BYTES + cookieOffset);
  return bytes;
}
