/**
 * Compressed streams as byte sources.
 *
 *     gzip                   node:zlib, several members one after another
 *     zstd                   the system's own program, or node:zlib a frame at a time
 *     bzip2, xz, lzop        the system's own program, PROGRAM -dc, as libvirt does it
 *
 * What comes out before a cut or a fault is given first; {@link UnpackedSource.problem} says then why it ended.
 * @module
 */
import { Buffer } from "node:buffer";
import { spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import { delimiter, join } from "node:path";
import process from "node:process";
import { createGunzip, zstdDecompressSync } from "node:zlib";
import type { ByteSource } from "../stream/channel.ts";
import { TransportError } from "../stream/errors.ts";
import type { Compression } from "./magic.ts";
import { ZstdFrames } from "./zstd_frames.ts";

const CHUNK = 1 << 18;
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
  const searchPath = options.searchPath ?? process.env.PATH ?? "";
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
async function* unzstd(packed: AsyncGenerator<Uint8Array>, searchPath: string): Pieces {
  if (findProgram("zstd", searchPath)) return yield* program(packed, "zstd", searchPath);
  const frames = new ZstdFrames();
  let parts: Uint8Array[] = [];
  let held = 0;
  for await (let chunk of packed) {
    while (chunk.length > 0) {
      const { used, ended, data } = frames.take(chunk);
      if (data) parts.push(chunk.subarray(0, used));
      held += data ? used : 0;
      chunk = chunk.subarray(used);
      if (held > FRAME_LIMIT) throw missing("zstd");
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
  searchPath: string,
): Pieces {
  const path = findProgram(name, searchPath);
  if (!path) throw missing(name);
  const args = name === "lzop" ? ["-dc", "--ignore-warn"] : ["-dc"];
  const child = spawn(path, args, { stdio: ["pipe", "pipe", "pipe"] });
  const ended = new Promise<number | null>((resolve) => child.on("close", resolve).on("error", () => resolve(null)));
  let said = "";
  child.stderr.on("data", (text: Buffer) => said = (said + text).slice(0, 500));
  child.stdin.on("error", () => {}); // it ended before its input did; its exit status says why
  const feed = async () => {
    for await (const chunk of packed) {
      if (child.exitCode !== null || child.stdin.destroyed) return;
      if (!child.stdin.write(chunk)) await Promise.race([once(child.stdin, "drain"), ended]);
    }
    child.stdin.end();
  };
  let failure: unknown;
  const feeding = feed().catch((error) => {
    failure = error;
    child.stdin.destroy();
  });
  try {
    yield* child.stdout as AsyncIterable<Uint8Array>;
    await feeding;
    if (failure) throw failure;
    const code = await ended;
    return code === 0 ? undefined : said.trim().split("\n")[0] || `ended with status ${code}`;
  } finally {
    if (child.exitCode === null) child.kill();
  }
}

/** Path of an installed program. */
function findProgram(name: string, searchPath: string): string | undefined {
  const paths = searchPath.split(delimiter).filter(Boolean).map((directory) => join(directory, name));
  return paths.find((path) => {
    try {
      fs.accessSync(path, fs.constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function missing(name: string): TransportError {
  const packageName = name === "xz" ? "xz-utils" : name;
  return new TransportError(`Cannot unpack: the program ${name} is not installed (apt-get install ${packageName})`);
}
