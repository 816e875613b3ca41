/**
 * Saved guests as the command line names them.
 * @module
 */
import type { FileSource } from "../containers/file_source.ts";
import type { Image } from "../containers/image.ts";
import type { FileRequest } from "../repl/file_options.ts";
import type { FileWork } from "../repl/file_work.ts";
import { withHint } from "./hint.ts";
import { rereadable } from "./pipes.ts";
import { sizeOf, tablesWith } from "./words.ts";

/** Where in a file, and in which files beside it, the guest is; and who is told how far it is. */
export async function placeOf({ offset, channels, plugins, snapshot, raw }: FileRequest, work: FileWork) {
  return {
    offset: await sizeOf(offset) ?? 0,
    ...(channels !== undefined ? { channels } : {}),
    ...(snapshot !== undefined ? { snapshot } : {}),
    ...(raw ? { raw } : {}),
    tables: await tablesWith(plugins),
    onProgress: work.onRead,
  };
}

/** Open one for a single pass; "-" is standard input. A source is left open. */
export async function openPass(input: string | FileSource, request: FileRequest, work: FileWork): Promise<Image> {
  const [{ openImage }, place] = await Promise.all([import("../containers/image.ts"), placeOf(request, work)]);
  return await withHint(typeof input === "string" ? input : "-", place.offset, () => openImage(input, place));
}

/**
 * Open one whose pages are wanted in another order than they come: a pipe is kept in a temporary file.
 * @param name   what errors call it, where there are several; default "main"
 * @param option that says where its stream begins; default --offset
 */
export async function openFile(
  path: string,
  request: FileRequest,
  work: FileWork,
  name?: string,
  option?: string,
): Promise<Image> {
  const [{ openImage }, place] = await Promise.all([import("../containers/image.ts"), placeOf(request, work)]);
  const input = await rereadable(path, name);
  return await withHint(path, place.offset, () => openImage(input, { ...place, name }), option);
}

/** Whether something a stream can be found in begins there. */
export async function isStreamAt(path: string, offset: number): Promise<boolean> {
  const [{ fileSource }, { detectContent, holdsStream, DETECT_BYTES }] = await Promise.all([
    import("../containers/file_source.ts"),
    import("../containers/magic.ts"),
  ]);
  const file = fileSource(path);
  try {
    const head = new Uint8Array(DETECT_BYTES);
    return holdsStream(detectContent(head.subarray(0, file.readAt?.(head, offset) ?? 0)));
  } finally {
    file.close();
  }
}
