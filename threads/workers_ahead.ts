/**
 * Workers started before they are needed: starting one takes tens of milliseconds, which is a part of a migration that can be
 * seen. They wait for ten seconds, as a Worker keeps its program alive.
 * @module
 */

/** Milliseconds they wait. */
const IDLE_MS = 10_000;

interface Waiting {
  readonly workers: Worker[];
  wanted: number;
  expiry?: ReturnType<typeof setTimeout>;
}

const waiting = new Map<string, Waiting>();

/** Have `count` Workers of a module wait; one is started a turn of the event loop, fewer where they are not allowed. */
export function startAhead(module: URL, count: number): void {
  const stock = waiting.get(module.href) ?? { workers: [], wanted: 0 };
  waiting.set(module.href, stock);
  stock.wanted = count;
  clearTimeout(stock.expiry);
  stock.expiry = setTimeout(() => end(stock), IDLE_MS);
  const next = () => {
    if (stock.workers.length >= stock.wanted) return;
    try {
      stock.workers.push(new Worker(module, { type: "module" }));
      setTimeout(next, 0);
    } catch {
      // no Workers here: whoever needs one will find that out
    }
  };
  setTimeout(next, 0);
}

/** One that waited, or a new one; it is the caller's. @throws where Workers are not allowed */
export function startWorker(module: URL): Worker {
  const stock = waiting.get(module.href);
  if (stock) stock.wanted = Math.max(0, stock.wanted - 1);
  return stock?.workers.shift() ?? new Worker(module, { type: "module" });
}

/** End all that wait. */
export function endWaiting(): void {
  for (const stock of waiting.values()) end(stock);
}

function end(stock: Waiting): void {
  clearTimeout(stock.expiry);
  stock.wanted = 0;
  for (const worker of stock.workers.splice(0)) worker.terminate();
}
