/**
 * The program: `deno run -A main.ts`, or `miglab` once installed. `miglab --help` tells the rest.
 *
 * Here the rooms are handed to the program, each behind an import that happens when it is needed.
 * @module
 */
import config from "./deno.json" with { type: "json" };
import type { ExplainedLine, ExplainRequest } from "./repl/commands/explain.ts";
import type { Inspected, InspectRequest } from "./repl/commands/inspect.ts";
import type { Verified, VerifyRequest } from "./repl/commands/verify.ts";
import type { Explained, WhyRequest } from "./repl/commands/why.ts";
import type { Bench, BenchOptions } from "./repl/bench.ts";
import type { Paired } from "./core/pair_job.ts";
import type { PairRequest } from "./repl/commands/pair.ts";
import type { Machine } from "./repl/commands/save.ts";
import { PLAIN } from "./repl/colour.ts";
import { describeError, PROCESS_OUTPUT } from "./repl/output.ts";
import { runProgram, type Tools } from "./repl/program.ts";

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
};

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

/** Two running QEMUs. */
async function pair({ src, dst, channels, compression, maxBandwidth, ...options }: PairRequest): Promise<Paired> {
  const [{ pairMachines, Workbench }, { parseSize }] = await Promise.all([
    import("./mod.ts"),
    import("./guest/size.ts"),
  ]);
  await using source = await Workbench.open({ qmp: src });
  await using destination = await Workbench.open({ qmp: dst });
  return await pairMachines(source, destination, {
    ...options,
    capabilities: channels === undefined && compression === undefined ? {} : { multifd: true },
    parameters: {
      ...(channels === undefined ? {} : { "multifd-channels": channels }),
      ...(compression === undefined ? {} : { "multifd-compression": compression }),
      ...(maxBandwidth === undefined ? {} : { "max-bandwidth": parseSize(maxBandwidth) }),
    },
  });
}

async function record(options: Parameters<Tools["record"]>[0]) {
  const { DEFAULT_TRANSPORTS, recordMigration } = await import("./mod.ts");
  return await recordMigration({ transports: DEFAULT_TRANSPORTS, ...options });
}

async function replay(options: Parameters<Tools["replay"]>[0]) {
  const { DEFAULT_TRANSPORTS, replayMigration } = await import("./mod.ts");
  return await replayMigration({ transports: DEFAULT_TRANSPORTS, ...options });
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

/** Codecs of the default plugins and of those named. */
async function tablesWith(plugins: readonly string[] = []) {
  const { combine, DEFAULT_ASSEMBLY, DEFAULT_PLUGINS } = await import("./mod.ts");
  return combine([...DEFAULT_PLUGINS, ...await Promise.all(plugins.map(DEFAULT_ASSEMBLY.importPlugin!))]).tables;
}

async function* explain(path: string, request: ExplainRequest): AsyncGenerator<ExplainedLine, string | undefined> {
  const { offset, at, address, pages, plugins, ...rest } = request;
  const [{ explainImage }, { explainJson, explainText }, { parsePlace, resolvePhysical }, { parseSize }] = await Promise
    .all([
      import("./reports/explain.ts"),
      import("./reports/explain_text.ts"),
      import("./reports/place.ts"),
      import("./guest/size.ts"),
    ]);
  const tables = await tablesWith(plugins);
  const where = { offset: offset === undefined ? 0 : parseSize(offset), snapshot: rest.snapshot };
  let place = at === undefined ? undefined : parsePlace(at);
  if (address !== undefined) {
    const { openImage } = await import("./containers/image.ts");
    await using image = await openImage(path, { ...where, tables });
    place = resolvePhysical(image, parseSize(address));
    if (place === undefined) return `no RAM block is known to be at guest-physical ${address}`;
  }
  const page = typeof place === "object" ? place : undefined;
  let fault: Error | undefined;
  let lines = 0;
  for await (
    const line of explainImage(path, {
      ...rest,
      ...where,
      ...(typeof place === "number" ? { at: place } : {}),
      ...(page ? { page } : {}),
      pages: pages ? "each" : "runs",
      tables,
      onFault: (error) => fault = error,
    })
  ) {
    lines++;
    yield { json: explainJson(line), text: (style) => explainText(line, style) };
  }
  if (page && lines === 0) {
    return `nothing holds page 0x${page.offset.toString(16)} of ${page.block}: it counts as zero`;
  }
  return fault?.message;
}

async function verify(path: string, request: VerifyRequest): Promise<Verified> {
  const { offset, plugins, ...options } = request;
  const [{ verifyImage }, { verifyText }, { parseSize }] = await Promise.all([
    import("./reports/verify.ts"),
    import("./reports/verify_text.ts"),
    import("./guest/size.ts"),
  ]);
  const report = await verifyImage(path, {
    ...options,
    offset: offset === undefined ? 0 : parseSize(offset),
    tables: await tablesWith(plugins),
  });
  return { report, text: (style) => verifyText(path === "-" ? "standard input" : path, report, style) };
}

async function why(path: string, request: WhyRequest): Promise<Explained> {
  const { offset, plugins, error, qemu, args = [], timeout, snapshot, channels } = request;
  const [{ whyFailed }, { whyText }, { parseSize }] = await Promise.all([
    import("./reports/why.ts"),
    import("./reports/why_text.ts"),
    import("./guest/size.ts"),
  ]);
  const where = { offset: offset === undefined ? 0 : parseSize(offset) };
  let said = error ?? "";
  if (qemu !== undefined) {
    const { runIncoming } = await import("./reports/why_run.ts");
    const limit = timeout === undefined ? {} : { timeoutMs: timeout * 1000 };
    const result = await runIncoming(qemu, path, { args, ...where, ...limit });
    said = result.said;
    if (result.loaded) return { report: { loaded: true, said }, known: true, text: () => `${said}It loads.\n` };
  }
  const report = await whyFailed(path, said, { ...where, snapshot, channels, tables: await tablesWith(plugins) });
  const shown = qemu === undefined ? report : { loaded: false, said, ...report };
  const text = qemu === undefined ? "" : said.trimEnd() + "\n\n";
  return {
    report: shown,
    known: report.findings.length > 0,
    text: (style) => text + whyText(report, style),
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
