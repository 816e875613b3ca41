/**
 * What `verify` looks at beside a main channel: further channels, the recorded way back, a QEMU that is to load it.
 * @module
 */
import { fileSource } from "../containers/file_source.ts";
import { openImage, type OpenImageOptions } from "../containers/image.ts";
import { bufferSource, type ByteSource } from "../stream/channel.ts";
import type { StreamDecoder } from "../stream/decode.ts";
import { StreamError, UnsupportedError } from "../stream/errors.ts";
import type { Report } from "./findings.ts";
import type { ReportInput } from "./input.ts";
import type { VerifyReport } from "./verify.ts";
import { verifyAgainst } from "./verify_against.ts";
import { checkReturnPath } from "./verify_return_path.ts";
import { readTarget } from "./vmstate_dump.ts";

/** A further channel: a file, bytes, or a source that can be read at any position. */
export type FurtherInput = NonNullable<OpenImageOptions["channels"]>[number];

/** What came back, held against the block list. */
export async function checkRecordedAnswers(input: ReportInput, decoder: StreamDecoder, report: Report): Promise<void> {
  const name = "return path";
  const file = typeof input === "string" ? fileSource(input, { name }) : undefined;
  const source = file ?? (input instanceof Uint8Array ? bufferSource(input, { name }) : input as ByteSource);
  const { blocks, framing } = decoder.ram;
  try {
    await checkReturnPath(source, blocks, framing.pageSize, report);
  } finally {
    file?.close();
  }
}

/** Go through the further channels, packet by packet, beside the main one. What is wrong with that one was said before. */
export async function checkChannels(
  input: ReportInput,
  channels: readonly FurtherInput[],
  options: OpenImageOptions,
  report: Report,
): Promise<void> {
  needFile(input, "verify --channel");
  const error = (channel: string, offset: number, message: string) =>
    report("error", offset, `channels[${JSON.stringify(channel)}]`, message, channel);
  try {
    await using image = await openImage(input, { ...opening(options), channels });
    const { fault, source } = image;
    if (fault && fault.channel !== source.name) error(fault.channel, fault.offset, fault.message);
    for (const { text } of image.warnings) {
      const channel = /^multifd \d+/.exec(text)?.[0];
      if (channel || /packets are on channels/.test(text)) error(channel ?? "multifd", 0, text);
    }
    if (fault || !image.complete) return;
    for (const { id, missingPages } of image.ram.blocks) {
      if (missingPages > 0) {
        report("warning", 0, "channels", `${missingPages} pages of ${id} are on none of the channels`);
      }
    }
  } catch (fault) {
    if (!(fault instanceof StreamError)) throw fault;
    if (fault.channel !== MAIN) error(fault.channel, fault.offset, fault.message);
  }
}

/** Open what was read once more, and hold it against a QEMU. */
export async function askTarget(
  input: ReportInput,
  target: string,
  machine: string | undefined,
  options: OpenImageOptions,
  report: Report,
): Promise<VerifyReport["against"]> {
  needFile(input, "verify --against");
  const qemu = await readTarget(target, machine);
  const open = openImage(input, opening(options));
  await using image = await open.catch((error) => {
    if (error instanceof StreamError) return undefined; // said already
    throw error;
  });
  return {
    target,
    ...(qemu.machines && machine !== undefined ? { machine: qemu.machines.has(machine) } : {}),
    devices: image ? verifyAgainst(image, qemu, report) : [],
  };
}

/** Name of the main channel in errors, where nobody gave it another. */
const MAIN = "main";

/** The options of both readings. */
function opening({ offset, snapshot, tables }: OpenImageOptions): OpenImageOptions {
  return {
    ...(offset !== undefined ? { offset } : {}),
    ...(snapshot !== undefined ? { snapshot } : {}),
    ...(tables ? { tables } : {}),
  };
}

/** What is read twice has to be a file. */
function needFile(input: ReportInput, feature: string): void {
  if (input !== "-" && !(typeof input === "object" && "read" in input && !input.readAt)) return;
  throw new UnsupportedError("Cannot read twice", {
    channel: MAIN,
    offset: 0,
    found: "a pipe",
    expected: "a file",
    feature,
  });
}
