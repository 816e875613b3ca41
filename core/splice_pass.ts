/**
 * A connection passed on by the kernel: from the source by splice(2) in a Worker, back by ordinary calls, as little goes there.
 * On two cores that both QEMUs want it costs a third of copying through this program.
 * @module
 */
import type { FdSocket } from "./fd_sockets.ts";
import { type KeptDirection, PassCopy, type RecordPass } from "./record_pass.ts";
import type { SpliceResult, SpliceTask } from "./splice_worker.ts";

const BUFFER = 64 << 10;

/** Workers that have been started and wait for a connection. */
export class SpliceWorkers {
  #ready: Worker | undefined = SpliceWorkers.#start();

  static #start(): Worker {
    return new Worker(new URL("./splice_worker.ts", import.meta.url), { type: "module" });
  }

  /** One that nobody else has; the next is started meanwhile. */
  take(): Worker {
    const worker = this.#ready ?? SpliceWorkers.#start();
    this.#ready = SpliceWorkers.#start();
    return worker;
  }

  /** End the one that waits. */
  close(): void {
    this.#ready?.terminate();
    this.#ready = undefined;
  }
}

/** See the module. */
export class SplicePass implements RecordPass {
  readonly ended: Promise<void>;
  problem: string | undefined;
  readonly back: PassCopy;
  out: KeptDirection;
  readonly #counter = new SharedArrayBuffer(8);

  constructor(
    private readonly source: FdSocket,
    private readonly destination: FdSocket,
    base: string,
    worker: Worker,
  ) {
    this.out = { path: `${base}.bin`, bytes: 0 };
    this.back = new PassCopy(`${base}.rp.bin`);
    this.ended = this.#run(worker);
  }

  get bytes(): number {
    return Number(Atomics.load(new BigUint64Array(this.#counter), 0));
  }

  abort(): void {
    this.source.shut();
    this.destination.shut();
  }

  async #run(worker: Worker): Promise<void> {
    const forward = this.#forward(worker);
    const back = this.#answer();
    await Promise.race([forward, back]);
    this.abort();
    const { bytes, problem } = await forward;
    await back;
    worker.terminate();
    this.out = { path: this.out.path, bytes };
    this.problem = problem ?? this.back.close();
    this.back.close();
    this.source.close();
    this.destination.close();
  }

  #forward(worker: Worker): Promise<SpliceResult> {
    const { promise, resolve } = Promise.withResolvers<SpliceResult>();
    worker.onmessage = ({ data }: MessageEvent<SpliceResult>) => resolve(data);
    worker.onerror = (event) => {
      event.preventDefault();
      resolve({ bytes: 0, problem: event.message });
    };
    const task: SpliceTask = {
      from: this.source.fd,
      to: this.destination.fd,
      path: this.out.path,
      counter: this.#counter,
    };
    worker.postMessage(task);
    return promise;
  }

  async #answer(): Promise<void> {
    const buffer = new Uint8Array(BUFFER);
    for (;;) {
      const got = await this.destination.read(buffer);
      if (got === 0) return;
      const piece = buffer.subarray(0, got);
      this.back.write(piece);
      if (!await this.source.write(piece)) return;
    }
  }
}
