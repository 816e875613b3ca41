/**
 * The value "scsi-requests" of a SCSI device: requests that wait for the guest to run.
 *
 *     u8 1, retried, or 2 | command[16] | u32 tag | u32 lun | what the adapter and the device save of it; a 0 ends them
 *
 * How long the adapter's part is, no stream tells: the first request is read up to it. Source: QEMU hw/scsi/scsi-bus.c
 * (put_scsi_requests), include/scsi/utils.h (SCSI_CMD_BUF_SIZE).
 * @module
 */
import type { Meaning } from "./rule.ts";
import { numberPart } from "./virtio_space.ts";
import { Wire } from "./virtio_wire.ts";

const COMMAND = 16, HEAD = 1 + COMMAND + 4 + 4;

/** Requests under way; undefined where bytes are not like that. */
export function describeRequests(bytes: Uint8Array): Meaning | undefined {
  if (bytes.length === 1 && bytes[0] === 0) return { text: "none" };
  if (bytes.length <= HEAD || bytes.at(-1) !== 0) return undefined;
  const wire = new Wire(bytes);
  const retry = wire.u8();
  if (retry !== 1 && retry !== 2) return undefined;
  const command = wire.take(COMMAND).toHex().replace(/..(?=.)/g, "$& ");
  const parts = [
    { name: "retry", value: retry === 1 },
    { name: "cmd", text: command },
    numberPart("tag", wire.u32()),
    numberPart("lun", wire.u32()),
  ];
  return {
    text: `${bytes.length} bytes`,
    parts: [{ name: "0", parts }, {
      name: "rest",
      text: `${wire.left} bytes`,
      meaning: "of the adapter and the device",
    }],
  };
}
