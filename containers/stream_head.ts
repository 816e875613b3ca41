/**
 * What must be known of a file before a machine can load it: where its stream begins and which capabilities both sides must
 * agree about. Only the beginning is read.
 * @module
 */
import { decode } from "../stream/decode.ts";
import { StreamError } from "../stream/errors.ts";
import { fileSource } from "./file_source.ts";
import type { LibvirtSave } from "./libvirt.ts";
import { locate } from "./locate.ts";
import type { Compression } from "./magic.ts";

/** Beginning of a stream in a file. */
export interface StreamHead {
  /** Offset of QEVM in the file. */
  readonly streamOffset: number;
  /** What the stream is packed with; a machine cannot read such a file itself. */
  readonly compressions: readonly Compression[];
  /** Versioned machine name; undefined when the stream does not say. */
  readonly machine: string | undefined;
  /** "mapped-ram", "x-ignore-shared". */
  readonly capabilities: readonly string[];
  /** Header of a libvirt save image. */
  readonly libvirt?: LibvirtSave;
}

/**
 * Look at the beginning of a saved guest.
 * @throws {TransportError} when the file cannot be opened
 * @throws {StreamError} when it does not begin as a stream
 */
export async function readStreamHead(path: string, offset = 0): Promise<StreamHead> {
  const file = fileSource(path);
  try {
    const found = await locate(file, { offset });
    try {
      if (found.format === "qcow2") {
        throw new StreamError("Cannot load a qcow2 image as a stream", {
          channel: "main",
          offset,
          found: "an image with internal snapshots",
          expected: "a stream; loadvm loads those",
        });
      }
      let machine: string | undefined;
      let capabilities: readonly string[] = [];
      for await (const record of decode(found.source)) {
        if (record.kind === "header") continue;
        if (record.kind === "configuration") ({ machine, capabilities = [] } = record);
        break;
      }
      const { streamOffset, compressions, libvirt } = found;
      return { streamOffset, compressions, machine, capabilities, ...(libvirt ? { libvirt } : {}) };
    } finally {
      found.close();
    }
  } finally {
    file.close();
  }
}
