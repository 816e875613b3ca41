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
 * This file is the public surface; what a workbench has by default is listed in assembly.ts and wiring.ts.
 * @module
 */
import { DEFAULT_ASSEMBLY } from "./assembly.ts";
import { type Image, openImage as openWith, type OpenImageOptions } from "./containers/image.ts";
import { encodeLibvirtFront } from "./containers/libvirt_writer.ts";
import { readStreamHead } from "./containers/stream_head.ts";
import { domainXml } from "./core/libvirt_domain.ts";
import { type RestoredFile, restoreFromFile, type RestoreJobOptions } from "./core/restore_job.ts";
import { type SavedFile, type SaveJobOptions, saveToFile } from "./core/save_job.ts";
import type { ByteSource } from "./stream/channel.ts";
import { combine as combinePlugins } from "./core/registry.ts";
import {
  explainImage as explainWith,
  type ExplainLine,
  type ExplainOptions,
  type ReportInput,
} from "./reports/explain.ts";
import { salvageImage as salvageWith, type SalvageOptions, type SalvageReport } from "./reports/salvage.ts";
import { verifyImage as verifyWith, type VerifyOptions, type VerifyReport } from "./reports/verify.ts";
import { whyFailed as whyWith, type WhyOptions, type WhyReport } from "./reports/why.ts";
import { AssembledWorkbench } from "./core/workbench.ts";
export { DEFAULT_PLUGINS } from "./wiring.ts";
export { DEFAULT_ASSEMBLY, DEFAULT_TRANSPORTS } from "./assembly.ts";
export { bufferBytes, dropBuffer, setBuffer } from "./transports/buffer.ts";
import type { WorkbenchOptions } from "./core/workbench_options.ts";
import { DEFAULT_PLUGINS } from "./wiring.ts";
import { CommandError, StreamError } from "./stream/errors.ts";

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

/**
 * Name every byte of a saved guest, line after line: where it stands, what it is, and where the rule is written.
 * @throws {TransportError} when the file cannot be opened or read
 * @throws {StreamError} when a container around the stream is broken; what is wrong with the stream is in the lines
 */
export function explainImage(input: ReportInput, options: ExplainOptions = {}): AsyncGenerator<ExplainLine> {
  return explainWith(input, { tables: combinePlugins(DEFAULT_PLUGINS).tables, ...options });
}

/**
 * Hold a saved guest against every invariant of its format, and if asked against a QEMU that is to load it.
 * @throws {TransportError} when the file cannot be opened or read; what is wrong with its bytes is in the report
 */
export async function verifyImage(input: ReportInput, options: VerifyOptions = {}): Promise<VerifyReport> {
  return await verifyWith(input, { tables: combinePlugins(DEFAULT_PLUGINS).tables, ...options });
}

/**
 * What a failed load points at in a file.
 * @param error what QEMU or libvirt said, one or many lines
 * @throws {TransportError} when the file cannot be opened or read
 */
export async function whyFailed(input: ReportInput, error: string, options: WhyOptions = {}): Promise<WhyReport> {
  return await whyWith(input, error, { tables: combinePlugins(DEFAULT_PLUGINS).tables, ...options });
}

/**
 * Recover what a damaged file holds into a new directory.
 * @param path      of the file, "-" for standard input
 * @param directory that does not exist yet, or is empty
 * @throws {TransportError} when the file cannot be read, or the directory not be made
 */
export async function salvageImage(
  path: string,
  directory: string,
  options: SalvageOptions = {},
): Promise<SalvageReport> {
  return await salvageWith(path, directory, { tables: combinePlugins(DEFAULT_PLUGINS).tables, ...options });
}

/** A virtual machine with its monitor, and everything that belongs to it. */
export class Workbench extends AssembledWorkbench {
  /**
   * Open one.
   * @throws {CommandError} {TransportError} {StreamError} {RangeError} when the options do not go together or name what is not there
   */
  static async open(options: WorkbenchOptions = {}): Promise<Workbench> {
    return await Workbench.assemble(options, DEFAULT_ASSEMBLY) as Workbench;
  }

