/**
 * Workers started before they are needed: starting one takes tens of milliseconds, which a destination has while it waits for
 * its source, and has not once pages come.
 * @module
 */

/** Workers of one module, idle. */
export class WorkerStock {
  readonly #idle: Worker[] = [];
  #open = true;

  /** Start `count` of them, one a turn of the event loop; fewer where Workers are not allowed. */
  constructor(module: URL, count: number) {
    const next = () => {
      if (!this.#open || this.#idle.length >= count) return;
      try {
        this.#idle.push(new Worker(module, { type: "module" }));
        setTimeout(next, 0);
      } catch {
        // no Workers here: whoever needs one will find that out
      }
    };
    setTimeout(next, 0);
  }

  /** Take one, if there is one; it is the caller's. Nothing more is started from then on. */
  take(): Worker | undefined {
    this.#open = false;
    return this.#idle.shift();
  }

  /** End those nobody took. */
  close(): void {
    this.#open = false;
    for (const worker of this.#idle.splice(0)) worker.terminate();
  }
}
