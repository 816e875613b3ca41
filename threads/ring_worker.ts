/**
 * The Worker's side of a ring: take buffers in order, until the caller ends it or the work fails.
 * @module
 */
import { FAILED, FREE, FULL, type PostedFailure, type RingMemory } from "./ring.ts";

interface WorkerScope {
  onmessage: ((event: MessageEvent) => void) | null;
  postMessage(message: PostedFailure): void;
}

/**
 * Wait to be started, then work on the ring.
 * @param take  FULL: the Worker empties what the caller filled; FREE: it fills what the caller emptied
 * @param begin is given what the caller's `begin` passed; answers the work on one buffer: its index, the word beside its
 *              state, and the word it is to have afterwards as result. `false` ends the Worker.
 */
export function serveRing<Start extends RingMemory>(
  take: typeof FULL | typeof FREE,
  begin: (start: Start) => (index: number, word: number) => number | false,
): void {
  const scope = globalThis as unknown as WorkerScope;
  const rest = take === FULL ? FREE : FULL;
  scope.onmessage = ({ data }: MessageEvent<Start>) => {
    const control = new Int32Array(data.control);
    const count = control.length / 2;
    try {
      const work = begin(data);
      for (let index = 0;; index = (index + 1) % count) {
        const at = index * 2;
        Atomics.wait(control, at, rest);
        if (Atomics.load(control, at) !== take) return;
        const word = work(index, control[at + 1]);
        if (word === false) return;
        control[at + 1] = word;
        if (Atomics.compareExchange(control, at, take, rest) !== take) return;
        Atomics.notify(control, at);
      }
    } catch (error) {
      const { message, code } = error as NodeJS.ErrnoException;
      scope.postMessage({ message, ...(code === undefined ? {} : { code }) });
      for (let i = 0; i < count; i++) {
        Atomics.store(control, i * 2, FAILED);
        Atomics.notify(control, i * 2);
      }
    }
  };
}
