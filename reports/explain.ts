/**
 * `explain`: every byte of a migration stream, from first to last: where it stands, what it is, and where the rule is written.
 *
 *     for await (const { offset, length, path, value, meaning, source } of explainImage("vm.sav")) ...
 *
 * A fold over the decoder's records. The lengths of all lines add up to the file; what nobody claims and what follows a fault
 * is `opaque`. Memory stays bounded, and a mapped-ram file is entered anywhere without its pages being read.
 * @module
 */
import type { OpenImageOptions } from "../containers/image.ts";
import type { Located } from "../containers/locate.ts";
import { peek, renamed } from "../containers/sources.ts";
import type { StreamError } from "../stream/errors.ts";
import type { Tables } from "../stream/tables.ts";
import { CHANNEL_HEAD_BYTES, kindOfFile, type KnownChannel } from "./channel_kind.ts";
import { FurtherFiles, ownLines } from "./explain_further.ts";
import type { ExplainLine } from "./explain_lines.ts";
import { Explanation } from "./explain_main.ts";
import type { ExplainedRam } from "./explain_seen.ts";
import { type InputOptions, openSeekable, type ReportInput } from "./input.ts";

export type { ExplainedRam } from "./explain_seen.ts";
export type { ExplainLine } from "./explain_lines.ts";
export type { ReportInput } from "./input.ts";

/** A byte of a further channel. */
export interface ChannelPlace {
  /** Index in the list of channels that were given. */
  readonly channel: number;
  /** In its file. */
  readonly offset: number;
}

/** A further channel whose lines begin. */
export interface ExplainedChannel extends KnownChannel {
  /** Path, as it was given; of bytes and sources "channel 0", or the source's own name. */
  readonly name: string;
}

/** What to explain. */
export interface ExplainOptions extends InputOptions {
  /** Further channels of a multifd or postcopy-preempt migration, explained in turn behind the main one. */
  readonly channels?: OpenImageOptions["channels"];
  /** Begin with the line that holds this offset of the file, or of a further channel. */
  readonly at?: number | ChannelPlace;
  /** Most lines. Default: all. */
  readonly limit?: number;
  /** Only sections whose idstr is this, or ends in "/" and this; of further channels what carries their state. */
  readonly section?: string;
  /** Only what holds this page: the other way round, from RAM to the file. */
  readonly page?: { readonly block: string; readonly offset: number };
  /** A line for each page record, or one for each run of a kind. Default "each". Slots of mapped-ram come in runs always. */
  readonly pages?: "each" | "runs";
  /** Codecs of plugins. */
  readonly tables?: Partial<Tables>;
  /** Told what is wrong with a channel; the lines before it have been given then. */
  readonly onFault?: (fault: StreamError) => void;
  /** Told before the first line of each further channel; of an empty one, too, where nothing else was asked for. */
  readonly onChannel?: (channel: ExplainedChannel) => void;
  /** Told when all was gone through. */
  readonly onEnd?: (ram: ExplainedRam) => void;
  /** Told of each record's end, and waited for. `total` is unknown on a pipe. */
  readonly onProgress?: (bytes: number, total: number | undefined) => void | Promise<void>;
}

/**
 * Explain a stream, line after line.
 * @throws {TransportError} when the file cannot be opened or read; what is wrong with the stream is in the lines
 * @throws {StreamError} when a container around the stream is broken
 */
export async function* explainImage(
  input: ReportInput,
  options: ExplainOptions = {},
): AsyncGenerator<ExplainLine> {
  let left = options.limit ?? Infinity;
  if (left <= 0) return;
  const { channels = [], at } = options;
  if (typeof at === "object" && !(at.channel < channels.length)) {
    throw new RangeError(`Cannot begin in channel ${at.channel}: ${channels.length} are given`);
  }
  const further = new FurtherFiles(channels);
  let located: Located | undefined;
  try {
    located = await openSeekable(input, options);
    for await (const line of allLines(located, further, options)) {
      yield line;
      if (--left <= 0) return;
    }
  } finally {
    located?.close();
    further.close();
  }
}

async function* allLines(
  located: Located,
  further: FurtherFiles,
  options: ExplainOptions,
): AsyncGenerator<ExplainLine> {
  const { head, source } = await peek(located.source, CHANNEL_HEAD_BYTES);
  const own = located.format === "qemu-stream" && further.count === 0 ? kindOfFile(head) : undefined;
  if (own) {
    const name = own.id === undefined ? own.kind : `${own.kind} ${own.id}`;
    return yield* ownLines(renamed(source, name), own, options);
  }
  const size = source.size?.(), beside = further.bytes;
  const total = size === undefined || beside === undefined ? undefined : size + beside;
  const main = new Explanation({ ...located, source }, options, total);
  let count = 0;
  for await (const line of main.lines()) {
    count++;
    yield line;
  }
  // nothing of the main channel is at a place behind its end, whatever follows in other files
  const beyond = typeof options.at === "number" && options.at > 0 && count === 0;
  if (!beyond) yield* further.lines(main.known, options, main.end, total);
  options.onEnd?.(main.seen());
}
