/**
 * Signals that ask a program to end, heard in place of that: work is undone first.
 * @module
 */

/** By Ctrl-C, by kill, and by a terminal that goes away; and their numbers. */
const ENDINGS = { SIGINT: 2, SIGTERM: 15, SIGHUP: 1 } as const;

/**
 * Hear them.
 * @param listener is told the exit status the program would have ended with
 * @returns call it to stop
 */
export function onEnding(listener: (status: number) => void): () => void {
  const heard = Object.entries(ENDINGS).map(([name, number]) => {
    const signal = name as keyof typeof ENDINGS;
    const hear = () => listener(128 + number);
    Deno.addSignalListener(signal, hear);
    return () => Deno.removeSignalListener(signal, hear);
  });
  return () => heard.forEach((stop) => stop());
}
