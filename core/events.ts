/**
 * Events of a session, in QMP's shape. Listeners are called at once and in order, so that an event caused by a command
 * comes before its answer.
 * @module
 */

/** One event as QMP sends it. */
export interface MonitorEvent {
  /** "MIGRATION", "STOP". */
  readonly event: string;
  /** Absent where the event has none. */
  readonly data?: Readonly<Record<string, unknown>>;
  /** Since 1970. */
  readonly timestamp: { readonly seconds: number; readonly microseconds: number };
}

/** Who sends events, and who hears them. */
export class EventStream implements AsyncIterable<MonitorEvent> {
  readonly #listeners = new Set<(event: MonitorEvent) => void>();
  readonly #ends = new Set<() => void>();
  #closed = false;

  /** Tell everybody. */
  emit(event: string, data?: Readonly<Record<string, unknown>>): void {
    const now = performance.timeOrigin + performance.now();
    const timestamp = { seconds: Math.floor(now / 1000), microseconds: Math.floor((now % 1000) * 1000) };
    this.pass(data ? { event, data, timestamp } : { event, timestamp });
  }

  /** Tell everybody of an event that has its time already. */
  pass(event: MonitorEvent): void {
    for (const listener of [...this.#listeners]) listener(event);
  }

  /**
   * Hear every event, or those of one name.
   * @returns call it to stop
   */
  on(listener: (event: MonitorEvent) => void): () => void;
  /** Hear events of one name. @returns call it to stop */
  on(name: string, listener: (event: MonitorEvent) => void): () => void;
  on(first: string | ((event: MonitorEvent) => void), second?: (event: MonitorEvent) => void): () => void {
    const listener = typeof first === "function" ? first : (event: MonitorEvent) => {
      if (event.event === first) second!(event);
    };
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Events from now on, until the stream is closed. */
  async *[Symbol.asyncIterator](): AsyncGenerator<MonitorEvent> {
    const queue: MonitorEvent[] = [];
    let wake = () => {};
    const stop = this.on((event) => {
      queue.push(event);
      wake();
    });
    const end = () => wake();
    this.#ends.add(end);
    try {
      while (!this.#closed || queue.length > 0) {
        const event = queue.shift();
        if (event) yield event;
        else await new Promise<void>((resolve) => wake = resolve);
      }
    } finally {
      stop();
      this.#ends.delete(end);
    }
  }

  /** End all iterations; no further event reaches anybody. */
  close(): void {
    this.#closed = true;
    this.#listeners.clear();
    for (const end of this.#ends) end();
  }
}
