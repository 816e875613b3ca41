/**
 * Device sections and other iterables of a stream that is being loaded: kept as bytes with what they are, so that the guest
 * can be saved again in any form.
 *
 * Source: QEMU migration/savevm.c qemu_loadvm_section_start_full, qemu_loadvm_section_part_end.
 * @module
 */
import type { GuestBuilder } from "../guest/adopt.ts";
import type { Guest } from "../guest/guest.ts";
import { StreamError } from "../stream/errors.ts";
import type { DeviceRecord, SectionDataRecord, SectionRecord } from "../stream/records.ts";

/** Into one builder. */
export class DeviceLoad {
  /** The section whose pieces are being put together, by its offset. */
  #at = -1;
  #pieces: Uint8Array[] = [];

  constructor(private readonly builder: GuestBuilder) {}

  /** A device, whole; its bytes are copied. */
  device({ idstr, instanceId, versionId, sectionId, body, early }: DeviceRecord): void {
    this.builder.addDevice({
      idstr,
      instanceId,
      versionId,
      sectionId,
      body: body.slice(),
      ...(early ? { early } : {}),
    });
  }

  /** A piece of an iterable's section; its bytes are copied. */
  piece(section: SectionRecord, { data }: SectionDataRecord): void {
    if (section.offset !== this.#at) this.#pieces = [];
    this.#at = section.offset;
    this.#pieces.push(data.slice());
    const body = concat(this.#pieces);
    const { type, idstr, instanceId, versionId, sectionId } = section;
    if (type === "start") this.builder.startIterable({ idstr, instanceId, versionId, sectionId }, body);
    else if (type === "end") this.builder.endIterable(sectionId, body);
    else if (this.#pieces.length > 1) this.builder.replacePart(sectionId, body);
    else this.builder.addPart(sectionId, body);
  }
}

function concat(pieces: readonly Uint8Array[]): Uint8Array {
  if (pieces.length === 1) return pieces[0];
  const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

/** A strict destination has the devices of its machine, in their versions. @throws {StreamError} where it has not */
export function checkDevice({ idstr, instanceId, versionId, offset, channel }: SectionRecord, expect: Guest): void {
  if (idstr === "ram") return;
  const own = expect.devices.find((device) => device.idstr === idstr && device.instanceId === instanceId);
  const fault = (found: string, expected: string, qemu: string) => {
    throw new StreamError("Cannot accept section", { channel, offset, found, expected, qemu: [qemu] });
  };
  if (!own) {
    fault(
      `${idstr} instance ${instanceId}`,
      `a device of ${expect.configuration.machine}`,
      `Unknown savevm section or instance '${idstr}' ${instanceId}. Make sure that your current VM setup matches your ` +
        `saved VM setup, including any hotplugged devices`,
    );
  } else if (versionId > own.versionId) {
    fault(
      `version ${versionId} of ${idstr}`,
      `at most ${own.versionId}`,
      `savevm: unsupported version ${versionId} for '${idstr}' v${own.versionId}`,
    );
  }
}
