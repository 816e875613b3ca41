/**
 * New files out of saved guests: convert, extract, salvage, snap.
 * @module
 */
import type { Image } from "../containers/image.ts";
import type { Convert } from "../repl/commands/convert.ts";
import type { Extract, ExtractWhat } from "../repl/commands/extract.ts";
import type { SalvageTool } from "../repl/commands/salvage.ts";
import type { Snap } from "../repl/commands/snap.ts";
import { isStreamAt, openFile, placeOf } from "./files.ts";
import { withChannelHint } from "./hint.ts";
import { isPipe } from "./pipes.ts";
import { textFile } from "./text_file.ts";
import { sizeOf } from "./words.ts";

/** The same guest in another format. */
export const convert: Convert = async (from, to, request, work) => {
  const { convertImage } = await import("../reports/convert.ts");
  const { to: format, offset, xml, running, ...rest } = request;
  const at = await sizeOf(offset);
  // where IN begins with a stream and has none at the offset, the offset is OUT's
  const target = at !== undefined && !isPipe(from) && await isStreamAt(from, 0) && !await isStreamAt(from, at);
  await using image = await openFile(from, target ? rest : { ...rest, offset }, work);
  work.guard();
  const options = {
    ...(target ? { offset: at } : {}),
    ...(xml !== undefined ? { xml: await textFile(xml) } : {}),
    ...(running !== undefined ? { running } : {}),
    onProgress: work.onProgress,
    signal: work.signal,
  };
  return await withChannelHint(
    request.channels,
    () => convertImage(image, to, format as Parameters<typeof convertImage>[2], options),
  );
};

/** RAM out of a saved guest. */
export const extract: Extract = async (file, what, output, put, request, work) => {
  const [{ extractBlock, onlyBlock }, { writeElfCore }, { createOutput }] = await Promise.all([
    import("../reports/extract.ts"),
    import("../reports/elf.ts"),
    import("../containers/output_file.ts"),
  ]);
  await using image = await openFile(file, request, work);
  work.guard();
  return await withChannelHint(request.channels, async () => {
    if (what.kind === "elf") return await writeElfCore(image, output!, work);
    if (what.kind === "block" && output !== undefined) {
      return await extractBlock(image, what.block ?? onlyBlock(image), output, work);
    }
    using out = output === undefined ? undefined : createOutput(output);
    const write = out ? (bytes: Uint8Array) => out.write(bytes) : put;
    const bytes = await extractPiece(image, what, write, work);
    out?.finish(bytes);
    return { bytes };
  });
};

/** @returns bytes written */
async function extractPiece(
  image: Image,
  what: Exclude<ExtractWhat, { kind: "elf" }>,
  write: (bytes: Uint8Array) => void,
  work: Parameters<Extract>[5],
): Promise<number> {
  const { blockNamed, domainXml, extractRange, onlyBlock, pageAt } = await import("../reports/extract.ts");
  if (what.kind === "xml") {
    const text = new TextEncoder().encode(domainXml(image));
    write(text);
    return text.length;
  }
  const block = blockNamed(image, what.block ?? onlyBlock(image));
  const at = what.kind === "range" ? (await sizeOf(what.at))! : 0;
  const range = what.kind === "block"
    ? { offset: 0, length: block.bytes }
    : what.length === undefined
    ? pageAt(block, at)
    : { offset: at, length: (await sizeOf(what.length))! };
  await extractRange(image, block.id, range.offset, range.length, write, work);
  return range.length;
}

/** What a damaged file still holds. */
export const salvage: SalvageTool = async (file, directory, request, work) => {
  const [{ salvageImage }, { salvageText }] = await Promise.all([
    import("../reports/salvage.ts"),
    import("../reports/salvage_text.ts"),
  ]);
  const { offset, channels, tables } = await placeOf(request, work);
  const report = await salvageImage(file, directory, {
    offset,
    channels,
    tables,
    onWrite: work.guard,
    onProgress: work.onProgress,
    signal: work.signal,
  });
  return { report, text: () => salvageText(report) };
};

/** The filter of `exec:`. */
export const snap: Snap = {
  async save(image, request, work) {
    const [{ snapSave }, { fileSource }] = await Promise.all([
      import("../reports/snap_save.ts"),
      import("../containers/file_source.ts"),
    ]);
    const { tables } = await placeOf(request, work);
    work.guard();
    return await snapSave(fileSource("-"), image, { tables, onRead: work.onRead, signal: work.signal });
  },
  async load(path, request, work) {
    const [{ snapLoad }, { outputOver }] = await Promise.all([
      import("../reports/snap_load.ts"),
      import("../containers/output_file.ts"),
    ]);
    await using image = await openFile(path, request, work);
    work.guard();
    await snapLoad(image, outputOver(1, "standard output"), { onProgress: work.onProgress, signal: work.signal });
  },
};
