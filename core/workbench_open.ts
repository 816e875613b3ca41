/**
 * From options to the session of a workbench: on a model guest, on a saved one, or on a running QEMU.
 * @module
 */
import { statSync } from "node:fs";
import { parseContent } from "../guest/content.ts";
import type { Guest } from "../guest/guest.ts";
import { createModelGuest } from "../guest/model.ts";
import { checkRamSize, parseRamSize } from "../guest/size.ts";
import type { ByteSource } from "../stream/channel.ts";
import { CommandError } from "../stream/errors.ts";
import { transportOf } from "./address.ts";
import { CORE_COMMANDS } from "./commands.ts";
import { errnoText } from "./errno.ts";
import { loadGuest } from "./load.ts";
import type { Plugin } from "./plugin.ts";
import { pluginFault } from "./plugin_module.ts";
import { combine } from "./registry.ts";
import { type PluginHook, Session } from "./session.ts";
import type { Channel } from "./transport.ts";
import type { Assembly, WorkbenchOptions } from "./workbench_options.ts";

const DEFAULT_RAM = 256 << 20;

/**
 * Make the session.
 * @throws {CommandError} {TransportError} {StreamError} {RangeError} when the options do not go together or name what is not there
 */
export async function openSession(options: WorkbenchOptions, assembly: Assembly): Promise<Session> {
  const plugins = [...assembly.plugins, ...options.plugins ?? []];
  if (options.qmp !== undefined) return await attach(options, plugins, assembly);
  const registry = combine(plugins, CORE_COMMANDS);
  const alone = options.guest === undefined && SAVED_OPTIONS.find((name) => options[name] !== undefined);
  if (alone) throw new CommandError(`Cannot use '${alone}' without 'guest': it says where a saved guest is`);
  const guest = options.guest === undefined
    ? modelGuest(options, assembly)
    : await loadFile(options, assembly, registry.tables);
  const session = new Session({
    ...options,
    registry,
    transports: assembly.transports,
    guest,
    incoming: options.incoming !== undefined,
    strict: options.incoming !== undefined && options.ram !== undefined,
    uuid: options.uuid === undefined ? undefined : uuidBytes(options.uuid),
    inspect: options.inspect ?? assembly.inspect,
    loadPlugin: pluginLoader(assembly),
  });
  if (options.guest !== undefined && guest.savedRunState !== undefined) {
    const ran = guest.savedRunState === "running";
    session.runState = ran && options.stopped ? "paused" : guest.savedRunState;
  }
  return session;
}

function uuidBytes(text: string): Uint8Array {
  const digits = text.replaceAll("-", "");
  if (!/^[0-9a-fA-F]{32}$/.test(digits)) throw new CommandError(`failed to parse UUID string: wrong format`);
  return Uint8Array.from(digits.match(/../g)!, (pair) => parseInt(pair, 16));
}

function modelGuest(options: WorkbenchOptions, assembly: Assembly): Guest {
  const { ram = DEFAULT_RAM, content } = options;
  return createModelGuest({
    ramBytes: typeof ram === "string" ? parseRamSize(ram) : checkRamSize(ram),
    // a destination's memory is what comes
    content: options.incoming ? { kind: "zero" } : typeof content === "string" ? parseContent(content) : content,
    uuid: options.uuid === undefined ? undefined : uuidBytes(options.uuid),
    readFile: assembly.readFile && contentReader(assembly.readFile),
  });
}

/** Reads a file of the content whole; what is wrong with it is said in the words used for every other file. */
function contentReader(read: (path: string) => Uint8Array): (path: string) => Uint8Array {
  return (path) => {
    try {
      // such as /dev/zero, which has no end
      const endless = statSync(path).isCharacterDevice();
      if (!endless) return read(path);
    } catch (error) {
      throw new CommandError(`Could not open '${path}': ${errnoText(error)}`);
    }
    throw new CommandError(`Cannot lay '${path}' into the guest: a device, expected a file`);
  };
}

/** Options that mean something only of a saved guest. */
const SAVED_OPTIONS = ["offset", "channels", "snapshot"] as const satisfies (keyof WorkbenchOptions)[];

/** Options that describe a machine: QEMU has its own. */
const MACHINE_OPTIONS = [
  "ram",
  "content",
  "guest",
  ...SAVED_OPTIONS,
  "incoming",
  "stopped",
  "accelerator",
  "dirtyRing",
  "globals",
  "machine",
  "name",
  "uuid",
  "onlyMigratable",
  "blockers",
  "host",
] as const satisfies (keyof WorkbenchOptions)[];

/** Attach to a running QEMU. */
async function attach(
  options: WorkbenchOptions,
  plugins: readonly Plugin[],
  assembly: Assembly,
): Promise<Session> {
  const other = MACHINE_OPTIONS.find((name) => options[name] !== undefined);
  if (other) throw new CommandError(`Cannot use '${other}' with 'qmp': the machine is QEMU's`);
  const { AttachedSession } = await import("./attached_session.ts");
  return await AttachedSession.attach(options.qmp!, plugins, {
    transports: assembly.transports,
    inspect: options.inspect ?? assembly.inspect,
    report: options.report,
  });
}

/** Read a saved guest, whatever capabilities it was saved with. */
async function loadFile(
  { guest, offset = 0, channels, snapshot, report }: WorkbenchOptions,
  assembly: Assembly,
  tables: Parameters<typeof loadGuest>[0]["tables"],
): Promise<Guest> {
  const path = guest!;
  const found = await assembly.findStream?.(path, { offset, channels, snapshot });
  let channel: Channel | undefined;
  try {
    channel = found?.source ? sourceChannel(found.source) : await openFile(path, found?.offset ?? offset, assembly);
    return await loadGuest({
      channel,
      capability: () => false,
      anyCapabilities: true,
      parameter: () => undefined,
      tables,
      signal: new AbortController().signal,
      report: () => {},
      warn: (text) => report?.(`warning: ${path}: ${text}`),
    });
  } catch (error) {
    const problem = found?.problem();
    if (problem !== undefined && error instanceof Error) error.message += `; ${problem}`;
    throw error;
  } finally {
    await channel?.close();
    found?.close();
  }
}

async function openFile(path: string, offset: number, { transports }: Assembly): Promise<Channel> {
  const address = { transport: "file", filename: path, offset } as const;
  const nowhere = { takeNamedFd: () => undefined, fdset: () => undefined, warn: () => {}, report: () => {} };
  const listener = transportOf(address, transports).listen(address, nowhere);
  try {
    return await listener.accept();
  } finally {
    listener.close();
  }
}

/** What is unpacked on the way is read as from a command. */
function sourceChannel(source: ByteSource): Channel {
  return {
    name: source.name,
    start: source.start,
    read: source.read.bind(source),
    readAt: source.readAt?.bind(source),
    size: source.size?.bind(source),
    seekable: source.readAt !== undefined,
    returnPath: false,
    noun: "file",
    abort() {},
    close() {},
  };
}

function pluginLoader({ importPlugin }: Assembly): PluginHook | undefined {
  return importPlugin && (async (specifier, session) => {
    let plugin: Plugin;
    try {
      plugin = await importPlugin(specifier);
      session.extend(combine([...session.registry.plugins, plugin], CORE_COMMANDS));
    } catch (error) {
      throw pluginFault(specifier, error);
    }
    return `plugin ${plugin.name}: ${plugin.help}\n`;
  });
}
