/**
 * Which kind of address goes with which capabilities, asked after the syntax and before anything is opened.
 * Source: QEMU migration/migration.c (migration_channels_and_transport_compatible).
 * @module
 */
import { CommandError } from "../stream/errors.ts";
import { parseUri, transportOf } from "./address.ts";
import type { MigrateAddress, Transport } from "./transport.ts";

/** What the checks look at. */
export interface ReachContext {
  on(capability: string): boolean;
  parameter(name: string): unknown;
}

/** Where a migration goes to or comes from. */
export interface Destination {
  /** Of the main channel. */
  readonly address: MigrateAddress;
  /** Who understands it. */
  readonly transport: Transport;
  /** The further channel of mode cpr-transfer. */
  readonly cpr?: MigrateAddress;
}

/** QAPI MigrationChannel. */
export interface MigrationChannel {
  /** What it carries. */
  readonly "channel-type": "main" | "cpr";
  /** Where it leads. */
  readonly addr: MigrateAddress;
}

/** Ask by kind of address. @throws {CommandError} with QEMU's text */
export function checkReach({ kind }: Transport, context: ReachContext): void {
  const on = (capability: string) => context.on(capability);
  const seekable = kind === "file" || kind === "buffer";
  if (on("mapped-ram") && !seekable) throw new CommandError("Migration requires seekable transport (e.g. file)");
  const many = kind === "socket" || (seekable && on("mapped-ram"));
  if ((on("multifd") || on("postcopy-preempt")) && !many) {
    throw new CommandError("Migration requires multi-channel URIs (e.g. tcp)");
  }
  if (context.parameter("mode") === "cpr-transfer" && seekable) {
    throw new CommandError("Migration requires streamable transport (eg unix)");
  }
}

const NEITHER = "need either 'uri' or 'channels' argument";

/** `uri` or `channels` of `migrate`. @throws {CommandError} with QEMU's text */
export function outgoingDestination(
  uri: string | undefined,
  channels: readonly MigrationChannel[] | undefined,
  transports: readonly Transport[],
): Destination {
  const list = channels?.length ? channels : undefined;
  if ((uri === undefined) === (list === undefined)) throw new CommandError(NEITHER);
  if (uri !== undefined) return parseUri(uri, transports);
  for (const type of ["main", "cpr"]) {
    if (list!.filter((channel) => channel["channel-type"] === type).length > 1) {
      throw new CommandError(`Channel list has more than one ${type} entry`);
    }
  }
  const main = list!.find((channel) => channel["channel-type"] === "main");
  if (!main) throw new CommandError("Channel list has no main entry");
  const cpr = list!.find((channel) => channel["channel-type"] === "cpr");
  return { address: main.addr, transport: transportOf(main.addr, transports), cpr: cpr?.addr };
}

/** `uri` or `channels` of `migrate-incoming`. @throws {CommandError} with QEMU's text */
export function incomingDestination(
  uri: string | undefined,
  channels: readonly MigrationChannel[] | undefined,
  transports: readonly Transport[],
): Destination {
  const list = channels?.length ? channels : undefined;
  if ((uri === undefined) === (list === undefined)) throw new CommandError(NEITHER);
  if (uri !== undefined) return parseUri(uri, transports);
  if (list!.length > 1) throw new CommandError("Channel list must have only one entry, for type 'main'");
  const [{ addr }] = list!;
  return { address: addr, transport: transportOf(addr, transports) };
}
