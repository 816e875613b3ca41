/**
 * Channels beside the main one: with multifd there are `multifd-channels` of them.
 *
 *                                   opens                     flags      with direct-io
 *     source, mapped-ram            the file again            write      0x1  0x4001
 *     destination, mapped-ram       the file again            read       0x0  0x4000
 *     source, sockets               the same address again
 *     destination, sockets          accepts as many
 *
 * For a descriptor set with direct-io a second, O_DIRECT descriptor has to be there. QEMU 10.0 ends itself when a source
 * finds out that it is not; here the migration fails. Source: QEMU migration/file.c (file_send_channel_create,
 * file_create_incoming_channels), migration/multifd.c (multifd_send_setup).
 * @module
 */
import { TransportError } from "../stream/errors.ts";
import type { Destination } from "./reach.ts";
import type { Channel, Listener, TransportContext } from "./transport.ts";

/** Milliseconds each channel of a source has to be connected. */
const CONNECT_MS = 30_000;

/** What the number of channels depends on. */
export interface FurtherChannelsContext {
  /** Is the capability on? */
  on(capability: string): boolean;
  /** Value of a parameter. */
  parameter(name: string): unknown;
}

/** How many channels a migration has beside the main one, and whether they bypass the page cache. */
export function furtherChannels(
  settings: FurtherChannelsContext,
): { readonly count: number; readonly direct: boolean } {
  if (!settings.on("multifd")) return { count: 0, direct: false };
  return {
    count: Number(settings.parameter("multifd-channels")),
    direct: settings.on("mapped-ram") && settings.parameter("direct-io") === true,
  };
}

/**
 * Open a source's further channels, one after the other.
 * @param connectMs milliseconds each has
 * @returns in the order of their numbers; they are the caller's
 * @throws {CommandError} {TransportError} when one cannot be opened: the others are closed then; the signal's reason; for
 * TLS over sockets, also where there are no further channels
 */
export async function openFurtherChannels(
  { transport, address }: Destination,
  settings: FurtherChannelsContext,
  context: TransportContext,
  signal: AbortSignal,
  connectMs: number = CONNECT_MS,
): Promise<Channel[]> {
  const { count, direct } = furtherChannels(settings);
  const channels: Channel[] = [];
  const tls = missingTls(settings);
  if (tls) throw new TransportError(tls);
  if (!transport.connectExtra) return channels;
  try {
    while (channels.length < count) {
      const connecting = transport.connectExtra(address, context, { direct });
      const late = `multifd: channel ${channels.length} was not connected within ${connectMs / 1000} s`;
      channels.push(connecting instanceof Promise ? await inTime(connecting, signal, connectMs, late) : connecting);
      signal.throwIfAborted();
    }
  } catch (error) {
    await closeChannels(channels);
    throw error;
  }
  return channels;
}

/**
 * What a migration with `tls-creds` fails with, whatever it goes over: there are no credentials here, nor a way to make
 * some. Source: QEMU migration/tls.c (migrate_channel_requires_tls_upgrade, migration_tls_get_creds).
 * @returns QEMU's sentence, or undefined when TLS is not asked for
 */
export function missingTls(settings: FurtherChannelsContext): string | undefined {
  const id = settings.parameter("tls-creds");
  return id ? `No TLS credentials with id '${id}'` : undefined;
}

/** Wait for a channel, at most `ms`; one that comes too late is closed. */
async function inTime(
  connecting: Promise<Channel>,
  signal: AbortSignal,
  ms: number,
  late: string,
): Promise<Channel> {
  const { promise, reject } = Promise.withResolvers<never>();
  const give = () => reject(signal.reason);
  const timer = setTimeout(() => reject(new TransportError(late)), ms);
  signal.addEventListener("abort", give, { once: true });
  try {
    return await Promise.race([connecting, promise]);
  } catch (error) {
    connecting.then((channel) => channel.close()).catch(() => {});
    throw error;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", give);
  }
}

/** Take a destination's channels from a listener that has opened them already: the main one comes first. */
export async function acceptOpened(listener: Listener, count: number): Promise<Channel[]> {
  const channels: Channel[] = [];
  try {
    while (channels.length < 1 + count) channels.push(await listener.accept());
  } catch (error) {
    await closeChannels(channels);
    throw error;
  }
  return channels;
}

/** Close channels, whatever each says to that. */
export async function closeChannels(channels: readonly Channel[]): Promise<void> {
  await Promise.allSettled(channels.map(async (channel) => await channel.close()));
}
