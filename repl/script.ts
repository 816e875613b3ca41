/**
 * Runs lines of a script on a workbench: HMP, or QMP where a line starts with `{`.
 *
 *     # comments and blank lines are skipped
 *     migrate_set_capability mapped-ram on
 *     migrate file:/tmp/vm.sav
 *     {"execute": "query-migrate"}
 *
 * Stops at the first line that failed, unless told to go on. In the end a migration still under way is waited for. What
 * the monitor prints goes to stdout as it is, or as one JSON object a line; where it went wrong goes to stderr.
 * @module
 */
import { stringifyJson } from "../core/json.ts";
import { type Bench, Migrations } from "./bench.ts";
import { oneLine, type Output } from "./output.ts";
import type { ReportLines } from "./report_line.ts";
import type { Watch } from "./watch.ts";

/**
 * Milliseconds a migration sent to the background (`migrate -d`) gets before the next line: about what a person needs to
 * type it. A small guest is done by then, a refused connection has been refused; a long migration goes on beside the script.
 */
const PATIENCE_MS = 250;
/** Lines that set a migration going or move it on; those that only set something do not. */
const MOVES = /^\s*(migrate(?![_-]set)|\{.*"migrate(?!-set))/;

/** What QEMU leaves unsaid, behind its words. */
const HINTS: readonly (readonly [string, string])[] = [
  ["Can't migrate the vm that was paused due to previous migration", "; cont makes it run again"],
];

function patienceFor(line: string): number {
  return MOVES.test(line) ? PATIENCE_MS : 0;
}

/** How a script is run. */
export interface ScriptOptions {
  /** What messages call it: a path, "-", "-e". */
  readonly name: string;
  /** Where the guest comes from, for messages about a load that the options started: "--incoming file:vm.sav". */
  readonly incoming?: string;
  /** Go on behind a line that failed. */
  readonly keepGoing?: boolean;
  /** One JSON object for each line that was run. */
  readonly json?: boolean;
  /** Tell the details of a failure too. */
  readonly verbose?: boolean;
  /** Shows progress of what takes long. */
  readonly watch?: Watch;
  /** Commands that look into files; absent: there are none but the monitor's own. */
  readonly reports?: ReportLines;
}

/**
 * Run a script to its end.
 * @param lines without their line ends, as they arrive
 * @returns whether everything went well
 */
export async function runScript(
  lines: Iterable<string> | AsyncIterable<string>,
  bench: Bench,
  output: Output,
  options: ScriptOptions,
): Promise<boolean> {
  const script = new Script(bench, output, options);
  if (!await script.begin() && !options.keepGoing) return false;
  let number = 0;
  for await (const line of lines) {
    number++;
    if (!await script.run(line, number) && !options.keepGoing) break;
    if (bench.session.exitStatus !== undefined) break;
  }
  return await script.end();
}

class Script {
  readonly #migrations: Migrations;
  #good = true;

  constructor(
    private readonly bench: Bench,
    private readonly output: Output,
    private readonly options: ScriptOptions,
  ) {
    this.#migrations = new Migrations(bench.session, (line, detail) => {
      if (!detail || options.verbose) output.err(`miglab: ${line}\n`);
    });
  }

  /** See to what the options of the guest started. @returns whether it went well */
  async begin(): Promise<boolean> {
    await this.#watched(this.#migrations.ready());
    const where = this.options.incoming ?? this.options.name;
    for (const failure of this.#migrations.ended()) this.#complain(where, failure);
    return this.#good;
  }

  /** @returns whether the line went well */
  async run(line: string, number: number): Promise<boolean> {
    const text = line.trim();
    if (text === "" || text.startsWith("#")) return true;
    const { reports } = this.options;
    const complaint = text.startsWith("{")
      ? await this.#request(text)
      : reports?.owns(text)
      ? await this.#report(line, reports)
      : await this.#execute(line);
    if (complaint === undefined) return true;
    this.#complain(`${this.options.name}:${number}`, complaint);
    return false;
  }

  /** Wait for what is under way. @returns whether all of the script went well */
  async end(): Promise<boolean> {
    const { session } = this.bench;
    const { lost } = this.#migrations;
    if (session.exitStatus === undefined) await this.#watched(this.#migrations.settled());
    else if (lost) this.output.err(`miglab: ${lost}\n`);
    for (const failure of this.#migrations.ended()) this.#complain(this.options.name, failure);
    return this.#good && !session.exitStatus;
  }

  async #execute(line: string): Promise<string | undefined> {
    const { out, error, failure } = await this.#watched(
      this.#migrations.follow(() => this.bench.execute(line), patienceFor(line)),
    );
    if (this.options.json) {
      this.#print({ script: this.options.name, hmp: line, out, error });
    } else {
      this.output.out(out);
    }
    if (!error) this.options.reports?.heard(line);
    return error ? failure ?? complaintOf(out) : undefined;
  }

  async #report(line: string, reports: ReportLines): Promise<string | undefined> {
    const { json, name } = this.options;
    let out = "";
    const output = json ? { ...this.output, out: (text: string) => void (out += text) } : this.output;
    const { error, failure, verdict } = await reports.run(line, output);
    if (json) this.#print({ script: name, hmp: line, out, error });
    return error ? failure ?? verdict ?? "the command failed" : undefined;
  }

  async #request(text: string): Promise<string | undefined> {
    let answer: Awaited<ReturnType<Bench["executeQmp"]>> | undefined;
    const { out, failure } = await this.#watched(this.#migrations.follow(async () => {
      answer = await this.bench.executeQmp(text);
      return { out: "", error: false };
    }, patienceFor(text)));
    if (!answer) return complaintOf(out);
    const { request, reply } = answer;
    if (this.options.json) this.#print({ script: this.options.name, qmp: request, reply });
    else this.output.out(stringifyJson(reply) + "\n");
    return (reply as { error?: { desc: string } }).error?.desc ?? failure;
  }

  #watched<T>(work: Promise<T>): Promise<T> {
    const { watch } = this.options;
    return watch ? watch(work, () => this.#migrations.figures) : work;
  }

  #print(value: unknown): void {
    this.output.out(stringifyJson(value) + "\n");
  }

  #complain(where: string, what: string): void {
    this.#good = false;
    const hint = HINTS.find(([said]) => what.startsWith(said))?.[1] ?? "";
    this.output.err(`miglab: ${where}: ${oneLine(what)}${hint}\n`);
  }
}

/** The line of a command's text that says what went wrong. */
export function complaintOf(out: string): string {
  const lines = out.split("\n").filter((line) => line !== "");
  const said = lines.find((line) => line.startsWith("Error: "))?.slice(7);
  return said ?? lines.find((line) => !line.startsWith("warning: ")) ?? "the command failed";
}
