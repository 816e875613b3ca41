/**
 * Records back to bytes. `encode(decode(bytes))` gives the same bytes for every stream that decodes: fields are written
 * from what the record says, only page payloads, device bodies and unclaimed bytes are carried as they are.
 * @module
 */
import type { ByteSource } from "./channel.ts";
import { encodeConfiguration } from "./configuration.ts";
import * as C from "./constants.ts";
import { encodeMappedHeader } from "./mapped_ram.ts";
import type { RamBlockEntry, RamPagesRecord, StreamRecord } from "./records.ts";
import type { StreamWriter } from "./writer.ts";

const SECTION_TYPE = {
  start: C.QEMU_VM_SECTION_START,
  part: C.QEMU_VM_SECTION_PART,
  end: C.QEMU_VM_SECTION_END,
  full: C.QEMU_VM_SECTION_FULL,
} as const;

/** `QEVM` and version 3. */
export async function encodeHeader(writer: StreamWriter): Promise<void> {
  await writer.room(8);
  writer.u32(C.QEMU_VM_FILE_MAGIC);
  writer.u32(C.QEMU_VM_FILE_VERSION);
}

/** Header of a section; START and FULL name themselves, PART and END only repeat the id. */
export async function encodeSection(
  writer: StreamWriter,
  section: { type: keyof typeof SECTION_TYPE; sectionId: number; idstr: string; instanceId: number; versionId: number },
): Promise<void> {
  await writer.room(300);
  writer.u8(SECTION_TYPE[section.type]);
  writer.u32(section.sectionId);
  if (section.type === "part" || section.type === "end") return;
  writer.str8(section.idstr);
  writer.u32(section.instanceId);
  writer.u32(section.versionId);
}

/** `7e` and the section id. */
export async function encodeFooter(writer: StreamWriter, sectionId: number): Promise<void> {
  await writer.room(5);
  writer.u8(C.QEMU_VM_SECTION_FOOTER);
  writer.u32(sectionId);
}

/** A MIG_CMD with its payload. */
export async function encodeCommand(writer: StreamWriter, command: number, payload: Uint8Array): Promise<void> {
  await writer.room(5 + payload.length);
  writer.u8(C.QEMU_VM_COMMAND);
  writer.u16(command);
  writer.u16(payload.length);
  writer.bytes(payload);
}

/** Name and lengths of one entry of the block list; a mapped-ram header too, where the entry has one. */
export async function encodeRamBlock(writer: StreamWriter, block: RamBlockEntry): Promise<void> {
  await writer.room(512);
  writer.str8(block.idstr);
  writer.u64(block.usedLength);
  if (block.pageSize !== undefined) writer.u64(block.pageSize);
  if (block.address !== undefined) writer.u64(block.address);
  if (block.mapped) encodeMappedHeader(writer, block.mapped);
}

/** EOF and, unless it is suppressed, the description. */
export async function encodeVmdescription(writer: StreamWriter, json: Uint8Array): Promise<void> {
  await writer.room(5);
  writer.u8(C.QEMU_VM_VMDESCRIPTION);
  writer.u32(json.length);
  await writer.put(json);
}

async function encodePages(writer: StreamWriter, record: RamPagesRecord): Promise<void> {
  const { dataAt, pageOffset, flags, dataLength, block, blocks, bytes } = record;
  for (let i = 0; i < record.count; i++) {
    const flag = flags[i];
    await writer.room(9 + 255 + 3 + dataLength[i]);
    writer.u64(pageOffset[i] + flag);
    if (!(flag & C.RAM_SAVE_FLAG_CONTINUE)) writer.str8(blocks[block[i]].idstr);
    if (flag & C.RAM_SAVE_FLAG_XBZRLE) {
      writer.u8(bytes[dataAt[i] - 3]);
      writer.u16(dataLength[i]);
    }
    writer.bytes(bytes.subarray(dataAt[i], dataAt[i] + dataLength[i]));
  }
}

/** Bytes of a record that carries none are copied from the file it was decoded from. */
async function copyRange(writer: StreamWriter, source: ByteSource, offset: number, length: number): Promise<void> {
  const chunk = new Uint8Array(Math.min(length, 1 << 20));
  for (let done = 0; done < length;) {
    const view = chunk.subarray(0, Math.min(chunk.length, length - done));
    const got = source.readAt!(view, offset + done);
    // a hole at the end of the file: a sparse writer never stored it
    if (got < view.length) view.fill(0, got);
    await writer.put(view);
    done += view.length;
  }
}

/**
 * Write one record.
 * @param source the file the record was decoded from; needed for records that carry no bytes (mapped-ram pages and gaps
 *               of a file that can seek)
 */
export async function encodeRecord(writer: StreamWriter, record: StreamRecord, source?: ByteSource): Promise<void> {
  switch (record.kind) {
    case "header":
      return await encodeHeader(writer);
    case "configuration":
      return await encodeConfiguration(writer, record);
    case "section":
      return await encodeSection(writer, record);
    case "footer":
      return await encodeFooter(writer, record.sectionId);
    case "ram-total":
      await writer.room(8);
      return writer.u64(BigInt(record.total) | BigInt(C.RAM_SAVE_FLAG_MEM_SIZE));
    case "ram-block":
      return await encodeRamBlock(writer, record.block);
    case "ram-pages":
      return await encodePages(writer, record);
    case "ram-mark":
      await writer.room(8);
      return writer.u64(record.word);
    case "command":
      return await encodeCommand(writer, record.command, record.payload);
    case "eof":
      await writer.room(1);
      return writer.u8(C.QEMU_VM_EOF);
    case "vmdescription":
      return await encodeVmdescription(writer, record.json);
    case "device":
      return await writer.put(record.body);
    case "section-data":
      return await writer.put(record.data);
    case "mapped-bitmap":
      return await writer.put(record.bitmap);
    case "mapped-pages":
    case "opaque":
      if (record.data) return await writer.put(record.data);
      return await copyRange(writer, source!, record.offset, record.length);
  }
}
