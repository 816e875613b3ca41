/**
 * Connected sockets and listening ones, whatever the family.
 * @module
 */
import type { FdListener } from "../core/fd_sockets.ts";
import type { Channel, Listener, MigrateAddress } from "../core/transport.ts";
import { errnoText } from "../core/errno.ts";
import { TransportError } from "../stream/errors.ts";
import { closedError } from "./listener.ts";
import { numberedChannel } from "./numbered.ts";
import { StreamChannel } from "./stream_channel.ts";

/** What a {@link SocketListener} stands on. */
export interface Accepting {
  accept(): Promise<StreamChannel>;
  close(): void;
}

/** Deno's listener. */
export function denoListener(listener: Deno.Listener): Accepting {
  return { accept: async () => socketChannel(await listener.accept()), close: () => listener.close() };
}

/** One whose sockets are had by number. */
export function numberedListener(listener: FdListener): Accepting {
  return { accept: async () => numberedChannel(await listener.accept()), close: () => listener.close() };
}

/** A channel over a connected socket. Bytes travel both ways. */
export function socketChannel(conn: Deno.Conn, name?: string): StreamChannel {
  let open = true;
  const close = () => {
    if (open) conn.close();
    open = false;
  };
  return new StreamChannel(
    {
      async pull(view) {
        return await conn.read(view) ?? 0;
      },
      async push(view) {
        for (let done = 0; done < view.length;) done += await conn.write(view.subarray(done));
      },
      abort: close,
      close,
    },
    "socket",
    true,
    name,
  );
}

/** A listening socket: one `accept` for each channel the migration needs. */
export class SocketListener implements Listener {
  readonly listening = true;
  #open = true;

  /** @param cleanup called once by `close` */
  constructor(
    private readonly listener: Accepting,
    readonly addresses: readonly MigrateAddress[],
    private readonly cleanup: () => void = () => {},
  ) {}

  async accept(): Promise<Channel> {
    if (!this.#open) throw closedError();
    try {
      return await this.listener.accept();
    } catch (error) {
      if (!this.#open) throw closedError();
      throw new TransportError(`Unable to accept connection: ${errnoText(error)}`, { cause: error });
    }
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.cleanup(); // a socket that is open still keeps its inode's number from others
    this.listener.close();
  }
}
