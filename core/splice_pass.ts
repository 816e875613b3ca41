/**
 * Connections passed on by the kernel: a few Workers have all of them, turn by turn. What is left of the cost is mostly the page
 * cache of the files.
 * @module
 */
import fs from "node:fs";
import { errnoText } from "./errno.ts";
import type { FdSocket } from "./fd_sockets.ts";
import type { KeptDirection, RecordPass } from "./record_pass.ts";
import { SystemError } from "./scm_rights.ts";
import { close, EIO, pipe, write } from "./splice_calls.ts";
import { READY, type SpliceEnd, type SpliceOrder } from "./splice_connection.ts";
import type { SpliceTask } from "./splice_worker.ts";

/** Connections of one recording: 255 multifd channels, the main one, postcopy's, and as many that fail. */
const MAX_CONNECTIONS = 1024;
/** Workers: two at least, so that urgent pages of a postcopy do not wait for a file of the others; each costs some MiB. */
const THREADS = Math.min(4, Math.max(2, navigator.hardwareConcurrency));

/** A Worker that takes orders from a pipe, and tells the end of each. */
class SpliceThread {
  readonly #worker: Worker;
  readonly #orders = pipe();
  readonly #waiting = new Map<number, (end: SpliceEnd) => void>();

  #dead = false;
  /** Resolves when it waits for orders. @throws when it could not be started */
  readonly ready: Promise<void>;

  /** @param counters bytes passed on so far, by row */
  constructor(counters: SharedArrayBuffer) {
    this.#worker = new Worker(MODULE, { type: "module" });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.ready = promise;
    this.#waiting.set(READY, () => resolve());
    this.#worker.onmessage = ({ data }: MessageEvent<SpliceEnd>) => {
      this.#waiting.get(data.row)?.(data);
      this.#waiting.delete(data.row);
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      reject(new Error(event.message));
      const errno = EIO; // whatever it had under way is not complete
      for (const [row, tell] of this.#waiting) tell({ row, bytes: 0, backBytes: 0, errno });
      this.#waiting.clear();
      this.#dead = true;
    };
    const task: SpliceTask = { control: this.#orders.read, counters };
    this.#worker.postMessage(task);
  }

  /** @returns what came of it */
  order({ row, source, destination, file, backFile }: SpliceOrder): Promise<SpliceEnd> {
    if (this.#dead) return Promise.resolve({ row, bytes: 0, backBytes: 0, errno: EIO });
    const { promise, resolve } = Promise.withResolvers<SpliceEnd>();
    this.#waiting.set(row, resolve);
    write(this.#orders.write, new Uint8Array(Int32Array.of(row, source, destination, file, backFile).buffer));
    return promise;
  }

  /** It ends when everything ordered has. */
  close(): void {
    close(this.#orders.write);
  }
}

/** Of the Workers. */
const MODULE = new URL("./splice_worker.ts", import.meta.url);

/** Whether the Workers may be started: they are read from files. Nothing is asked. */
export function canSplice(): boolean {
  return MODULE.protocol !== "file:" || Deno.permissions.querySync({ name: "read", path: MODULE }).state === "granted";
}

/** What passes on the connections of a recording. */
export class SpliceTeam {
  readonly #counters = new SharedArrayBuffer(8 * MAX_CONNECTIONS);
  readonly #threads = Array.from({ length: THREADS }, () => new SpliceThread(this.#counters));
  #rows = 0;

  private constructor() {}

  /** Start the Workers and wait until they are there: a migration wants the processors for itself. */
  static async start(): Promise<SpliceTeam> {
    const team = new SpliceTeam();
    await Promise.all(team.#threads.map(({ ready }) => ready));
    return team;
  }

  /** Begin to pass on. @param base of the two files' names @throws {RangeError} for too many connections */
  pass(source: FdSocket, destination: FdSocket, base: string): RecordPass {
    if (this.#rows === MAX_CONNECTIONS) throw new RangeError(`Cannot record more than ${MAX_CONNECTIONS} connections`);
    const row = this.#rows++;
    const thread = this.#threads[row % this.#threads.length];
    return new SplicePass(source, destination, base, row, thread, new BigUint64Array(this.#counters));
  }

  /** No further connection comes. */
  close(): void {
    for (const thread of this.#threads) thread.close();
  }
}

/** See the module. */
class SplicePass implements RecordPass {
  readonly ended: Promise<void>;
  problem: string | undefined;
  out: KeptDirection;
  back: KeptDirection;

  constructor(
    private readonly source: FdSocket,
    private readonly destination: FdSocket,
    base: string,
    private readonly row: number,
    private readonly thread: SpliceThread,
    private readonly counters: BigUint64Array,
  ) {
    this.out = { path: `${base}.bin`, bytes: 0 };
    this.back = { path: `${base}.rp.bin`, bytes: 0 };
    this.ended = this.#run();
  }

  get bytes(): number {
    return Number(Atomics.load(this.counters, this.row));
  }

  abort(): void {
    this.source.shut();
    this.destination.shut();
  }

  async #run(): Promise<void> {
    const { row, source, destination, thread } = this;
    const lent = [source.lend(), destination.lend()];
    const [file, backFile] = [this.#create(this.out.path), this.#create(this.back.path)];
    const end = await thread.order({ row, source: source.fd, destination: destination.fd, file, backFile });
    this.out = { path: this.out.path, bytes: end.bytes };
    this.back = { path: this.back.path, bytes: end.backBytes };
    if (end.errno) this.problem ??= errnoText(new SystemError(end.errno));
    for (const fd of [file, backFile]) if (fd >= 0) fs.closeSync(fd);
    for (const one of [this.out, this.back]) if (one.bytes === 0) fs.rmSync(one.path, { force: true });
    for (const giveBack of lent) giveBack?.();
    source.close();
    destination.close();
  }

  /** @returns a file's number, or -1 when it cannot be made */
  #create(path: string): number {
    try {
      return fs.openSync(path, "wx", 0o600);
    } catch (error) {
      this.problem ??= errnoText(error);
      return -1;
    }
  }
}
