/**
 * Capabilities and parameters. Source: QEMU migration/migration-hmp-cmds.c, migration/options.c.
 * @module
 */
import { CommandError } from "../../stream/errors.ts";
import type { CapabilityChange } from "../capabilities.ts";
import type { Command } from "../command.ts";
import { ordered, parameterLine, parseParameter, schemaOf } from "../parameters.ts";
import { array, BOOL, enumeration, object } from "../schema.ts";

const setCapability: Command = {
  hmp: {
    name: "migrate_set_capability",
    params: "capability state",
    help: "Enable/Disable the usage of a capability for migration",
    args: [
      {
        name: "capability",
        type: "string",
        complete: (session) => session.registry.capabilities.map(({ name }) => name),
      },
      { name: "state", type: "onoff", complete: () => ["on", "off"] },
    ],
    toArguments({ capability, state }, session) {
      if (!session.registry.capabilities.some(({ name }) => name === capability)) {
        throw new CommandError(`invalid parameter value: ${capability}`);
      }
      return { capabilities: [{ capability, state }] };
    },
  },
  qmp: {
    name: "migrate-set-capabilities",
    arguments: ({ registry }) => {
      const names = registry.capabilities.map(({ name }) => name);
      return object({ capabilities: array(object({ capability: enumeration(names), state: BOOL })) });
    },
  },
  run: (session, { capabilities }, monitor) => session.setCapabilities(capabilities as CapabilityChange[], monitor),
};

const infoCapabilities: Command = {
  hmp: {
    name: "info migrate_capabilities",
    params: "",
    help: "show current migration capabilities",
    format: (list: readonly CapabilityChange[]) =>
      list.map(({ capability, state }) => `${capability}: ${state ? "on" : "off"}\n`).join(""),
  },
  qmp: { name: "query-migrate-capabilities" },
  run: (session) => session.registry.capabilities.map(({ name }) => ({ state: session.on(name), capability: name })),
};

const setParameter: Command = {
  hmp: {
    name: "migrate_set_parameter",
    vocabulary: true,
    params: "parameter value",
    help: "Set the parameter for migration",
    args: [
      {
        name: "parameter",
        type: "string",
        complete: (session) => session.registry.parameters.map(({ name }) => name),
      },
      { name: "value", type: "string" },
    ],
    toArguments({ parameter, value }, session) {
      const found = session.registry.parameters.find(({ name }) => name === parameter);
      if (!found) throw new CommandError(`invalid parameter value: ${parameter}`);
      return { [found.name]: parseParameter(found, value as string) };
    },
  },
  qmp: {
    name: "migrate-set-parameters",
    arguments: ({ registry }) =>
      object(Object.fromEntries(ordered(registry.parameters, "schema").map((one) => ["*" + one.name, schemaOf(one)]))),
  },
  run: (session, changes) => session.setParameters(changes),
};

const infoParameters: Command = {
  hmp: {
    name: "info migrate_parameters",
    params: "",
    help: "show current migration parameters",
    format: (values: Readonly<Record<string, unknown>>, _values, session) =>
      ordered(session.registry.parameters, "listing").map((one) => parameterLine(one, values[one.name])).join(""),
  },
  qmp: { name: "query-migrate-parameters" },
  run: (session) =>
    Object.fromEntries(
      ordered(session.registry.parameters, "schema").map(({ name }) => [name, session.parameter(name)] as const)
        .filter(([, value]) => value !== undefined),
    ),
};

/** Commands of this file. */
export const SETTINGS_COMMANDS: readonly Command[] = [setCapability, setParameter, infoCapabilities, infoParameters];
