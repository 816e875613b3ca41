/**
 * The configuration section: who wrote the stream.
 *
 *     07 u32 len, name                              versioned machine name, no NUL
 *     { 05 str8 name, u32 version, payload }        subsections, no count, no length
 *       configuration/target-page-bits  u32 bits
 *       configuration/capabilities      u32 count, count x str8
 *       configuration/uuid              16 bytes
 *
 * Source: QEMU migration/savevm.c vmstate_configuration.
 * @module
 */
import { MIGRATION_CAPABILITIES, QEMU_VM_CONFIGURATION, QEMU_VM_SUBSECTION } from "./constants.ts";
import { StreamError } from "./errors.ts";
import type { StreamReader } from "./reader.ts";
import type { ConfigurationRecord, ConfigurationSubsection } from "./records.ts";
import type { StreamWriter } from "./writer.ts";

/** Longest machine name taken seriously, in bytes; QEMU's are under 64. */
const NAME_LIMIT = 1024;

/** Decode the section; the reader stands on its type byte. */
export async function decodeConfiguration(reader: StreamReader): Promise<ConfigurationRecord> {
  const channel = reader.source.name;
  const offset = reader.offset;
  await reader.need(5, "Cannot read configuration", ["Failed to load configuration:len"], "Input/output error");
  reader.u8();
  const length = reader.u32();
  const lengthFault = ["Failed to load configuration:name"];
  if (length > NAME_LIMIT) {
    throw new StreamError("Cannot read machine name", {
      channel,
      offset: offset + 1,
      found: `a length of ${length}`,
      expected: `at most ${NAME_LIMIT}`,
      qemu: lengthFault,
      reason: "Input/output error",
    });
  }
  await reader.need(length, "Cannot read machine name", lengthFault);
  const machine = reader.latin1(length);

  const subsections: ConfigurationSubsection[] = [];
  const found: { -readonly [K in "targetPageBits" | "capabilities" | "uuid"]?: ConfigurationRecord[K] } = {};
  while (await reader.ensure(2) && reader.peekU8() === QEMU_VM_SUBSECTION) {
    const at = reader.offset;
    const nameLength = reader.peekU8(1);
    await reader.need(6 + nameLength, "Cannot read configuration subsection");
    reader.pos += 2;
    const name = reader.latin1(nameLength);
    const version = reader.u32();
    if (!name.startsWith("configuration/")) {
      throw new StreamError("Cannot read configuration subsection", {
        channel,
        offset: at,
        found: JSON.stringify(name),
        expected: 'a name that begins with "configuration/"',
        qemu: ["Unknown savevm section type 5"],
      });
    }
    if (version !== 1) {
      const word = version > 1 ? `is too new for local version_id 1` : `is too old for local minimum version_id  1`;
      throw new StreamError(`Cannot read ${name}`, {
        channel,
        offset: at + 2 + nameLength,
        found: `version ${version}`,
        expected: "1",
        qemu: [`${name}: incoming version_id ${version} ${word}`],
      });
    }
    subsections.push({ name, version });
    switch (name) {
      case "configuration/target-page-bits":
        await reader.need(4, "Cannot read target page bits");
        found.targetPageBits = pageBits(reader);
        break;
      case "configuration/capabilities":
        found.capabilities = await capabilityNames(reader);
        break;
      case "configuration/uuid":
        await reader.need(16, "Cannot read UUID");
        found.uuid = reader.bytes(16).slice();
        break;
      default:
        throw new StreamError("Cannot read configuration subsection", {
          channel,
          offset: at,
          found: JSON.stringify(name),
          expected: "target-page-bits, capabilities or uuid",
          reason: "No such file or directory",
        });
    }
  }
  return { kind: "configuration", channel, offset, length: reader.offset - offset, machine, subsections, ...found };
}

function pageBits(reader: StreamReader): number {
  const offset = reader.offset;
  const bits = reader.u32();
  if (bits < 10 || bits > 16) {
    throw new StreamError("Cannot use target page bits", {
      channel: reader.source.name,
      offset,
      found: String(bits),
      expected: "10 to 16",
    });
  }
  return bits;
}

async function capabilityNames(reader: StreamReader): Promise<string[]> {
  const failed = "Failed to load configuration/capabilities:capabilities";
  await reader.need(4, "Cannot read capabilities", [failed]);
  const count = reader.u32();
  const names: string[] = [];
  for (let i = 0; i < count; i++) {
    const offset = reader.offset;
    await reader.need(1, "Cannot read capability name", ["Received unknown capability ", failed]);
    const length = reader.peekU8();
    await reader.need(1 + length, "Cannot read capability name", ["Received unknown capability ", failed]);
    reader.pos++;
    const name = reader.latin1(length);
    if (!(MIGRATION_CAPABILITIES as readonly string[]).includes(name)) {
      throw new StreamError("Cannot read capabilities", {
        channel: reader.source.name,
        offset,
        found: JSON.stringify(name),
        expected: "a capability QEMU 10.0 knows",
        qemu: [`Received unknown capability ${name}`, failed],
      });
    }
    names.push(name);
  }
  return names;
}

/** What {@link encodeConfiguration} writes; a decoded record will do. */
export type ConfigurationFields =
  & Pick<
    ConfigurationRecord,
    "machine" | "targetPageBits" | "capabilities" | "uuid"
  >
  & { readonly subsections?: readonly ConfigurationSubsection[] };

/** Names of the subsections in the order QEMU writes them. */
export function configurationSubsections(fields: ConfigurationFields): string[] {
  if (fields.subsections) return fields.subsections.map((sub) => sub.name);
  return [
    ...(fields.targetPageBits !== undefined ? ["configuration/target-page-bits"] : []),
    ...(fields.capabilities?.length ? ["configuration/capabilities"] : []),
    ...(fields.uuid ? ["configuration/uuid"] : []),
  ];
}

/** Write the section. The order is that of `subsections` where given, else QEMU's. */
export async function encodeConfiguration(writer: StreamWriter, fields: ConfigurationFields): Promise<void> {
  await writer.room(2048);
  writer.u8(QEMU_VM_CONFIGURATION);
  writer.u32(fields.machine.length);
  writer.latin1(fields.machine);
  for (const name of configurationSubsections(fields)) {
    await writer.room(4096);
    writer.u8(QEMU_VM_SUBSECTION);
    writer.str8(name);
    writer.u32(1);
    if (name === "configuration/target-page-bits") writer.u32(fields.targetPageBits!);
    else if (name === "configuration/capabilities") {
      writer.u32(fields.capabilities!.length);
      for (const capability of fields.capabilities!) {
        await writer.room(256);
        writer.str8(capability);
      }
    } else writer.bytes(fields.uuid!);
  }
}
