/**
 * What a decoder has to have seen before it can read on in the middle of a stream, made here and put in front of the bytes.
 *
 *     header | configuration with the page size | START of ram with the list of blocks, EOS, footer | PART | a block's name
 *
 * @module
 */
import { bufferSink, type ByteSource } from "../stream/channel.ts";
import { encodeConfiguration } from "../stream/configuration.ts";
import * as C from "../stream/constants.ts";
import * as encode from "../stream/encode.ts";
import { StreamWriter } from "../stream/writer.ts";
import type { ScanFind } from "./salvage_place.ts";

/** What is known of the stream. */
export interface FrontFacts {
  /** What stands at the place where it goes on. */
  readonly kind: ScanFind["kind"];
  /** Section id of ram, where its START was seen. */
  readonly ramId: number | undefined;
  readonly pageSize: number;
  /** Used lengths, in the order of the list. */
  readonly blocks: ReadonlyMap<string, number>;
  /** Sections end in footers. */
  readonly footers: boolean;
  /** Pages lie elsewhere: no list is wanted. */
  readonly withoutRam: boolean;
  /** Block that records without a name are of. */
  readonly block: string | undefined;
}

/** The bytes in front. */
export async function encodeFront(facts: FrontFacts): Promise<Uint8Array> {
  const sink = bufferSink();
  const writer = new StreamWriter(sink);
  await encode.encodeHeader(writer);
  if (!facts.withoutRam) {
    await encodeConfiguration(writer, { machine: "", targetPageBits: Math.log2(facts.pageSize) });
    if (facts.kind !== "start") await encodeRam(writer, facts);
  }
  await writer.flush();
  return sink.bytes();
}

async function encodeRam(writer: StreamWriter, { kind, ramId, blocks, footers, block }: FrontFacts): Promise<void> {
  // an id no section has, unless it is known
  const sectionId = ramId ?? 0xffffffff;
  const ram = { sectionId, idstr: "ram", instanceId: 0, versionId: C.RAM_SAVE_VERSION };
  await encode.encodeSection(writer, { type: "start", ...ram });
  const total = [...blocks.values()].reduce((sum, length) => sum + length, 0);
  writer.u64(BigInt(total) | BigInt(C.RAM_SAVE_FLAG_MEM_SIZE));
  for (const [idstr, usedLength] of blocks) await encode.encodeRamBlock(writer, { idstr, usedLength });
  await writer.room(1024);
  writer.u64(C.RAM_SAVE_FLAG_EOS);
  if (footers) await encode.encodeFooter(writer, sectionId);
  if (kind === "section") return;
  if (kind === "record") await encode.encodeSection(writer, { type: "part", ...ram });
  if (block === undefined) return;
  // a delta of no bytes names the block and changes nothing
  writer.u64(C.RAM_SAVE_FLAG_XBZRLE);
  writer.str8(block);
  writer.u8(1);
  writer.u16(0);
}

/** A source whose bytes before `offset` are `front`. Without `sized` nobody looks for a description at its end. */
export function behind(front: Uint8Array, file: ByteSource, offset: number, sized: boolean): ByteSource {
  const start = offset - front.length;
  let position = start;
  const readAt = (view: Uint8Array, at: number) => {
    if (at >= offset) return file.readAt!(view, at);
    const n = Math.min(view.length, offset - at);
    view.set(front.subarray(at - start, at - start + n));
    return n < view.length ? n + file.readAt!(view.subarray(n), offset) : n;
  };
  return {
    name: file.name,
    start,
    readAt,
    read(view) {
      const n = readAt(view, position);
      position += n;
      return n;
    },
    ...(sized ? { size: file.size!.bind(file) } : {}),
  };
}
