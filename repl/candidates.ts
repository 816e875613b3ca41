/**
 * What the Tab key offers, and the pieces answers are made of.
 * @module
 */
import type { Names } from "../core/remote_names.ts";
import { pathCandidates } from "./paths.ts";

/** The answer to one Tab. */
export interface Completion {
  /** What could stand there, each beginning with `typed`. A single one that is whole ends with a blank. */
  readonly candidates: readonly string[];
  /** The end of the line that they replace. */
  readonly typed: string;
  /** Said when there is nothing to offer. */
  readonly hint?: string;
  /** Another machine knows the rest: what it says takes the place of this. Rejects where it cannot be asked. */
  readonly ask?: () => Promise<Completion>;
}

/** Nothing to offer. */
export const NOTHING: Completion = { candidates: [], typed: "" };

/** Words of which the fitting ones are offered; the only one gets a blank behind it. */
export function whole(all: readonly string[], typed: string): Completion {
  const { candidates } = some(all, typed);
  return { candidates: candidates.length === 1 ? [candidates[0] + " "] : candidates, typed };
}

/** Beginnings of words of which the fitting ones are offered. */
export function some(all: readonly string[], typed: string): Completion {
  return { candidates: all.filter((one) => one.startsWith(typed)), typed };
}

/** What all of these begin with. */
export function commonBeginning([first = "", ...others]: readonly string[]): string {
  let length = first.length;
  for (const other of others) while (!other.startsWith(first.slice(0, length))) length--;
  return first.slice(0, length);
}

/** Names another machine knows. */
export function namesFound({ words, typed, open, hint }: Names): Completion {
  return { ...(open ? some : whole)(words, typed), ...(hint ? { hint } : {}) };
}

/** A file; `word`: it is one word, so a name with blanks needs quotes. */
export function completePath(last: string, word: boolean): Completion {
  const quoted = word && last.startsWith('"');
  const { candidates, typed } = pathCandidates(quoted ? last.slice(1) : last);
  const usable = candidates.filter((name) => quoted ? !/["\\]/.test(name) : !word || !/[\s"]/.test(name));
  if (usable.length !== 1 || usable[0].endsWith("/")) return { candidates: usable, typed };
  return { candidates: [usable[0] + (quoted ? '" ' : " ")], typed };
}
