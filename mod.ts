/**
 * miglab: a scriptable workbench for QEMU migration streams.
 *
 * ```ts
 * import { Workbench } from "./mod.ts";
 * await using bench = await Workbench.open({ ram: "64M" });
 * await bench.setCapability("mapped-ram", true);
 * console.log(await bench.hmp("info migrate_capabilities"));
 * ```
 *
 * This file is the public surface, and the one list of plugins and transports a workbench has by default.
 * @module
 */
import { readFileSync } from "node:fs";
import { type Image, openImage as openWith, type OpenImageOptions } from "./containers/image.ts";
import type { Plugin } from "./core/plugin.ts";
import type { ByteSource } from "./stream/channel.ts";
import { combine as combinePlugins } from "./core/registry.ts";
import { inspectImage } from "./reports/inspect.ts";
import { inspectText } from "./reports/inspect_text.ts";
import type { Transport } from "./core/transport.ts";
import { AssembledWorkbench, type Assembly, type WorkbenchOptions } from "./core/workbench.ts";
import { backgroundSnapshot } from "./plugins/background_snapshot.ts";
import { directIo } from "./plugins/direct_io.ts";
import { dirtyLimit } from "./plugins/dirty_limit.ts";
import { ignoreShared } from "./plugins/ignore_shared.ts";
import { mappedRam } from "./plugins/mapped_ram.ts";
import { multifd } from "./plugins/multifd.ts";
import { multifdZlib } from "./plugins/multifd_zlib.ts";
import { multifdZstd } from "./plugins/multifd_zstd.ts";
import { postcopyPreempt } from "./plugins/postcopy_preempt.ts";
import { postcopyRam } from "./plugins/postcopy_ram.ts";
import { switchoverAck } from "./plugins/switchover_ack.ts";
import { xbzrle } from "./plugins/xbzrle.ts";
import { zeroCopySend } from "./plugins/zero_copy_send.ts";
import { zeroPageDetection } from "./plugins/zero_page_detection.ts";
import { bufferTransport } from "./transports/buffer.ts";
import { execTransport } from "./transports/exec.ts";
import { fdTransport } from "./transports/fd.ts";
import { fileTransport } from "./transports/file.ts";
import { rdmaTransport } from "./transports/rdma.ts";
import { tcpTransport } from "./transports/tcp.ts";
import { unixTransport } from "./transports/unix.ts";
import { vsockTransport } from "./transports/vsock.ts";

/** Plugins every workbench has. */
export const DEFAULT_PLUGINS: readonly Plugin[] = Object.freeze([
  xbzrle,
  postcopyRam,
  multifd,
  multifdZlib,
  multifdZstd,
  ignoreShared,
  backgroundSnapshot,
  zeroCopySend,
  postcopyPreempt,
  switchoverAck,
  dirtyLimit,
  mappedRam,
  zeroPageDetection,
  directIo,
]);

/** Transports every workbench has. */
export const DEFAULT_TRANSPORTS: readonly Transport[] = Object.freeze([
  fileTransport,
  execTransport,
  fdTransport,
  unixTransport,
  tcpTransport,
  vsockTransport,
  rdmaTransport,
  bufferTransport,
]);

/** Import a module that exports a plugin, as `default` or under any name. @throws {TypeError} when it exports none */
async function importPlugin(specifier: string): Promise<Plugin> {
  const url = /^[a-z]+:/.test(specifier) ? specifier : new URL(specifier, `file://${Deno.cwd()}/`).href;
  const module: Record<string, unknown> = await import(url);
  const isPlugin = (value: unknown): value is Plugin =>
    typeof value === "object" && value !== null && typeof (value as Plugin).name === "string" &&
    typeof (value as Plugin).help === "string";
  const plugin = [module.default, ...Object.values(module)].find(isPlugin);
  if (!plugin) throw new TypeError("the module exports no plugin");
  return plugin;
}

/**
 * Open a saved guest: a path, "-" for standard input, bytes, or a source. Nothing is loaded; pages are read when asked for.
 * A file that is damaged further on opens all the same: see {@link Image.fault}.
 * @throws {TransportError} when the file cannot be opened or read
 * @throws {StreamError} when it does not begin as a stream
 */
export async function openImage(
  input: string | Uint8Array | ByteSource,
  options: OpenImageOptions = {},
): Promise<Image> {
  return await openWith(input, { tables: combinePlugins(DEFAULT_PLUGINS).tables, ...options });
}

/** What {@link Workbench.open} puts together. */
export const DEFAULT_ASSEMBLY: Assembly = Object.freeze<Assembly>({
  plugins: DEFAULT_PLUGINS,
  transports: DEFAULT_TRANSPORTS,
  importPlugin,
  readFile: (path) => readFileSync(path),
  async inspect(path) {
    await using image = await openImage(path);
    return inspectText(image, await inspectImage(image));
  },
});

