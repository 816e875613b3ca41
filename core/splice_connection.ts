/**
 * One connection and its twin, passed on by the kernel: what comes from the source goes into a pipe, is told to the file
 * (splice_copy.ts), leaves to the destination, and then moves into the file. Nothing of it is looked at here. The little that comes
 * back is read and sent.
 *
 *     source --splice--> pipe --splice--> destination --recv, send--> source
 *                         `--tee--> pipe --splice--> file
 *
 * Passing on comes before the file, in one thread: the bytes are in its processor's cache when they are copied.
 * @module
 */
import * as sys from "./splice_calls.ts";
import { SpliceCopy, type TellPipe } from "./splice_copy.ts";

/** What a thread says first, in place of a connection's row: it waits for orders. */
export const READY = -1;

/** A connection has ended. */
export interface SpliceEnd {
  readonly row: number;
  /** In the file of what came from the source. */
  readonly bytes: number;
  /** In the file of what came back. */
  readonly backBytes: number;
  /** errno: why not everything is in them; 0 when it is. */
  readonly errno: number;
}

/** What to pass on. Whoever opened the descriptors closes them. */
export interface SpliceOrder {
  readonly row: number;
  readonly source: number;
  readonly destination: number;
  /** For what comes from the source; -1: nothing is kept. */
  readonly file: number;
  /** For what comes back; -1: nothing is kept. */
  readonly backFile: number;
}

/** Bytes moved at once. */
const CHUNK = 1 << 20;
const BACK = 64 << 10;
/** Moves before others of the thread have their turn. */
const TURNS = 8;

/** See the module. */
export class SpliceConnection {
  readonly #order: SpliceOrder;
  readonly #counters: BigUint64Array;
  readonly #pipe = sys.pipe(CHUNK);
  readonly #copy: SpliceCopy;
  #inPipe = 0;
  /** Of those in the pipe: told to the file as well. */
  #told = 0;
  #back = new Uint8Array(BACK);
  #backFrom = 0;
  #backTo = 0;
  #backBytes = 0;
  #backErrno = 0;
  readonly #asked: number[] = [];

  /** @param counters bytes passed on so far, by row @throws when there are no descriptors left */
  constructor(order: SpliceOrder, tell: TellPipe, counters: BigUint64Array) {
    this.#order = order;
    this.#counters = counters;
    this.#copy = new SpliceCopy(order.file, tell);
    for (const socket of [order.source, order.destination]) sys.neverWait(socket);
  }

  /** What it waits for. */
  ask(poll: sys.PollSet): void {
    this.#asked.length = 0;
    const back = this.#backTo > 0;
    const source = (this.#inPipe === 0 ? sys.POLLIN : 0) | (back ? sys.POLLOUT : 0);
    const destination = (this.#inPipe > 0 ? sys.POLLOUT : 0) | (back ? 0 : sys.POLLIN);
    // a socket that is not waited for would still tell that it is closed
    if (source) this.#asked.push(poll.add(this.#order.source, source));
    if (destination) this.#asked.push(poll.add(this.#order.destination, destination));
  }

  /** Whether there is something to do. */
  ready(poll: sys.PollSet): boolean {
    return this.#asked.some((index) => poll.happened(index));
  }

  /** Pass on what can be. @returns false when it has ended */
  step(): boolean {
    return this.#answer() && this.#forward();
  }

  /** Both sides hear of it. @returns what was kept */
  finish(): SpliceEnd {
    const { row, source, destination } = this.#order;
    sys.shut(source);
    sys.shut(destination);
    sys.close(this.#pipe.read);
    sys.close(this.#pipe.write);
    const errno = this.#copy.errno || this.#backErrno;
    return { row, bytes: this.#copy.bytes, backBytes: this.#backBytes, errno };
  }

  #forward(): boolean {
    const { source, destination, row } = this.#order;
    for (let turn = 0; turn < TURNS; turn++) {
      if (this.#inPipe === 0) {
        const got = sys.splice(source, this.#pipe.write, CHUNK);
        if (got === -sys.EAGAIN) return true;
        if (got <= 0) return false;
        this.#inPipe = got;
      }
      if (this.#told === 0) this.#told = this.#copy.hear(this.#pipe.read, this.#inPipe);
      const sent = sys.splice(this.#pipe.read, destination, this.#told);
      this.#copy.drain();
      if (sent === -sys.EAGAIN) return true;
      if (sent <= 0) return false;
      this.#inPipe -= sent;
      this.#told -= sent;
      Atomics.add(this.#counters, row, BigInt(sent));
    }
    return true;
  }

  #answer(): boolean {
    const { source, destination } = this.#order;
    for (;;) {
      if (this.#backTo === 0) {
        const got = sys.receive(destination, this.#back);
        if (got === -sys.EAGAIN) return true;
        if (got <= 0) return false;
        this.#keepBack(this.#back.subarray(0, got));
        [this.#backFrom, this.#backTo] = [0, got];
      }
      const sent = sys.send(source, this.#back.subarray(this.#backFrom, this.#backTo));
      if (sent === -sys.EAGAIN) return true;
      if (sent <= 0) return false;
      this.#backFrom += sent;
      if (this.#backFrom === this.#backTo) this.#backTo = 0;
    }
  }

  #keepBack(piece: Uint8Array<ArrayBuffer>): void {
    if (this.#backErrno !== 0 || this.#order.backFile < 0) return;
    for (let done = 0; done < piece.length;) {
      const wrote = sys.write(this.#order.backFile, piece.subarray(done));
      if (wrote < 0) {
        this.#backErrno = -wrote;
        return;
      }
      done += wrote;
      this.#backBytes += wrote;
    }
  }
}
