/**
 * Every byte of a saved guest named, as the command line asks for it.
 * @module
 */
import type { FileSource } from "../containers/file_source.ts";
import type { Explain, ExplainedLine, ExplainRequest } from "../repl/commands/explain.ts";
import type { FileWork } from "../repl/file_work.ts";
import type { ExplainedRam } from "../reports/explain.ts";
import { openPass, placeOf } from "./files.ts";
import { offsetHint } from "./hint.ts";
import { rereadable } from "./pipes.ts";
import { sizeOf } from "./words.ts";

/** Every byte named. */
export const explain: Explain = async function* (path, request, work) {
  const { at, address, pages, limit, section, channels = [] } = request;
  const [{ explainImage }, { channelText, explainJson, explainText }, { missingPage, parsePlace }] = await Promise.all([
    import("../reports/explain.ts"),
    import("../reports/explain_text.ts"),
    import("../reports/place.ts"),
  ]);
  // where an address lies is told by another pass before this one
  const input = address === undefined ? path : await rereadable(path);
  const place = address !== undefined
    ? await physicalPlace(input, address, request, work)
    : at === undefined
    ? undefined
    : parsePlace(at, channels);
  if (address !== undefined && place === undefined) return `no RAM block is known to be at guest-physical ${address}`;
  const page = typeof place === "object" && "block" in place ? place : undefined;
  const begin = typeof place === "object" && "block" in place ? undefined : place;
  const where = await placeOf(request, work);
  const heads = channels.length ? [channelText(path === "-" ? "standard input" : path)] : [];
  let fault: Error | undefined;
  let ram: ExplainedRam | undefined;
  let lines = 0;
  for await (
    const line of explainImage(input, {
      limit,
      section,
      ...where,
      ...(begin !== undefined ? { at: begin } : {}),
      ...(page ? { page } : {}),
      pages: pages ? "each" : "runs",
      onFault: (error) => fault ??= error,
      onChannel: ({ name, ...channel }) => heads.push(channelText(name, channel)),
      onEnd: (seen) => ram = seen,
    })
  ) {
    // nothing of the main channel was asked for
    if (lines === 0 && line.channel !== undefined) heads.shift();
    for (const head of heads.splice(0)) yield headLine(head);
    lines++;
    yield { json: explainJson(line), text: (style) => explainText(line, style) } satisfies ExplainedLine;
  }
  if (lines > 0) { for (const head of heads) yield headLine(head); }
  if (fault) return fault.message + await offsetHint(fault.message, path, where.offset);
  if (lines > 0) return undefined;
  if (page && section === undefined) return missingPage(ram!, page, channels.length > 0);
  const behind = begin === undefined
    ? ""
    : typeof begin === "number"
    ? ` at or behind ${hex(begin)}`
    : ` at or behind ${hex(begin.offset)} of ${channels[begin.channel]}`;
  return section === undefined ? `nothing${behind} to explain` : `no section${behind} is called ${section}`;
};

async function physicalPlace(input: string | FileSource, address: string, request: ExplainRequest, work: FileWork) {
  const { resolvePhysical } = await import("../reports/place.ts");
  await using image = await openPass(input, { ...request, channels: undefined }, work);
  return resolvePhysical(image, (await sizeOf(address))!);
}

/** A line of text alone: what those behind it are of. */
function headLine(text: string): ExplainedLine {
  return { text: (style) => style.bold(text) };
}

function hex(offset: number): string {
  return `0x${offset.toString(16)}`;
}
