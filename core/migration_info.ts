/**
 * What `query-migrate` answers and `info migrate` prints.
 *
 * A source's status hides the destination's; statistics are there while a migration runs and after it completed, not after
 * it failed. Source: QEMU migration/migration.c (fill_source_migration_info, fill_destination_migration_info),
 * migration/migration-hmp-cmds.c (hmp_info_migrate).
 * @module
 */
import { transportOf } from "./address.ts";
import type { Session } from "./session.ts";
import { inPostcopy, type MigrationStatus } from "./status.ts";
import type { MigrateAddress } from "./transport.ts";

/** QAPI MigrationStats: bytes, pages. */
export interface MigrationStats {
  /** Bytes sent, everything included. */
  readonly transferred: number;
  /** Bytes of RAM still to be looked at; 0 once complete. */
  readonly remaining: number;
  /** Bytes of RAM. */
  readonly total: number;
  /** Pages of zeros. */
  readonly duplicate: number;
  /** Pages sent as data. */
  readonly normal: number;
  /** Those pages in bytes. */
  readonly "normal-bytes": number;
  /** Pages dirtied per second. */
  readonly "dirty-pages-rate": number;
  /** Throughput in Mbit/s. */
  readonly mbps: number;
  /** How often the dirty bitmap was looked at. */
  readonly "dirty-sync-count": number;
  /** Pages the destination asked for. */
  readonly "postcopy-requests": number;
  /** Bytes of a target page. */
  readonly "page-size": number;
  /** Bytes over further channels. */
  readonly "multifd-bytes": number;
  /** Over the last 100 ms. */
  readonly "pages-per-second": number;
  /** RAM sent while the guest ran. */
  readonly "precopy-bytes": number;
  /** RAM sent while it stood. */
  readonly "downtime-bytes": number;
  /** RAM sent while it ran on the other side. */
  readonly "postcopy-bytes": number;
  /** How often the kernel copied after all. */
  readonly "dirty-sync-missed-zero-copy": number;
}

/** QAPI XBZRLECacheStats. */
export interface XbzrleStats {
  /** Bytes of the cache. */
  readonly "cache-size": number | bigint;
  /** Bytes of differences sent. */
  readonly bytes: number;
  /** Pages sent as differences. */
  readonly pages: number;
  /** Pages that were not in the cache. */
  readonly "cache-miss": number;
  /** Share of pages not in the cache. */
  readonly "cache-miss-rate": number;
  /** Page bytes to bytes sent. */
  readonly "encoding-rate": number;
  /** Differences that were no smaller than the page. */
  readonly overflow: number;
}

/** QAPI MigrationInfo, the members this monitor can have. Times in ms. */
export interface MigrationInfo {
  /** Absent before there was any migration. */
  readonly status?: MigrationStatus;
  /** While a source runs, and after it completed. */
  readonly ram?: MigrationStats;
  /** With capability xbzrle. */
  readonly "xbzrle-cache"?: XbzrleStats;
  /** From the start, setup included. */
  readonly "total-time"?: number;
  /** Before the guest was stopped for good. */
  readonly "expected-downtime"?: number;
  /** Once complete. */
  readonly downtime?: number;
  /** Until the first page. */
  readonly "setup-time"?: number;
  /** Share of CPU time auto-converge takes away, in percent. */
  readonly "cpu-throttle-percentage"?: number;
  /** Longest time a vCPU was held back in one round, in us, with dirty-limit. */
  readonly "dirty-limit-throttle-time-per-round"?: number;
  /** Estimated time until a dirty ring is full, in us, with dirty-limit. */
  readonly "dirty-limit-ring-full-time"?: number;
  /** All vCPUs blocked in postcopy, in ms. */
  readonly "postcopy-blocktime"?: number;
  /** Each vCPU, in ms. */
  readonly "postcopy-vcpu-blocktime"?: readonly number[];
  /** Bytes of VFIO devices. */
  readonly vfio?: { readonly transferred: number };
  /** Why it failed. */
  readonly "error-desc"?: string;
  /** Why this guest cannot be migrated. */
  readonly "blocked-reasons"?: readonly string[];
  /** Where a destination listens. */
  readonly "socket-address"?: readonly Record<string, unknown>[];
}

const WITHOUT_STATISTICS: readonly MigrationStatus[] = ["setup", "failed", "cancelled", "colo", "wait-unplug"];

