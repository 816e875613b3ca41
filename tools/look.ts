/**
 * Reports that say what is in saved guests: inspect, verify, why, diff.
 * @module
 */
import type { Image } from "../containers/image.ts";
import type { Diff } from "../repl/commands/diff.ts";
import type { Inspect } from "../repl/commands/inspect.ts";
import type { Verify } from "../repl/commands/verify.ts";
import type { Why } from "../repl/commands/why.ts";
import { openFile, openPass, placeOf } from "./files.ts";
import { channelHint, offsetHint, withHint } from "./hint.ts";
import { rereadable } from "./pipes.ts";

/** What a saved guest holds. */
export const inspect: Inspect = async (path, request, work) => {
  const { sections, hash, pages, device } = request;
  const [image, { inspectImage }, page, detail] = await Promise.all([
    (hash ? openFile : openPass)(path, request, work),
    import("../reports/inspect.ts"),
    import("../reports/inspect_text.ts"),
    import("../reports/inspect_detail.ts"),
  ]);
  try {
    const report = { ...await inspectImage(image, { hash, pages, device, onProgress: work.onRead }), path };
    return {
      report,
      text(style, width) {
        if (device !== undefined) return detail.devicesText(report);
        const text = page.inspectText(image, report, { style, width });
        const details = [
          ...(sections ? [detail.sectionsText(report)] : []),
          ...(pages ? [detail.pagesText(report)] : []),
        ];
        return [text, ...details].join("\n");
      },
      [Symbol.asyncDispose]: () => image[Symbol.asyncDispose](),
    };
  } catch (error) {
    await image[Symbol.asyncDispose]();
    throw error;
  }
};

/** Every invariant. */
export const verify: Verify = async (path, request, work) => {
  const { returnPath, against } = request;
  const [{ verifyImage }, { verifyText }] = await Promise.all([
    import("../reports/verify.ts"),
    import("../reports/verify_text.ts"),
  ]);
  const place = await placeOf(request, work);
  const twice = against !== undefined || place.channels !== undefined;
  const found = await verifyImage(twice ? await rereadable(path) : path, { ...place, returnPath, against });
  const [first, ...others] = found.findings;
  const hint = first ? await offsetHint(first.message, path, place.offset) : "";
  const report = hint ? { ...found, findings: [{ ...first, message: first.message + hint }, ...others] } : found;
  return { report, text: (style) => verifyText(path === "-" ? "standard input" : path, report, style) };
};

/** What a failed load points at. */
export const why: Why = async (path, request, work) => {
  const { error, qemu, args = [], timeout } = request;
  const [{ whyFailed }, { whyText }] = await Promise.all([
    import("../reports/why.ts"),
    import("../reports/why_text.ts"),
  ]);
  const where = await placeOf(request, work);
  let said = error ?? "";
  if (qemu !== undefined) {
    const { runIncoming } = await import("../reports/why_run.ts");
    const limit = timeout === undefined ? {} : { timeoutMs: timeout * 1000 };
    const result = await runIncoming(qemu, path, { args, offset: where.offset, ...limit });
    said = result.said;
    if (result.loaded) return { report: { loaded: true, said }, known: true, text: () => `${said}It loads.\n` };
  }
  const found = await whyFailed(await rereadable(path), said, { ...where, against: qemu });
  const advised = found.findings.map(async (finding) => {
    const hint = await offsetHint(finding.cause, path, where.offset);
    // QEMU is told in its address where the stream begins
    return hint
      ? { ...finding, advice: `${hint.slice(2)}; to QEMU, file:${path},offset=${hint.split(" ").at(-1)}` }
      : finding;
  });
  const report = { ...found, findings: await Promise.all(advised) };
  const text = qemu === undefined ? "" : said.trimEnd() + "\n\n";
  return {
    report: qemu === undefined ? report : { loaded: false, said, ...report },
    known: report.findings.length > 0,
    text: (style) => text + whyText(report, style),
  };
};

/** A file that is nothing known is raw memory where its size says so; else what is wrong with it as a stream is said. */
async function refuseUnknown(image: Image, other: Image, path: string, option: string): Promise<void> {
  if (image.format !== "raw") return;
  const [{ openImage }, { rawCandidates }] = await Promise.all([
    import("../containers/image.ts"),
    import("../reports/diff_memory.ts"),
  ]);
  if (other.format !== "raw" && rawCandidates(other, image).length) return;
  const offset = image.streamOffset;
  await withHint(path, offset, async () => {
    await using _stream = await openImage(image.source, { offset });
  }, option);
}

/** What differs between two. */
export const diff: Diff = async (a, b, request, work) => {
  const [{ diffImages }, { diffText }] = await Promise.all([
    import("../reports/diff.ts"),
    import("../reports/diff_text.ts"),
  ]);
  const { ignore, ram, plugins, block } = request;
  const one = { offset: request.offsetA, channels: request.channelA, snapshot: request.snapshotA };
  const two = { offset: request.offsetB, channels: request.channelB, snapshot: request.snapshotB };
  await using left = await openFile(a, { ...one, plugins, raw: true }, work, undefined, "--offset-a");
  work.about(b);
  await using right = await openFile(b, { ...two, plugins, raw: true }, work, b, "--offset-b");
  if (!request.raw && block === undefined) {
    await refuseUnknown(right, left, b, "--offset-b");
    work.about(a);
    await refuseUnknown(left, right, a, "--offset-a");
  }
  work.about(a);
  try {
    const report = await diffImages(left, right, {
      ignore,
      withoutRam: !ram,
      ...(block !== undefined ? { block } : {}),
      onProgress: work.onProgress,
      signal: work.signal,
    });
    return { report, text: () => diffText(report) };
  } catch (error) {
    if (error instanceof Error) {
      const ofB = "channel" in error
        ? error.channel === b
        : error.message.includes(` ${b}:`) && (a !== b || one.channels !== undefined);
      if (ofB) work.about(b);
      error.message += channelHint(error.message, (ofB ? two : one).channels, ofB ? "--channel-b" : "--channel-a");
    }
    throw error;
  }
};
