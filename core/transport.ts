/**
 * What a transport is: an address syntax and a way to open channels. The rest of the program asks the channel
 * what it can do and never looks at the scheme; the two checks QEMU makes on the *kind of address*
 * (migration/migration.c migration_channels_and_transport_compatible) use {@link Transport.kind}.
 * @module
 */
import type { ByteSink, ByteSource } from "../stream/channel.ts";

/** QAPI MigrateAddress: `{transport: "socket", type: "inet", host, port}`, `{transport: "file", filename, offset}` ... */
export type MigrateAddress =
  | { transport: "socket"; type: "inet"; host: string; port: string; [option: string]: unknown }
  | { transport: "socket"; type: "unix"; path: string; [option: string]: unknown }
  | { transport: "socket"; type: "vsock"; cid: string; port: string }
  | { transport: "socket"; type: "fd"; str: string }
  | { transport: "exec"; args: string[] }
  | { transport: "rdma"; host: string; port: string; [option: string]: unknown }
  | { transport: "file"; filename: string; offset: number | bigint }
  | { transport: "buffer"; name: string };

/** One open way for bytes. Reading and writing are absent where the channel cannot. */
export interface Channel extends Omit<ByteSource, "read">, Omit<ByteSink, "name" | "start" | "write"> {
  /** "main", "multifd 0": stands in every error. */
  readonly name: string;
  /** Bytes in order; see ByteSource. */
  readonly read?: ByteSource["read"];
  /** Bytes in order, all of the view; see ByteSink. */
  readonly write?: ByteSink["write"];
  /** Position can be chosen: mapped-ram may use it (QIO_CHANNEL_FEATURE_SEEKABLE). */
  readonly seekable: boolean;
  /** Bytes can travel against the stream's direction. */
  readonly returnPath: boolean;
  /** The word QEMU uses for the channel in I/O errors: "file", "command", "socket" (`Unable to write to file: ...`). */
  readonly noun: string;
  /**
   * For channels on a regular file: what a Worker needs to open a handle of its own. `flags` are those of open(2) the
   * channel was opened with; left out where only the path is known.
   */
  readonly file?: { readonly path: string; readonly flags?: number };
  /**
   * For channels on a socket whose number is known: lets another thread work on it. Nothing may be read or written here
   * any more; `abort` wakes whoever waits there.
   * @returns the number, and what to call once the thread is done; undefined when the channel is closed
   */
  lendSocket?(): { readonly fd: number; readonly done: () => void } | undefined;
  /**
   * Look at the next bytes without taking them; only where channels are told apart by how they begin.
   * @returns at least `length` bytes, fewer only at the end
   */
  peek?(length: number): Promise<Uint8Array>;
  /** Cut or extend the file to `length` bytes; only where seekable. */
  truncate?(length: number): void;
  /** Wake whoever is blocked on this channel; later reads and writes fail. Used by `migrate_cancel`. */
  abort(): void;
  /** Finish: flush, close, and for a command wait until it ends. */
  close(): void | Promise<void>;
}

/** A descriptor the session holds: a number this process has open, plus how it was opened. */
export interface HeldFd {
  /** The number this process knows it by. */
  readonly fd: number;
  /** Access mode and O_DIRECT of the open file (`O_WRONLY`, `O_RDONLY`, `O_RDWR`, `O_DIRECT` bits). */
  readonly flags: number;
  /** What it was opened from, where that is known. */
  readonly path?: string;
  /** Free text given with `add-fd`. */
  readonly opaque?: string;
  /** Keep the number open while a channel works on it, even if it is removed meanwhile. Returns the end of that use. */
  use?(): () => void;
}

/** What a transport may ask of the session. */
export interface TransportContext {
  /** Take (and forget) the descriptor registered with `getfd`. Undefined when there is none. */
  takeNamedFd(name: string): HeldFd | undefined;
  /** Descriptors of fdset N, newest first. Undefined when there is no such set. */
  fdset(id: number): readonly HeldFd[] | undefined;
  /** A remark for the person at the monitor: printed there with `warning: ` in front. */
  warn(text: string): void;
  /** A line QEMU would write to its stderr. */
  report(text: string): void;
  /**
   * Further channels a destination wants (multifd): a file is opened once more for each, before the command returns,
   * and `accept` gives them after the main one. `direct`: with O_DIRECT.
   */
  readonly extra?: { readonly count: number; readonly direct: boolean };
}

/** A destination waiting for its source. */
export interface Listener {
  /** Resolves when the peer is there (for a file: at once; for a command: at its first byte). Rejects when closed. */
  accept(): Promise<Channel>;
  /** Addresses for `socket-address` in query-migrate. */
  readonly addresses?: readonly MigrateAddress[];
  /** True for a listening socket: then multifd and postcopy-preempt can no longer be switched on. */
  readonly listening?: boolean;
  /** Stop waiting; a pending `accept` rejects. */
  close(): void;
}

/** One way to reach the other side. Errors are {@link TransportError} or {@link CommandError} with QEMU's text. */
export interface Transport {
  /** What stands before the colon in a URI: "file", "unix". */
  readonly scheme: string;
  /** One line for people: the address and what it reaches. */
  readonly help: string;
  /** Which MigrateAddress values are this transport's. */
  owns(address: MigrateAddress): boolean;
  /** QEMU's classes for the compatibility check. */
  readonly kind: "socket" | "exec" | "fd" | "rdma" | "file" | "buffer";
  /**
   * The address behind `scheme:`. Nothing is opened.
   * @throws {CommandError} with QEMU's syntax message
   */
  parse(rest: string): MigrateAddress;
  /** The URI of an address: `parse` of it gives an equal address. */
  format(address: MigrateAddress): string;
  /**
   * Open for a source. An error thrown at once is the command's error; a rejected promise comes later, as status
   * `failed` (sockets connect in the background).
   */
  connect(address: MigrateAddress, context: TransportContext): Channel | Promise<Channel>;
  /**
   * Open once more what `connect` opened, for a further channel of a source (multifd). `direct`: with O_DIRECT. Absent
   * where there is only one way to the other side.
   */
  connectExtra?(
    address: MigrateAddress,
    context: TransportContext,
    options: { readonly direct: boolean },
  ): Channel | Promise<Channel>;
  /** Open for a destination. An error thrown at once is the command's error. */
  listen(address: MigrateAddress, context: TransportContext): Listener;
}
