/**
 * `HOST:PORT[,OPTIONS]`, as tcp: and rdma: write it.
 *
 *     address = ( "[" ipv6 "]" | host | "" ) ":" port *( "," option )
 *     host    = up to 64 characters, port = up to 32 (the rest is dropped), perhaps a service name
 *     option  = to=N, ipv4[=on|off], ipv6[=on|off], keep-alive[=on|off], mptcp[=on|off]; others are ignored
 *
 * Options may stand in any order; the first of a name counts. Source: QEMU util/qemu-sockets.c (inet_parse).
 * @module
 */
import { CommandError } from "../stream/errors.ts";

/** Members of QAPI's InetSocketAddress. */
export interface InetAddress {
  readonly host: string;
  readonly port: string;
  /** Highest port to try when listening. */
  readonly to?: number;
  readonly ipv4?: boolean;
  readonly ipv6?: boolean;
  readonly "keep-alive"?: boolean;
  readonly mptcp?: boolean;
}

const FLAGS = ["ipv4", "ipv6", "keep-alive", "mptcp"] as const;

/** Take an address apart. @throws {CommandError} with QEMU's message */
export function parseInet(text: string): InetAddress {
  const { host, port, options } = hostAndPort(text);
  const address: Record<string, unknown> & { host: string; port: string } = { host, port };
  const to = options.indexOf(",to=");
  if (to >= 0) {
    const match = /^[ \t-\r]*([+-]?\d+)(?:,|$)/.exec(options.slice(to + 4));
    if (!match) throw new CommandError("error parsing to= argument");
    address.to = Number(BigInt.asIntN(32, BigInt(match[1])));
  }
  for (const flag of FLAGS) {
    const at = options.indexOf("," + flag);
    if (at >= 0) address[flag] = parseFlag(flag, options.slice(at + 1 + flag.length));
  }
  return address;
}

/** The text of an address: {@link parseInet} of it gives an equal one. */
export function formatInet(address: InetAddress): string {
  const bracketed = address.host.includes(":") || address.host.startsWith("[");
  let text = `${bracketed ? `[${address.host}]` : address.host}:${address.port}`;
  if (address.to !== undefined) text += `,to=${address.to}`;
  for (const flag of FLAGS) if (address[flag] !== undefined) text += `,${flag}=${address[flag] ? "on" : "off"}`;
  return text;
}

function hostAndPort(text: string): { host: string; port: string; options: string } {
  const [form, fault] = text.startsWith(":")
    ? [/^():([^,]{1,32})/, "error parsing port in address"]
    : text.startsWith("[")
    ? [/^\[([^\]]{1,64})\]:([^,]{1,32})/, "error parsing IPv6 address"]
    : [/^([^:]{1,64}):([^,]{1,32})/, "error parsing address"];
  const match = form.exec(text);
  if (!match) throw new CommandError(`${fault} '${text}'`);
  return { host: match[1], port: match[2], options: text.slice(match[0].length) };
}

/** `rest` is what follows the name: nothing, `=on` or `=off`, up to a comma that no second one follows. */
function parseFlag(name: string, rest: string): boolean {
  const comma = rest.indexOf(",");
  const value = comma < 0 ? rest : rest.slice(0, comma);
  const known = value === "" || value === "=on" || value === "=off";
  if (!known || (comma >= 0 && rest[comma + 1] === ",")) {
    throw new CommandError(`error parsing '${name}' flag '${rest}'`);
  }
  return value !== "=off";
}
