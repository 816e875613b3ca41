/**
 * A destination's connections over sockets when multifd is on: one main channel and `multifd-channels` others, in any order.
 *
 *     first 4 bytes QEVM   the main channel
 *     anything else        a multifd channel: its 64-byte first message says which
 *
 * Loading begins when all are there. QEMU waits for them for ever, and freezes while one has sent half of its first message;
 * here the others must come, whole, within half a minute of the first. First messages count in the order of the connections, as
 * there, but for one that stays silent.
 * Source: QEMU migration/migration.c migration_ioc_process_incoming, migration/multifd.c multifd_recv_new_channel.
 * @module
 */
import { QEMU_VM_FILE_MAGIC } from "../stream/constants.ts";
import { StreamError, TransportError } from "../stream/errors.ts";
import { decodeMultifdInit, MULTIFD_INIT_BYTES } from "../stream/multifd.ts";
import { closeChannels } from "./further_channels.ts";
import type { Channel, Listener } from "./transport.ts";

/** Milliseconds all connections have from the first on. */
const CONNECT_MS = 30_000;
/** Milliseconds one that is whole waits for those that connected before it. */
const TURN_MS = 200;

/** What is expected of the connections. */
export interface MultifdAcceptOptions {
  /** Value of `multifd-channels`. */
  readonly count: number;
  /** Of this VM, 16 bytes; left out: that of the first channel. */
  readonly uuid?: Uint8Array;
  /** Told of connections too many. */
  report(line: string): void;
  /** Instead of 30 s. */
  readonly connectMs?: number;
}

/** A channel was refused: what QEMU prints, and what `error-desc` has, if anything. */
export class AcceptError extends TransportError {
  /** @param description as `error-desc` has it */
  constructor(message: string, readonly description?: string) {
    super(message);
  }
}

/**
 * Accept until all are there. Further connections are closed, as long as the listener is open.
 * @returns the main channel, then the others in the order of their numbers
 * @throws {AcceptError} when one is refused or does not come: all are closed then
 * @throws what `accept` throws
 */
export async function acceptMultifd(listener: Listener, options: MultifdAcceptOptions): Promise<Channel[]> {
  const all: Channel[] = [];
  const slots = new Array<Channel | undefined>(1 + options.count).fill(undefined);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let uuid = options.uuid;
  let received = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let over = false;

  const place = async (channel: Channel, earlier: Promise<unknown>) => {
    const magic = await peekExactly(channel, 4);
    if (new DataView(magic.buffer, magic.byteOffset).getUint32(0) === QEMU_VM_FILE_MAGIC && !slots[0]) {
      slots[0] = channel;
      return;
    }
    const head = await peekExactly(channel, MULTIFD_INIT_BYTES).finally(() => inTurn(earlier));
    const name = `channel ${received}`;
    const bytes = head.slice(0, MULTIFD_INIT_BYTES);
    const init = decodeMultifdInit(bytes, name, { channels: options.count, ...(uuid ? { uuid } : {}) });
    uuid ??= init.uuid;
    if (slots[1 + init.id]) {
      const text = `multifd: received id '${init.id}' already setup'`;
      throw new AcceptError(text, text);
    }
    slots[1 + init.id] = channel;
    received++;
    for (let done = 0; done < bytes.length;) done += await channel.read!(bytes.subarray(done));
  };
  const refuse = (error: Error) => {
    if (!(error instanceof StreamError) || !error.qemu.length) return reject(error);
    reject(
      new AcceptError(
        `failed to receive packet via multifd channel ${received}: ${error.qemu[0]}`,
        error.qemu[0],
      ),
    );
  };
  const waiting = () => {
    const missing = slots.filter((slot) => !slot).length;
    const { connectMs = CONNECT_MS } = options;
    const what = slots[0] ? `${missing} of ${options.count} multifd channels have` : "the main channel has";
    const text = `multifd: ${what} not come within ${connectMs / 1000} s of the first connection`;
    reject(new AcceptError(text, text));
  };
  let latest: Promise<unknown> = Promise.resolve();
  const accepting = async () => {
    for (;;) {
      const channel = await listener.accept();
      if (over || all.length > options.count) {
        options.report("Extra incoming migration connection; ignoring");
        channel.abort();
        Promise.resolve(channel.close()).catch(() => {});
        continue;
      }
      timer ??= setTimeout(waiting, options.connectMs ?? CONNECT_MS);
      all.push(channel);
      latest = place(channel, latest).then(() => slots.every(Boolean) && resolve(), refuse);
    }
  };
  accepting().catch((error) => over || reject(error));
  try {
    await promise;
    return slots as Channel[];
  } catch (error) {
    for (const channel of all) channel.abort();
    await closeChannels(all);
    throw error;
  } finally {
    over = true;
    clearTimeout(timer);
  }
}

async function inTurn(earlier: Promise<unknown>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  await Promise.race([earlier, new Promise((resolve) => timer = setTimeout(resolve, TURN_MS))]);
  clearTimeout(timer);
}

async function peekExactly(channel: Channel, length: number): Promise<Uint8Array> {
  if (!channel.peek) throw new TypeError(`Cannot look ahead into a ${channel.noun}`);
  const head = await channel.peek(length);
  if (head.length >= length) return head;
  const text = "Unexpected end-of-file before all data were read";
  throw new StreamError("Cannot read first message of a channel", {
    channel: channel.name,
    offset: 0,
    found: `${head.length} bytes before the end`,
    expected: String(length),
    qemu: [text],
  });
}
