/**
 * The stream of a saved guest, for whoever loads it whole.
 *
 * A stream that stands in its file as it is, alone or behind libvirt's header, is named by its offset: it is read best by
 * whoever opens the file. Out of a compressed image, a qcow2 snapshot or a pipe it comes as a source.
 * @module
 */
import type { ByteSource } from "../stream/channel.ts";
import { fileSource } from "./file_source.ts";
import { locate } from "./locate.ts";

/** Where in a file to look. */
export interface FileInside {
  readonly offset: number;
  /** Name or id. */
  readonly snapshot?: string;
}

/** Where the stream of a file is. */
export interface FoundStream {
  /** Offset of QEVM in the file, where the stream stands there as it is. */
  readonly offset?: number;
  /** Gives the stream, where it does not. */
  readonly source?: ByteSource;
  /** Why what packs the stream ended early, once it has. */
  problem(): string | undefined;
  /** Give the file back. */
  close(): void;
}

/**
 * Find the stream in a file, by content.
 * @param place where the stream, or what it is packed in, begins; the internal snapshot of a qcow2 image
 * @throws {TransportError} when the file cannot be opened
 * @throws {StreamError} when a container is broken
 */
export async function findStream(path: string, { offset, snapshot }: FileInside): Promise<FoundStream> {
  const file = fileSource(path);
  try {
    const found = await locate(file, { offset, ...(snapshot !== undefined ? { snapshot } : {}) });
    const close = () => {
      found.close();
      file.close();
    };
    const { source, problem } = found;
    if (found.format === "qcow2" || found.compressions.length > 0 || !file.readAt) return { source, problem, close };
    close();
    return { offset: found.streamOffset, problem, close: () => {} };
  } catch (error) {
    file.close();
    throw error;
  }
}
