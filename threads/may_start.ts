/**
 * Whether a Worker may be started. Its module and what that imports are read when it has begun, and a refusal is told only
 * then, as an error nobody caught; so whoever can do without a Worker asks here before.
 * @module
 */

/** The project: Workers import from several of its rooms. */
const HOME = new URL("../", import.meta.url);

/** True where the modules of the project may be read. Nothing is asked for. */
export function mayStartWorkers(): boolean {
  return HOME.protocol !== "file:" || Deno.permissions.querySync({ name: "read", path: HOME }).state === "granted";
}
