/**
 * Programs of the system, with pipes at both ends. To start one takes the permission to run it and no other.
 * @module
 */
import { TransportError } from "../stream/errors.ts";

/** A program that runs; its three pipes want to be read, or cancelled, and written. */
export type Program = Deno.ChildProcess;

/**
 * Start a program.
 * @param name       a path, or a name to be looked for
 * @param searchPath directories to look in, as in PATH; default PATH
 * @throws {TransportError} when it cannot be started; its `cause` is Deno's error
 */
export function startProgram(name: string, args: readonly string[], searchPath?: string): Program {
  try {
    return new Deno.Command(name, {
      args: [...args],
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
      ...(searchPath === undefined ? {} : { env: { PATH: searchPath } }),
    }).spawn();
  } catch (error) {
    throw new TransportError(`Cannot run '${name}': ${reason(error)}`, { cause: error });
  }
}

/** End a program that may have ended, and wait until it has. */
export async function endProgram(program: Program, signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> {
  try {
    program.kill(signal);
  } catch {
    // it has ended
  }
  await program.status;
}

/** What a pipe says up to its end; of more than `limit` characters the first. */
export async function textOf(pipe: ReadableStream<Uint8Array>, limit: number): Promise<string> {
  let text = "";
  for await (const piece of decoded(pipe)) if (text.length < limit) text = (text + piece).slice(0, limit);
  return text;
}

/** Lines of a pipe as they come, without their ends; of a longer one its first `limit` characters. */
export async function* linesOf(pipe: ReadableStream<Uint8Array>, limit: number): AsyncGenerator<string> {
  let line = "";
  for await (const piece of decoded(pipe)) {
    const [first, ...others] = piece.split("\n");
    line = (line + first).slice(0, limit);
    for (const other of others) {
      yield line;
      line = other.slice(0, limit);
    }
  }
  if (line !== "") yield line;
}

async function* decoded(pipe: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  for await (const piece of pipe) yield decoder.decode(piece, { stream: true });
}

/** In the C library's words where it was the system that said no. */
function reason(error: unknown): string {
  if (error instanceof Deno.errors.NotFound) return "No such file or directory";
  return (error as Error).message.replace(/^Failed to spawn '.*': /, "").replace(/ \(os error \d+\)$/, "");
}
