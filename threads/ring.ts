/**
 * A ring of buffers between the caller and one Worker: one of the two fills them, the other empties them, both in order.
 *
 *     write or hash   caller fills buffer k  --FULL-->  Worker empties it  --FREE-->  caller fills it again
 *     read            Worker fills buffer k  --FULL-->  caller empties it  --FREE-->  Worker fills it again
 *     control         Int32, two a buffer: its state, and a word for whoever fills it
 *
 * A failure of the Worker comes as a message and as the state FAILED of all buffers; STOP ends a Worker that waits.
 * @module
 */

/** States of a buffer. */
export const FREE = 0, FULL = 1, FAILED = 2, STOP = 3;
/** Milliseconds the caller's thread may stand still for a buffer: the event loop hears of a notification late. */
const WAIT_MS = 10;

/** What both sides share. */
export interface RingMemory {
  readonly control: SharedArrayBuffer;
  /** The buffers, one behind the other. */
  readonly staging: SharedArrayBuffer;
  /** Bytes of one buffer. */
  readonly size: number;
}

/** A failure on its way from a Worker: errors lose their `code` when they are posted. */
export interface PostedFailure {
  readonly message: string;
  readonly code?: string;
}

/** The caller's side of a ring. */
export class Ring implements Disposable {
  /** What the Worker is to be told. */
  readonly memory: RingMemory;
  /** Views of the buffers; shared memory, whatever their type says. */
  readonly buffers: readonly Uint8Array<ArrayBuffer>[];
  readonly #control: Int32Array<SharedArrayBuffer>;
  readonly #explain: (error: Error) => Error;
  #worker: Worker | undefined;
  #failure: Error | undefined;

  /**
   * A ring whose buffers are all FREE.
   * @param count   number of buffers
   * @param size    bytes of one
   * @param explain makes the error to throw of what went wrong in the Worker, which carries its `code`
   */
  constructor(count: number, size: number, explain: (error: Error) => Error) {
    const control = new SharedArrayBuffer(count * 8);
    const staging = new SharedArrayBuffer(count * size);
    this.memory = { control, staging, size };
    this.#control = new Int32Array(control);
    this.#explain = explain;
    this.buffers = Array.from(
      { length: count },
      (_, i) => new Uint8Array(staging as unknown as ArrayBuffer, i * size, size),
    );
  }

  /** Give the ring its Worker. @param start what it is told: the memory, and what it needs besides */
  begin<Start extends RingMemory>(worker: Worker, start: Start): void {
    this.#worker = worker;
    const failed = ({ message, code }: PostedFailure) => {
      this.#failure ??= this.#explain(Object.assign(new Error(message), code === undefined ? {} : { code }));
    };
    worker.onmessage = ({ data }) => failed(data);
    worker.onerror = (event) => {
      event.preventDefault();
      failed({ message: event.message });
      this.#setAll(FAILED);
    };
    worker.postMessage(start);
  }

  /** The word beside a buffer's state. */
  word(index: number): number {
    return this.#control[index * 2 + 1];
  }

  /** Hand a buffer over. @param word of the buffer, where the caller fills it */
  give(index: number, state: number, word = 0): void {
    this.#control[index * 2 + 1] = word;
    Atomics.store(this.#control, index * 2, state);
    Atomics.notify(this.#control, index * 2);
  }

  /** Whether a buffer has this state now. */
  is(index: number, state: number): boolean {
    return Atomics.load(this.#control, index * 2) === state;
  }

  /**
   * Wait for a buffer: in place for a moment, then with the event loop alive.
   * @param state FREE or FULL
   * @throws what `explain` makes of the Worker's failure; rejects with it where a promise is returned
   */
  until(index: number, state: number): void | Promise<void> {
    if (this.is(index, state)) return;
    Atomics.wait(this.#control, index * 2, state === FREE ? FULL : FREE, WAIT_MS);
    if (!this.is(index, state)) return this.#later(index, state);
  }

  async #later(index: number, state: number): Promise<void> {
    while (!this.is(index, state)) {
      if (this.#failure) throw this.#failure;
      // with FAILED: the reason comes by message, right behind the flag
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  /** End the Worker, also one that waits for a buffer. */
  [Symbol.dispose](): void {
    this.#setAll(STOP);
    this.#worker?.terminate();
  }

  #setAll(state: number): void {
    for (let i = 0; i < this.buffers.length; i++) {
      Atomics.store(this.#control, i * 2, state);
      Atomics.notify(this.#control, i * 2);
    }
  }
}
