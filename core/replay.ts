/**
 * A captured migration sent again: each channel's bytes to a destination, as its source sent them. What the destination
 * answers is read and counted; nobody here understands it. In a postcopy the pages it asks for come when their turn comes.
 *
 *     connect    main first with its head, which says what it is; then the others; nothing more before all of them stand:
 *                a destination without multifd would take main for the whole guest, and run it without its memory
 *     send       all at once
 *     linger     until the destination hangs up
 *
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
/** ms in which a destination takes nothing before it is given up. */
const STALL_MS = 30_000;
/** ms a destination has to close its door to channels it does not expect. */
const SETTLE_MS = 100;
/** Bytes of main that go out first: magic and version. */
const HEAD = 8;

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
  /** ms in which the destination may take nothing before it is given up. Default 30000. */
  readonly stallMs?: number;
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
  /** The captured stream goes to its end; false: no destination can make a guest of it. */
  readonly ended: boolean;
}

/**
 * Send a capture.
 * @throws {CommandError} {TransportError} when nobody is there, the capture cannot be read, or the destination hangs up
 * before everything was sent
 */
export async function replay(options: ReplayOptions): Promise<Replayed> {
  const { directory, transports, signal, onProgress } = options;
  const { transport, address } = parseUri(options.uri, transports);
  const { channels, ended = true } = readCapture(directory);
  if (channels.length === 0) throw new CommandError(`Cannot replay '${directory}': nothing was recorded`);
  if (channels.length > 1 && transport.kind !== "socket") {
    throw new CommandError("Migration requires multi-channel URIs (e.g. tcp)");
  }
  const nothing = { takeNamedFd: () => undefined, fdset: () => undefined, warn: () => {}, report: () => {} };
  const total = channels.reduce((sum, { bytes }) => sum + bytes, 0);
  const senders: Sender[] = [];
  const watchdog = new Watchdog(options.stallMs ?? STALL_MS, () => stop());
  let sent = 0;
  const progress = (bytes: number) => {
    watchdog.fed();
    onProgress?.(sent += bytes, total);
  };
  const stop = () => senders.forEach((one) => one.channel.abort());
  signal?.addEventListener("abort", stop, { once: true });
  try {
    const ordered = channels.toSorted((a, b) => Number(b.kind === "main") - Number(a.kind === "main"));
    for (const captured of ordered) {
      signal?.throwIfAborted();
      let channel: Channel;
      try {
        channel = await transport.connect(address, nothing);
      } catch (error) {
        throw unexpected(captured, channels.length, error as Error, senders.length);
      }
      const sender = new Sender(captured, join(directory, captured.file), channel, progress);
      senders.push(sender);
      if (senders.length === 1) await sender.send(HEAD);
    }
    const others = senders.slice(1);
    const gone = others.length > 0 && await within(Promise.any(others.map((one) => one.hungUp)), SETTLE_MS);
    if (gone) throw unexpected(ordered[1], channels.length, new Error("the destination hung up"), 1);
    await Promise.all(senders.map((one) => one.send(Infinity)));
    watchdog.stop();
    const accepted = await within(Promise.all(senders.map((one) => one.hungUp)), options.lingerMs ?? LINGER_MS);
    const answered = senders.reduce((sum, one) => sum + one.answered, 0);
    return { bytes: total, answered, accepted, ended };
  } catch (error) {
    if (watchdog.barked) {
      throw new TransportError(
        `Cannot replay '${directory}': the destination took nothing for ${watchdog.ms} ms at 0x${
          sent.toString(16)
        } of ` +
          `0x${total.toString(16)} bytes; is it set up for ${channels.length} channel${
            channels.length > 1 ? "s" : ""
          }?`,
        { cause: error },
      );
    }
    throw error;
  } finally {
    watchdog.stop();
    signal?.removeEventListener("abort", stop);
    await Promise.allSettled(senders.map((one) => one.channel.close()));
  }
}

/** A channel could not be opened; behind the first it is the destination that does not expect it. */
function unexpected({ file }: CapturedChannel, count: number, error: Error, open: number): Error {
  if (open === 0) return error;
  return new TransportError(
    `Cannot replay '${file}', one of ${count} channels: ${error.message}; is the destination set up for that many?`,
    { cause: error },
  );
}

/** Calls out when it is not fed for some time. */
class Watchdog {
  barked = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(readonly ms: number, private readonly bark: () => void) {
    this.fed();
  }

  fed(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.barked = true;
      this.bark();
    }, this.ms);
  }

  stop(): void {
    clearTimeout(this.#timer);
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
  /** Resolves when the destination hangs up; never rejects. */
  readonly hungUp: Promise<void>;
  answered = 0;
  #at = 0;

  constructor(
    private readonly captured: CapturedChannel,
    private readonly path: string,
    readonly channel: Channel,
    private readonly progress: (bytes: number) => void,
  ) {
    this.hungUp = this.#listen();
  }

  /** Send on, up to this place in the file. @throws {TransportError} where the destination hung up, or the file ends */
  async send(end: number): Promise<void> {
    const { bytes } = this.captured;
    let fd: number;
    try {
      fd = fs.openSync(this.path, "r");
    } catch (error) {
      throw new TransportError(`Could not open '${this.path}': ${errnoText(error)}`, { cause: error });
    }
    try {
      const to = Math.min(end, bytes);
      const buffer = new Uint8Array(Math.min(BUFFER, Math.max(0, to - this.#at)));
      while (this.#at < to) {
        const got = fs.readSync(fd, buffer, 0, Math.min(buffer.length, to - this.#at), this.#at);
        if (got === 0) {
          throw new TransportError(`Cannot replay '${this.path}': it ends at ${hex(this.#at)} of ${hex(bytes)}`);
        }
        await this.#write(buffer.subarray(0, got));
        this.#at += got;
        this.progress(got);
      }
    } finally {
      fs.closeSync(fd);
    }
  }

  async #write(piece: Uint8Array): Promise<void> {
    try {
      await this.channel.write!(piece);
    } catch (error) {
      const place = `${hex(this.#at)} of ${hex(this.captured.bytes)}`;
      throw new TransportError(
        `Cannot replay '${this.path}': the destination hung up at ${place}: ${(error as Error).message}`,
        { cause: error },
      );
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

const hex = (value: number) => `0x${value.toString(16)}`;
