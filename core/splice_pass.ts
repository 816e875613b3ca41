/**
 * Connections passed on by the kernel: two Workers, one passing on and one writing files, have all of them. What is left of the
 * cost is mostly the page cache of the files.
 * @module
 */
import fs from "node:fs";
import { errnoText } from "./errno.ts";
import type { FdSocket } from "./fd_sockets.ts";
import type { KeptDirection, RecordPass } from "./record_pass.ts";
import { SystemError } from "./scm_rights.ts";
import { close, EIO, pipe, write } from "./splice_calls.ts";
import type { SpliceEnd, SpliceTask } from "./splice_worker.ts";

/** Connections of one recording: 255 multifd channels, the main one, postcopy's, and as many that fail. */
const MAX_CONNECTIONS = 1024;
/** Bytes a file may be behind: the first that this user's pipes may hold; small ones make both threads wait for each other. */
const COPY_BYTES = [1 << 20, 256 << 10];

/** What a Worker says first, in place of an end: it waits for orders. */
const READY = -1;

/** A Worker that takes orders from a pipe, and tells the end of each. */
class SpliceThread {
  readonly #worker: Worker;
  readonly #orders = pipe();
  readonly #waiting = new Map<number, (end: SpliceEnd) => void>();

  #dead = false;
  /** Resolves when it waits for orders. @throws when it could not be started */
  readonly ready: Promise<void>;

  /** @param module of the Worker @param task its first message, made of the pipe's end */
  constructor(module: URL, task: (control: number) => unknown) {
    this.#worker = new Worker(module, { type: "module" });
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
      for (const [row, tell] of this.#waiting) tell({ row, bytes: 0, errno });
      this.#waiting.clear();
      this.#dead = true;
    };
    this.#worker.postMessage(task(this.#orders.read));
  }

  /** @returns what came of it */
  order(record: readonly number[]): Promise<SpliceEnd> {
    if (this.#dead) return Promise.resolve({ row: record[0], bytes: 0, errno: EIO });
    const { promise, resolve } = Promise.withResolvers<SpliceEnd>();
    this.#waiting.set(record[0], resolve);
    write(this.#orders.write, new Uint8Array(Int32Array.from(record).buffer));
    return promise;
  }

  /** It ends when everything ordered has. */
  close(): void {
    close(this.#orders.write);
  }
}

/** Modules of the Workers. */
const PASSING = new URL("./splice_worker.ts", import.meta.url);
const FILING = new URL("./splice_file_worker.ts", import.meta.url);

/** Whether the Workers may be started: they are read from files. Nothing is asked. */
export function canSplice(): boolean {
  return [PASSING, FILING].every((path) => {
    return path.protocol !== "file:" || Deno.permissions.querySync({ name: "read", path }).state === "granted";
  });
}

/** What passes on the connections of a recording. */
export class SpliceTeam {
  readonly #counters = new SharedArrayBuffer(8 * MAX_CONNECTIONS);
  readonly #passing = new SpliceThread(PASSING, (control): SpliceTask => {
    return { control, counters: this.#counters };
  });
  readonly #filing = new SpliceThread(FILING, (control) => control);
  #rows = 0;

  private constructor() {}

  /** Start the Workers and wait until they are there: a migration wants the processors for itself. */
  static async start(): Promise<SpliceTeam> {
    const team = new SpliceTeam();
    await Promise.all([team.#passing.ready, team.#filing.ready]);
    return team;
  }

  /** Begin to pass on. @param base of the two files' names @throws {RangeError} for too many connections */
  pass(source: FdSocket, destination: FdSocket, base: string): RecordPass {
    if (this.#rows === MAX_CONNECTIONS) throw new RangeError(`Cannot record more than ${MAX_CONNECTIONS} connections`);
    return new SplicePass(source, destination, base, this.#rows++, {
      counters: new BigUint64Array(this.#counters),
      passing: this.#passing,
      filing: this.#filing,
    });
  }

  /** No further connection comes. */
  close(): void {
    this.#passing.close();
    this.#filing.close();
  }
}

interface Threads {
  readonly counters: BigUint64Array;
  readonly passing: SpliceThread;
  readonly filing: SpliceThread;
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
    private readonly threads: Threads,
  ) {
    this.out = { path: `${base}.bin`, bytes: 0 };
    this.back = { path: `${base}.rp.bin`, bytes: 0 };
    this.ended = this.#run();
  }

  get bytes(): number {
    return Number(Atomics.load(this.threads.counters, this.row));
  }

  abort(): void {
    this.source.shut();
    this.destination.shut();
  }

  async #run(): Promise<void> {
    const { row, source, destination, threads } = this;
    const lent = [source.lend(), destination.lend()];
    const [file, backFile] = [this.#create(this.out.path), this.#create(this.back.path)];
    const copy = file < 0 ? undefined : pipe(...COPY_BYTES);
    const filed = copy && threads.filing.order([row, copy.read, file]);
    const back = await threads.passing.order([row, source.fd, destination.fd, copy?.write ?? -1, backFile]);
    const out = await filed;
    this.out = { path: this.out.path, bytes: out?.bytes ?? 0 };
    this.back = { path: this.back.path, bytes: back.bytes };
    const errno = out?.errno || back.errno;
    if (errno) this.problem ??= errnoText(new SystemError(errno));
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
