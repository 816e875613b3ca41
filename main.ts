/**
 * The program: `deno run -A main.ts`, or `miglab` once installed. `miglab --help` tells the rest.
 *
 * Here the tools are handed to the program; each loads what it works with when it is needed.
 * @module
 */
import config from "./deno.json" with { type: "json" };
import { describeError, PROCESS_OUTPUT } from "./repl/output.ts";
import { runProgram, type Tools } from "./repl/program.ts";
import { openBench } from "./tools/bench.ts";
import { explain } from "./tools/explain.ts";
import { diff, inspect, verify, why } from "./tools/look.ts";
import { attach, pair, record, replay } from "./tools/machines.ts";
import { convert, extract, salvage, snap } from "./tools/make.ts";

/** What the program is built from. */
export const TOOLS: Tools = {
  version: config.version,
  openBench,
  attach,
  pair,
  record,
  replay,
  inspect,
  explain,
  verify,
  why,
  diff,
  convert,
  extract,
  salvage,
  snap,
};

/** Nothing runs any more and the program is not through: what it waits for can no longer come. */
function endOfWaiting(): never {
  PROCESS_OUTPUT.err("miglab: nothing is left that could end the migration\n");
  Deno.exit(1);
}

/** A fault of ours that no command caught. */
function endOfProgram(event: PromiseRejectionEvent | ErrorEvent): never {
  const error = event instanceof PromiseRejectionEvent ? event.reason : event.error ?? event.message;
  PROCESS_OUTPUT.err(
    `miglab: internal error: ${describeError(error, Deno.args.some((arg) => VERBOSE.includes(arg)))}\n`,
  );
  Deno.exit(1);
}

const VERBOSE = ["-v", "--verbose"];

if (import.meta.main) {
  addEventListener("beforeunload", endOfWaiting);
  addEventListener("unhandledrejection", endOfProgram);
  addEventListener("error", endOfProgram);
  runProgram(Deno.args, TOOLS, PROCESS_OUTPUT).then(Deno.exit);
}
