/**
 * Does a stream's configuration suit this process? QEMU compares the machine, the page size, two capabilities, the UUID.
 *
 * Source: QEMU migration/savevm.c configuration_post_load, configuration_validate_capabilities, vmstate_uuid.
 * @module
 */
import { StreamError } from "../stream/errors.ts";
import type { ConfigurationRecord } from "../stream/records.ts";
import type { LoadRequest } from "./dataplane.ts";

/** Capabilities both ends must have alike, in enum order (should_validate_capability). */
const VALIDATED = ["x-ignore-shared", "mapped-ram"];

/** @throws {StreamError} for the first thing that does not suit; capabilities are all named */
export function checkConfiguration(record: ConfigurationRecord, request: LoadRequest): void {
  const refuse = (what: string, found: string, expected: string, qemu: string[]) => {
    throw new StreamError(`Cannot accept ${what}`, {
      channel: record.channel,
      offset: record.offset,
      found,
      expected,
      qemu,
    });
  };
  const { expect, uuid, report } = request;
  if (record.uuid) {
    if (uuid && !record.uuid.every((byte, i) => byte === uuid[i])) {
      const received = formatUuid(record.uuid), local = formatUuid(uuid);
      refuse("UUID", received, local, [`UUID received is ${received} and local is ${local}`]);
    }
    if (!uuid && expect) report(`warning: UUID is received ${formatUuid(record.uuid)}, but local uuid isn't set`);
  }
  if (expect) {
    const local = expect.configuration.machine;
    if (!local.startsWith(record.machine)) {
      refuse("machine type", record.machine, local, [
        `Machine type received is '${record.machine}' and local is '${local}'`,
      ]);
    }
    const bits = Math.log2(expect.targetPageSize);
    if (record.targetPageBits !== undefined && record.targetPageBits !== bits) {
      refuse("page size", `${record.targetPageBits} bits`, `${bits}`, [
        `Received TARGET_PAGE_BITS is ${record.targetPageBits} but local is ${bits}`,
      ]);
    }
  }
  if (request.anyCapabilities) return;
  const word = (on: boolean) => on ? "on" : "off";
  const different = VALIDATED.filter((name) =>
    request.capability(name) !== (record.capabilities?.includes(name) ?? false)
  );
  if (!different.length) return;
  refuse(
    "capabilities",
    record.capabilities?.join(", ") || "none",
    VALIDATED.filter(request.capability).join(", ") || "none",
    different.map((name) => {
      const local = request.capability(name);
      return `Capability ${name} is ${word(local)}, but received capability is ${word(!local)}`;
    }),
  );
}

/** 16 bytes as 8-4-4-4-12 hex digits. */
export function formatUuid(bytes: Uint8Array): string {
  const digits = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return [8, 12, 16, 20].reduceRight((text, at) => `${text.slice(0, at)}-${text.slice(at)}`, digits);
}