  /**
   * Save the machine into a file in one call: settings changed and put back, the guest stopped unless it is to stay live, the
   * file whole and on the disk, or not there.
   * @throws {CommandError} {TransportError} why it did not work; the guest runs on if it ran
   */
  async save(path: string, options: WorkbenchSaveOptions = {}): Promise<SavedFile> {
    const { format = "mapped-ram", xml, ...job } = options;
    if (format !== "libvirt-sparse") return await saveToFile(this, path, { ...job, format });
    if (job.offset !== undefined) throw new CommandError("A libvirt image says itself where its stream begins");
    const { running } = await this.qmp("query-status") as { running: boolean };
    const front = encodeLibvirtFront({
      format: "sparse",
      xml: xml ?? await domainXml(this),
      wasRunning: running,
    });
    const unfinishedFront = front.slice();
    unfinishedFront.set(new TextEncoder().encode("LibvirtQemudPart"));
    return await saveToFile(this, path, { ...job, format: "mapped-ram", front, unfinishedFront });
  }

  /**
   * Load a saved machine in one call; this one must wait for it (`incoming: "defer"`). Format, offset and capabilities are
   * found in the file. What libvirt saved running is started.
   * @throws {CommandError} {TransportError} {StreamError} why it did not work
   */
  async restore(path: string, options: WorkbenchRestoreOptions = {}): Promise<RestoredFile> {
    const { offset, ...job } = options;
    const head = await readStreamHead(path, offset).catch((error) => {
      if (error instanceof StreamError) error.message = `${path}: ${error.message}`;
      throw error;
    });
    if (head.compressions.length > 0) {
      throw new CommandError(
        `Cannot restore from '${path}', it is packed with ${head.compressions.join(", ")}: ` +
          `miglab convert ${path} OUT --to mapped-ram makes a file a machine can read`,
      );
    }
    return await restoreFromFile(this, path, {
      cont: head.libvirt?.wasRunning,
      ...job,
      offset: head.streamOffset,
      capabilities: head.capabilities,
      explain: async () => {
        const { loadFailure } = await import("./reports/load_failure.ts");
        return await loadFailure(this, path, { offset, tables: combinePlugins(DEFAULT_PLUGINS).tables });
      },
    });
  }
}

/** How {@link Workbench.save} saves. */
export interface WorkbenchSaveOptions extends Omit<SaveJobOptions, "format" | "front" | "unfinishedFront"> {
  /** "libvirt-sparse": mapped-ram behind libvirt's header. Default mapped-ram. */
  readonly format?: SaveJobOptions["format"] | "libvirt-sparse";
  /** Domain XML for libvirt. Left out: the least libvirt takes, made of what the machine tells. */
  readonly xml?: string;
}

/** How {@link Workbench.restore} loads. */
export type WorkbenchRestoreOptions = Omit<RestoreJobOptions, "capabilities" | "explain">;

