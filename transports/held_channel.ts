/**
 * A channel on a descriptor the session holds, whatever stands behind it.
 *
 *     regular file, block device, other   FileChannel, from the descriptor's position on
 *     pipe or socket opened here, 0-2     pipeChannel
 *     pipe or socket inherited            node:net, the one API that takes such a number
 *
 * node:net puts the descriptor into O_NONBLOCK, which others who share it will notice.
 * @module
 */
import fs from "node:fs";
import net from "node:net";
import type { Channel, HeldFd } from "../core/transport.ts";
import { FileChannel } from "./file_channel.ts";
import { canRead, canWrite, isOwn, kindOf, positionOf, reopen } from "./held.ts";
import { pipeChannel } from "./pipe.ts";
import { StreamChannel, type Wire } from "./stream_channel.ts";

const STAGING = 1 << 20;
const { O_APPEND } = fs.constants;

/** How to use the descriptor. */
export interface HeldChannelOptions {
  /** Access mode wanted; O_APPEND in it keeps an appending file appending. */
  readonly flags: number;
  /** Offset in the file to begin at; undefined: where the descriptor stands. */
  readonly offset?: number;
  /** Called once when the channel is closed. */
  readonly release: () => void;
}

/** Make the channel. On an error `release` was not called. */
export function heldChannel(held: HeldFd, options: HeldChannelOptions): Channel {
  const kind = kindOf(held.fd);
  if (kind === "pipe" || kind === "socket") {
    if (isOwn(held.fd)) return pipeChannel(held.fd, options.flags, options.release);
    return inheritedChannel(held.fd, options.flags, kind, options.release);
  }
  return heldFile(held, options);
}

/**
 * A file: shared with its owner where possible, so that the owner finds its position behind the stream.
 *
 * QEMU clears O_APPEND of a descriptor from a set. That cannot be done from here, so such a file is opened once more.
 */
function heldFile(held: HeldFd, { flags, offset, release }: HeldChannelOptions): Channel {
  const position = positionOf(held.fd);
  const shared = isOwn(held.fd) && (held.flags & O_APPEND) === (flags & O_APPEND);
  const fd = shared ? held.fd : reopen(held, flags);
  const appends = (flags & O_APPEND) !== 0;
  return new FileChannel({
    fd,
    flags,
    start: appends ? fs.fstatSync(fd).size : offset ?? position,
    seek: !appends && (offset !== undefined || !shared),
    // a Worker opens the file behind the descriptor, whatever its name is by now
    path: `/proc/self/fd/${fd}`,
    release: () => {
      if (!shared) fs.closeSync(fd);
      release();
    },
  });
}

/** A pipe or socket that only node:net can take; it owns the number from now on. */
function inheritedChannel(fd: number, flags: number, kind: "pipe" | "socket", release: () => void): StreamChannel {
  const readable = canRead(flags);
  const writable = canWrite(flags);
  let ended = false;
  let failed: Error | undefined;
  let filled = 0;
  let taken = 0;
  let wake = () => {};
  const staging = new Uint8Array(STAGING);
  // `onread` is net.connect's option; the constructor takes it as well, its type does not say so
  const options = {
    fd,
    readable,
    writable,
    allowHalfOpen: true,
    onread: {
      buffer: staging,
      callback(n: number) {
        filled = n;
        taken = 0;
        wake();
        return false; // pause until all of it was taken
      },
    },
  };
  const socket = new net.Socket(options as net.SocketConstructorOpts);
  socket.on("error", (error) => {
    failed = error;
    wake();
  });
  socket.on("end", () => {
    ended = true;
    wake();
  });

  const wire: Wire = {
    abort: () => void socket.destroy(),
    async close() {
      if (writable && !socket.destroyed && !failed) {
        await new Promise<void>((resolve) => {
          socket.once("close", resolve);
          socket.end(resolve);
        });
      }
      socket.destroy();
      release();
    },
  };
  if (readable) {
    wire.pull = async (view) => {
      while (taken === filled) {
        if (failed) throw failed;
        if (ended || socket.destroyed) return 0;
        await new Promise<void>((resolve) => {
          wake = resolve;
          socket.resume();
        });
      }
      const n = Math.min(view.length, filled - taken);
      view.set(staging.subarray(taken, taken + n));
      taken += n;
      return n;
    };
  }
  if (writable) {
    wire.push = (view) =>
      new Promise((resolve, reject) => socket.write(view, (error) => error ? reject(error) : resolve()));
  }
  return new StreamChannel(wire, kind === "socket" ? "socket" : "file", kind === "socket");
}
