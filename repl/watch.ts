/**
 * Keeps a terminal informed about something that takes long.
 * @module
 */
import { bytesText, type MigrationFigures, ProgressLine } from "./progress.ts";

/** Waits for work and shows how far it is meanwhile. */
export type Watch = <T>(work: Promise<T>, figures: () => MigrationFigures) => Promise<T>;

/** Nothing is shown before this many ms. */
const PATIENCE = 400;

/** How often the line is redrawn, in ms. */
const PERIOD = 100;

/**
 * A watch that draws on a terminal.
 * @param write puts text there
 * @param columns width of the terminal, asked each time
 */
export function terminalWatch(write: (text: string) => void, columns: () => number): Watch {
  return async (work, figures) => {
    const line = new ProgressLine(write, columns);
    const began = performance.now();
    const timer = setInterval(() => {
      const present = figures();
      line.text(present); // measures from the beginning
      if (performance.now() - began >= PATIENCE && present.status !== undefined) line.show(present);
    }, PERIOD);
    try {
      return await work;
    } finally {
      clearInterval(timer);
      line.erase();
    }
  };
}

/** Columns of the terminal; 80 where that cannot be told. */
export function terminalColumns(): number {
  try {
    return Deno.consoleSize().columns || 80;
  } catch {
    return 80;
  }
}

/** A watch that is told by the work itself how far it is. */
export interface StepWatch {
  /** @param total undefined: nobody knows */
  readonly step: (done: number, total: number | undefined) => void;
  readonly end: () => void;
}

/**
 * A watch for work that does not let timers run.
 * @param label what is being done: "read"
 */
export function stepWatch(write: (text: string) => void, columns: () => number, label: string): StepWatch {
  const line = new ProgressLine(write, columns, label);
  const began = performance.now();
  let drawn = 0;
  return {
    step(done, total) {
      const now = performance.now();
      if (now - began < PATIENCE || now - drawn < PERIOD) return;
      drawn = now;
      line.show(
        total === undefined
          ? { status: `${label} ${bytesText(done)}` }
          : { ram: { total, remaining: total - done, transferred: done } },
      );
    },
    end: () => line.erase(),
  };
}