export type {
  Image,
  ImageBlock,
  ImageSection,
  ImageStream,
  ImageWarning,
  OpenImageOptions,
} from "./containers/image.ts";
export { ImageDevice } from "./containers/image.ts";
export { type CoreNote, type ElfCore, type ImageRam, MEMORY_BLOCK, type MemorySegment } from "./containers/image.ts";
export type { ImageChannel } from "./containers/further_channels.ts";
export type { LibvirtFormat, LibvirtSave } from "./containers/libvirt.ts";
export type { Compression } from "./containers/magic.ts";
export type { Qcow2Snapshot } from "./containers/qcow2.ts";
export type { ImageCommand } from "./containers/index_result.ts";
export { StoredRam } from "./containers/stored_ram.ts";
export type { ByteSink, ByteSource } from "./stream/channel.ts";
export type { ConfigurationRecord, ConfigurationSubsection, RecordPlace, SectionType } from "./stream/records.ts";
export type { SectionPhase } from "./stream/tables.ts";
export { StreamReader } from "./stream/reader.ts";
export { StreamWriter } from "./stream/writer.ts";
export type { DeviceDescription, FieldDescription, VmDescription, Vmsd } from "./stream/vmdesc.ts";
export type { PassBlock, RamPass } from "./containers/ram_passes.ts";
export type { InspectBlock, InspectDevice, InspectPass, InspectSnapshot } from "./reports/inspect.ts";
export { describeDevice, type DescribedField } from "./reports/symbols/describe.ts";
export { virtualClock } from "./reports/symbols/time.ts";
export type { InspectStyle } from "./reports/inspect_text.ts";
export { inspectImage, type InspectOptions, type InspectReport } from "./reports/inspect.ts";
export type { InspectCore } from "./reports/inspect_core.ts";
export { coreCpus, type NoteOrigin, type Registers } from "./reports/core_cpu.ts";
export { inspectText, type InspectTextOptions } from "./reports/inspect_text.ts";
export {
  conversionProblems,
  CONVERT_FORMATS,
  type Converted,
  type ConvertFormat,
  convertImage,
  type ConvertOptions,
} from "./reports/convert.ts";
export { snapSave, type SnapSaved, type SnapSaveOptions } from "./reports/snap_save.ts";
export {
  type BlockDifference,
  type ConfigurationDifference,
  type DeviceDifference,
  diffImages,
  type DiffOptions,
  type DiffReport,
  type FieldDifference,
  type LayoutDifference,
  type PartDifference,
} from "./reports/diff.ts";
export type {
  PlainFields,
  PlainValue,
  VmBranch,
  VmFraming,
  VmLeaf,
  VmNode,
  VmValue,
  WalkedDevice,
} from "./stream/vmstate.ts";
export { MIG_CMD, type MigCommandName } from "./stream/constants.ts";
export type { MultifdCodec, MultifdDecoder, MultifdEncoder } from "./stream/multifd_codec.ts";
export { diffText } from "./reports/diff_text.ts";
export { extractBlock, type ExtractedBlock, extractRange } from "./reports/extract.ts";
export { writeElfCore, type WrittenCore } from "./reports/elf.ts";
export { type ArmCpu, type Cpu, cpuStates, type Segment, type X86Cpu } from "./reports/cpu_state.ts";
export { type SalvageOptions, type SalvageReport } from "./reports/salvage.ts";
export { salvageText } from "./reports/salvage_text.ts";
export type { SalvagedDevice } from "./reports/salvage.ts";
export type { SalvagedChannel } from "./reports/salvage_channels.ts";
export type { SalvagedIterable } from "./reports/salvage_iterable.ts";
export type { SalvagedBlock } from "./reports/salvage_ram.ts";
export type { Damage } from "./reports/salvage_pieces.ts";
export { RefusedError } from "./reports/readable.ts";
export type { LongWork } from "./containers/breath.ts";
export type {
  ChannelPlace,
  ExplainedChannel,
  ExplainedRam,
  ExplainLine,
  ExplainOptions,
  ReportInput,
} from "./reports/explain.ts";
export type { ChannelKind, KnownChannel } from "./reports/channel_kind.ts";
export { explainText } from "./reports/explain_text.ts";
export type { InputOptions } from "./reports/input.ts";
export type { Finding, Severity, VerifyOptions, VerifyReport } from "./reports/verify.ts";
export type { DeviceVerdict } from "./reports/verify_against.ts";
export { verifyText } from "./reports/verify_text.ts";
export type { FurtherInput } from "./reports/verify_beside.ts";
export type { WhyFinding, WhyOptions, WhyPlace, WhyReport } from "./reports/why.ts";
export { runIncoming, type RunOptions, type RunResult } from "./reports/why_run.ts";
export { whyText } from "./reports/why_text.ts";
export {
  AssembledWorkbench,
  type ExecuteResult,
  type MigrateOptions,
  type MigrationProgress,
} from "./core/workbench.ts";
export type { Assembly, SavedPlace, SavedStream, WorkbenchOptions } from "./core/workbench_options.ts";
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
export type { Remote, RemoteOptions } from "./core/remote.ts";
export type { NameKind, Names } from "./core/remote_names.ts";
export { QmpClient, type QmpClientOptions, type QmpExecuteOptions, type QmpGreeting } from "./core/qmp_client.ts";
export type { QmpWire } from "./core/qmp_wire.ts";
export { type QmpServer, serveQmp } from "./core/qmp_server.ts";
export { type LaunchOptions, Qemu } from "./core/qemu_launch.ts";
export { type Forecast, forecast, Prospects } from "./core/forecast.ts";
export { type SavedFile, type SaveJobOptions, saveToFile } from "./core/save_job.ts";
export { type RestoredFile, restoreFromFile, type RestoreJobOptions } from "./core/restore_job.ts";
export { readStreamHead, type StreamHead } from "./containers/stream_head.ts";
export { type ComparedMachines, compareMachines, type DifferingPages } from "./core/compare_machines.ts";
export { type Paired, pairMachines, type PairOptions } from "./core/pair_job.ts";
export type { Capture, CapturedChannel, CapturedKind } from "./core/capture.ts";
export { record as recordMigration, type RecordOptions } from "./core/recorder.ts";
export { replay as replayMigration, type Replayed, type ReplayOptions } from "./core/replay.ts";
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