/** A virtual machine with its monitor, and everything that belongs to it. */
export class Workbench extends AssembledWorkbench {
  /**
   * Open one.
   * @throws {CommandError} {TransportError} {StreamError} {RangeError} when the options do not go together or name what is not there
   */
  static async open(options: WorkbenchOptions = {}): Promise<Workbench> {
    return await Workbench.assemble(options, DEFAULT_ASSEMBLY) as Workbench;
  }
}

export type {
  Image,
  ImageBlock,
  ImageSection,
  ImageStream,
  ImageWarning,
  OpenImageOptions,
} from "./containers/image.ts";
export { ImageDevice } from "./containers/image.ts";
export { StoredRam } from "./containers/stored_ram.ts";
export type { ByteSink, ByteSource } from "./stream/channel.ts";
export type { SectionType } from "./stream/records.ts";
export type { SectionPhase } from "./stream/tables.ts";
export { StreamReader } from "./stream/reader.ts";
export { StreamWriter } from "./stream/writer.ts";
export type { VmDescription } from "./stream/vmdesc.ts";
export type { InspectBlock, InspectDevice } from "./reports/inspect.ts";
export type { InspectStyle } from "./reports/inspect_text.ts";
export { inspectImage, type InspectOptions, type InspectReport } from "./reports/inspect.ts";
export { inspectText, type InspectTextOptions } from "./reports/inspect_text.ts";
export {
  AssembledWorkbench,
  type Assembly,
  type ExecuteResult,
  type MigrateOptions,
  type MigrationProgress,
  type WorkbenchOptions,
} from "./core/workbench.ts";
export type { CapabilityChange, CapabilityName, CapabilityNames } from "./core/capabilities.ts";
export type { ParameterName, ParameterTypes } from "./core/parameters.ts";
export type { BitmapAlias, NodeAlias } from "./core/bitmap_mapping.ts";
export type { MigrationInfo, MigrationStats, XbzrleStats } from "./core/migration_info.ts";
export { MIGRATION_STATUSES, type MigrationStatus } from "./core/status.ts";
export { EventStream, type MonitorEvent } from "./core/events.ts";
export { BANNER, type HmpOptions, type HmpResult, PROMPT, runHmp } from "./core/hmp.ts";
export { complete, type Completion, helpText } from "./core/help.ts";
export { answerQmp, QmpConnection, type QmpOptions, type QmpReply, runQmp } from "./core/qmp.ts";
export { JsonFloat, type JsonItem, JsonStream, parseJson, stringifyJson } from "./core/json.ts";
export { type InspectHook, type PluginHook, QEMU_VERSION, Session, type SessionOptions } from "./core/session.ts";
export type { MigrationGlobals } from "./core/globals.ts";
export type { MigrationTimes, Outgoing } from "./core/outgoing.ts";
export type { Incoming } from "./core/incoming.ts";
export type { DirtyRate, DirtyRateMode, DirtyRateRequest } from "./core/dirty_rate.ts";
export type { Destination, MigrationChannel } from "./core/reach.ts";
export type { DumpFormat } from "./core/dump.ts";
export { combine, type Registry } from "./core/registry.ts";
export { CORE_COMMANDS } from "./core/commands.ts";
export { type Arguments, type Command, type HmpFace, type Monitor, PlainError, type QmpFace } from "./core/command.ts";
export type { HmpArgument, HmpValues, LineMemory } from "./core/arguments.ts";
export * as schema from "./core/schema.ts";
export type { ObjectSchema, Schema, UnionSchema } from "./core/schema.ts";
export type * from "./core/plugin.ts";
export type * from "./core/transport.ts";
export { type AddedFd, type FdsetDescription, FdTable, holdNumber, holdPath } from "./core/fds.ts";
export type { IncomingRole, OutgoingRole } from "./core/session.ts";
export type { Remote } from "./core/remote.ts";
export { QmpClient, type QmpClientOptions, type QmpExecuteOptions, type QmpGreeting } from "./core/qmp_client.ts";
export type { QmpWire } from "./core/qmp_wire.ts";
export { type QmpServer, serveQmp } from "./core/qmp_server.ts";
export { type LaunchOptions, Qemu } from "./core/qemu_launch.ts";
export { loadGuest } from "./core/load.ts";
export { saveGuest } from "./core/save.ts";
export type { LoadRequest, SaveObserver, SaveRequest } from "./core/dataplane.ts";
export type * from "./guest/guest.ts";
export { GuestMemory, RamBlock, type RamBlockSpec } from "./guest/memory.ts";
export { createModelGuest, type ModelGuestOptions } from "./guest/model.ts";
export { type Content, parseContent } from "./guest/content.ts";
export {
  CommandError,
  MemoryFaultError,
  StreamError,
  TransportError,
  TruncatedStreamError,
  UnsupportedError,
} from "./stream/errors.ts";
