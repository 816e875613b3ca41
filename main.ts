/**
 * The program: `deno run -A main.ts`, or `miglab` once installed. `miglab --help` tells the rest.
 *
 * Here the rooms are handed to the program, each behind an import that happens when it is needed.
 * @module
 */
import config from "./deno.json" with { type: "json" };
import type { ConvertedFile, ConvertRequest } from "./repl/commands/convert.ts";
import type { Diffed, DiffRequest } from "./repl/commands/diff.ts";
import type { ExplainedLine, ExplainRequest } from "./repl/commands/explain.ts";
import type { Extracted, ExtractWhat } from "./repl/commands/extract.ts";
import type { Inspected, InspectRequest } from "./repl/commands/inspect.ts";
import type { Verified, VerifyRequest } from "./repl/commands/verify.ts";
import type { Explained, WhyRequest } from "./repl/commands/why.ts";
import type { Salvaged, SalvageRequest } from "./repl/commands/salvage.ts";
import type { FileRequest, FileWork } from "./repl/file_work.ts";
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
  convert: convertFile,
  diff: diffFiles,
  extract: extractFile,
  salvage: salvageFile,
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

/** A saved guest to read from. */
async function openFile(path: string, request: FileRequest, work: FileWork) {
  const { offset, channels, plugins, snapshot } = request;
  const [{ openImage }, { fileSource }, { spool }, { parseSize }] = await Promise.all([
    import("./containers/image.ts"),
    import("./containers/file_source.ts"),
    import("./containers/sources.ts"),
    import("./guest/size.ts"),
  ]);
  // pages are wanted in another order than they come
  const input = path === "-" ? await spool(fileSource("-")) : path;
  return await openImage(input, {
    offset: offset === undefined ? 0 : parseSize(offset),
    channels,
    tables: await tablesWith(plugins),
    onProgress: work.onRead,
    ...(snapshot !== undefined ? { snapshot } : {}),
  });
}

async function isStreamAt(path: string, offset: number): Promise<boolean> {
  const [{ fileSource }, { detectContent, holdsStream, DETECT_BYTES }] = await Promise.all([
    import("./containers/file_source.ts"),
    import("./containers/magic.ts"),
  ]);
  const file = fileSource(path);
  try {
    const head = new Uint8Array(DETECT_BYTES);
    return holdsStream(detectContent(head.subarray(0, file.readAt?.(head, offset) ?? 0)));
  } finally {
    file.close();
  }
}

async function convertFile(from: string, to: string, request: ConvertRequest, work: FileWork): Promise<ConvertedFile> {
  const [{ convertImage }, { parseSize }] = await Promise.all([
    import("./reports/convert.ts"),
    import("./guest/size.ts"),
  ]);
  const { to: format, offset, xml, running, ...rest } = request;
  // where IN begins with a stream and has none at the offset, the offset is OUT's
  const target = offset !== undefined && from !== "-" && await isStreamAt(from, 0) &&
    !await isStreamAt(from, parseSize(offset));
  await using image = await openFile(from, target ? rest : { ...rest, offset }, work);
  work.guard();
  return await convertImage(image, to, format as Parameters<typeof convertImage>[2], {
    ...(target ? { offset: parseSize(offset!) } : {}),
    ...(xml !== undefined ? { xml: Deno.readTextFileSync(xml) } : {}),
    ...(running !== undefined ? { running } : {}),
    onProgress: work.onProgress,
    signal: work.signal,
  });
}

async function diffFiles(a: string, b: string, request: DiffRequest, work: FileWork): Promise<Diffed> {
  const [{ diffImages }, { diffText }] = await Promise.all([
    import("./reports/diff.ts"),
    import("./reports/diff_text.ts"),
  ]);
  const { ignore, ram, offsetA, offsetB, plugins } = request;
  await using left = await openFile(a, { offset: offsetA, plugins }, work);
  await using right = await openFile(b, { offset: offsetB, plugins }, work);
  const report = await diffImages(left, right, { ignore, withoutRam: !ram, onProgress: work.onProgress });
  return { report, text: () => diffText(report) };
}

async function extractFile(
  file: string,
  what: ExtractWhat,
  output: string | undefined,
  put: (bytes: Uint8Array) => void,
  request: FileRequest,
  work: FileWork,
): Promise<Extracted> {
  const [extract, { writeElfCore }, { createOutput }, { parseSize }] = await Promise.all([
    import("./reports/extract.ts"),
    import("./reports/elf.ts"),
    import("./containers/output_file.ts"),
    import("./guest/size.ts"),
  ]);
  await using image = await openFile(file, request, work);
  work.guard();
  if (what.kind === "elf") return await writeElfCore(image, output!, work);
  if (what.kind === "block" && output !== undefined) return await extract.extractBlock(image, what.block, output, work);
  using out = output === undefined ? undefined : createOutput(output);
  const write = out ? (bytes: Uint8Array) => out.write(bytes) : put;
  let bytes = 0;
  if (what.kind === "xml") {
    const text = new TextEncoder().encode(extract.domainXml(image));
    write(text);
    bytes = text.length;
  } else {
    const block = extract.blockNamed(image, what.block);
    const at = what.kind === "range" ? parseSize(what.at) : 0;
    const range = what.kind === "block"
      ? { offset: 0, length: block.bytes }
      : what.length === undefined
      ? extract.pageAt(block, at)
      : { offset: at, length: parseSize(what.length) };
    await extract.extractRange(image, block.id, range.offset, range.length, write, work);
    bytes = range.length;
  }
  out?.finish(bytes);
  return { bytes };
}

async function salvageFile(
  file: string,
  directory: string,
  request: SalvageRequest,
  work: FileWork,
): Promise<Salvaged> {
  const [{ salvageImage }, { salvageText }, { parseSize }] = await Promise.all([
    import("./reports/salvage.ts"),
    import("./reports/salvage_text.ts"),
    import("./guest/size.ts"),
  ]);
  const report = await salvageImage(file, directory, {
    offset: request.offset === undefined ? 0 : parseSize(request.offset),
    tables: await tablesWith(request.plugins),
    onWrite: work.guard,
    onProgress: work.onProgress,
    signal: work.signal,
  });
  return { report, text: () => salvageText(report) };
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
