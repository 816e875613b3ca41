/**
 * Who this is: version, name, UUID, commands; plugins and reports from the console. Source: QEMU qapi/control.json,
 * qapi/misc.json, qapi/machine.json.
 * @module
 */
import { CommandError } from "../../stream/errors.ts";
import type { Command } from "../command.ts";
import { QEMU_VERSION } from "../session.ts";

interface Version {
  readonly qemu: { readonly micro: number; readonly minor: number; readonly major: number };
  readonly package: string;
}

const version: Command = {
  hmp: {
    name: "info version",
    params: "",
    help: "show the version of QEMU",
    format: ({ qemu, package: text }: Version) => `${qemu.major}.${qemu.minor}.${qemu.micro}${text}\n`,
  },
  qmp: { name: "query-version" },
  run({ options }): Version {
    const { major, minor, micro } = QEMU_VERSION;
    return { qemu: { micro, minor, major }, package: options.package ?? QEMU_VERSION.package };
  },
};

const name: Command = {
  hmp: {
    name: "info name",
    params: "",
    help: "show the current VM name",
    format: ({ name }: { name?: string }) => name === undefined ? "" : name + "\n",
  },
  qmp: { name: "query-name" },
  run: ({ options }) => options.name === undefined ? {} : { name: options.name },
};

const uuid: Command = {
  hmp: {
    name: "info uuid",
    params: "",
    help: "show the current VM UUID",
    format: ({ UUID }: { UUID: string }) => UUID + "\n",
  },
  qmp: { name: "query-uuid" },
  run({ uuid }) {
    const hex = Array.from(uuid ?? new Uint8Array(16), (byte) => byte.toString(16).padStart(2, "0")).join("");
    return { UUID: hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-") };
  },
};

const queryCommands: Command = {
  qmp: { name: "query-commands" },
  // two that belong to the layers themselves
  run: ({ registry }) =>
    ["qmp_capabilities", "human-monitor-command", ...registry.qmp.keys()].map((name) => ({ name })),
};

const queryYank: Command = {
  qmp: { name: "query-yank", oob: true },
  run: ({ outgoing, incoming }) => [
    { type: "chardev", id: "compat_monitor0" },
    ...(outgoing.running || incoming.running ? [{ type: "migration" }] : []),
  ],
};

const inspect: Command = {
  local: true,
  hmp: {
    name: "inspect",
    params: "file",
    help: "show what a migration file holds",
    args: [{ name: "path", type: "string" }],
    format: (text: string) => text,
  },
  run(session, { path }) {
    if (!session.options.inspect) throw new CommandError("Cannot inspect: this session was given no reports");
    return session.options.inspect(path as string, session);
  },
};

const pluginLoad: Command = {
  local: true,
  hmp: {
    name: "plugin_load",
    params: "module",
    help: "load a plugin: its capabilities, parameters and commands",
    args: [{ name: "module", type: "string" }],
    format: (text: string) => text,
  },
  run(session, { module }) {
    if (!session.options.loadPlugin) throw new CommandError("Cannot load plugins: this session does not take any");
    return session.options.loadPlugin(module as string, session);
  },
};

/** Commands of this file. */
export const IDENTITY_COMMANDS: readonly Command[] = [
  version,
  name,
  uuid,
  queryCommands,
  queryYank,
  inspect,
  pluginLoad,
];
