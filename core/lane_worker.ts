/**
 * A second pair of hands for a load: a Worker that shares the guest's memory.
 *
 *     touch   make pages resident before they are written: the first write to a page costs more than copying it.
 *             Needs FFI (madvise), and is left out where that is not allowed
 *     read    take runs of pages off a shared list and read each, by position, to where it belongs
 *     row     take pieces of a row of page records; the same needs, and nobody is told: the row's state says it
 *
 * @module
 */
import fs from "node:fs";
import { errnoName, errnoText } from "./errno.ts";
import { populate } from "./large_pages.ts";
import { RecordRow } from "../threads/record_row.ts";
import { type RowJob, takePieces } from "../threads/row_team.ts";

/**
 * Make memory resident. Content is left as it is. It is known by its address: a memory that arrives here would weigh on the
 * collector of garbage with all its bytes.
 */
export interface TouchJob {
  readonly kind: "touch";
  readonly address: number;
  readonly length: number;
}

/** Help with a row. */
export interface HelpJob {
  readonly kind: "row";
  readonly path: string;
  readonly job: RowJob;
}

/**
 * Read runs of a file. `runs` holds 4 numbers each: index into `memories`, byte offset there, bytes, position in the file.
 * `cursor[0]` is the next run nobody has taken, `cursor[1]` counts those who take. Where the caller may use FFI, memories are
 * known by their addresses alone.
 */
export interface ReadJob {
  readonly kind: "read";
  readonly path: string;
  /** Of open(2); left out: O_RDONLY. */
  readonly flags?: number;
  readonly memories: readonly (WebAssembly.Memory | number)[];
  readonly runs: SharedArrayBuffer;
  readonly cursor: SharedArrayBuffer;
}

/** Answer to a {@link ReadJob}: how it ended. `run` is the index of the run that gave less than it should. */
export interface ReadDone {
  readonly run?: number;
  readonly got?: number;
  /** The C library's text, or Deno's. */
  readonly error?: string;
  /** The error is that the file may not be opened from here: nothing was read. */
  readonly refused?: boolean;
  /** Number of the further channel that says this. */
  readonly channel?: number;
}

interface WorkerScope {
  onmessage: ((event: MessageEvent<TouchJob | HelpJob | ReadJob>) => void) | null;
  postMessage(message: ReadDone): void;
}

/**
 * Take runs until there are none left. Yields the position behind each.
 * @param read reads `length` bytes from a position of the file to byte `at` of a memory, and says how many it got
 */
export function* takeRuns(
  job: Pick<ReadJob, "runs" | "cursor">,
  read: (memory: number, at: number, length: number, position: number) => number,
): Generator<number, ReadDone> {
  const runs = new Float64Array(job.runs);
  const cursor = new Int32Array(job.cursor);
  const count = runs.length / 4;
  for (let run = Atomics.add(cursor, 0, 1); run < count; run = Atomics.add(cursor, 0, 1)) {
    const at = runs[run * 4 + 1], length = runs[run * 4 + 2], position = runs[run * 4 + 3];
    const got = read(runs[run * 4], at, length, position);
    if (got < length) {
      Atomics.store(cursor, 0, count);
      return { run, got };
    }
    yield position + length;
  }
  return {};
}

/** The file of the rows; it goes with the Worker. */
let row: { readonly path: string; readonly records: RecordRow | undefined } | undefined;

function help({ path, job }: HelpJob): void {
  if (row?.path !== path) {
    row?.records?.close();
    row = { path, records: RecordRow.open(path) };
  }
  if (!row.records) return;
  const pieces = takePieces(job, row.records);
  while (!pieces.next().done);
}

/** Reads into memories: by their addresses where these are given. */
function reader(fd: number, memories: ReadJob["memories"]): Parameters<typeof takeRuns>[1] {
  const views = memories.map((memory) => typeof memory === "number" ? null : new Uint8Array(memory.buffer));
  const some = views.includes(null) ? preadTo(fd) : undefined;
  return (memory, at, length, position) => {
    const view = views[memory];
    for (let done = 0;;) {
      const got = view
        ? fs.readSync(fd, view, at + done, length - done, position + done)
        : some!(memories[memory] as number + at + done, length - done, position + done);
      if (got <= 0) return done;
      done += got;
      if (done === length) return done;
    }
  };
}

/** pread(2) to an address. An error is met again by readSync, which knows its name. */
function preadTo(fd: number): (address: number, length: number, position: number) => number {
  const { symbols } = Deno.dlopen("libc.so.6", {
    pread: { parameters: ["i32", "usize", "usize", "i64"], result: "isize" },
  });
  return (address, length, position) => {
    const got = Number(symbols.pread(fd, BigInt(address), BigInt(length), BigInt(position)));
    return got < 0 ? fs.readSync(fd, new Uint8Array(1), 0, 1, position) && 0 : got;
  };
}

function read(job: ReadJob): ReadDone {
  let fd: number | undefined;
  try {
    const opened = fd = fs.openSync(job.path, job.flags ?? fs.constants.O_RDONLY);
    Atomics.add(new Int32Array(job.cursor), 1, 1);
    try {
      const runs = takeRuns(job, reader(opened, job.memories));
      for (;;) {
        const step = runs.next();
        if (step.done) return step.value;
      }
    } finally {
      fs.closeSync(opened);
    }
  } catch (error) {
    const refused = fd === undefined && [undefined, "EACCES", "EPERM"].includes(errnoName(error));
    if (!refused) Atomics.store(new Int32Array(job.cursor), 0, job.runs.byteLength);
    return { error: errnoText(error), ...(refused ? { refused } : {}) };
  }
}

if (typeof (globalThis as { WorkerGlobalScope?: unknown }).WorkerGlobalScope !== "undefined") {
  const scope = globalThis as unknown as WorkerScope;
  scope.onmessage = ({ data }) => {
    if (data.kind === "touch") populate(data.address, data.length);
    else if (data.kind === "row") help(data);
    else scope.postMessage(read(data));
  };
}
