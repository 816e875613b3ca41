/**
 * Compressed streams as byte sources.
 *
 *     gzip                   node:zlib, several members one after another
 *     zstd                   the system's own program, or node:zlib a frame at a time where it is missing or not to be run
 *     bzip2, xz, lzop        the system's own program, PROGRAM -dc, as libvirt does it
 *
 * What comes out before a cut or a fault is given first; {@link UnpackedSource.problem} says then why it ended.
 * @module
 */
import { Buffer } from "node:buffer";
import { createGunzip, zstdDecompressSync } from "node:zlib";
import type { ByteSource } from "../stream/channel.ts";
import { TransportError } from "../stream/errors.ts";
import type { Compression } from "./magic.ts";
import { endProgram, mayRun, type Program, startProgram, textOf } from "./program.ts";
import { ZstdFrames } from "./zstd_frames.ts";

const CHUNK = 1 << 18;
/** Characters that are kept of what a program complains about. */
const SAID_LIMIT = 500;
/** Bytes of gzip between two looks at what came out, which may be a thousand times as much. */
const GZIP_STEP = 1 << 16;
/** What the programs say of a file that was cut. */
const CUT = /unexpected end|premature end|truncated|ends? unexpectedly|unexpected eof|file ends/i;
/** Bytes of a zstd frame that are held, packed and unpacked, where the program is not there. */
const FRAME_LIMIT = 1 << 28;
const UNPACKED_LIMIT = 1 << 30;

/** What a compressed source holds. Its offsets count unpacked bytes, from 0. */
export interface UnpackedSource extends ByteSource {
  /** Why the data ended early, once it has. */
  problem(): string | undefined;
  /** Stop, and end the program that was started. */
  close(): void;
}

/** Why it ended, without what the program puts in front. */
function sentence(compression: Compression, said: string): string {
  const text = said.replace(/^(\S*\/)?\w+: /, "").replace(/^(\(stdin\)|<stdin>|\/\*stdin\*\\) ?: /, "").replace(
    /[;\s]+$/,
    "",
  );
  // lzop meets the end where it expects none, and tells what errno held before
  if (compression === "lzop" && text.startsWith("Inappropriate ioctl")) {
    return sentence(compression, "unexpected end of file");
  }
  return CUT.test(text) ? `the file was cut: its ${compression} data ends early (${text})` : `${compression}: ${text}`;
}

type Pieces = AsyncGenerator<Uint8Array, string | undefined>;

/**
 * Unpack from where the source stands.
 * @param options.searchPath where programs are looked for; default PATH
 * @throws {TransportError} on the first read, when a program is needed and not installed
 */
export function unpack(
  source: ByteSource,
  compression: Compression,
  options: { readonly searchPath?: string } = {},
): UnpackedSource {
  const packed = chunks(source);
  const { searchPath } = options;
  const pieces: Pieces = compression === "gzip"
    ? gunzip(packed)
    : compression === "zstd"
    ? unzstd(packed, searchPath)
    : program(packed, compression, searchPath);
  let piece: Uint8Array = new Uint8Array();
  let problem: string | undefined;
  let done = false;
  return {
    name: `${source.name}, unpacked`,
    start: 0,
    async read(view) {
      while (piece.length === 0) {
        if (done) return 0;
        const next = await pieces.next();
        if (!next.done) piece = next.value;
        else {
          done = true;
          problem = next.value && sentence(compression, next.value);
        }
      }
      const n = Math.min(view.length, piece.length);
      view.set(piece.subarray(0, n));
      piece = piece.subarray(n);
      return n;
    },
    problem: () => problem,
    close() {
      done = true;
      pieces.return(undefined).catch(() => {});
    },
  };
}

async function* chunks(source: ByteSource): AsyncGenerator<Uint8Array> {
  for (;;) {
    const chunk = new Uint8Array(CHUNK);
    const got = await source.read(chunk);
    if (got <= 0) return;
    yield chunk.subarray(0, got);
  }
}

