/**
 * Findings of `verify`, collected up to a limit and handed out by offset.
 * @module
 */

/** Most findings of one report; the rest is counted. */
const FINDING_LIMIT = 1000;

/** How bad. An error makes the file unfit to be trusted; a warning is worth knowing. */
export type Severity = "error" | "warning";

/** One violation. */
export interface Finding {
  /** How bad. */
  readonly severity: Severity;
  /** Further channel it is in; left out: the main one. */
  readonly channel?: string;
  /** In the file. */
  readonly offset: number;
  /** As `explain` names it: `sections[0].ram.blocks[1].mapped.pagesOffset`. */
  readonly path: string;
  /** One line. */
  readonly message: string;
}

/** Takes findings. */
export type Report = (severity: Severity, offset: number, path: string, message: string, channel?: string) => void;

/** Collects findings. */
export class Findings {
  /** Errors so far. */
  errors = 0;
  readonly #list: Finding[] = [];
  #more = 0;

  /** Take one. */
  readonly add: Report = (severity, offset, path, message, channel) => {
    if (severity === "error") this.errors++;
    if (this.#list.length < FINDING_LIMIT) {
      this.#list.push({ severity, ...(channel === undefined ? {} : { channel }), offset, path, message });
    } else this.#more++;
  };

  /** All of them: those of the main channel by offset, then those of others. */
  list(): Finding[] {
    const further = ({ channel }: Finding) => channel === undefined ? 0 : 1;
    const findings = this.#list.toSorted((a, b) => further(a) - further(b) || a.offset - b.offset);
    const last = findings.at(-1);
    if (this.#more > 0 && last) {
      findings.push({ ...last, severity: "warning", path: "", message: `${this.#more} more findings are not listed` });
    }
    return findings;
  }
}
