/**
 * Lines of a script, as they arrive: from a file, or from standard input while somebody still writes to it.
 * @module
 */

/** Longest line taken, in characters. */
export const MAX_LINE = 16 << 20;

/** A script cannot be read; the message begins with its name. */
export class ReadError extends Error {
  override name = "ReadError";
}

/**
 * Lines of a file without their ends; "-" is standard input.
 * @throws {ReadError}
 */
export async function* readLines(name: string): AsyncGenerator<string> {
  let file: Deno.FsFile | undefined;
  try {
    if (name !== "-") file = await Deno.open(name);
    yield* linesOf(pieces(file ?? Deno.stdin));
  } catch (error) {
    throw new ReadError(`${name === "-" ? "standard input" : name}: ${systemText(error)}`, { cause: error });
  } finally {
    file?.close();
  }
}

async function* pieces(file: { read(into: Uint8Array): Promise<number | null> }): AsyncGenerator<Uint8Array> {
  const buffer = new Uint8Array(64 << 10);
  for (let length = await file.read(buffer); length !== null; length = await file.read(buffer)) {
    yield buffer.subarray(0, length);
  }
}

/**
 * Lines of a text that arrives in pieces, without their ends (LF or CR LF); what stands behind the last one counts.
 * @throws {RangeError} when a line is longer than {@link MAX_LINE}
 */
export async function* linesOf(pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest: string[] = [];
  let length = 0;
  let number = 1;
  for await (const piece of pieces) {
    const [more, ...lines] = decoder.decode(piece, { stream: true }).split("\n");
    rest.push(more);
    length += more.length;
    for (const line of lines) {
      yield rest.join("").replace(/\r$/, "");
      rest = [line];
      length = line.length;
      number++;
    }
    if (length > MAX_LINE) throw new RangeError(`line ${number} is longer than ${MAX_LINE >> 20} Mi characters`);
  }
  rest.push(decoder.decode());
  const last = rest.join("");
  if (last !== "") yield last.replace(/\r$/, "");
}

/** The C library's text of a system error, without the number and the call Deno puts around it. */
export function systemText(error: unknown): string {
  return (error as Error).message.replace(/ \(os error \d+\).*$/s, "");
}
