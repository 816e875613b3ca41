/**
 * Completion of file names, as a shell does it: directories end in a slash, hidden files are offered once a dot is typed.
 * Nothing is asked of the user: without the permission to read a directory it has no names.
 * @module
 */
import { readdirSync, statSync } from "node:fs";

/** Names offered at most; a longer list helps nobody. */
const MOST = 500;

/** Directory entry: its name, and whether it is a directory. */
interface Entry {
  readonly name: string;
  readonly directory: boolean;
}

/**
 * Names that go on from what was typed.
 * @param typed a path, absolute or relative to the working directory
 * @returns last parts of paths; `typed` ends with the beginning of each
 */
export function pathCandidates(typed: string): { readonly candidates: string[]; readonly typed: string } {
  const slash = typed.lastIndexOf("/");
  const directory = slash < 0 ? "." : typed.slice(0, slash + 1);
  const start = typed.slice(slash + 1);
  const candidates = entries(directory)
    .filter(({ name }) => name.startsWith(start) && (start.startsWith(".") || !name.startsWith(".")))
    .slice(0, MOST)
    .map(({ name, directory }) => directory ? `${name}/` : name);
  return { candidates, typed: start };
}

function entries(directory: string): Entry[] {
  const path = directory === "" ? "." : directory;
  if (Deno.permissions.querySync({ name: "read", path }).state !== "granted") return [];
  try {
    return readdirSync(path, { withFileTypes: true })
      .map((entry) => ({
        name: entry.name,
        directory: entry.isDirectory() || (entry.isSymbolicLink() && leadsToDirectory(`${path}/${entry.name}`)),
      }))
      .sort((a, b) => a.name < b.name ? -1 : 1);
  } catch {
    return [];
  }
}

function leadsToDirectory(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}
