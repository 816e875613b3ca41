/**
 * What a file is, by its first bytes; never by its name.
 *
 *     51 45 56 4d                     QEMU migration stream
 *     LibvirtQemudSave / ...Part      libvirt save image
 *     51 46 49 fb                     qcow2
 *     7f 45 4c 46, e_type 4           ELF core
 *     KDUMP   , makedumpfile          kdump-compressed, also flattened
 *     PAGEDU64, PAGEDUMP              Windows crash dump
 *     1f 8b  42 5a 68  fd 37 7a 58 5a 00  89 4c 5a 4f 00  28 b5 2f fd     gzip, bzip2, xz, lzop, zstd
 *
 * @module
 */

/** Programs libvirt and people compress streams with. */
export type Compression = "gzip" | "bzip2" | "xz" | "lzop" | "zstd";

/** What content can be. */
export type Content =
  | "qemu-stream"
  | "libvirt-save"
  | "qcow2"
  | "elf-core"
  | "kdump"
  | "windows-dump"
  | "empty"
  | "unknown"
  | Compression;

/** Bytes that {@link detectContent} wants to see; fewer where the file has fewer. */
export const DETECT_BYTES = 20;

const MAGICS: readonly (readonly [Content, string])[] = [
  ["qemu-stream", "QEVM"],
  ["libvirt-save", "LibvirtQemudSave"],
  ["libvirt-save", "LibvirtQemudPart"],
  ["qcow2", "QFI\xfb"],
  ["gzip", "\x1f\x8b"],
  ["bzip2", "BZh"],
  ["xz", "\xfd7zXZ\0"],
  ["lzop", "\x89LZO\0"],
  ["zstd", "\x28\xb5\x2f\xfd"],
  ["kdump", "KDUMP   "],
  ["kdump", "makedumpfile\0"],
  ["windows-dump", "PAGEDU64"],
  ["windows-dump", "PAGEDUMP"],
];

/** Name what begins with these bytes. */
export function detectContent(head: Uint8Array): Content {
  if (head.length === 0) return "empty";
  for (const [content, magic] of MAGICS) {
    if (head.length >= magic.length && startsWith(head, magic)) return content;
  }
  // e_type stands at 16, in the byte order that EI_DATA at 5 says; 4 is ET_CORE
  if (head.length >= 18 && startsWith(head, "\x7fELF") && head[head[5] === 2 ? 17 : 16] === 4) return "elf-core";
  return "unknown";
}

/** Whether content is one of the compressions. */
export function isCompression(content: Content): content is Compression {
  return ["gzip", "bzip2", "xz", "lzop", "zstd"].includes(content);
}

function startsWith(head: Uint8Array, magic: string): boolean {
  for (let i = 0; i < magic.length; i++) if (head[i] !== magic.charCodeAt(i)) return false;
  return true;
}

/** Whether content is something a stream can be found in. */
export function holdsStream(content: Content): boolean {
  return content === "qemu-stream" || content === "libvirt-save" || content === "qcow2" || isCompression(content);
}
