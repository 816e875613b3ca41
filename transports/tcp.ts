/**
 * `tcp:HOST:PORT[,OPTIONS]` (inet.ts has the syntax).
 *
 * A source resolves and connects in the background and tries each address; a destination listens on the first that
 * the name resolves to, on all with an empty host. Ports wrap at 65536 and may be service names. Of the options
 * `to`, `ipv4`, `ipv6` and `keep-alive` are followed; a destination drops `keep-alive` where it resolves the name, before
 * it could refuse it. Source: QEMU util/qemu-sockets.c (inet_connect_saddr,
 * inet_listen_saddr, inet_ai_family_from_address), io/dns-resolver.c (qio_dns_resolver_lookup_sync_inet).
 * @module
 */
import dns from "node:dns/promises";
import fs from "node:fs";
import { connectName, keepAlive, listenName } from "../core/fd_sockets.ts";
import { errnoName, errnoText, strerror } from "../core/errno.ts";
import type { Channel, Listener, MigrateAddress, Transport } from "../core/transport.ts";
import { TransportError } from "../stream/errors.ts";
import { formatInet, type InetAddress, parseInet } from "./inet.ts";
import { canNumber, inetName, numberedChannel, wantsNumbers } from "./numbered.ts";
import { denoListener, numberedListener, socketChannel, SocketListener } from "./socket.ts";

/** The `tcp:` transport. */
export const tcpTransport: Transport = Object.freeze<Transport>({
  scheme: "tcp",
  help: "tcp:HOST:PORT  a TCP connection",
  kind: "socket",
  owns: (address) => address.transport === "socket" && address.type === "inet",
  parse: (rest) => ({ transport: "socket", type: "inet", ...parseInet(rest) }),
  format: (address) => "tcp:" + formatInet(address as unknown as InetAddress),

  connect: (address) => connect(address, false),

  connectExtra: (address) => connect(address, true),

  listen(address, context): Listener {
    const inet = address as unknown as InetAddress;
    const family = familyOf(inet);
    const first = portNumber(inet);
    for (let port = first; port <= Math.min(inet.to ?? first, 65535); port++) {
      try {
        return opened(bind(inet, family, port), wantsNumbers(context));
      } catch (error) {
        if (errnoName(error) !== "EADDRINUSE") throw bindError(inet, error);
      }
    }
    throw new TransportError(`Failed to find an available port: ${strerror("EADDRINUSE")}`);
  },
});

async function connect(address: MigrateAddress, numbered: boolean): Promise<Channel> {
  const inet = address as unknown as InetAddress;
  const addresses = await resolve(inet);
  const port = portNumber(inet);
  let last: unknown;
  for (const hostname of addresses) {
    const name = numbered && canNumber() && inetName(hostname, port);
    try {
      if (name) {
        const socket = await connectName(name);
        if (inet["keep-alive"]) keepAlive(socket);
        return numberedChannel(socket);
      }
      const conn = await Deno.connect({ hostname, port });
      if (inet["keep-alive"]) conn.setKeepAlive(true);
      return socketChannel(conn);
    } catch (error) {
      last = error;
    }
  }
  throw new TransportError(`Failed to connect to '${inet.host}:${inet.port}': ${errnoText(last)}`, { cause: last });
}

function bindError(inet: InetAddress, error: unknown): TransportError {
  if (error instanceof TransportError) return error;
  if (/^failed to lookup address/.test((error as Error).message)) return resolutionError(inet, gaiText(error));
  return new TransportError(`Failed to bind socket: ${errnoText(error)}`, { cause: error });
}

/** Without a host any address will do: one socket for both families where IPv6 is there. */
function bind({ host }: InetAddress, family: 0 | 4 | 6, port: number): Deno.TcpListener {
  if (host !== "") return Deno.listen({ hostname: host, port });
  if (family === 4) return Deno.listen({ hostname: "0.0.0.0", port });
  try {
    return Deno.listen({ hostname: "::", port });
  } catch (error) {
    if (family === 6 || errnoName(error) !== "EAFNOSUPPORT") throw error;
    return Deno.listen({ hostname: "0.0.0.0", port });
  }
}

/** @param numbered the same address again, by number: Deno has resolved it and found the port free */
function opened(listener: Deno.TcpListener, numbered: boolean): SocketListener {
  const { hostname, port } = listener.addr;
  const family = hostname.includes(":") ? { ipv6: true } : { ipv4: true };
  const address: MigrateAddress = { transport: "socket", type: "inet", host: hostname, port: String(port), ...family };
  const name = numbered && inetName(hostname, port);
  if (!name) return new SocketListener(denoListener(listener), [address]);
  listener.close();
  return new SocketListener(numberedListener(listenName(name)), [address]);
}

/** Addresses to try, in the resolver's order. IPv4 ones do for IPv6 where there is no other (mapped addresses). */
async function resolve(inet: InetAddress): Promise<string[]> {
  const family = familyOf(inet);
  portNumber(inet);
  if (inet.host === "") throw resolutionError(inet, "Name or service not known");
  try {
    const found = await dns.lookup(inet.host, { all: true, verbatim: true });
    const wanted = found.filter((one) => family === 0 || one.family === family);
    const usable = wanted.length > 0 || family === 4 ? wanted : found;
    if (usable.length > 0) return usable.map((one) => one.address);
  } catch (error) {
    throw resolutionError(inet, gaiText(error));
  }
  throw resolutionError(inet, "Address family for hostname not supported");
}

function familyOf({ ipv4, ipv6 }: InetAddress): 0 | 4 | 6 {
  if (ipv4 === false && ipv6 === false) throw new TransportError("Cannot disable IPv4 and IPv6 at same time");
  if (ipv4 && ipv6) return 0;
  if (ipv6 || ipv4 === false) return 6;
  return ipv4 || ipv6 === false ? 4 : 0;
}

/** Number of a port, which may be a service of /etc/services. */
function portNumber(inet: InetAddress): number {
  const match = /^[ \t-\r]*([+-]?\d+)$/.exec(inet.port);
  if (match) return Number(BigInt.asUintN(16, BigInt(match[1])));
  try {
    for (const line of fs.readFileSync("/etc/services", "latin1").split("\n")) {
      const [name, port, ...aliases] = line.replace(/#.*/, "").trim().split(/\s+/);
      if (port?.endsWith("/tcp") && (name === inet.port || aliases.includes(inet.port))) return parseInt(port);
    }
  } catch {
    // no list of services: no names
  }
  throw resolutionError(inet, "Servname not supported for ai_socktype");
}

function resolutionError({ host, port }: InetAddress, reason: string): TransportError {
  return new TransportError(`address resolution failed for ${host}:${port}: ${reason}`);
}

/** The resolver's words: Deno passes them on, Node has codes. */
function gaiText(error: unknown): string {
  const { code, message } = error as { code?: string; message: string };
  if (code === "ENOTFOUND") return "Name or service not known";
  if (code === "EAI_AGAIN") return "Temporary failure in name resolution";
  return /^failed to lookup address information: (.*)$/m.exec(message)?.[1] ?? errnoText(error);
}
