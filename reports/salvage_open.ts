/**
 * Files as `salvage` reads them: at any position, whatever they come from, and however damaged what is around the stream.
 * @module
 */
import { unpackChannel } from "../containers/channel_file.ts";
import { type FileSource, fileSource } from "../containers/file_source.ts";
import { spool, startAt } from "../containers/sources.ts";
import type { ByteSource } from "../stream/channel.ts";
import { StreamError } from "../stream/errors.ts";
import { CHANNEL_HEAD_BYTES, kindOfGiven, type KnownChannel } from "./channel_kind.ts";
import { openSeekable } from "./input.ts";

/** The file of a main channel, open. */
export interface Opened {
  /** With `readAt` and `size`. */
  readonly source: ByteSource;
  /** Domain XML of a libvirt image. */
  readonly xml?: string;
  /** Doubts about the container. */
  readonly notes: readonly string[];
  /** What is wrong with the container: then `source` is the file as it is. */
  readonly broken?: StreamError;
  /** Give the file back. */
  readonly close: () => void;
}

/** The stream in the file; where the container is broken, the file itself. */
export async function openMain(path: string, offset: number): Promise<Opened> {
  try {
    const located = await openSeekable(path, { offset });
    const problem = located.problem();
    const notes = [...located.warnings, ...(problem ? [problem] : [])];
    const { source, libvirt } = located;
    const opened = { notes, ...(libvirt ? { xml: libvirt.xml } : {}) };
    if (source.readAt && source.size) return { ...opened, source, close: () => located.close() };
    const spooled = await spool(source);
    const close = () => {
      spooled.close();
      located.close();
    };
    return { ...opened, source: spooled, close };
  } catch (error) {
    if (!(error instanceof StreamError) || path === "-") throw error;
    const file = fileSource(path);
    return { source: await startAt(file, offset), notes: [], broken: error, close: () => file.close() };
  }
}

/** A further channel, open. */
export interface GivenChannel extends KnownChannel {
  /** With `readAt` and `size`; its name is the file's, as it was given. */
  readonly source: ByteSource;
  readonly close: () => void;
}

/**
 * Open further channels.
 * @throws {TransportError} when a file cannot be opened
 * @throws {StreamError} when one is a main channel
 */
export async function openGiven(files: readonly string[]): Promise<GivenChannel[]> {
  const given: GivenChannel[] = [];
  try {
    for (const name of files) {
      const file = fileSource(name, { name });
      const source = await seekable(file).catch((error) => {
        file.close();
        throw error;
      });
      if (source !== file) file.close();
      const head = new Uint8Array(CHANNEL_HEAD_BYTES);
      const close = () => source.close();
      try {
        given.push({ ...kindOfGiven(head.subarray(0, source.readAt!(head, 0)), name), source, close });
      } catch (error) {
        close();
        throw error;
      }
    }
    return given;
  } catch (error) {
    for (const { close } of given) close();
    throw error;
  }
}

/**
 * What a channel is, beside others: how a damaged one begins says little.
 * @param sentBeside the main channel says that pages went over multifd channels
 */
export function kindBeside({ kind, id }: KnownChannel, count: number, sentBeside: boolean): KnownChannel["kind"] {
  if (sentBeside || count > 1) return "multifd";
  return kind === "multifd" && id === undefined ? "postcopy-preempt" : kind;
}

/** Itself, or a temporary file: of what a pipe gives, or what was packed. */
async function seekable(file: FileSource): Promise<FileSource> {
  return file.readAt ? await unpackChannel(file) ?? file : await spool(file);
}
