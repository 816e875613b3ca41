/**
 * A channel over something that flows: a socket, a pipe, a command. It cannot seek, and it can be woken.
 *
 *     wire            what the operating system gives: pull some bytes, push all bytes
 *     StreamChannel   + QEMU's error texts, + abort that wakes whoever waits, + a look at the first byte
 *
 * Nothing is queued: one read and one write may be under way, and `write` resolves when the bytes were taken.
 * Source of the texts: QEMU io/channel-socket.c, io/channel-command.c, io/channel-file.c.
 * @module
 */
import { errnoText, strerror } from "../core/errno.ts";
import type { Channel } from "../core/transport.ts";
import { TransportError } from "../stream/errors.ts";

/** What a {@link StreamChannel} stands on. Errors are those of Deno or Node. */
export interface Wire {
  /** Fill the beginning of `view`; 0 at the end. */
  pull?(view: Uint8Array): Promise<number>;
  /** Take all of `view`. */
  push?(view: Uint8Array): Promise<void>;
  /** Give up at once. Pending calls may fail or hang, nobody looks at them any more. */
  abort(): void;
  close(): void | Promise<void>;
  /** For sockets whose number is known. Then nothing is read ahead, so that it can be handed on. */
  readonly socket?: { readonly fd: number; lend(): (() => void) | undefined };
}

const FIRST = 64 * 1024;

/** A sequential channel. */
export class StreamChannel implements Channel {
  readonly seekable = false;
  readonly read?: (view: Uint8Array) => number | Promise<number>;
  readonly write?: (view: Uint8Array) => Promise<void>;
  readonly lendSocket?: Channel["lendSocket"];
  readonly #wire: Wire;
  /** Rejects of those who wait. */
  readonly #waiting = new Set<(reason: unknown) => void>();
  #dead?: string;
  #closed?: Promise<void>;
  /** Bytes read ahead by {@link peek}. */
  #ahead?: Uint8Array;

  /**
   * @param noun       QEMU's word: "socket", "command", "file"
   * @param returnPath bytes can travel against the stream's direction
   */
  constructor(wire: Wire, readonly noun: string, readonly returnPath: boolean, readonly name: string = "main") {
    this.#wire = wire;
    if (wire.pull) this.read = (view) => this.#read(view);
    if (wire.push) this.write = (view) => this.#write(view);
    if (wire.socket) this.lendSocket = () => this.#lend(wire.socket!);
  }

  /** Wait until there is something to read. @returns false when the end came first */
  async firstByte(): Promise<boolean> {
    return (await this.peek(1)).length > 0;
  }

  /** Wait for the next bytes, at most 64 KiB, and leave them where they are. @returns fewer only at the end */
  async peek(length: number): Promise<Uint8Array> {
    const have = this.#ahead?.length ?? 0;
    if (have >= length) return this.#ahead!;
    const buffer = new Uint8Array(FIRST);
    let filled = have;
    if (this.#ahead) buffer.set(this.#ahead);
    const enough = Math.min(length, FIRST);
    while (filled < enough) {
      const n = await this.#pull(buffer.subarray(filled, this.#wire.socket ? enough : FIRST));
      if (n <= 0) break;
      filled += n;
    }
    this.#ahead = filled > 0 ? buffer.subarray(0, filled) : undefined;
    return buffer.subarray(0, filled);
  }

  /** Reject when the channel is aborted or closed; never resolves. */
  ended(): Promise<never> {
    return this.#run(() => new Promise<never>(() => {}), "read from");
  }

  abort(): void {
    this.#stop("ECANCELED");
    this.#wire.abort();
  }

  close(): Promise<void> {
    this.#closed ??= (async () => {
      this.#stop("EBADF");
      await this.#wire.close();
    })();
    return this.#closed;
  }

  #lend(socket: NonNullable<Wire["socket"]>): { fd: number; done: () => void } | undefined {
    if (this.#dead !== undefined || this.#ahead) return undefined;
    const done = socket.lend();
    return done && { fd: socket.fd, done };
  }

  #read(view: Uint8Array): number | Promise<number> {
    const ahead = this.#ahead;
    if (ahead && this.#dead === undefined) {
      const n = Math.min(ahead.length, view.length);
      view.set(ahead.subarray(0, n));
      this.#ahead = n < ahead.length ? ahead.subarray(n) : undefined;
      return n;
    }
    if (view.length === 0) return 0;
    return this.#pull(view);
  }

  #pull(view: Uint8Array): Promise<number> {
    return this.#run(() => this.#wire.pull!(view), "read from");
  }

  #write(view: Uint8Array): Promise<void> {
    return this.#run(() => this.#wire.push!(view), "write to");
  }

  #run<T>(operation: () => Promise<T>, action: string): Promise<T> {
    const fail = (reason: string) => new TransportError(`Unable to ${action} ${this.noun}: ${reason}`);
    if (this.#dead !== undefined) return Promise.reject(fail(strerror(this.#dead)));
    return new Promise<T>((resolve, reject) => {
      const wake = (reason: unknown) => reject(fail(String(reason)));
      this.#waiting.add(wake);
      operation().then((value) => {
        this.#waiting.delete(wake);
        resolve(value);
      }, (error) => {
        this.#waiting.delete(wake);
        wake(errnoText(error));
      });
    });
  }

  #stop(errno: string): void {
    this.#dead ??= errno;
    for (const wake of this.#waiting) wake(strerror(this.#dead));
    this.#waiting.clear();
  }
}
