/**
 * Connections passed on by the kernel: what comes from the source goes into a pipe, is told twice (tee(2) copies references, not
 * bytes), and leaves to the destination and to the Worker that writes files. Nothing of it is looked at here. The little that
 * comes back is read and sent.
 *
 *     source --splice--> pipe --splice--> destination --recv, send--> source
 *                         `--tee--> pipe --splice--> file: splice_file_worker.ts
 *
 * One Worker has all connections, as two cores are wanted by both QEMUs. It waits in poll(2), and so hears of a new connection by
 * way of a pipe.
 * @module
 */
import { serveEnds } from "./splice_scope.ts";
import * as sys from "./splice_calls.ts";

/** What a Worker of a recording begins with. */
export interface SpliceTask {
  /** A pipe that brings connections, each 20 bytes; its end ends the Worker. */
  readonly control: number;
  /** A u64 for each connection: bytes passed on so far. */
  readonly counters: SharedArrayBuffer;
}

/** A connection has ended, or its file is complete. */
export interface SpliceEnd {
  readonly row: number;
  /** In the file: what came from the source, here what came back. */
  readonly bytes: number;
  /** errno: why not everything is in it; 0 when it is. */
  readonly errno: number;
}

/** A new connection: i32 row, source, destination, write end of the copy's pipe (-1: none is kept), file for what comes back (-1). */
const RECORD_BYTES = 20;

/** Bytes moved at once. */
const CHUNK = 1 << 20;
const BACK = 64 << 10;

/** One connection. */
class Connection {
  readonly #pipe = sys.pipe(CHUNK);
  #inPipe = 0;
  /** Of those in the pipe: told to the file as well. */
  #told = 0;
  #atEnd = false;
  #back = new Uint8Array(BACK);
  #backFrom = 0;
  #backTo = 0;
  readonly #asked: number[] = [];
  readonly end: { row: number; bytes: number; errno: number };
  /** Nothing can happen before the file catches up. */
  #behind = false;

  constructor(
    row: number,
    private readonly source: number,
    private readonly destination: number,
    private copy: number,
    private readonly backFile: number,
    private readonly counters: BigUint64Array,
  ) {
    this.end = { row, bytes: 0, errno: 0 };
    for (const socket of [source, destination]) sys.neverWait(socket);
  }

  /** What it waits for. */
  ask(poll: sys.PollSet): void {
    this.#asked.length = 0;
    const [back, out] = [this.#backTo > 0, this.#inPipe > 0 && !this.#behind];
    const source = (this.#inPipe === 0 ? sys.POLLIN : 0) | (back ? sys.POLLOUT : 0);
    const destination = (out ? sys.POLLOUT : 0) | (back ? 0 : sys.POLLIN);
    if (this.#behind) this.#asked.push(poll.add(this.copy, sys.POLLOUT));
    // a socket that is not waited for would still tell that it is closed
    if (source) this.#asked.push(poll.add(this.source, source));
    if (destination) this.#asked.push(poll.add(this.destination, destination));
  }

  /** Whether there is something to do. */
  ready(poll: sys.PollSet): boolean {
    return this.#asked.some((index) => poll.happened(index));
  }

  /** Pass on what can be. @returns false when it has ended */
  step(): boolean {
    return this.#forward() && this.#answer();
  }

  /** Both sides hear of it; whoever opened the sockets closes them. */
  finish(): void {
    sys.shut(this.source);
    sys.shut(this.destination);
    sys.close(this.#pipe.read);
    sys.close(this.#pipe.write);
    this.#stopCopy();
  }

  #stopCopy(): void {
    if (this.copy >= 0) sys.close(this.copy);
    this.copy = -1;
  }

  #forward(): boolean {
    this.#behind = false;
    for (;;) {
      if (this.#inPipe === 0) {
        const got = sys.splice(this.source, this.#pipe.write, CHUNK);
        if (got === -sys.EAGAIN) return true;
        if (got <= 0) return false;
        this.#inPipe = got;
      }
      if (this.#told === 0) {
        const told = this.copy < 0 ? this.#inPipe : sys.tee(this.#pipe.read, this.copy, this.#inPipe);
        if (told === -sys.EAGAIN) {
          this.#behind = true;
          return true;
        }
        if (told <= 0) this.#stopCopy(); // the file takes no more, and says why
        else this.#told = told;
        continue;
      }
      const sent = sys.splice(this.#pipe.read, this.destination, this.#told);
      if (sent === -sys.EAGAIN) return true;
      if (sent <= 0) return false;
      this.#inPipe -= sent;
      this.#told -= sent;
      Atomics.add(this.counters, this.end.row, BigInt(sent));
    }
  }

  #answer(): boolean {
    for (;;) {
      if (this.#backTo === 0) {
        const got = sys.receive(this.destination, this.#back);
        if (got === -sys.EAGAIN) return true;
        if (got <= 0) return false;
        this.#keepBack(this.#back.subarray(0, got));
        [this.#backFrom, this.#backTo] = [0, got];
      }
      const sent = sys.send(this.source, this.#back.subarray(this.#backFrom, this.#backTo));
      if (sent === -sys.EAGAIN) return true;
      if (sent <= 0) return false;
      this.#backFrom += sent;
      if (this.#backFrom === this.#backTo) this.#backTo = 0;
    }
  }

  #keepBack(piece: Uint8Array<ArrayBuffer>): void {
    if (this.end.errno !== 0 || this.backFile < 0) return;
    for (let done = 0; done < piece.length;) {
      const wrote = sys.write(this.backFile, piece.subarray(done));
      if (wrote < 0) {
        this.end.errno = -wrote;
        return;
      }
      done += wrote;
      this.end.bytes += wrote;
    }
  }
}

function run({ control, counters }: SpliceTask, tell: (end: SpliceEnd) => void): void {
  const record = new Int32Array(RECORD_BYTES / 4);
  const poll = new sys.PollSet();
  const passed = new BigUint64Array(counters);
  let connections: Connection[] = [];
  let open = true;
  while (open || connections.length > 0) {
    poll.clear();
    if (open) poll.add(control, sys.POLLIN);
    for (const one of connections) one.ask(poll);
    poll.wait();
    connections = connections.filter((one) => {
      if (!one.ready(poll) || one.step()) return true;
      one.finish();
      tell(one.end);
      return false;
    });
    if (!open || !poll.happened(0)) continue;
    if (sys.read(control, new Uint8Array(record.buffer)) === RECORD_BYTES) {
      const [row, source, destination, copy, back] = record;
      connections.push(new Connection(row, source, destination, copy, back, passed));
    } else {
      open = false;
      sys.close(control);
    }
  }
}

serveEnds(run);
