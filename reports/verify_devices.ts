/**
 * What the decoder lets pass in device bodies: fields against their types, and the run state.
 *
 *     bool             0 or 1
 *     unused_buffer    zeros
 *     globalstate      size = length of the run state's name + 1, and a name that QEMU knows
 *
 * Source: QEMU migration/vmstate-types.c, migration/global_state.c; qapi/run-state.json RunState.
 * @module
 */
import type { DeviceRecord } from "../stream/records.ts";
import type { VmDescription } from "../stream/vmdesc.ts";
import { walkDevice } from "../stream/vmstate.ts";
import { deviceLeaves } from "./explain_device.ts";
import type { Report } from "./findings.ts";

/** RunState, in QEMU's order. */
const RUN_STATES = (
  "debug inmigrate internal-error io-error paused postmigrate prelaunch finish-migrate restore-vm running save-vm " +
  "shutdown suspended watchdog guest-panicked colo"
).split(" ");

/** Check one device. @param path of its body */
export function checkDevice(record: DeviceRecord, all: VmDescription | undefined, path: string, report: Report): void {
  const { idstr, instanceId, offset, body } = record;
  if (idstr === "globalstate") checkGlobalState(record, path, report);
  const description = all?.device(idstr, instanceId);
  if (!description) return;
  const { nodes, consumed, problem } = walkDevice(description, body, { offset, partial: true });
  if (problem && record.bounds === "description") {
    report("error", problem.offset, path, problem.message);
    return;
  }
  if (!problem && consumed < body.length) {
    report(
      "warning",
      offset + consumed,
      path,
      `${body.length - consumed} bytes that the description does not account for`,
    );
  }
  for (const { node, path: where } of deviceLeaves(nodes, path, description.vmsdName)) {
    const at = offset + node.offset;
    if (node.type === "bool" && node.length === 1 && body[node.offset] > 1) {
      report("warning", at, where, `a bool that is ${body[node.offset]}: 0 or 1 expected`);
    } else if (
      node.type === "unused_buffer" && node.value instanceof Uint8Array && node.value.some((byte) => byte !== 0)
    ) {
      report("warning", at, where, "room of a field that is gone is not zero");
    }
  }
}

/** be32 size, 32 bytes of name padded with NULs, the rest of what once were 100. */
function checkGlobalState({ offset, body }: DeviceRecord, path: string, report: Report): void {
  if (body.length < 36) {
    report("error", offset, path, `globalstate has ${body.length} bytes, fewer than a run state takes`);
    return;
  }
  const size = new DataView(body.buffer, body.byteOffset).getUint32(0);
  const end = body.indexOf(0, 4);
  const name = String.fromCharCode(...body.subarray(4, end < 0 ? 36 : Math.min(end, 36)));
  if (!RUN_STATES.includes(name)) {
    report("error", offset + 4, `${path}.runstate`, `run state ${JSON.stringify(name)}, which QEMU 10.0 does not know`);
  } else if (size !== name.length + 1) {
    report("error", offset, `${path}.size`, `size ${size} of run state ${name}: ${name.length + 1} expected`);
  }
}
