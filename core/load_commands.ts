/**
 * Commands of a stream that is being loaded: what the source tells its destination, and what it is answered.
 *
 * Source: QEMU migration/savevm.c loadvm_process_command.
 * @module
 */
import { StreamError } from "../stream/errors.ts";
import type { CommandRecord } from "../stream/records.ts";
import type { LoadRequest } from "./dataplane.ts";
import { unsupported } from "./load_faults.ts";
import { IncomingReturnPath } from "./return_path.ts";

/** Of one load. */
export class CommandLoad {
  /** SWITCHOVER_START came. */
  switchover = false;
  #returnPath?: IncomingReturnPath;

  /**
   * Nothing was said yet.
   * @param discard takes the payload of POSTCOPY_RAM_DISCARD
   */
  constructor(private readonly request: LoadRequest, private readonly discard: (payload: Uint8Array) => void) {}

  /** Tell the source how it ended; 0 is well. */
  async shut(value: number): Promise<void> {
    await this.#returnPath?.shut(value);
  }

  /** Follow one. @throws {StreamError} {UnsupportedError} when it cannot be */
  async apply(record: CommandRecord): Promise<void> {
    const { name, payload } = record;
    const { capability, anyCapabilities, report, channel } = this.request;
    switch (name) {
      case "OPEN_RETURN_PATH":
        if (this.#returnPath) report("CMD_OPEN_RETURN_PATH called when RP already open");
        this.#returnPath ??= new IncomingReturnPath(channel);
        return;
      case "PING": {
        const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
        return await this.#returnPath?.pong(view.getUint32(0));
      }
      case "SWITCHOVER_START":
        this.switchover = true;
        return;
      case "POSTCOPY_ADVISE":
        if (!anyCapabilities) checkAdvise(record, capability("postcopy-ram"));
        return;
      case "POSTCOPY_RAM_DISCARD":
        return this.discard(payload);
      case "POSTCOPY_LISTEN":
        if (!anyCapabilities) {
          unsupported(record, "postcopy-ram", "a live postcopy asks for pages over the return path");
        }
        return;
      case "ENABLE_COLO":
        if (!capability("x-colo")) {
          refuse(
            record,
            "x-colo off here",
            "it on",
            "ENABLE_COLO command come in migration stream, but x-colo capability is not set",
          );
        }
        return;
    }
  }
}

function checkAdvise(record: CommandRecord, on: boolean): void {
  const { length } = record.payload;
  if (length && !on) {
    refuse(record, "postcopy-ram off here", "it on", "RAM postcopy is disabled but have 16 byte advise");
  }
  if (!length && on) {
    refuse(record, "postcopy-ram on here", "it off", "RAM postcopy is enabled but have 0 byte advise");
  }
}

function refuse({ name, channel, offset }: CommandRecord, found: string, expected: string, qemu: string): never {
  throw new StreamError(`Cannot accept command ${name}`, {
    channel,
    offset,
    found,
    expected,
    qemu: [qemu],
    reason: "Invalid argument",
  });
}
