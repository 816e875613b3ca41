/**
 * What is asked of a QEMU when we attach to it: first its settings and its state, in one go; its table of commands, which
 * takes it longer to write down than all the rest, when somebody wants to know.
 * @module
 */
import { DEFAULT_GLOBALS, type Guest, type RunState } from "../guest/guest.ts";
import { GuestMemory } from "../guest/memory.ts";
import { CommandError } from "../stream/errors.ts";
import { attachedRegistry, NO_VOCABULARY, type QemuVocabulary } from "./attached_registry.ts";
import type { CapabilityChange } from "./capabilities.ts";
import type { Arguments } from "./command.ts";
import type { MigrationInfo } from "./migration_info.ts";
import type { QmpClient } from "./qmp_client.ts";
import type { SchemaInfo } from "./qmp_schema.ts";
import type { Registry } from "./registry.ts";
import type { MigrationStatus } from "./status.ts";

/** ms a QEMU has for each of these answers: it may be busy, but not for ever. */
const PATIENCE_MS = 30_000;

/** What is known of a QEMU before the first command. */
export interface Beginning {
  /** The table without what {@link learnVocabulary} finds. */
  readonly registry: Registry;
  /** A stand-in: its memory is elsewhere. */
  readonly guest: Guest;
  /** Base memory and what was plugged in. */
  readonly ramBytes: number;
  readonly capabilities: readonly CapabilityChange[];
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly runState: RunState;
  readonly info: MigrationInfo;
  readonly name?: string;
  /** Text of `info migrate`: its head has properties QMP does not tell. */
  readonly globalsText: string;
}

/** Questions to one QEMU. */
function asker(client: QmpClient) {
  const ask = <T>(name: string, args?: Arguments) =>
    client.execute(name, args, { timeoutMs: PATIENCE_MS }) as Promise<T>;
  return {
    ask,
    line: async (text: string) =>
      (await ask<string>("human-monitor-command", { "command-line": text })).replaceAll("\r\n", "\n"),
    orElse: <T>(promise: Promise<T>, value: T) =>
      promise.catch((error) => {
        if (error instanceof CommandError) return value; // an older one, or no QEMU at all: without it then
        throw error;
      }),
  };
}

/**
 * Ask for everything at once; QEMU answers in order.
 * @param ours the table as it is without a QEMU
 * @throws {TransportError} {CommandError} when it cannot be asked
 */
export async function lookAround(client: QmpClient, ours: Registry): Promise<Beginning> {
  const { ask, line, orElse } = asker(client);
  const [capabilities, parameters, status, info, name, machine, ram, migrate] = await Promise.all([
    ask<CapabilityChange[]>("query-migrate-capabilities"),
    ask<Record<string, unknown>>("query-migrate-parameters"),
    ask<{ status: RunState }>("query-status"),
    ask<MigrationInfo & { status?: MigrationStatus }>("query-migrate"),
    orElse(ask<{ name?: string }>("query-name"), {}),
    orElse(ask<string>("qom-get", { path: "/machine", property: "type" }), ""),
    orElse(ask<Record<string, number>>("query-memory-size-summary"), {}),
    orElse(line("info migrate"), ""),
  ]);
  return {
    registry: attachedRegistry(ours, { ...NO_VOCABULARY, capabilities: capabilities.map((one) => one.capability) }),
    guest: {
      kind: "adopted",
      configuration: { machine: machine.replace(/-machine$/, "") },
      targetPageSize: 4096,
      memory: new GuestMemory([]),
      devices: [],
      iterables: [],
      ramSectionId: 0,
      globals: { ...DEFAULT_GLOBALS },
    },
    ramBytes: (ram["base-memory"] ?? 0) + (ram["plugged-memory"] ?? 0),
    capabilities,
    parameters,
    runState: status.status,
    info,
    name: name.name,
    globalsText: migrate,
  };
}

/**
 * Ask for the words that {@link lookAround} leaves out.
 * @throws {TransportError} {CommandError} when it cannot be asked
 */
export async function learnVocabulary(client: QmpClient): Promise<QemuVocabulary> {
  const { ask, line, orElse } = asker(client);
  const [capabilities, schema, commands, help, infoHelp] = await Promise.all([
    ask<CapabilityChange[]>("query-migrate-capabilities"),
    orElse(ask<SchemaInfo[]>("query-qmp-schema"), []),
    orElse(ask<{ name: string }[]>("query-commands"), []),
    orElse(line("help"), ""),
    orElse(line("help info"), ""),
  ]);
  return {
    capabilities: capabilities.map((one) => one.capability),
    schema,
    commands: commands.map((one) => one.name),
    help,
    infoHelp,
  };
}
