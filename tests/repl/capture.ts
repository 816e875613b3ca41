/**
 * The program run inside the test: what it would have written, and its exit status.
 * @module
 */
import { TOOLS } from "../../main.ts";
import type { Output } from "../../repl/output.ts";
import { runProgram } from "../../repl/program.ts";

/** Collects both ways out. */
export class Captured implements Output {
  stdout = "";
  stderr = "";
  /** In the order it was said; lines of stderr begin with `! `. */
  both = "";

  out = (text: string): void => {
    this.stdout += text;
    this.both += text;
  };

  err = (text: string): void => {
    this.stderr += text;
    this.both += text.replace(/^(?=.)/gm, "! ");
  };
}

/** What a run of the program came to. */
export interface Ran {
  readonly stdout: string;
  readonly stderr: string;
  readonly both: string;
  readonly status: number;
}

/** Run the program with these arguments. */
export async function run(...args: string[]): Promise<Ran> {
  const captured = new Captured();
  const status = await runProgram(args, TOOLS, captured);
  return { stdout: captured.stdout, stderr: captured.stderr, both: captured.both, status };
}

/** A directory that goes away with the test. */
export class TempDir implements Disposable {
  readonly path: string = Deno.makeTempDirSync({ prefix: "miglab-repl-" });

  /** A path in it. */
  file(name: string, text?: string): string {
    const path = `${this.path}/${name}`;
    if (text !== undefined) Deno.writeTextFileSync(path, text);
    return path;
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}