/** Answer of `query-migrate`. */
export function migrationInfo(session: Session): MigrationInfo {
  const { outgoing, incoming } = session;
  const blocked = blockedReasons(session);
  return {
    ...(incoming.status === "none" ? {} : { status: incoming.status }),
    ...(incoming.addresses.length > 0 ? { "socket-address": incoming.addresses.map(socketAddress) } : {}),
    ...(outgoing.status === "none" ? {} : { status: outgoing.status }),
    ...(outgoing.status === "none" || WITHOUT_STATISTICS.includes(outgoing.status) ? {} : statistics(session)),
    ...(outgoing.error === undefined ? {} : { "error-desc": outgoing.error }),
    ...(blocked.length === 0 ? {} : { "blocked-reasons": blocked }),
  };
}

/**
 * What stands in the way in the present mode. In cpr-transfer the new process maps the memory of the old one, and no block
 * here can be mapped. Source: QEMU system/physmem.c (ram_block_add_cpr_blocker).
 */
function blockedReasons(session: Session): readonly string[] {
  const { blockers, guest } = session;
  if (session.parameter("mode") !== "cpr-transfer") return blockers;
  const blocks = [...guest.memory.blocks].sort((a, b) => a.ramAddr - b.ramAddr);
  return [
    ...blockers,
    ...blocks.map(({ idstr }) =>
      `Memory region ${idstr} is not compatible with CPR. share=on is required for memory-backend objects, and ` +
      "aux-ram-share=on is required."
    ),
  ];
}

/** A SocketAddress is a MigrateAddress without its `transport`. */
function socketAddress({ transport: _, ...rest }: MigrateAddress): Record<string, unknown> {
  return rest;
}

function statistics(session: Session): MigrationInfo {
  const { outgoing, guest } = session;
  const { counters, times } = outgoing;
  const stopped = outgoing.status === "completed" || inPostcopy(outgoing.status);
  const early = outgoing.stoppedFirst ? counters.precopyBytes : 0;
  const remaining = outgoing.status === "completed" ? 0 : Math.max(0, counters.remaining);
  return {
    "total-time": outgoing.totalTime,
    "setup-time": times.setup,
    ...(stopped ? { downtime: times.downtime } : { "expected-downtime": times.expectedDowntime }),
    ram: {
      transferred: counters.transferred,
      remaining,
      total: guest.memory.totalBytes,
      duplicate: counters.duplicate,
      normal: counters.normal,
      "normal-bytes": counters.normal * guest.targetPageSize,
      "dirty-pages-rate": 0,
      mbps: outgoing.mbps,
      "dirty-sync-count": counters.dirtySyncCount,
      "postcopy-requests": 0,
      "page-size": guest.targetPageSize,
      "multifd-bytes": counters.multifdBytes,
      "pages-per-second": outgoing.pagesPerSecond,
      "precopy-bytes": counters.precopyBytes - early,
      "downtime-bytes": counters.downtimeBytes + early,
      "postcopy-bytes": counters.postcopyBytes,
      "dirty-sync-missed-zero-copy": 0,
    },
    ...(session.on("xbzrle") ? { "xbzrle-cache": xbzrleStatistics(session) } : {}),
  };
}

/** A page is sent again only when it was dirtied meanwhile; without that the cache is asked for nothing. */
function xbzrleStatistics(session: Session): XbzrleStats {
  return {
    "cache-size": session.parameter("xbzrle-cache-size") as number | bigint,
    bytes: 0,
    pages: 0,
    "cache-miss": 0,
    "cache-miss-rate": 0,
    "encoding-rate": 0,
    overflow: 0,
  };
}

const onOff = (state: boolean) => state ? "on" : "off";

/** kbytes as QEMU rounds them: bits lost, not rounded. */
const kbytes = (bytes: number) => Math.floor(bytes / 1024);

/** Text of `info migrate`. */
export function formatMigrationInfo(info: MigrationInfo, session: Session): string {
  const { globals } = session;
  const lines = [
    "globals:",
    `store-global-state: ${onOff(globals.storeGlobalState)}`,
    `only-migratable: ${onOff(globals.onlyMigratable)}`,
    `send-configuration: ${onOff(globals.sendConfiguration)}`,
    `send-section-footer: ${onOff(globals.sendSectionFooter)}`,
    `send-switchover-start: ${onOff(globals.sendSwitchoverStart)}`,
    `clear-bitmap-shift: ${globals.clearBitmapShift}`,
  ];
  const blocked = info["blocked-reasons"];
  if (blocked) lines.push("Outgoing migration blocked:", ...blocked.map((reason) => `  ${reason}`));
  if (info.status) lines.push(...statusLines(info));
  if (info.ram) lines.push(...ramLines(info.ram));
  if (info["xbzrle-cache"]) lines.push(...xbzrleLines(info["xbzrle-cache"]));
  lines.push(...throttleLines(info));
  const addresses = session.incoming.addresses;
  if (info["socket-address"]) {
    const uris = addresses.map((address) => "\t" + socketUri(address, session));
    lines.push("socket address: [", ...uris, "]");
  }
  if (info.vfio) lines.push(`vfio device transferred: ${kbytes(info.vfio.transferred)} kbytes`);
  return lines.join("\n") + "\n";
}

