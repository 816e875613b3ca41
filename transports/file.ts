/**
 * `file:PATH[,offset=SIZE]`, and `file:/dev/fdset/N` for a descriptor the session holds.
 *
 *     out   open(O_CREAT | O_WRONLY, 0600), cut or extend to `offset`, go there; nothing before the offset is touched
 *     in    open(O_RDONLY), go to `offset`; once more for each further channel
 *
 * The path ends at the first `,offset=`; other commas belong to it. Without an offset a descriptor of a set is used
 * where it stands. Opening a fifo would stop QEMU's monitor until the other side comes; here reading waits in the
 * background, and writing is refused at once with what QEMU says in the end.
 * Source: QEMU migration/file.c, util/osdep.c (qemu_open_internal), io/channel-file.c.
 * @module
 */
import fs from "node:fs";
import { errnoName, errnoText, strerror } from "../core/errno.ts";
import { strtosz } from "../core/strtosz.ts";
import type { Channel, HeldFd, Listener, MigrateAddress, Transport, TransportContext } from "../core/transport.ts";
import { CommandError, TransportError } from "../stream/errors.ts";
import { fdsetMember } from "./fdset.ts";
import { FileChannel } from "./file_channel.ts";
import { isOwn, kindOf, kindOfStat, reopen } from "./held.ts";
import { heldChannel } from "./held_channel.ts";
import { type Arrival, arrived, arrivesWithFirstByte, closedError, ReadyListener } from "./listener.ts";
import { pipeChannel } from "./pipe.ts";
import { StreamChannel } from "./stream_channel.ts";

const { O_CREAT, O_DIRECT, O_NONBLOCK, O_RDONLY, O_WRONLY } = fs.constants;
const OFFSET_OPTION = ",offset=";

type FileAddress = Extract<MigrateAddress, { transport: "file" }>;

/** The `file:` transport. */
export const fileTransport: Transport = Object.freeze<Transport>({
  scheme: "file",
  help: "file:PATH[,offset=SIZE]  a file, written or read from SIZE bytes on; /dev/fdset/N for a descriptor",
  kind: "file",
  owns: (address) => address.transport === "file",

  parse(rest) {
    const at = rest.indexOf(OFFSET_OPTION);
    if (at < 0) return { transport: "file", filename: rest, offset: 0 };
    const text = rest.slice(at + OFFSET_OPTION.length);
    const size = strtosz(text);
    if (!size.ok) throw new CommandError(`file URI has bad offset ${text}: ${strerror(size.error)}`);
    const offset = size.value <= Number.MAX_SAFE_INTEGER ? Number(size.value) : size.value;
    return { transport: "file", filename: rest.slice(0, at), offset };
  },

  format(address) {
    const { filename, offset } = address as FileAddress;
    return `file:${filename}` + (BigInt(offset) === 0n ? "" : `${OFFSET_OPTION}${offset}`);
  },

  connect(address, context): Channel {
    const { filename, offset } = normalised(address);
    const held = fdsetMember(filename, O_CREAT | O_WRONLY, context);
    if (held) {
      truncateHeld(held, offset);
      return fromSet(held, O_WRONLY, offset);
    }
    if (isFifo(filename)) throw truncateError(offset, "EINVAL");
    const fd = openPath(filename, O_CREAT | O_WRONLY);
    return orClose(fd, () => {
      // cutting a file that is as long already makes ext4 write all of it out at the first close (auto_da_alloc)
      if (kindOf(fd) !== "file" || fs.fstatSync(fd).size !== offset) truncateTo(fd, offset);
      return channelAt(fd, O_WRONLY, filename, offset);
    });
  },

  connectExtra(address, context, { direct }): Channel {
    const { filename } = normalised(address);
    const flags = O_WRONLY | (direct ? O_DIRECT : 0);
    const held = fdsetMember(filename, flags, context);
    if (held) return fromSet(held, flags, 0);
    const fd = openPath(filename, flags);
    return orClose(fd, () => channelAt(fd, flags, filename, 0));
  },

  listen(address, context): Listener {
    const { filename, offset } = normalised(address);
    if (isFifo(filename)) return new ReadyListener(fifoArrival(filename));
    const opened: Channel[] = [];
    try {
      opened.push(openToRead(filename, O_RDONLY, offset, context));
      const extra = O_RDONLY | (context.extra?.direct ? O_DIRECT : 0);
      for (let i = 0; i < (context.extra?.count ?? 0); i++) {
        opened.push(openToRead(filename, extra, 0, context));
      }
    } catch (error) {
      for (const channel of opened) channel.close();
      throw error;
    }
    return new ReadyListener(
      ...opened.map((channel) => channel instanceof StreamChannel ? arrivesWithFirstByte(channel) : arrived(channel)),
    );
  },
});

