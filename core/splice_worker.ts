/**
 * One direction of a recorded connection, passed on by the kernel: what comes from a socket goes into a pipe, is told twice
 * (tee(2) copies references, not bytes), and leaves to the other socket and into the file. Nothing of it is looked at here.
 *
 *     from --splice--> pipe --tee--> pipe --splice--> file
 *                       `--splice--> to
 *
 * A Worker of its own, as these calls wait. It begins with the first message and ends with its answer.
 * @module
 */
import fs from "node:fs";
import { errnoText, strerror } from "./errno.ts";

/** What to do. */
export interface SpliceTask {
  /** Sockets, by number. */
  readonly from: number;
  readonly to: number;
  /** The file to make. */
  readonly path: string;
  /** One u64: bytes passed on so far. */
  readonly counter: SharedArrayBuffer;
}

/** What came of it. */
export interface SpliceResult {
  /** In the file. */
  readonly bytes: number;
  /** Why the file does not have everything. */
  readonly problem: string | undefined;
}

const CHUNK = 1 << 20;
const F_SETPIPE_SZ = 1031;
const O_CLOEXEC = 0o2000000;
const EINTR = 4;
const ENOSPC = 28;
const EDQUOT = 122;

const SYMBOLS = {
  pipe2: { parameters: ["buffer", "i32"], result: "i32" },
  fcntl: { parameters: ["i32", "i32", "i32"], result: "i32" },
  splice: { parameters: ["i32", "pointer", "i32", "pointer", "usize", "u32"], result: "isize" },
  tee: { parameters: ["i32", "i32", "usize", "u32"], result: "isize" },
  close: { parameters: ["i32"], result: "i32" },
  __errno_location: { parameters: [], result: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

type Libc = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

function errno(libc: Libc): number {
  return new Deno.UnsafePointerView(libc.__errno_location()!).getInt32();
}

function pipe(libc: Libc): [read: number, write: number] {
  const ends = new Int32Array(2);
  if (libc.pipe2(new Uint8Array(ends.buffer), O_CLOEXEC) < 0) throw new Error(`pipe: errno ${errno(libc)}`);
  libc.fcntl(ends[1], F_SETPIPE_SZ, CHUNK); // a smaller one does too
  return [ends[0], ends[1]];
}

/** Move exactly `count` bytes that are in a pipe. @returns an errno, or 0 */
function drain(libc: Libc, from: number, to: number, count: number): number {
  while (count > 0) {
    const moved = Number(libc.splice(from, null, to, null, BigInt(count), 0));
    if (moved > 0) count -= moved;
    else if (moved === 0) return ENOSPC;
    else if (errno(libc) !== EINTR) return errno(libc);
  }
  return 0;
}

function errnoWords(code: number): string {
  return code === ENOSPC ? strerror("ENOSPC") : code === EDQUOT ? strerror("EDQUOT") : `errno ${code}`;
}

function run({ from, to, path, counter }: SpliceTask): SpliceResult {
  const libc = Deno.dlopen("libc.so.6", SYMBOLS).symbols;
  const passed = new BigUint64Array(counter);
  const [main, copy] = [pipe(libc), pipe(libc)];
  let file: number | undefined;
  let bytes = 0;
  let problem: string | undefined;
  try {
    for (;;) {
      const got = Number(libc.splice(from, null, main[1], null, BigInt(CHUNK), 0));
      if (got < 0 && errno(libc) === EINTR) continue;
      if (got <= 0) return { bytes, problem };
      if (file === undefined && problem === undefined) {
        try {
          file = fs.openSync(path, "wx", 0o600);
        } catch (error) {
          problem = errnoText(error);
        }
      }
      for (let left = got; left > 0;) {
        const told = problem === undefined ? Number(libc.tee(main[0], copy[1], BigInt(left), 0)) : left;
        const count = told > 0 ? told : left;
        if (told <= 0) problem = `tee: errno ${errno(libc)}`;
        if (drain(libc, main[0], to, count) !== 0) return { bytes, problem };
        Atomics.add(passed, 0, BigInt(count));
        left -= count;
        if (problem !== undefined) continue;
        const failed = drain(libc, copy[0], file!, count);
        if (failed !== 0) problem = errnoWords(failed);
        else bytes += count;
      }
    }
  } finally {
    for (const fd of [...main, ...copy]) libc.close(fd);
    if (file !== undefined) fs.closeSync(file);
  }
}

const scope = globalThis as unknown as {
  onmessage: ((event: MessageEvent<SpliceTask>) => void) | null;
  postMessage(result: SpliceResult): void;
};

// imported for its types elsewhere, run as a Worker only
if (typeof WorkerGlobalScope !== "undefined") {
  scope.onmessage = ({ data }) => {
    let result: SpliceResult;
    try {
      result = run(data);
    } catch (error) {
      result = { bytes: 0, problem: (error as Error).message };
    }
    scope.postMessage(result);
  };
}

declare const WorkerGlobalScope: unknown;
