/**
 * The program as a user starts it: a process of its own, what it says, how it ends.
 * @module
 */
/** Path of the program. */
export const MAIN = new URL("../main.ts", import.meta.url).pathname;

/** How it ended. */
export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Start it.
 * @param permissions as Deno has them: "-A", "--deny-ffi"
 * @param args        without the program's own name
 */
export function startProgram(permissions: readonly string[], args: readonly string[]) {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", ...permissions, MAIN, ...args],
    env: { NO_COLOR: "1" },
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const ended: Promise<Ended> = child.output().then(({ code, stdout, stderr }) => {
    const text = new TextDecoder();
    return { code, stdout: text.decode(stdout), stderr: text.decode(stderr) };
  });
  return { child, ended };
}
