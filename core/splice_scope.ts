/**
 * What both Workers of a recording have around them: one message to begin with, a word when they are ready, the end of each piece
 * of work, and their own end.
 * @module
 */
import type { SpliceEnd } from "./splice_worker.ts";

interface Scope<Task> {
  onmessage: ((event: MessageEvent<Task>) => void) | null;
  postMessage(end: SpliceEnd): void;
  close(): void;
}

/** Run as a Worker's work; does nothing where a module is imported for its types. @param run waits until there is no more */
export function serveEnds<Task>(run: (task: Task, told: (end: SpliceEnd) => void) => void): void {
  if (typeof (globalThis as { WorkerGlobalScope?: unknown }).WorkerGlobalScope === "undefined") return;
  const scope = globalThis as unknown as Scope<Task>;
  scope.onmessage = ({ data }) => {
    scope.postMessage({ row: -1, bytes: 0, errno: 0 }); // ready
    run(data, (end) => scope.postMessage(end));
    scope.close();
  };
}
