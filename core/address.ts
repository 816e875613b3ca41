/**
 * URIs of the monitor: `SCHEME:REST`, told apart by the scheme alone, exactly and in lower case.
 * Source: QEMU migration/migration.c (migrate_uri_parse).
 * @module
 */
import { CommandError } from "../stream/errors.ts";
import type { MigrateAddress, Transport } from "./transport.ts";

/** An address together with the transport that understands it. */
export interface ParsedUri {
  /** The one whose scheme the URI has. */
  readonly transport: Transport;
  /** What its `parse` made of the rest. */
  readonly address: MigrateAddress;
}

/**
 * Take a URI apart. Nothing is opened.
 * @throws {CommandError} `unknown migration protocol: URI`, or the transport's own syntax message
 */
export function parseUri(uri: string, transports: readonly Transport[]): ParsedUri {
  const transport = transports.find(({ scheme }) => uri.startsWith(scheme + ":"));
  if (!transport) throw new CommandError(`unknown migration protocol: ${uri}`);
  return { transport, address: transport.parse(uri.slice(transport.scheme.length + 1)) };
}

/**
 * The transport an address belongs to.
 * @throws {CommandError} when none of the given ones owns it
 */
export function transportOf(address: MigrateAddress, transports: readonly Transport[]): Transport {
  const transport = transports.find((one) => one.owns(address));
  if (!transport) {
    const type = "type" in address ? `${address.transport} ${address.type}` : address.transport;
    throw new CommandError(`unknown migration transport: ${type}`);
  }
  return transport;
}

/** The URI of an address; parsing it again gives an equal address. @throws {CommandError} when no transport owns it */
export function formatUri(address: MigrateAddress, transports: readonly Transport[]): string {
  return transportOf(address, transports).format(address);
}
