/**
 * Guests that come on a pipe, for those who read them more than once.
 * @module
 */
import type { FileSource } from "../containers/file_source.ts";

/** Whether what is there can be read only once: standard input, a pipe that has a name. */
export function isPipe(path: string): boolean {
  if (path === "-") return true;
  try {
    return Deno.statSync(path).isFifo ?? false;
  } catch {
    return false; // whoever opens it says what is wrong
  }
}

/**
 * A file as it is; of a pipe all of it in a temporary file without a name, which goes away with the source.
 * @param name what errors call it; default "main"
 */
export async function rereadable(path: string, name?: string): Promise<string | FileSource> {
  if (!isPipe(path)) return path;
  const [{ fileSource }, { spool }] = await Promise.all([
    import("../containers/file_source.ts"),
    import("../containers/sources.ts"),
  ]);
  const pipe = fileSource(path, { name });
  try {
    return await spool(pipe);
  } finally {
    pipe.close();
  }
}
