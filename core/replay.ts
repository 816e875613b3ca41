/**
 * A captured migration sent again: each channel's bytes to a destination, as its source sent them. What the destination
 * answers is read and counted; nobody here understands it, so a postcopy goes on only as far as it asks for nothing else.
 * @module
 */
import fs from "node:fs";
import { join } from "node:path";
import { CommandError, TransportError } from "../stream/errors.ts";
import { parseUri } from "./address.ts";
import { type CapturedChannel, readCapture } from "./capture.ts";
import { errnoText } from "./errno.ts";
import type { Channel, Transport } from "./transport.ts";

const BUFFER = 1 << 20;
/** ms the destination has to hang up when everything was sent. */
const LINGER_MS = 10_000;

/** How a capture is sent. */
export interface ReplayOptions {
  /** Directory of the capture. */
  readonly directory: string;
  /** Where the destination waits. */
  readonly uri: string;
  /** Schemes it may have. */
  readonly transports: readonly Transport[];
  /** ms to wait for the destination to hang up behind the last byte. Default 10000. */
  readonly lingerMs?: number;
  /** Aborting it hangs up. */
  readonly signal?: AbortSignal;
  /** Told what was sent, of how much. */
  readonly onProgress?: (bytes: number, total: number) => void;
}

/** What came of it. */
export interface Replayed {
  /** Sent. */
  readonly bytes: number;
  /** Answered, on all channels. */
  readonly answered: number;
  /** The destination took everything and hung up by itself. */
  readonly accepted: boolean;
}

/**
 * Send a capture.
 * @throws {CommandError} {TransportError} when nobody is there, the capture cannot be read, or the destination hangs up
 * before everything was sent
 */
export async function replay(options: ReplayOptions): Promise<Replayed> {
  const { directory, transports, signal, onProgress } = options;
  const { transport, address } = parseUri(options.uri, transports);
  const { channels } = readCapture(directory);
  if (channels.length === 0) throw new CommandError(`Cannot replay '${directory}': nothing was recorded`);
  if (channels.length > 1 && transport.kind !== "socket") {
    throw new CommandError("Migration requires multi-channel URIs (e.g. tcp)");
  }
  const nothing = { takeNamedFd: () => undefined, fdset: () => undefined, warn: () => {}, report: () => {} };
  const total = channels.reduce((sum, { bytes }) => sum + bytes, 0);
  const senders: Sender[] = [];
  let sent = 0;
  const progress = (bytes: number) => onProgress?.(sent += bytes, total);
  const stop = () => senders.forEach((one) => one.channel.abort());
  signal?.addEventListener("abort", stop, { once: true });
  try {
    // the main channel first, and its first bytes on the way: a destination tells channels by what they begin with
    const ordered = channels.toSorted((a, b) => Number(b.kind === "main") - Number(a.kind === "main"));
    for (const captured of ordered) {
      signal?.throwIfAborted();
      const channel = await transport.connect(address, nothing);
      senders.push(new Sender(captured, join(directory, captured.file), channel, progress));
    }
    await Promise.all(senders.map((one) => one.sent));
    const accepted = await within(Promise.all(senders.map((one) => one.hungUp)), options.lingerMs ?? LINGER_MS);
    return { bytes: total, answered: senders.reduce((sum, { answered }) => sum + answered, 0), accepted };
  } finally {
    signal?.removeEventListener("abort", stop);
    await Promise.allSettled(senders.map((one) => one.channel.close()));
  }
}

async function within(promise: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<boolean>((resolve) => timer = setTimeout(() => resolve(false), ms));
  const result = await Promise.race([promise.then(() => true), late]);
  clearTimeout(timer);
  return result;
}

/** One channel on its way. */
class Sender {
  /** Rejects when the destination hangs up before. */
  readonly sent: Promise<void>;
  /** Resolves when the destination hangs up; never rejects. */
  readonly hungUp: Promise<void>;
  answered = 0;

  constructor(
    private readonly captured: CapturedChannel,
    private readonly path: string,
    readonly channel: Channel,
    private readonly progress: (bytes: number) => void,
  ) {
    this.sent = this.#send();
    this.sent.catch(() => {});
    this.hungUp = this.#listen();
  }

  async #send(): Promise<void> {
    let fd: number;
    try {
      fd = fs.openSync(this.path, "r");
    } catch (error) {
      throw new TransportError(`Could not open '${this.path}': ${errnoText(error)}`, { cause: error });
    }
    try {
      const buffer = new Uint8Array(BUFFER);
      for (let at = 0; at < this.captured.bytes;) {
        const got = fs.readSync(fd, buffer, 0, buffer.length, at);
        if (got === 0) {
          throw new TransportError(`Cannot replay '${this.path}': it ends at ${at} of ${this.captured.bytes}`);
        }
        await this.channel.write!(buffer.subarray(0, got));
        at += got;
        this.progress(got);
      }
    } finally {
      fs.closeSync(fd);
    }
  }

  async #listen(): Promise<void> {
    if (!this.channel.read) return;
    const buffer = new Uint8Array(BUFFER >> 4);
    try {
      for (let got = await this.channel.read(buffer); got > 0; got = await this.channel.read(buffer)) {
        this.answered += got;
      }
    } catch {
      // reset is a way to hang up
    }
  }
}