/** Where to connect to, without the options a URI may carry (QEMU: socket_uri). */
function socketUri(address: MigrateAddress, session: Session): string {
  if ("type" in address && address.type === "inet") return `tcp:${address.host}:${address.port}`;
  return transportOf(address, session.transports).format(address);
}

function statusLines(info: MigrationInfo): string[] {
  const why = info.status === "failed" && info["error-desc"] !== undefined ? ` (${info["error-desc"]})` : "";
  const time = (label: string, value: number | undefined) => value === undefined ? [] : [`${label}: ${value} ms`];
  return [
    `Migration status: ${info.status}${why}`,
    ...time("total time", info["total-time"] ?? 0),
    ...time("expected downtime", info["expected-downtime"]),
    ...time("downtime", info.downtime),
    ...time("setup", info["setup-time"]),
  ];
}

function ramLines(ram: MigrationStats): string[] {
  const unlessZero = (label: string, value: number, shown: string) => value === 0 ? [] : [`${label}: ${shown}`];
  const kilo = (label: string, bytes: number) => unlessZero(label, bytes, `${kbytes(bytes)} kbytes`);
  return [
    `transferred ram: ${kbytes(ram.transferred)} kbytes`,
    `throughput: ${ram.mbps.toFixed(2)} mbps`,
    `remaining ram: ${kbytes(ram.remaining)} kbytes`,
    `total ram: ${kbytes(ram.total)} kbytes`,
    `duplicate: ${ram.duplicate} pages`,
    `normal: ${ram.normal} pages`,
    `normal bytes: ${kbytes(ram["normal-bytes"])} kbytes`,
    `dirty sync count: ${ram["dirty-sync-count"]}`,
    `page size: ${kbytes(ram["page-size"])} kbytes`,
    `multifd bytes: ${kbytes(ram["multifd-bytes"])} kbytes`,
    `pages-per-second: ${ram["pages-per-second"]}`,
    ...unlessZero("dirty pages rate", ram["dirty-pages-rate"], `${ram["dirty-pages-rate"]} pages`),
    ...unlessZero("postcopy request count", ram["postcopy-requests"], `${ram["postcopy-requests"]}`),
    ...kilo("precopy ram", ram["precopy-bytes"]),
    ...kilo("downtime ram", ram["downtime-bytes"]),
    ...kilo("postcopy ram", ram["postcopy-bytes"]),
    ...unlessZero(
      "Zero-copy-send fallbacks happened",
      ram["dirty-sync-missed-zero-copy"],
      `${ram["dirty-sync-missed-zero-copy"]} times`,
    ),
  ];
}

/** What only a machine with processors has. */
function throttleLines(info: MigrationInfo): string[] {
  const line = (label: string, value: unknown, unit = "") => value === undefined ? [] : [`${label}: ${value}${unit}`];
  return [
    ...line("cpu throttle percentage", info["cpu-throttle-percentage"]),
    ...line("dirty-limit throttle time", info["dirty-limit-throttle-time-per-round"], " us"),
    ...line("dirty-limit ring full time", info["dirty-limit-ring-full-time"], " us"),
    ...line("postcopy blocktime", info["postcopy-blocktime"]),
    ...line("postcopy vcpu blocktime", info["postcopy-vcpu-blocktime"] && ranges(info["postcopy-vcpu-blocktime"])),
  ];
}

/** A list as QEMU's string output visitor writes it: sorted, without doubles, runs as `1-3`. */
function ranges(values: readonly number[]): string {
  const runs: [first: number, last: number][] = [];
  for (const value of [...new Set(values)].sort((a, b) => a - b)) {
    const run = runs.at(-1);
    if (run && run[1] === value - 1) run[1] = value;
    else runs.push([value, value]);
  }
  return runs.map(([first, last]) => first === last ? `${first}` : `${first}-${last}`).join(",");
}

function xbzrleLines(stats: XbzrleStats): string[] {
  return [
    `cache size: ${stats["cache-size"]} bytes`,
    `xbzrle transferred: ${kbytes(stats.bytes)} kbytes`,
    `xbzrle pages: ${stats.pages} pages`,
    `xbzrle cache miss: ${stats["cache-miss"]} pages`,
    `xbzrle cache miss rate: ${stats["cache-miss-rate"].toFixed(2)}`,
    `xbzrle encoding rate: ${stats["encoding-rate"].toFixed(2)}`,
    `xbzrle overflow: ${stats.overflow}`,
  ];
}
