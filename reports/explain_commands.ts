/**
 * Lines of COMMAND records: what a source tells its destination between sections.
 *
 *     commands[0].type, .command, .length, .payload...
 *
 * @module
 */
import * as C from "../stream/constants.ts";
import type { CommandRecord } from "../stream/records.ts";
import { type ExplainLine, FieldLines } from "./explain_lines.ts";

const MEANINGS: Partial<Record<CommandRecord["name"], string>> = {
  OPEN_RETURN_PATH: "answer on the way back from now on",
  PING: "answer with a PONG of the same number",
  POSTCOPY_ADVISE: "postcopy may follow; without a payload: of dirty bitmaps only",
  POSTCOPY_LISTEN: "wait for pages that are asked for from now on",
  POSTCOPY_RUN: "the guest runs here from now on",
  POSTCOPY_RAM_DISCARD: "forget these ranges, they were changed since they were sent",
  PACKAGED: "a piece of stream that is read whole before it is looked at",
  ENABLE_COLO: "checkpoints follow (COLO)",
  POSTCOPY_RESUME: "go on with a postcopy that was interrupted",
  RECV_BITMAP: "say which pages of a block have arrived",
  SWITCHOVER_START: "the source has stopped the guest, device state comes next",
};

/** Type, number, length and payload. @param path such as `commands[0]` */
export function commandLines(record: CommandRecord, path: string): ExplainLine[] {
  const { offset, command, name, payload } = record;
  const fields = new FieldLines(offset, path, "migration/savevm.c qemu_savevm_command_send, loadvm_process_command")
    .u8("type", C.QEMU_VM_COMMAND, "COMMAND")
    .u16("command", command, `${name}: ${MEANINGS[name] ?? "no meaning is known"}`)
    .u16("length", payload.length, "bytes of payload");
  payloadLines(name, payload, fields);
  return fields.lines;
}

function payloadLines(name: CommandRecord["name"], payload: Uint8Array, fields: FieldLines): void {
  if (payload.length === 0) return;
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  switch (name) {
    case "PING":
      fields.u32("value", view.getUint32(0), "comes back in the PONG");
      return;
    case "PACKAGED":
      fields.u32(
        "bytes",
        view.getUint32(0),
        "length of the package that follows",
        "migration/savevm.c loadvm_handle_cmd_packaged",
      );
      return;
    case "POSTCOPY_ADVISE": {
      const from = "migration/savevm.c loadvm_postcopy_handle_advise";
      fields.u64("pageSizes", view.getBigUint64(0), "page sizes of all blocks, ORed", from);
      fields.u64("targetPageSize", view.getBigUint64(8), "bytes of a target page", from);
      return;
    }
    case "POSTCOPY_RAM_DISCARD": {
      const from = "migration/savevm.c loadvm_postcopy_ram_handle_discard";
      const length = payload[1];
      fields.u8("version", payload[0], "version of the payload", from);
      fields.str8("block", String.fromCharCode(...payload.subarray(2, 2 + length)), "RAM block", from);
      fields.u8("nul", payload[2 + length], "ends the name again", from);
      for (let at = 3 + length, i = 0; at + 16 <= payload.length; at += 16, i++) {
        fields.u64(`ranges[${i}].start`, view.getBigUint64(at), "byte offset in the block", from);
        fields.u64(`ranges[${i}].length`, view.getBigUint64(at + 8), "bytes to forget", from);
      }
      return;
    }
    case "RECV_BITMAP":
      if (1 + payload[0] === payload.length) {
        fields.str8("block", String.fromCharCode(...payload.subarray(1)), "RAM block");
        return;
      }
  }
  fields.bytes("payload", payload.length, payload, "payload");
}
