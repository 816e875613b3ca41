/**
 * Words of the command line as the rooms take them: sizes as numbers, plugins as modules.
 * @module
 */
import type { Plugin } from "../core/plugin.ts";
import type { Tables } from "../stream/tables.ts";

/** Bytes of a size such as "1.5M"; undefined where none was given. @throws {CommandError} */
export async function sizeOf(text: string | undefined): Promise<number | undefined> {
  if (text === undefined) return undefined;
  const { parseSize } = await import("../guest/size.ts");
  return parseSize(text);
}

/** Modules of plugins. @throws {CommandError} in one line that names the module */
export async function pluginsOf(specifiers: readonly string[] = []): Promise<Plugin[]> {
  if (specifiers.length === 0) return [];
  const [{ DEFAULT_ASSEMBLY }, { pluginFault }] = await Promise.all([
    import("../assembly.ts"),
    import("../core/plugin_module.ts"),
  ]);
  const load = async (specifier: string) => {
    try {
      return await DEFAULT_ASSEMBLY.importPlugin!(specifier);
    } catch (error) {
      throw pluginFault(specifier, error);
    }
  };
  return await Promise.all(specifiers.map(load));
}

/** Codecs of the default plugins and of those named. @throws {CommandError} two plugins own one code */
export async function tablesWith(specifiers: readonly string[] = []): Promise<Tables> {
  const [{ combine }, { DEFAULT_PLUGINS }] = await Promise.all([import("../core/registry.ts"), import("../wiring.ts")]);
  return combine([...DEFAULT_PLUGINS, ...await pluginsOf(specifiers)]).tables;
}