/** Offsets are unsigned: the -1 of a QMP client means 2^64-1. */
function normalised(address: MigrateAddress): FileAddress {
  const file = address as FileAddress;
  return file.offset < 0 ? { ...file, offset: BigInt.asUintN(64, BigInt(file.offset)) } : file;
}

function openPath(path: string, flags: number): number {
  try {
    return fs.openSync(path, flags, 0o600);
  } catch (error) {
    throw openError(path, flags, error);
  }
}

function openError(path: string, flags: number, error: unknown): TransportError {
  const what = `Could not ${flags & O_CREAT ? "create" : "open"} '${path}'`;
  const reason = flags & O_DIRECT && errnoName(error) === "EINVAL" && fs.existsSync(path)
    ? "filesystem does not support O_DIRECT"
    : errnoText(error);
  return new TransportError(`${what}: ${reason}`, { cause: error });
}

function orClose(fd: number, make: () => Channel): Channel {
  try {
    return make();
  } catch (error) {
    fs.closeSync(fd);
    throw error;
  }
}

function openToRead(filename: string, flags: number, offset: number | bigint, context: TransportContext): Channel {
  const held = fdsetMember(filename, flags, context);
  if (held) return fromSet(held, flags, offset);
  const fd = openPath(filename, flags);
  return orClose(fd, () => channelAt(fd, flags, filename, offset));
}

/** A descriptor of a set: it stays with its owner, and stands where it stands unless an offset is given. */
function fromSet(held: HeldFd, flags: number, offset: number | bigint): Channel {
  const start = checkedOffset(offset);
  const release = held.use?.() ?? (() => {});
  try {
    return heldChannel(held, { flags, offset: start === 0 ? undefined : start, release });
  } catch (error) {
    release();
    throw error;
  }
}

function channelAt(fd: number, flags: number, path: string, offset: number | bigint): Channel {
  const start = checkedOffset(offset);
  return new FileChannel({ fd, flags, path, start, seek: start !== 0, release: () => fs.closeSync(fd) });
}

/** No file reaches 2^53 bytes: the kernel refuses to go there. */
function checkedOffset(offset: number | bigint): number {
  if (offset <= Number.MAX_SAFE_INTEGER) return Number(offset);
  const place = BigInt.asIntN(64, BigInt(offset));
  throw new TransportError(`Unable to seek to offset ${place} whence 0 in file: ${strerror("EINVAL")}`);
}

function truncateHeld(held: HeldFd, offset: number | bigint): void {
  const own = isOwn(held.fd);
  if (!own && kindOf(held.fd) !== "file") throw truncateError(offset, "EINVAL");
  const fd = own ? held.fd : reopen(held, O_WRONLY);
  try {
    truncateTo(fd, offset);
  } finally {
    if (!own) fs.closeSync(fd);
  }
}

/** Cut or extend the file, as ftruncate(2) would with any 64-bit length. */
function truncateTo(fd: number, offset: number | bigint): void {
  const regular = kindOf(fd) === "file";
  if (!regular || offset >= 1n << 63n) throw truncateError(offset, "EINVAL");
  if (offset > Number.MAX_SAFE_INTEGER) throw truncateError(offset, "EFBIG");
  try {
    fs.ftruncateSync(fd, Number(offset));
  } catch (error) {
    throw truncateError(offset, errnoName(error) ?? "EIO");
  }
}

function truncateError(offset: number | bigint, errno: string): TransportError {
  return new TransportError(`failed to truncate migration file to offset ${offset.toString(16)}: ${strerror(errno)}`);
}

function isFifo(path: string): boolean {
  try {
    return kindOfStat(fs.statSync(path)) === "pipe";
  } catch {
    return false;
  }
}

/** A fifo opens when its writer comes. */
function fifoArrival(path: string): Arrival {
  let dropped = false;
  return {
    ready: () =>
      new Promise<Channel>((resolve, reject) => {
        fs.open(path, O_RDONLY, (error, fd) => {
          if (error) reject(openError(path, O_RDONLY, error));
          else if (dropped) fs.close(fd, () => reject(closedError()));
          else resolve(pipeChannel(fd, O_RDONLY, () => fs.closeSync(fd)));
        });
      }),
    drop() {
      dropped = true;
      try {
        fs.closeSync(fs.openSync(path, O_WRONLY | O_NONBLOCK)); // wakes the open
      } catch {
        // nobody was opening it
      }
    },
  };
}
