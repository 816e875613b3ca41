/**
 * Plugins out of modules of their own, and what is said when one cannot be had.
 * @module
 */
import { CommandError } from "../stream/errors.ts";
import type { Plugin } from "./plugin.ts";

/**
 * Import a module that exports a plugin, as `default` or under any name.
 * @param specifier a path, relative ones to the working directory, or a URL
 * @throws {TypeError} when it exports none; and whatever the module throws
 */
export async function importPlugin(specifier: string): Promise<Plugin> {
  const module: Record<string, unknown> = await import(urlOf(specifier));
  const plugin = [module.default, ...Object.values(module)].find(isPlugin);
  if (!plugin) throw new TypeError("the module exports no plugin (an object with name and help)");
  return plugin;
}

/** The refusal in one line: which module, and what is wrong with it. */
export function pluginFault(specifier: string, error: unknown): CommandError {
  const fault = new CommandError(`Cannot load plugin "${specifier}": ${reason(specifier, error)}`);
  fault.cause = error;
  return fault;
}

function isPlugin(value: unknown): value is Plugin {
  return typeof value === "object" && value !== null && typeof (value as Plugin).name === "string" &&
    typeof (value as Plugin).help === "string";
}

function urlOf(specifier: string): string {
  return /^[a-z][a-z0-9+.-]*:/i.test(specifier)
    ? specifier
    : new URL(encodeURI(specifier), `file://${Deno.cwd()}/`).href;
}

/** What the module loader says is long: the first sentence counts, and where it was. */
function reason(specifier: string, error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const url = urlOf(specifier);
  const [first, ...rest] = error.message.split("\n");
  if (/^(Module not found|Cannot find module) /.test(first) && first.includes(url)) return "No such file or directory";
  if (first.includes("ERR_UNSUPPORTED_DIR_IMPORT")) return "Is a directory";
  const place = /:(\d+:\d+)$/.exec(rest.at(-1) ?? first)?.[1];
  if (!/SyntaxError/.test(error.name + first) || place === undefined) {
    return first.replaceAll(url, specifier).replace(/\.$/, "");
  }
  // the sentence behind the first lists everything that could stand there
  return `${
    first.replace(/^SyntaxError: /, "").replace(/\. Expected .*$/s, "").replace(/ at file:.*$/, "")
  } at ${place}`;
}
