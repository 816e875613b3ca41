/**
 * The Tab key of a console: what a running QEMU knows is asked for, but not waited for long; lists of several screens are
 * shown to those who ask twice; nothing that goes wrong with it is said.
 * @module
 */
import type { Interface } from "node:readline";
import type { Session } from "../core/session.ts";
import { commonBeginning, type Completion, NOTHING } from "./candidates.ts";
import type { CommandShape } from "./command_shape.ts";
import { completeLine } from "./completion.ts";

/** ms to wait for what only another machine knows. */
const PATIENCE_MS = 500;

/** ms behind an answer in which the keys pressed meanwhile arrive. */
const BEHIND_MS = 50;

/** Longer lists of candidates are not shown at once. */
const MANY = 200;

/** What the key works with. */
export interface TabKeyOptions {
  readonly session: Session;
  readonly reports: readonly CommandShape[];
  /** Shows a line above the prompt. */
  notice(text: string): void;
}

/** What node:readline is given: candidates, and the end of the line they go on from. */
type Result = [string[], string];

/** The key. */
export class TabKey {
  readonly #options: TabKeyOptions;
  #line: Interface | undefined;
  /** Answers that are awaited. */
  #asking = 0;
  /** Behind this line one more Tab shows a long list. */
  #listFor: string | undefined;
  #closed = false;

  constructor(options: TabKeyOptions) {
    this.#options = options;
  }

  /** The editor this key belongs to. */
  join(line: Interface): void {
    this.#line = line;
    // keys that come together are taken for a pasted text, in which a tab is a blank; those pressed while a machine was
    // asked come together too
    let enabled = true;
    Object.defineProperty(line, "isCompletionEnabled", {
      get: () => enabled || this.#asking > 0,
      set: (value: boolean) => enabled = value,
    });
  }

  /** The editor is gone: whatever comes now is for nobody. */
  close(): void {
    this.#closed = true;
  }

  /** As node:readline calls it. */
  press(line: string, done: (error: null, result: Result) => void): void {
    this.#asking++;
    this.#complete(line).then((result) => {
      if (!this.#closed) done(null, result);
      setTimeout(() => this.#asking--, BEHIND_MS);
    });
  }

  async #complete(line: string): Promise<Result> {
    const found = await this.#found(line).catch(() => NOTHING);
    const editor = this.#line;
    // typed on meanwhile: what was found is no longer for this place
    if (this.#closed || editor?.line.slice(0, editor.cursor) !== line) return [[], line];
    if (found.candidates.length === 0 && found.hint) this.#options.notice(found.hint);
    return [[...this.#bounded(line, found)], found.typed];
  }

  async #found(line: string): Promise<Completion> {
    const { session, reports } = this.#options;
    const find = () => completeLine(line, { session, reports });
    if (!session.remote) return find();
    const asked = session.remote.learn().catch(() => {}).then(async () => {
      const found = find();
      return await found.ask?.() ?? found;
    });
    return await within(PATIENCE_MS, asked) ?? find();
  }

  #bounded(line: string, { candidates, typed }: Completion): readonly string[] {
    const asked = this.#listFor === line;
    this.#listFor = undefined;
    if (candidates.length <= MANY || asked) return candidates;
    const beginning = commonBeginning(candidates);
    if (beginning.length > typed.length) return [beginning];
    this.#listFor = line;
    this.#options.notice(`${candidates.length} possibilities; Tab again shows them all`);
    return [];
  }
}

/** What comes within so many ms; undefined where it comes later, or fails. */
async function within<T>(ms: number, work: Promise<T>): Promise<T | undefined> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<undefined>((resolve) => timer = setTimeout(() => resolve(undefined), ms));
  try {
    return await Promise.race([work.catch(() => undefined), late]);
  } finally {
    clearTimeout(timer);
  }
}
