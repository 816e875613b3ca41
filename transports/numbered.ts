/**
 * Sockets for the channels of multifd: the same ones, but by number, so that each can be handed to a thread of its own.
 *
 *     unix:   paths the system's call takes, at most 107 bytes
 *     tcp:    addresses written as numbers, IPv4 and IPv6; a listener's name is resolved by Deno first
 *
 * They come from libc, so this needs FFI. Where that is not granted, and for anything else, Deno's own sockets do; nothing is
 * ever asked for.
 * @module
 */
import type { FdSocket } from "../core/fd_sockets.ts";
import { canPassDescriptors } from "../core/scm_rights.ts";
import type { TransportContext } from "../core/transport.ts";
import { StreamChannel } from "./stream_channel.ts";

const AF_UNIX = 1, AF_INET = 2, AF_INET6 = 10;
/** Bytes of `sun_path`, its end included. */
const PATH_BYTES = 108;
const V6_BYTES = 28;

/** Whether sockets can be had by number here. */
export const canNumber = canPassDescriptors;

/** Whether a destination wants its sockets by number. */
export function wantsNumbers({ extra }: TransportContext): boolean {
  return (extra?.count ?? 0) > 0 && canNumber();
}

/** struct sockaddr of a path; undefined for one that is too long. */
export function unixName(path: string): Uint8Array<ArrayBuffer> | undefined {
  const text = new TextEncoder().encode(path);
  if (text.length >= PATH_BYTES) return undefined;
  const name = new Uint8Array(2 + PATH_BYTES);
  name[0] = AF_UNIX;
  name.set(text, 2);
  return name;
}

/** struct sockaddr of an address in numbers; undefined for a name. */
export function inetName(host: string, port: number): Uint8Array<ArrayBuffer> | undefined {
  const v4 = /^\d{1,3}(\.\d{1,3}){3}$/.test(host) && host.split(".").map(Number);
  if (v4 && v4.every((byte) => byte < 256)) return family(AF_INET, 16, port, 4, v4);
  const v6 = host.includes(":") && ipv6Bytes(host);
  return v6 ? family(AF_INET6, V6_BYTES, port, 8, v6) : undefined;
}

function family(number: number, length: number, port: number, at: number, bytes: readonly number[]) {
  const name = new Uint8Array(length);
  name[0] = number;
  new DataView(name.buffer).setUint16(2, port);
  name.set(bytes, at);
  return name;
}

/** The 16 bytes of an address such as `fe80::1`; undefined when it is written in another way. */
function ipv6Bytes(host: string): number[] | undefined {
  const halves = host.split("::").map((half) => half === "" ? [] : half.split(":"));
  const groups = halves.flat();
  const missing = 8 - groups.length;
  if (!groups.every((group) => /^[0-9a-f]{1,4}$/i.test(group)) || halves.length > 2) return undefined;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const all = [...halves[0], ...new Array<string>(missing).fill("0"), ...(halves[1] ?? [])];
  return all.flatMap((group) => [parseInt(group, 16) >> 8, parseInt(group, 16) & 255]);
}

/** A channel over a socket by number. */
export function numberedChannel(socket: FdSocket): StreamChannel {
  return new StreamChannel(
    {
      pull: (view) => socket.pull(view as Uint8Array<ArrayBuffer>),
      push: (view) => socket.push(view as Uint8Array<ArrayBuffer>),
      abort: () => socket.shut(),
      close: () => socket.close(),
      socket,
    },
    "socket",
    true,
  );
}
