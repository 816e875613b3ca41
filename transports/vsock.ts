/**
 * `vsock:CID:PORT`: understood and checked as QEMU does, but never opened: Deno has no stable way to a vsock, so the
 * answer is that of a machine without the device. Source: QEMU util/qemu-sockets.c (vsock_parse, vsock_connect_saddr).
 * @module
 */
import { strerror } from "../core/errno.ts";
import type { MigrateAddress, Transport } from "../core/transport.ts";
import { CommandError, TransportError } from "../stream/errors.ts";

type VsockAddress = Extract<MigrateAddress, { transport: "socket"; type: "vsock" }>;

/** The `vsock:` transport. */
export const vsockTransport: Transport = Object.freeze<Transport>({
  scheme: "vsock",
  help: "vsock:CID:PORT  a socket to a virtual machine (not available here)",
  kind: "socket",
  owns: (address) => address.transport === "socket" && address.type === "vsock",

  parse(rest) {
    const match = /^([^:]{1,32}):([^,]{1,32})/.exec(rest);
    if (!match) throw new CommandError(`error parsing address '${rest}'`);
    if (match[0].length < rest.length) throw new CommandError(`trailing characters in address '${rest}'`);
    return { transport: "socket", type: "vsock", cid: match[1], port: match[2] };
  },

  format(address) {
    const { cid, port } = address as VsockAddress;
    return `vsock:${cid}:${port}`;
  },

  connect(address) {
    try {
      check(address as VsockAddress);
    } catch (error) {
      return Promise.reject(error);
    }
    const { cid, port } = address as VsockAddress;
    return Promise.reject(new TransportError(`Failed to connect to '${cid}:${port}': ${strerror("ENODEV")}`));
  },

  listen(address) {
    check(address as VsockAddress);
    throw new TransportError(`Failed to bind socket: ${strerror("EADDRNOTAVAIL")}`);
  },
});

function check({ cid, port }: VsockAddress): void {
  if (!isUint32(cid)) throw new TransportError(`Failed to parse cid '${cid}'`);
  if (!isUint32(port)) throw new TransportError(`Failed to parse port '${port}'`);
}

function isUint32(text: string): boolean {
  return /^[ \t-\r]*\+?\d+$/.test(text) && BigInt(text.trim().replace("+", "")) < 1n << 32n;
}
