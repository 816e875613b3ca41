/**
 * The Worker behind one channel of {@link PageWriters}: opens its handle, takes ranges in order until it is told to stop.
 * @module
 */
import fs from "node:fs";
import { errnoName, errnoText } from "./errno.ts";
import { type PageJob, writePages } from "./page_job.ts";
import {
  DEPTH,
  FAILED,
  FIELDS,
  type PageWriterStart,
  type PageWriterWord,
  PROGRESS,
  QUEUE_WORDS,
  QUEUES,
  RUNNING,
  STATE,
  TOTALS,
} from "./page_writers.ts";

interface WorkerScope {
  onmessage: ((event: MessageEvent<PageWriterStart>) => void) | null;
  postMessage(message: PageWriterWord): void;
}
/** Why a Worker may not open a file the other thread has open; undefined: Deno's permissions. */
const NOT_ALLOWED: readonly unknown[] = ["EACCES", "EPERM", undefined];

const scope = globalThis as unknown as WorkerScope;

scope.onmessage = ({ data }) => {
  let fd: number | undefined;
  try {
    fd = fs.openSync(data.path, data.flags & ~(fs.constants.O_CREAT | fs.constants.O_TRUNC));
    work(data, fd);
  } catch (error) {
    const refused = fd === undefined && NOT_ALLOWED.includes(errnoName(error));
    scope.postMessage({ kind: "failed", refused, reason: errnoText(error) });
    const control = new Int32Array(data.control);
    if (!refused) Atomics.compareExchange(control, STATE, RUNNING, FAILED);
    Atomics.add(control, PROGRESS, 1);
    Atomics.notify(control, PROGRESS);
  } finally {
    if (fd !== undefined) fs.closeSync(fd);
    scope.postMessage({ kind: "closed" });
  }
};

function work(start: PageWriterStart, fd: number): void {
  const { id, memories } = start;
  const control = new Int32Array(start.control);
  const jobs = new Float64Array(start.jobs);
  const totals = new Float64Array(start.totals);
  const bitmaps = start.bitmaps.map((shared) => new Uint8Array(shared));
  const published = QUEUES + QUEUE_WORDS * id, finished = published + 1, open = published + 2;
  const job: PageJob = {
    memory: undefined,
    at: 0,
    length: 0,
    pageSize: 0,
    position: 0,
    scan: false,
    bitmap: new Uint8Array(),
    first: 0,
  };
  const write = (view: Uint8Array, position: number) => {
    for (let done = 0; done < view.length;) {
      const wrote = fs.writeSync(fd, view, done, view.length - done, position + done);
      if (wrote <= 0) throw Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
      done += wrote;
    }
  };
  Atomics.store(control, open, 1);
  for (let done = 0;; done = done + 1 | 0) {
    Atomics.wait(control, published, done);
    if (Atomics.load(control, STATE) !== RUNNING) return;
    const i = (id * DEPTH + (done >>> 0) % DEPTH) * FIELDS;
    job.memory = jobs[i] < 0 ? undefined : memories[jobs[i]];
    job.at = jobs[i + 1];
    job.length = jobs[i + 2];
    job.position = jobs[i + 3];
    job.scan = jobs[i + 4] !== 0;
    job.bitmap = bitmaps[jobs[i + 5]];
    job.first = jobs[i + 6];
    job.pageSize = jobs[i + 7];
    const normal = writePages(job, write);
    totals[id * TOTALS] += normal * job.pageSize;
    totals[id * TOTALS + 1] += normal;
    totals[id * TOTALS + 2] += job.length / job.pageSize - normal;
    Atomics.add(control, finished, 1);
    Atomics.add(control, PROGRESS, 1);
    Atomics.notify(control, PROGRESS);
  }
}
