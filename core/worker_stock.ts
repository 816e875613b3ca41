/**
 * Workers started before they are needed: starting one takes tens of milliseconds, which a destination has while it waits for
 * its source, and has not once pages come.
 * @module
 */

/** Workers of one module, idle. */
export class WorkerStock {
  readonly #idle: Worker[] = [];
  #open = true;
  #expiry: ReturnType<typeof setTimeout> | undefined;

  /**
   * Start `count` of them, one a turn of the event loop; fewer where Workers are not allowed.
   * @param idleMs end those nobody has taken by then: a Worker keeps its program alive
   */
  constructor(module: URL, readonly count: number, idleMs?: number) {
    if (idleMs !== undefined) this.#expiry = setTimeout(() => this.close(), idleMs);
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
    clearTimeout(this.#expiry);
    return this.#idle.shift();
  }

  /** Nobody took one, and none has ended. */
  get waiting(): boolean {
    return this.#open;
  }

  /** End those nobody took. */
  close(): void {
    this.#open = false;
    clearTimeout(this.#expiry);
    for (const worker of this.#idle.splice(0)) worker.terminate();
  }
}
