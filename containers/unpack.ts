/**
 * Compressed streams as byte sources.
 *
 *     gzip, zstd             node:zlib, several members or frames one after another
 *     bzip2, xz, lzop        the system's own program, PROGRAM -dc, as libvirt does it
 *
 * What comes out before a cut or a fault is given first; {@link UnpackedSource.problem} says then why it ended.
 * @module
 */
import { createGunzip } from "node:zlib";
import type { ByteSource } from "../stream/channel.ts";
import { TransportError } from "../stream/errors.ts";
import { ZlibStream } from "../stream/zlib_stream.ts";
import { Breath } from "./breath.ts";
import type { Compression } from "./magic.ts";
import { endProgram, type Program, startProgram, textOf } from "./program.ts";
import { ZstdFrames } from "./zstd_frames.ts";

const CHUNK = 1 << 18;
/** Characters that are kept of what a program complains about. */
const SAID_LIMIT = 500;
/** Bytes of gzip between two looks at what came out, which may be a thousand times as much. */
const GZIP_STEP = 1 << 16;
/** What the programs say of a file that was cut. */
const CUT = /unexpected end|premature end|truncated|ends? unexpectedly|unexpected eof|file ends/i;

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

/** What takes a program. */
type Programmed = Exclude<Compression, "gzip" | "zstd">;

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
    ? unzstd(packed)
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
 * A step at a time, no more than {@link CHUNK} ahead of who reads: a few bytes of zstd may stand for gigabytes. The window of
 * a frame comes on top, at most 128 MiB as for the program of that name.
 */
async function* unzstd(packed: AsyncGenerator<Uint8Array>): Pieces {
  const frames = new ZstdFrames();
  const stream = ZlibStream.unzstd();
  const breath = new Breath(0, {});
  try {
    for await (const chunk of packed) {
      const end = framed(frames, chunk);
      for (let at = 0, full = true; full || at < end;) {
        const output = new Uint8Array(CHUNK);
        const step = stream.step(chunk.subarray(at, end), output);
        if (step.made > 0) yield output.subarray(0, step.made);
        if (step.error || (step.used === 0 && step.made === 0 && at < end)) return zstdFault(step.error?.message);
        at += step.used;
        full = step.made === CHUNK;
        await breath.taken(step.made);
      }
      if (end < chunk.length) return "what follows its last frame is no zstd";
    }
  } finally {
    stream.close();
  }
  return frames.inside ? "unexpected end of file" : undefined;
}

/** Bytes of a chunk up to where it is no zstd any more. */
function framed(frames: ZstdFrames, chunk: Uint8Array): number {
  for (let at = 0; at < chunk.length;) {
    const { used, data } = frames.take(chunk.subarray(at));
    if (!data) return at;
    at += used;
  }
  return chunk.length;
}

function zstdFault(message = "Data corruption detected"): string {
  const text = message.replace(/^Zstd decompress error: /, "");
  return /too much memory/.test(text) ? "a window of more than 128 MiB, which zstd -dc --long=31 unpacks" : text;
}

async function* program(
  packed: AsyncGenerator<Uint8Array>,
  name: Programmed,
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

function start(name: Programmed, searchPath: string | undefined): Program {
  try {
    return startProgram(name, name === "lzop" ? ["-dc", "--ignore-warn"] : ["-dc"], searchPath);
  } catch (error) {
    const { cause, message } = error as TransportError;
    if (!(cause instanceof Deno.errors.NotFound)) {
      throw new TransportError(message.replace(/^Cannot run /, "Cannot unpack with "));
    }
    const packageName = name === "xz" ? "xz-utils" : name;
    throw new TransportError(
      `Cannot unpack: the program ${name} is not installed (apt-get install ${packageName})`,
    );
  }
}
