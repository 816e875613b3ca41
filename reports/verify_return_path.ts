/**
 * The way back of a migration: what a destination answers, as a recording of it has it.
 *
 *     message      = u16 type, u16 length, payload
 *     SHUT 1       u32 0, or not when the destination failed      PONG 2          u32 of a PING
 *     REQ_PAGES_ID 3   u64 start, u32 length, str8 block          REQ_PAGES 4     the same without a block
 *     RECV_BITMAP 5    str8 block; then u64 bytes, bits, u64 0123456789abcdef, outside of the payload
 *     RESUME_ACK 6     u32 1                                      SWITCHOVER_ACK 7
 *
 * Source: QEMU migration/migration.c (enum mig_rp_message_type, source_return_path_thread), ram.c ramblock_recv_bitmap_send.
 * @module
 */
import type { ByteSource } from "../stream/channel.ts";
import { hex, StreamError } from "../stream/errors.ts";
import { StreamReader } from "../stream/reader.ts";
import type { RamBlockEntry } from "../stream/records.ts";
import type { Report } from "./findings.ts";

const NAMES = ["INVALID", "SHUT", "PONG", "REQ_PAGES_ID", "REQ_PAGES", "RECV_BITMAP", "RESUME_ACK", "SWITCHOVER_ACK"];
/** Bytes of payload; undefined where it holds a name. */
const LENGTHS = [undefined, 4, 4, undefined, 12, undefined, 4, 0];
/** A source reads no longer payload. */
const PAYLOAD_LIMIT = 512;
const BITMAP_END = 0x0123456789abcdefn;
const CHANNEL = "return path";

/** Check one recording. @param blocks and page size of the main channel */
export async function checkReturnPath(
  source: ByteSource,
  blocks: readonly RamBlockEntry[],
  pageSize: number,
  report: Report,
): Promise<void> {
  const reader = new StreamReader(source);
  let path = "returnPath";
  let last: RamBlockEntry | undefined;
  let shut = false;
  const add = (severity: "error" | "warning", offset: number, message: string) =>
    report(severity, offset, path, message, CHANNEL);
  const blockNamed = (name: string, at: number) => {
    const block = blocks.find(({ idstr }) => idstr === name);
    if (!block) add("error", at, `block ${JSON.stringify(name)} is none of the list (QEMU: has no block '${name}')`);
    return block;
  };
  const request = (view: DataView, offset: number) => {
    if (!last) return;
    const start = Number(view.getBigUint64(0)), bytes = view.getUint32(8);
    const range = `${hex(start)}+${hex(bytes)} of ${last.idstr}`;
    const unit = last.pageSize ?? pageSize;
    if (start % unit || bytes % unit) {
      add("error", offset + 4, `request ${range} is not made of whole pages of ${unit} bytes`);
    }
    if (bytes === 0 || start + bytes > last.usedLength) {
      add("error", offset + 4, `request ${range} goes beyond its ${hex(last.usedLength)} bytes`);
    }
  };
  try {
    for (let n = 0; await reader.ensure(1); n++) {
      path = `returnPath.messages[${n}]`;
      const offset = reader.offset;
      if (shut) add("error", offset, "a message behind SHUT, which is the last");
      await reader.need(4, "Cannot read message");
      const type = reader.u16(), length = reader.u16();
      const name = NAMES[type];
      if (type === 0 || name === undefined) {
        return add("error", offset, `message type ${type}: 1 to 7 expected; what follows cannot be read`);
      }
      const exact = LENGTHS[type];
      if (length > PAYLOAD_LIMIT || (exact !== undefined && length !== exact)) {
        return add("error", offset + 2, `${name} of ${length} bytes: ${exact ?? `at most ${PAYLOAD_LIMIT}`} expected`);
      }
      await reader.need(length, `Cannot read ${name}`);
      const payload = reader.bytes(length).slice();
      const view = new DataView(payload.buffer);
      switch (name) {
        case "SHUT":
          shut = true;
          if (view.getUint32(0) !== 0) add("warning", offset + 4, `the destination failed: SHUT ${view.getUint32(0)}`);
          break;
        case "RESUME_ACK":
          if (view.getUint32(0) !== 1) add("error", offset + 4, `RESUME_ACK ${view.getUint32(0)}: 1 expected`);
          break;
        case "REQ_PAGES_ID": {
          if (length < 14 || 13 + payload[12] !== length) {
            return add("error", offset + 2, `REQ_PAGES_ID of ${length} bytes with a name of ${payload[12] ?? 0}`);
          }
          last = blockNamed(String.fromCharCode(...payload.subarray(13)), offset + 16);
          request(view, offset);
          break;
        }
        case "REQ_PAGES":
          if (!last) add("error", offset, "REQ_PAGES, and no block was named before");
          request(view, offset);
          break;
        case "RECV_BITMAP": {
          if (1 + payload[0] !== length) {
            return add("error", offset + 2, `RECV_BITMAP of ${length} bytes with a name of ${payload[0] ?? 0}`);
          }
          const block = blockNamed(String.fromCharCode(...payload.subarray(1)), offset + 5);
          await reader.need(8, "Cannot read received bitmap");
          const at = reader.offset, bytes = reader.u64n();
          const pages = Math.ceil((block?.usedLength ?? 0) / pageSize);
          const expected = Math.ceil(Math.ceil(pages / 8) / 8) * 8;
          if (block && bytes !== expected) return add("error", at, `a bitmap of ${bytes} bytes: ${expected} expected`);
          if (bytes > 1 << 28) return add("error", at, `a bitmap of ${bytes} bytes`);
          await reader.skip(bytes);
          await reader.need(8, "Cannot read end mark of a bitmap");
          const mark = reader.u64();
          if (mark !== BITMAP_END) {
            add("error", reader.offset - 8, `end mark ${hex(mark)}: ${hex(BITMAP_END)} expected`);
          }
          break;
        }
      }
    }
  } catch (error) {
    if (!(error instanceof StreamError)) throw error;
    add("error", error.offset, error.message);
  }
}
