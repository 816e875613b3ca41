/**
 * `fd:NAME`: a descriptor given beforehand, used as it stands: not cut, not moved.
 *
 *     out   the name was registered with getfd on the same monitor connection; it is consumed
 *     in    the same, but a name that starts with a digit is the number of a descriptor the process already has
 *
 * Source: QEMU migration/fd.c, monitor/fds.c (monitor_get_fd, monitor_fd_param).
 * @module
 */
import fs from "node:fs";
import { closeHeld, holdNumber } from "../core/fds.ts";
import type { Channel, HeldFd, Listener, MigrateAddress, Transport, TransportContext } from "../core/transport.ts";
import { CommandError } from "../stream/errors.ts";
import { parseFd } from "./fdset.ts";
import { ACCESS_MODE, kindOf } from "./held.ts";
import { heldChannel } from "./held_channel.ts";
import { arrived, arrivesWithFirstByte, ReadyListener } from "./listener.ts";
import { StreamChannel } from "./stream_channel.ts";

type FdAddress = Extract<MigrateAddress, { transport: "socket"; type: "fd" }>;

/** The `fd:` transport. */
export const fdTransport: Transport = Object.freeze<Transport>({
  scheme: "fd",
  help: "fd:NAME  a descriptor registered with getfd; incoming also fd:NUMBER",
  kind: "fd",
  owns: (address) => address.transport === "socket" && address.type === "fd",

  parse(rest) {
    if (rest === "") throw new CommandError("invalid file descriptor address");
    return { transport: "socket", type: "fd", str: rest };
  },

  format: (address) => `fd:${(address as FdAddress).str}`,

  connect(address, context): Channel {
    return open(named((address as FdAddress).str, context), context);
  },

  listen(address, context): Listener {
    const { str } = address as FdAddress;
    if (!/^[0-9]/.test(str)) return waiting(open(named(str, context), context));
    const number = parseFd(str);
    if (number === undefined) throw new CommandError(`Invalid file descriptor number '${str}'`);
    if (kindOf(number) === undefined) {
      warnUnlessStream(number, context);
      return new ReadyListener(); // QEMU does not look whether it is open, and waits for ever
    }
    return waiting(open(holdNumber(number), context));
  },
});

function named(name: string, context: TransportContext): HeldFd {
  const held = context.takeNamedFd(name);
  if (!held) throw new CommandError(`File descriptor named '${name}' has not been found`);
  return held;
}

function open(held: HeldFd, context: TransportContext): Channel {
  warnUnlessStream(held.fd, context);
  const flags = held.flags & (ACCESS_MODE | fs.constants.O_APPEND);
  try {
    return heldChannel(held, { flags, release: () => closeHeld(held) });
  } catch (error) {
    closeHeld(held);
    throw error;
  }
}

function waiting(channel: Channel): Listener {
  if (!(channel instanceof StreamChannel)) return new ReadyListener(arrived(channel));
  // a socket that ends is readable, a pipe that ends is not
  return new ReadyListener(arrivesWithFirstByte(channel, () => channel.noun === "socket"));
}

function warnUnlessStream(fd: number, context: TransportContext): void {
  const kind = kindOf(fd);
  if (kind === "pipe" || kind === "socket") return;
  context.warn("fd: migration to a file is deprecated. Use file: instead.");
}
