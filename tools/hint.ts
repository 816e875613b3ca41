/**
 * What to try where a file begins with something else than a stream: one may begin further on. And where pages are missing that
 * travelled on channels of their own: those may be in files beside it.
 * @module
 */
import { isPipe } from "./pipes.ts";

/** How the decoder ends its complaint about the first bytes. */
const NO_MAGIC = /magic 0x[0-9a-f]+, expected 0x5145564d /;
/** How a report says that pages came on other channels. */
const ON_CHANNELS = /expected the multifd channels|did not come on this channel|channels that were not given/;
/** Streams that others put behind something of theirs begin here. */
const PAGE = 4096;
/** Bytes of a file that are looked through. */
const LIMIT = 2 ** 28;

/**
 * Where in a file a stream begins after all.
 * @param message what was wrong at the place that was looked at
 * @param offset  that place
 * @param option  that names another
 * @returns "; ..." to go behind the message, "" when it is about something else or nothing is found
 */
export async function offsetHint(message: string, path: string, offset: number, option = "--offset"): Promise<string> {
  if (isPipe(path) || !NO_MAGIC.test(message)) return "";
  const [{ fileSource }, { detectContent, DETECT_BYTES }] = await Promise.all([
    import("../containers/file_source.ts"),
    import("../containers/magic.ts"),
  ]);
  const file = fileSource(path);
  try {
    const head = new Uint8Array(DETECT_BYTES);
    const end = Math.min(file.size?.() ?? 0, LIMIT);
    for (let at = 0; at < end; at += PAGE) {
      const content = detectContent(head.subarray(0, file.readAt!(head, at)));
      if (at !== offset && (content === "qemu-stream" || content === "libvirt-save")) {
        return `; a stream begins at 0x${at.toString(16)}, try ${option} 0x${at.toString(16)}`;
      }
    }
    return "";
  } finally {
    file.close();
  }
}

/** Run what opens a file; what it throws has the hint. @param option as for {@link offsetHint} */
export async function withHint<T>(path: string, offset: number, open: () => Promise<T>, option?: string): Promise<T> {
  try {
    return await open();
  } catch (error) {
    if (error instanceof Error) error.message += await offsetHint(error.message, path, offset, option);
    throw error;
  }
}

/**
 * How to name the files of further channels.
 * @param message that pages are on them
 * @param given   those that were named
 * @param option  that names one
 * @returns "; ..." to go behind the message, "" when it is about something else
 */
export function channelHint(message: string, given: readonly string[] | undefined, option = "--channel"): string {
  return ON_CHANNELS.test(message) && (!given?.length || message.includes("not given"))
    ? `; give the file of each with ${option}`
    : "";
}

/** Run what wants pages of RAM; what it throws has the hint. */
export async function withChannelHint<T>(given: readonly string[] | undefined, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof Error) error.message += channelHint(error.message, given);
    throw error;
  }
}
