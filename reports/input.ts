/**
 * What reports read: a file, bytes or a source, with the layers around the stream taken off.
 * @module
 */
import { fileSource } from "../containers/file_source.ts";
import { locate, type Located } from "../containers/locate.ts";
import { spool } from "../containers/sources.ts";
import { bufferSource, type ByteSource } from "../stream/channel.ts";

/** A path, "-" for standard input, bytes, or a source. */
export type ReportInput = string | Uint8Array | ByteSource;

/** Where in it to look. */
export interface InputOptions {
  /** Where the stream, or the container around it, begins in the file. Default 0. */
  readonly offset?: number;
  /** Internal snapshot of a qcow2 image, by name or id. */
  readonly snapshot?: string;
}

/**
 * Find the stream, and where it is packed unpack it into a temporary file: a stream that can be read at any position says
 * more, because the description of its devices stands at its end.
 */
export async function openSeekable(input: ReportInput, options: InputOptions = {}): Promise<Located> {
  const located = await openInput(input, options);
  if (located.compressions.length === 0 || located.source.readAt) return located;
  try {
    const spooled = await spool(located.source);
    const close = () => {
      spooled.close();
      located.close();
    };
    return { ...located, source: spooled, close };
  } catch (error) {
    located.close();
    throw error;
  }
}

/**
 * Find the stream.
 * @returns what was found, to be closed
 * @throws {TransportError} when the file cannot be opened or read
 * @throws {StreamError} when the container around the stream is broken
 */
export async function openInput(input: ReportInput, options: InputOptions = {}): Promise<Located> {
  const { offset = 0, snapshot } = options;
  const file = typeof input === "string" ? fileSource(input) : undefined;
  const source = file ?? (input instanceof Uint8Array ? bufferSource(input) : input as ByteSource);
  try {
    const located = await locate(source, { offset, ...(snapshot !== undefined ? { snapshot } : {}) });
    return {
      ...located,
      close() {
        located.close();
        file?.close();
      },
    };
  } catch (error) {
    file?.close();
    throw error;
  }
}
