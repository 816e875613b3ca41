/**
 * The interactive console: a prompt, lines that are run one after the other, and what the keys do.
 *
 *     Tab       complete, or say what the command takes     Ctrl-C   drop the line; cancel the migration or report that is waited for
 *     Up, Down  earlier lines, of earlier sessions too      Ctrl-D   leave
 *     Ctrl-Z    suspend; `fg` brings the prompt back
 *
 * A pasted block runs line by line, in order. Commands and their answers are QEMU's; what is said in our own words (a
 * migration that failed, one that ended in the background) stands on stderr or above the prompt.
 * @module
 */
import { createInterface, type Interface } from "node:readline";
import { stringifyJson } from "../core/json.ts";
import { type Answer, type Bench, Migrations } from "./bench.ts";
import type { Style } from "./colour.ts";
import type { History } from "./history.ts";
import { oneLine, type Output } from "./output.ts";
import type { ReportLines } from "./report_line.ts";
import { complaintOf } from "./script.ts";
import { TabKey } from "./tab_key.ts";
import type { Terminal } from "./terminal.ts";
import type { Watch } from "./watch.ts";

/** What stands before the line. */
export const PROMPT = "(miglab) ";

const LEAVE = "(to leave, type quit or press Ctrl-D)\n";
/** `quit` is a word to that QEMU. */
const LEAVE_QEMU = "(to leave, press Ctrl-D; quit ends QEMU)\n";

/** The prompt is drawn so often again, with 200 ms between, behind a line that left a migration under way. */
const REDRAWS = 8;

/** ms a QEMU may be silent before that is said. */
const SILENT_MS = 2000;
const SILENT = "QEMU has not answered yet; Ctrl-C stops waiting";
const ABANDONED = "no longer waiting for QEMU; what it was asked it may still do";

/** How a console is run. */
export interface ConsoleOptions {
  readonly bench: Bench;
  readonly output: Output;
  readonly style: Style;
  readonly terminal: Terminal;
  readonly history: History;
  readonly watch: Watch;
  /** Commands that look into files. */
  readonly reports: ReportLines;
  /** Said once in the beginning; undefined: nothing. */
  readonly banner?: string;
  /** Show events as they come. */
  readonly events?: boolean;
  /** Tell the details of a failure too. */
  readonly verbose?: boolean;
}

/**
 * Run a console until it is left.
 * @returns the exit status of the program
 */
export function runConsole(options: ConsoleOptions): Promise<number> {
  return new Console(options).run();
}

class Console {
  readonly #options: ConsoleOptions;
  readonly #line: Interface;
  readonly #tab: TabKey;
  readonly #migrations: Migrations;
  readonly #queue: string[] = [];
  /** A line is being run. */
  #busy = false;
  #left = false;
  /** How often the prompt is still to be drawn again. */
  #redraws = 0;
  /** Ends the wait for an answer of another process. */
  #abandon?: () => void;
  /** Ends the report that runs. */
  #report?: AbortController;
  /** No more input will come. */
  #ended = false;
  /** Ctrl-C ended the migration that was waited for. */
  #cancelled = false;
  /** Ctrl-C on an empty line, once. */
  #warned = false;
  readonly #end = Promise.withResolvers<number>();

