/**
 * A listener whose channels are known from the start: files and descriptors.
 * @module
 */
import type { Channel, Listener, MigrateAddress } from "../core/transport.ts";
import { TransportError } from "../stream/errors.ts";
import type { StreamChannel } from "./stream_channel.ts";

/** What `accept` rejects with after `close`. */
export function closedError(): TransportError {
  return new TransportError("The incoming migration was closed");
}

/** A channel that is not handed out yet. */
export interface Arrival {
  /** Resolves once the channel may be read. */
  ready(): Promise<Channel>;
  /** Nobody will take it: let go of what stands behind it. */
  drop(): void;
}

/** Hands out the given channels one by one, then waits until it is closed. */
export class ReadyListener implements Listener {
  readonly addresses: readonly MigrateAddress[] = [];
  readonly listening = false;
  readonly #arrivals: Arrival[];
  /** Being waited for. */
  readonly #pending = new Set<Arrival>();
  readonly #closed: Promise<never>;
  #reject!: (reason: unknown) => void;
  #isClosed = false;

  constructor(...arrivals: readonly Arrival[]) {
    this.#arrivals = [...arrivals];
    this.#closed = new Promise<never>((_, reject) => this.#reject = reject);
    this.#closed.catch(() => {});
  }

  async accept(): Promise<Channel> {
    if (this.#isClosed) throw closedError();
    const next = this.#arrivals.shift();
    if (!next) return await this.#closed;
    this.#pending.add(next);
    const channel = await Promise.race([next.ready(), this.#closed]);
    this.#pending.delete(next);
    return channel;
  }

  /** Wake `accept` and drop what was not handed out; accepted channels belong to who accepted them. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#reject(closedError());
    for (const arrival of [...this.#pending, ...this.#arrivals]) arrival.drop();
  }
}

/** An arrival that is there at once. */
export function arrived(channel: Channel): Arrival {
  return { ready: () => Promise.resolve(channel), drop: () => void channel.close() };
}

/**
 * An arrival that is there with its first byte.
 * @param atEnd what the end before any byte means; by default nothing: the wait goes on, as QEMU's does
 */
export function arrivesWithFirstByte(channel: StreamChannel, atEnd: () => boolean = () => false): Arrival {
  return {
    async ready() {
      if (await channel.firstByte() || atEnd()) return channel;
      return await channel.ended();
    },
    drop() {
      channel.abort();
      Promise.resolve(channel.close()).catch(() => {});
    },
  };
}
