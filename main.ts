/**
 * The program: `deno run -A main.ts`, or `miglab` once installed. `miglab --help` tells the rest.
 *
 * Here the rooms are handed to the program, each behind an import that happens when it is needed.
 * @module
 */
import config from "./deno.json" with { type: "json" };
import type { Inspected, InspectRequest } from "./repl/commands/inspect.ts";
import type { Bench, BenchOptions } from "./repl/bench.ts";
import type { Machine } from "./repl/commands/save.ts";
import { PLAIN } from "./repl/colour.ts";
import { describeError, PROCESS_OUTPUT } from "./repl/output.ts";
import { runProgram, type Tools } from "./repl/program.ts";

/** What the program is built from. */
export const TOOLS: Tools = { version: config.version, openBench, attach, inspect };

async function openBench({ content = [], accel, plugins = [], ...options }: BenchOptions): Promise<Bench> {
  const { DEFAULT_ASSEMBLY, parseContent, Workbench } = await import("./mod.ts");
  const modules = await Promise.all(plugins.map(DEFAULT_ASSEMBLY.importPlugin!));
  try {
    return await Workbench.open({
      ...options,
      content: content.length > 0 ? content.map(parseContent) : undefined,
      accelerator: accel,
      plugins: modules,
      async inspect(path) {
        await using inspected = await inspect(path, { plugins });
        return inspected.text(PLAIN, 100);
      },
    });
  } catch (error) {
    const { guest } = options;
    if (guest !== undefined && error instanceof Error && !error.message.includes(guest)) {
      error.message = `${guest}: ${error.message}`;
    }
    throw error;
  }
}

/** A running QEMU, for jobs. */
async function attach(address: string): Promise<Machine> {
  const [{ Workbench }, { parseSize }] = await Promise.all([import("./mod.ts"), import("./guest/size.ts")]);
  const bench = await Workbench.open({ qmp: address });
  const size = (text: string | undefined) => text === undefined ? undefined : parseSize(text);
  return {
    save: (path, { offset, maxBandwidth, xml, ...request }) =>
      bench.save(path, {
        ...request,
        offset: size(offset),
        maxBandwidth: size(maxBandwidth),
        xml: xml === undefined ? undefined : Deno.readTextFileSync(xml),
      }),
    restore: (path, { offset, ...request }) => bench.restore(path, { ...request, offset: size(offset) }),
    [Symbol.asyncDispose]: () => bench[Symbol.asyncDispose](),
  };
}

async function inspect(path: string, request: InspectRequest): Promise<Inspected> {
  const { offset, channels, plugins = [], sections, ...options } = request;
  const [library, { openImage }, { inspectImage }, page, detail, { parseSize }] = await Promise.all([
    import("./mod.ts"),
    import("./containers/image.ts"),
    import("./reports/inspect.ts"),
    import("./reports/inspect_text.ts"),
    import("./reports/inspect_detail.ts"),
    import("./guest/size.ts"),
  ]);
  const { combine, DEFAULT_ASSEMBLY, DEFAULT_PLUGINS } = library;
  const { tables } = combine([...DEFAULT_PLUGINS, ...await Promise.all(plugins.map(DEFAULT_ASSEMBLY.importPlugin!))]);
  const image = await openImage(path, {
    offset: offset === undefined ? 0 : parseSize(offset),
    channels,
    tables,
    onProgress: options.onProgress,
  });
  const report = await inspectImage(image, options);
  return {
    report,
    text(style, width) {
      if (options.device !== undefined) return detail.devicesText(report);
      const text = page.inspectText(image, report, { style, width });
      return sections ? `${text}\n${detail.sectionsText(report)}` : text;
    },
    [Symbol.asyncDispose]: () => image[Symbol.asyncDispose](),
  };
}

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
