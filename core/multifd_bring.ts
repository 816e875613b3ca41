/**
 * Packing of multifd packets in a Worker: functions cannot be posted, so a Worker imports the module that brings them.
 * @module
 */
import type { MultifdCodec } from "../stream/multifd_codec.ts";

/**
 * Whether a thread could bring a packing itself: from a module on disk that may be read. Nothing is asked for.
 * @param codec undefined: there is nothing to bring
 */
export function canBring(codec: MultifdCodec | undefined): boolean {
  if (!codec) return true;
  if (!codec.module?.startsWith("file:")) return false;
  return Deno.permissions.querySync({ name: "read", path: new URL(codec.module) }).state === "granted";
}

/** The packing of that name, out of the plugins a module exports. @throws when it is not there */
export async function bringCodec({ name, module }: { name: string; module: string }): Promise<MultifdCodec> {
  const plugins = Object.values(await import(module)) as { tables?: { multifd?: Record<string, MultifdCodec> } }[];
  const codec = plugins.flatMap((plugin) => Object.values(plugin?.tables?.multifd ?? {})).find((one) =>
    one.name === name
  );
  if (!codec) throw new TypeError(`${module} does not bring ${name}`);
  return codec;
}