/** What came out is taken before the end is asked for: the complaint about a cut file would drop it. */
async function* gunzip(packed: AsyncGenerator<Uint8Array>): Pieces {
  const gunzip = createGunzip({ chunkSize: CHUNK });
  const out: Uint8Array[] = [];
  let failure: Error | undefined;
  let ended = false;
  const over = new Promise<void>((resolve) => {
    gunzip.on("end", resolve).on("error", (error) => {
      failure ??= error;
      resolve();
    });
  }).then(() => ended = true);
  gunzip.on("data", (piece: Uint8Array) => out.push(piece));
  try {
    for await (const chunk of packed) {
      for (let at = 0; at < chunk.length && !ended; at += GZIP_STEP) {
        const step = chunk.subarray(at, at + GZIP_STEP);
        await Promise.race([new Promise((resolve) => gunzip.write(step, resolve)), over]);
        yield* out.splice(0);
      }
      if (ended) break;
    }
    await new Promise((resolve) => setTimeout(resolve, 0));
    yield* out.splice(0);
    gunzip.end();
    await over;
    yield* out;
  } finally {
    gunzip.destroy();
  }
  return failure?.message;
}

/**
 * By the program where it is installed. Without it whole frames are held in memory: `createZstdDecompress` of Deno 2.9 ends the
 * process when data is damaged, the synchronous call can be caught.
 */
async function* unzstd(packed: AsyncGenerator<Uint8Array>, searchPath: string | undefined): Pieces {
  if (mayRun("zstd")) {
    try {
      return yield* program(packed, "zstd", searchPath);
    } catch (error) {
      if (!(error instanceof NotInstalledError)) throw error;
    }
  }
  const frames = new ZstdFrames();
  let parts: Uint8Array[] = [];
  let held = 0;
  for await (let chunk of packed) {
    while (chunk.length > 0) {
      const { used, ended, data } = frames.take(chunk);
      if (data) parts.push(chunk.subarray(0, used));
      held += data ? used : 0;
      chunk = chunk.subarray(used);
      if (held > FRAME_LIMIT) {
        throw new TransportError(
          "Cannot unpack: a frame of more than 256 MiB takes the program zstd, and leave to run it",
        );
      }
      if (!ended || parts.length === 0) continue;
      try {
        yield zstdDecompressSync(Buffer.concat(parts), { maxOutputLength: UNPACKED_LIMIT });
      } catch (error) {
        return (error as Error).message.split("\n")[0];
      }
      parts = [];
      held = 0;
    }
  }
  return frames.inside ? "unexpected end of file" : undefined;
}

async function* program(
  packed: AsyncGenerator<Uint8Array>,
  name: Exclude<Compression, "gzip">,
  searchPath: string | undefined,
): Pieces {
  const child = start(name, searchPath);
  const said = textOf(child.stderr, SAID_LIMIT);
  const writer = child.stdin.getWriter();
  writer.closed.catch(() => {}); // it ended before its input did; its exit status says why
  let failure: unknown;
  const feed = async () => {
    for (;;) {
      const { value, done } = await packed.next().catch((error) => {
        failure = error;
        return { value: undefined, done: true } as const;
      });
      if (done) break;
      await writer.write(value);
    }
    await writer.close();
  };
  const feeding = feed().catch(() => {});
  try {
    yield* child.stdout;
    await feeding;
    if (failure) throw failure;
    const { code } = await child.status;
    return code === 0 ? undefined : (await said).trim().split("\n")[0] || `ended with status ${code}`;
  } finally {
    await endProgram(child);
  }
}

function start(name: Exclude<Compression, "gzip">, searchPath: string | undefined): Program {
  try {
    return startProgram(name, name === "lzop" ? ["-dc", "--ignore-warn"] : ["-dc"], searchPath);
  } catch (error) {
    const { cause, message } = error as TransportError;
    if (cause instanceof Deno.errors.NotFound) throw new NotInstalledError(name);
    throw new TransportError(message.replace(/^Cannot run /, "Cannot unpack with "));
  }
}

/** A program is needed and not there. */
class NotInstalledError extends TransportError {
  constructor(name: string) {
    const packageName = name === "xz" ? "xz-utils" : name;
    super(`Cannot unpack: the program ${name} is not installed (apt-get install ${packageName})`);
  }
}