  constructor(options: ConsoleOptions) {
    this.#options = options;
    const { terminal, history, style, bench, reports } = options;
    this.#tab = new TabKey({
      session: bench.session,
      reports: reports.shapes,
      notice: (text) => this.#notice(style.dim(text)),
    });
    this.#line = createInterface({
      input: terminal.input,
      output: terminal.output,
      terminal: true,
      prompt: PROMPT,
      history: history.read().reverse(),
      historySize: 1000,
      removeHistoryDuplicates: true,
      completer: (text: string, done: Parameters<TabKey["press"]>[1]) => this.#tab.press(text, done),
    });
    this.#tab.join(this.#line);
    this.#line.setPrompt(style.bold(PROMPT.trim()) + " ");
    this.#migrations = new Migrations(options.bench.session, (line, detail) => {
      if (!detail || options.verbose) this.#notice(`miglab: ${line}`);
    });
  }

  async run(): Promise<number> {
    const { banner, bench, terminal } = this.#options;
    if (banner) this.#options.output.out(banner + "\n");
    const line = this.#line;
    line.on("line", (text) => this.#take(text));
    line.on("close", () => this.#endOfInput());
    line.on("SIGINT", () => this.#interrupt());
    line.on("SIGTSTP", () => terminal.suspend());
    terminal.onResume(() => this.#prompt(true));
    terminal.onEnd((status) => this.#leave(status, true));
    const silence = bench.session.events.on((event) => this.#event(event));
    const ticker = setInterval(() => this.#look(), 200);
    this.#work(this.#options.watch(this.#migrations.ready(), () => this.#migrations.figures));
    try {
      return await this.#end.promise;
    } finally {
      clearInterval(ticker);
      silence();
      this.#left = true;
      this.#tab.close();
      line.close();
      terminal.release();
    }
  }

  /** Ctrl-D: what is under way in the foreground goes on to its end first. */
  #endOfInput(): void {
    this.#ended = true;
    if (!this.#busy) this.#leave(0, true);
  }

  #take(text: string): void {
    this.#warned = false;
    if (this.#busy) this.#queue.push(text);
    else this.#work(this.#run(text));
  }

  /** @param first what comes before the lines: the first of them, or what the options started */
  async #work(first: Promise<void>): Promise<void> {
    const { output, terminal } = this.#options;
    this.#busy = terminal.muted = true;
    await first;
    while (this.#queue.length > 0 && !this.#left) {
      const text = this.#queue.shift()!;
      output.out(`${this.#line.getPrompt()}${text}\n`); // typed ahead, or pasted
      await this.#run(text);
    }
    this.#busy = terminal.muted = false;
    // a thread that a migration starts may be loaded only now, and where that takes long Deno clears the line it would have
    // drawn its own progress on: ours
    this.#redraws = this.#migrations.running ? REDRAWS : 0;
    if (this.#ended) this.#leave(0);
    if (!this.#left) this.#prompt(true);
  }

  async #run(text: string): Promise<void> {
    const line = text.trim();
    if (line === "" || line.startsWith("#")) return;
    const { bench, output, style, history, watch, reports } = this.#options;
    history.add(line);
    if (reports.owns(line)) return await this.#inspect(line);
    const work = this.#migrations.follow(() => line.startsWith("{") ? this.#request(line) : bench.execute(text));
    const answer = await watch(bench.session.remote ? this.#patiently(work) : work, () => this.#migrations.figures);
    if (!answer) {
      this.#cancelled = false;
      return output.err(style.dim(ABANDONED) + "\n");
    }
    const { out, error, failure } = answer;
    const listed = line === "help" || line === "?" ? reports.below(out) : out;
    output.out(error && !failure ? this.#marked(out) : listed);
    if (failure) output.err(style.red(`miglab: ${oneLine(failure)}`) + "\n");
    const { outgoing } = bench.session;
    // one that is still about to be cancelled is told of when it is
    if (this.#cancelled && !outgoing.running && outgoing.status === "cancelled") {
      output.err(style.dim("migration cancelled") + "\n");
    }
    this.#cancelled = false;
    if (!error) reports.heard(line);
    if (bench.session.exitStatus !== undefined) this.#leave(bench.session.exitStatus);
  }

  /** Another process may never answer: it is stopped in a debugger, or reads a file. @returns undefined: nobody waits any more */
  async #patiently(work: Promise<Answer>): Promise<Answer | undefined> {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.#abandon = () => resolve(undefined);
    const timer = setTimeout(() => {
      if (!this.#migrations.running) this.#notice(this.#options.style.dim(SILENT));
    }, SILENT_MS);
    try {
      return await Promise.race([work, promise]);
    } finally {
      clearTimeout(timer);
      this.#abandon = undefined;
    }
  }

  async #inspect(line: string): Promise<void> {
    const { output, style, reports } = this.#options;
    this.#report = new AbortController();
    try {
      const { failure } = await reports.run(line, output, this.#report.signal);
      if (failure) output.err(style.red(`miglab: ${failure}`) + "\n");
    } finally {
      this.#report = undefined;
    }
  }

  async #request(line: string): Promise<Answer> {
    const { reply } = await this.#options.bench.executeQmp(line);
    return { out: stringifyJson(reply) + "\n", error: false };
  }

  /** The line of the text that says what went wrong, in red. */
  #marked(out: string): string {
    const what = complaintOf(out);
    const red = this.#options.style.red;
    return out.split("\n").map((line) => line === what || line === `Error: ${what}` ? red(line) : line).join("\n");
  }

  #interrupt(): void {
    const { output } = this.#options;
    if (this.#busy) {
      this.#queue.length = 0;
      if (this.#report) this.#report.abort();
      else if (this.#migrations.running && !this.#cancelled) this.#cancel();
      else this.#abandon?.();
      return;
    }
    const empty = this.#line.line === "";
    this.#line.write(null, { ctrl: true, name: "e" });
    output.out("^C\n");
    if (empty && this.#warned) output.out(this.#options.bench.session.remote ? LEAVE_QEMU : LEAVE);
    this.#warned = empty && !this.#warned;
    Object.assign(this.#line, { line: "", cursor: 0, prevRows: 0 });
    this.#prompt();
  }

  async #cancel(): Promise<void> {
    this.#cancelled = true;
    const { error, out } = await this.#options.bench.execute("migrate_cancel"); // may not answer either
    if (error) this.#notice(oneLine(out));
  }

  /** Did a migration in the background end? */
  #look(): void {
    if (this.#busy || this.#left) return;
    const { session } = this.#options.bench;
    const before = this.#migrations.watched;
    for (const failure of this.#migrations.ended()) {
      this.#notice(this.#options.style.red(`miglab: ${oneLine(failure)}`));
    }
    const { outgoing, incoming } = session;
    for (const role of before) {
      if (role.running || role.status === "failed") continue;
      const what = role === incoming ? "incoming migration" : "migration";
      const time = role === outgoing && role.status === "completed" ? ` in ${outgoing.totalTime} ms` : "";
      this.#notice(this.#options.style.dim(`${what} ${role.status}${time}`));
    }
    if (session.exitStatus !== undefined) this.#leave(session.exitStatus);
    if (this.#redraws > 0 && !this.#left) {
      this.#redraws--;
      this.#prompt(true);
    }
  }

  #event(event: { event: string; data?: unknown }): void {
    if (!this.#options.events) return;
    this.#notice(this.#options.style.dim(stringifyJson(event)));
  }

  /** A line above the prompt, without harm to what is being typed. */
  #notice(text: string): void {
    if (this.#left) return;
    this.#options.output.err(`\r\x1b[K${text}\n`);
    if (!this.#busy) this.#prompt(true);
  }

  #prompt(keepLine = false): void {
    this.#line.prompt(keepLine);
  }

  /** @param inLine the cursor stands behind a prompt: the shell's goes below it */
  #leave(status: number, inLine = false): void {
    if (this.#left) return;
    this.#left = true;
    if (inLine) this.#options.output.out("\n");
    const { lost } = this.#migrations;
    if (lost) this.#options.output.err(`miglab: ${lost}\n`);
    this.#end.resolve(status);
  }
}
