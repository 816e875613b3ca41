/**
 * From a file to the stream in it, by content: layers are taken off until QEVM stands in front.
 *
 *     file -> [gzip bzip2 xz lzop zstd] -> [libvirt header -> [compression]] -> stream
 *                                          [qcow2 -> VM state of an internal snapshot]
 *                                          [ELF core, raw memory: no stream, and only where memory is wanted]
 *
 * Offsets of a stream that was packed count its unpacked bytes.
 * @module
 */
import type { ByteSource } from "../stream/channel.ts";
import { StreamError, UnsupportedError } from "../stream/errors.ts";
import { LIBVIRT_HEADER_BYTES, type LibvirtSave, NOT_RESTORED, readLibvirtSave } from "./libvirt.ts";
import { type Compression, type Content, DETECT_BYTES, detectContent, isCompression } from "./magic.ts";
import { openQcow2, type Qcow2Snapshot } from "./qcow2.ts";
import { peek, startAt } from "./sources.ts";
import { unpack, type UnpackedSource } from "./unpack.ts";

/** Compressions inside one another that are followed. */
const DEPTH_LIMIT = 4;

/** A stream that was found in a file. */
export interface Located {
  /** Of the outermost container that is more than a compression. */
  readonly format: "qemu-stream" | "libvirt-save" | "qcow2" | "elf-core" | "raw";
  /** Stands where the stream begins. */
  readonly source: ByteSource;
  /** Where the stream, packed or not, begins in its container. */
  readonly streamOffset: number;
  /** What the stream is packed with, outermost first. */
  readonly compressions: readonly Compression[];
  readonly libvirt?: LibvirtSave;
  /** Internal snapshots of a qcow2 image. */
  readonly snapshots?: readonly Qcow2Snapshot[];
  /** The one whose VM state is read. */
  readonly snapshot?: Qcow2Snapshot;
  /** Doubts about the container. */
  readonly warnings: readonly string[];
  /** The same source once more, from its beginning; absent on a pipe. */
  readonly reopen?: () => Promise<ByteSource>;
  /** Why a layer ended early, once it has. */
  problem(): string | undefined;
  /** End the programs that were started. */
  close(): void;
}

/** What to look for. */
export interface LocateOptions {
  /** The stream (or its container) begins here. */
  readonly offset: number;
  /** Name or id of an internal snapshot. */
  readonly snapshot?: string;
  /** What is memory alone is wanted too: ELF cores; "raw": and whatever is not known. */
  readonly memory?: "elf-core" | "raw";
}

/**
 * Find the stream in a file.
 * @throws {StreamError} when a container is broken, or nothing is recognised
 */
export async function locate(file: ByteSource, options: LocateOptions): Promise<Located> {
  const layers: UnpackedSource[] = [];
  const compressions: Compression[] = [];
  const warnings: string[] = [];
  let libvirt: LibvirtSave | undefined;
  let memory: "elf-core" | "raw" | undefined;
  let source = await startAt(file, options.offset);
  let streamOffset = options.offset;
  let reopen = file.readAt ? () => startAt(file, options.offset) : undefined;
  const takeOff = (compression: Compression) => {
    compressions.push(compression);
    const inner = unpack(source, compression);
    layers.push(inner);
    source = inner;
    const again = reopen;
    if (again) reopen = async () => unpack(await again(), compression);
  };
  const close = () => layers.forEach((layer) => layer.close());
  try {
    for (;;) {
      const seen = await peek(source, DETECT_BYTES);
      source = seen.source;
      const content = detectContent(seen.head);
      if (isCompression(content)) {
        if (compressions.length >= DEPTH_LIMIT) break;
        takeOff(content);
        if (libvirt && (libvirt.format !== content)) {
          warnings.push(`labelled ${libvirt.format}, but the stream is packed with ${content}: ${NOT_RESTORED}`);
        }
      } else if (content === "libvirt-save" && !libvirt) {
        const begin = source.start ?? 0;
        libvirt = await readLibvirtSave(source);
        const { dataBytes } = libvirt;
        streamOffset = begin + LIBVIRT_HEADER_BYTES + dataBytes;
        const at = streamOffset, again = reopen;
        source = source.readAt
          ? await startAt(source, at)
          : { name: source.name, start: at, read: source.read.bind(source) };
        if (again) reopen = async () => startAt(await again(), at);
        if (!libvirt.complete) warnings.push("libvirt did not complete this save image");
        // raw streams and those made by snapshots are told by their content; a label counts where that says nothing
        const behind = await peek(source, DETECT_BYTES);
        source = behind.source;
        const { version, format } = libvirt;
        if (version === 2 && format !== "raw" && format !== "sparse") {
          const inside = detectContent(behind.head);
          if (inside === "unknown") takeOff(format);
          else if (!isCompression(inside)) {
            warnings.push(`labelled ${format}, but the stream is not packed: ${NOT_RESTORED}`);
          }
        }
      } else if (content === "qcow2" && source.readAt) {
        const { source: state, snapshots, snapshot } = openQcow2(source, options.snapshot);
        return {
          format: "qcow2",
          source: state,
          streamOffset: 0,
          compressions,
          snapshots,
          snapshot,
          warnings,
          problem: () => undefined,
          close,
        };
      } else if (!libvirt && isWanted(content, options.memory)) {
        memory = content === "elf-core" ? content : "raw";
        break;
      } else {
        // the decoder says best what is wrong with bytes that look like nothing
        if (content in FOREIGN) unsupported(source, FOREIGN[content], options.memory !== undefined);
        break;
      }
    }
  } catch (error) {
    close();
    throw error;
  }
  if (options.snapshot !== undefined) {
    close();
    throw new StreamError(`Cannot open snapshot ${options.snapshot}`, {
      channel: source.name,
      offset: options.offset,
      found: libvirt ? "a libvirt save image" : "no container with snapshots",
      expected: "a qcow2 image",
    });
  }
  return {
    format: memory ?? (libvirt ? "libvirt-save" : "qemu-stream"),
    source,
    streamOffset,
    compressions,
    ...(libvirt ? { libvirt } : {}),
    warnings,
    ...(reopen ? { reopen } : {}),
    problem: () => layers.map((layer) => layer.problem()).find((problem) => problem !== undefined),
    close,
  };
}

function isWanted(content: Content, memory: LocateOptions["memory"]): boolean {
  return memory !== undefined && (content === "elf-core" || (memory === "raw" && content === "unknown"));
}

/** What is known, but holds no stream that can be reached. */
const FOREIGN: Readonly<Record<string, string>> = {
  "kdump": "a kdump-compressed file (makedumpfile): its pages are packed one by one",
  "windows-dump": "a Windows crash dump (win-dmp)",
  "elf-core": "an ELF core: no migration stream is in it",
  "qcow2": "a qcow2 image on a pipe",
  "libvirt-save": "a save image inside a save image",
};

function unsupported(source: ByteSource, found: string, memory: boolean): never {
  throw new UnsupportedError("Cannot open", {
    channel: source.name,
    offset: source.start ?? 0,
    found,
    expected: found === FOREIGN.qcow2
      ? "a file"
      : `a migration stream, a libvirt save image${memory ? ", an ELF core" : ""} or a qcow2 image with a snapshot`,
    feature: "containers",
  });
}
