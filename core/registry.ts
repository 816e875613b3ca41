/**
 * What a session can do: the declarations of all plugins, merged. Order never matters; two owners of one name or one wire
 * code are an error that names both.
 * @module
 */
import { CORE_CAPABILITIES } from "./capabilities.ts";
import type { Command } from "./command.ts";
import { CORE_PARAMETERS } from "./parameters.ts";
import type { Capability, CapabilityRule, Parameter, ParameterRule, Plugin, RamStrategy, Tables } from "./plugin.ts";

/** Merged declarations. */
export interface Registry {
  /** What was merged, the core left out. */
  readonly plugins: readonly Plugin[];
  /** QEMU's in the order of its enum, then those of other plugins. */
  readonly capabilities: readonly Capability[];
  /** In the order they are tried. */
  readonly rules: readonly CapabilityRule[];
  /** QEMU's in the order of its enum, then those of other plugins. */
  readonly parameters: readonly Parameter[];
  /** Checks on parameters beside their ranges. */
  readonly parameterRules: readonly ParameterRule[];
  /** Ways RAM can leave, each behind a capability. */
  readonly ramStrategies: readonly RamStrategy[];
  /** Codecs for what is found on the wire. */
  readonly tables: Tables;
  /** The core's, then those of plugins. */
  readonly commands: readonly Command[];
  /** By each HMP name and alias. */
  readonly hmp: ReadonlyMap<string, Command>;
  /** By QMP name. */
  readonly qmp: ReadonlyMap<string, Command>;
}

/** One table that remembers who put what there. */
class Owned<T> {
  readonly entries = new Map<string, T>();
  readonly #owners = new Map<string, string>();
  constructor(private readonly what: string) {}

  add(key: string, value: T, owner: string): void {
    const other = this.#owners.get(key);
    if (other !== undefined) {
      throw new TypeError(`Cannot combine plugins: ${this.what} "${key}" belongs to "${other}" and to "${owner}"`);
    }
    this.#owners.set(key, owner);
    this.entries.set(key, value);
  }

  get values(): T[] {
    return [...this.entries.values()];
  }
}

/** QEMU's order where there is one; what comes from elsewhere stands behind, as given. */
function byOrdinal(a: { readonly ordinal?: number }, b: { readonly ordinal?: number }): number {
  if (a.ordinal === undefined && b.ordinal === undefined) return 0;
  return (a.ordinal ?? Infinity) - (b.ordinal ?? Infinity);
}

/**
 * Merge plugins with what the core declares itself.
 * @param commands the core's own table
 * @throws {TypeError} when one name or code has two owners
 */
export function combine(plugins: readonly Plugin[], commands: readonly Command[] = []): Registry {
  const core: Plugin = {
    name: "core",
    help: "what every session has",
    capabilities: CORE_CAPABILITIES,
    parameters: CORE_PARAMETERS,
    commands,
  };
  const all = [core, ...plugins];
  const names = new Owned<Plugin>("plugin");
  const capabilities = new Owned<Capability>("capability");
  const parameters = new Owned<Parameter>("parameter");
  const strategies = new Owned<RamStrategy>("RAM strategy");
  const sections = new Owned<Tables["sections"][string]>("section");
  const ramFlags = new Owned<Tables["ramFlags"][number]>("RAM flag");
  const multifd = new Owned<NonNullable<Tables["multifd"]>[number]>("multifd flag");
  const hmp = new Owned<Command>("command");
  const qmp = new Owned<Command>("QMP command");
  for (const plugin of all) {
    const owner = plugin.name;
    names.add(owner, plugin, owner);
    for (const one of plugin.capabilities ?? []) capabilities.add(one.name, one, owner);
    for (const one of plugin.parameters ?? []) parameters.add(one.name, one, owner);
    if (plugin.ramStrategy) strategies.add(plugin.ramStrategy.capability, plugin.ramStrategy, owner);
    for (const [idstr, codec] of Object.entries(plugin.tables?.sections ?? {})) sections.add(idstr, codec, owner);
    for (const [flag, codec] of Object.entries(plugin.tables?.ramFlags ?? {})) ramFlags.add(flag, codec, owner);
    for (const [flag, codec] of Object.entries(plugin.tables?.multifd ?? {})) multifd.add(flag, codec, owner);
    for (const command of plugin.commands ?? []) {
      for (const name of [command.hmp?.name ?? [], command.hmp?.aliases ?? []].flat()) hmp.add(name, command, owner);
      if (command.qmp) qmp.add(command.qmp.name, command, owner);
    }
  }
  const ordered = capabilities.values.sort(byOrdinal);
  return Object.freeze<Registry>({
    plugins,
    capabilities: ordered,
    rules: ordered.flatMap((capability) => capability.rules ?? []).sort((a, b) => a.order - b.order),
    parameters: parameters.values.sort(byOrdinal),
    parameterRules: all.flatMap((plugin) => plugin.parameterRules ?? []),
    ramStrategies: strategies.values,
    tables: {
      sections: Object.fromEntries(sections.entries),
      ramFlags: Object.fromEntries(ramFlags.entries),
      multifd: Object.fromEntries(multifd.entries),
    },
    commands: all.flatMap((plugin) => plugin.commands ?? []),
    hmp: hmp.entries,
    qmp: qmp.entries,
  });
}
