/**
 * The files beside the main channel in turn, each line with the name of its file; and a file that is a further channel itself.
 * @module
 */
import { unpackChannel } from "../containers/channel_file.ts";
import { type FileSource, fileSource } from "../containers/file_source.ts";
import type { OpenImageOptions } from "../containers/image.ts";
import { peek } from "../containers/sources.ts";
import { bufferSource, type ByteSource } from "../stream/channel.ts";
import { MULTIFD_CHANNEL_LIMIT } from "../stream/multifd.ts";
import { CHANNEL_HEAD_BYTES, kindOfGiven, type KnownChannel } from "./channel_kind.ts";
import type { ExplainedChannel, ExplainOptions } from "./explain.ts";
import { ChannelExplanation, type KnownRam } from "./explain_channel.ts";
import type { ExplainLine } from "./explain_lines.ts";

/** Files of further channels, open. */
export class FurtherFiles {
  readonly #files: { readonly name: string; readonly source: ByteSource; readonly close: () => void }[] = [];

  /** Open. @throws {TransportError} when a file cannot be opened */
  constructor(inputs: NonNullable<OpenImageOptions["channels"]>) {
    if (inputs.length > MULTIFD_CHANNEL_LIMIT) {
      throw new RangeError(`Cannot open ${inputs.length} channels: expected at most ${MULTIFD_CHANNEL_LIMIT}`);
    }
    try {
      inputs.forEach((input, i) => this.#files.push(open(input, `channel ${i}`)));
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** How many there are. */
  get count(): number {
    return this.#files.length;
  }

  /** Bytes of all of them; undefined where that is not known of one. */
  get bytes(): number | undefined {
    return this.#files.reduce<number | undefined>((sum, { source }) => {
      const size = source.size?.();
      return sum === undefined || size === undefined ? undefined : sum + size;
    }, 0);
  }

  /**
   * Every byte of every one.
   * @param done  bytes gone through before
   * @param total bytes of everything, where that is known
   */
  async *lines(
    known: KnownRam,
    options: ExplainOptions,
    done: number,
    total: number | undefined,
  ): AsyncGenerator<ExplainLine> {
    const { at, onProgress } = options;
    const [first, from] = typeof at === "object" ? [at.channel, at.offset] : [0, 0];
    for (let i = first; i < this.#files.length; i++) {
      const { name, source: given } = this.#files[i];
      using unpacked = disposable(await unpackChannel(given));
      const seen = await peek(unpacked.source ?? given, CHANNEL_HEAD_BYTES);
      const channel: ExplainedChannel = { name, ...kindOfGiven(seen.head, name) };
      let told = false;
      const tell = () => {
        if (!told) options.onChannel?.(channel);
        told = true;
      };
      if (channel.kind === "empty" && options.section === undefined && !options.page) tell();
      const explanation = explained(seen.source, known, options, i === first ? from : 0, async (bytes) => {
        await onProgress?.(done + bytes, total);
      });
      for await (const line of explanation.lines(channel.kind)) {
        tell();
        yield { ...line, channel: name };
      }
      done += explanation.end;
    }
  }

  /** Give the files back. */
  close(): void {
    for (const { close } of this.#files) close();
  }
}

function disposable(source: FileSource | undefined) {
  return { source, [Symbol.dispose]: () => source?.close() };
}

function open(input: NonNullable<OpenImageOptions["channels"]>[number], nameless: string) {
  if (typeof input === "string") {
    const source = fileSource(input, { name: input });
    return { name: input, source, close: () => source.close() };
  }
  const source = input instanceof Uint8Array ? bufferSource(input, { name: nameless }) : input;
  return { name: source.name, source, close: () => {} };
}

/** Lines of a file that is a further channel itself: nothing is known of RAM but what it says. */
export async function* ownLines(
  source: ByteSource,
  { kind }: KnownChannel,
  options: ExplainOptions,
): AsyncGenerator<ExplainLine> {
  const { at, onProgress, onEnd } = options;
  const known = { blocks: [], complete: false, pageSize: undefined };
  const size = source.size?.();
  const explanation = explained(source, known, options, typeof at === "number" ? at : 0, async (bytes) => {
    await onProgress?.(bytes, size);
  });
  yield* explanation.lines(kind);
  onEnd?.({ others: kind === "multifd" ? "multifd" : "postcopy-preempt" });
}

function explained(
  source: ByteSource,
  known: KnownRam,
  { pages, page, section, onFault }: ExplainOptions,
  from: number,
  onStep: (bytes: number) => Promise<void>,
): ChannelExplanation {
  const wish = {
    from,
    runs: pages === "runs",
    ...(page ? { page } : {}),
    ...(section !== undefined ? { section } : {}),
  };
  return new ChannelExplanation(source, known, wish, { onFault, onStep });
}
