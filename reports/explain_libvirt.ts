/**
 * Lines of what libvirt puts in front of a stream.
 *
 *     libvirt.magic, .version, .dataBytes, .wasRunning, .format, .cookieOffset, .unused, .xml, .cookie, .padding
 *
 * @module
 */
import { LIBVIRT_HEADER_BYTES, type LibvirtSave } from "../containers/libvirt.ts";
import type { ByteSource } from "../stream/channel.ts";
import { type ExplainLine, FieldLines, RAW_LIMIT } from "./explain_lines.ts";

const RULE = "libvirt src/qemu/qemu_saveimage.h virQEMUSaveHeader; containers/libvirt.ts";

/** Header and data area. @param offset where the magic stands in the file */
export function libvirtLines(source: ByteSource, offset: number, save: LibvirtSave): ExplainLine[] {
  const { dataBytes, xmlBytes, cookieBytes, byteOrder, xml, cookie } = save;
  const fields = new FieldLines(offset, "libvirt", RULE);
  if (!source.readAt) {
    fields.bytes("header", LIBVIRT_HEADER_BYTES, undefined, "header of a libvirt save image");
    return fields.bytes("data", dataBytes, undefined, "domain XML, cookie and padding").lines;
  }
  const head = new Uint8Array(LIBVIRT_HEADER_BYTES);
  source.readAt(head, offset);
  const view = new DataView(head.buffer);
  const word = (name: string, at: number, meaning: string) =>
    fields.add(
      name,
      4,
      head.subarray(at, at + 4),
      `${meaning}, ${byteOrder}-endian`,
      view.getUint32(at, byteOrder === "little"),
    );
  fields.text(
    "magic",
    String.fromCharCode(...head.subarray(0, 16)),
    save.complete ? "a complete libvirt save image" : "a libvirt save image that was not completed",
  );
  word("version", 16, "version of the header");
  word("dataBytes", 20, "bytes between this header and the stream");
  word("wasRunning", 24, "whether the guest's CPUs start after a restore");
  word("format", 28, `how the stream is packed: ${save.format}`);
  word("cookieOffset", 32, "where the cookie begins, counted from the XML; 0: there is none");
  fields.bytes("unused", LIBVIRT_HEADER_BYTES - 36, head.subarray(36), "14 words that nobody reads");
  const text = new TextEncoder();
  const cookieAt = view.getUint32(32, byteOrder === "little");
  const xmlEnd = Math.min(xmlBytes, dataBytes);
  fields.bytes("xml", xmlEnd, text.encode(xml.slice(0, RAW_LIMIT)), "domain XML of the guest, secrets included");
  let done = xmlEnd;
  if (cookieAt >= done && cookieBytes > 0) {
    fields.bytes(
      "padding",
      cookieAt - done,
      new Uint8Array(Math.min(RAW_LIMIT, cookieAt - done)),
      "NUL behind the XML",
    );
    fields.bytes(
      "cookie",
      cookieBytes,
      text.encode(cookie.slice(0, RAW_LIMIT)),
      "cookie XML: what libvirt itself has to remember",
    );
    done = cookieAt + cookieBytes;
  }
  const raw = new Uint8Array(Math.min(RAW_LIMIT, Math.max(0, dataBytes - done)));
  source.readAt(raw, offset + LIBVIRT_HEADER_BYTES + done);
  return fields.bytes("padding", dataBytes - done, raw, "NUL, and room for a longer XML").lines;
}
