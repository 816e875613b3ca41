/**
 * What the console and the script runner need of a workbench, and no more: lines in, text out, and how the migrations
 * of its session stand.
 *
 * QEMU's monitor says nothing when a migration it waited for has failed. Here {@link Migrations} remembers which ones
 * began and how they ended, so that a console can say so and a script can fail.
 * @module
 */
import { Prospects } from "../core/forecast.ts";
import type { Session } from "../core/session.ts";
import { oneLine } from "./output.ts";
import { figuresOf, type MigrationFigures } from "./progress.ts";

/** What a line came to. */
export interface Answer {
  /** The monitor's text. */
  readonly out: string;
  readonly error: boolean;
  /** Why a migration that was waited for failed: the monitor does not say. */
  readonly failure?: string;
}

/** A workbench, as seen from here. */
export interface Bench extends AsyncDisposable {
  readonly session: Session;
  /** One HMP line; a migration in the foreground is waited for. */
  execute(line: string): Promise<Answer>;
  /** One QMP request as text; what is wrong with it is in the reply. */
  executeQmp(text: string): Promise<{ readonly request: unknown; readonly reply: unknown }>;
}

/** How a bench is opened, in the words of the command line. */
export interface BenchOptions {
  /** `--ram`, a size; undefined: 256 MiB, or whatever comes in. */
  readonly ram?: string;
  /** `--guest`: a saved guest to begin with. */
  readonly guest?: string;
  /** `--offset`, where in that file the stream begins: a size. */
  readonly offset?: string;
  /** `--channel`: further channels of its migration. */
  readonly channels?: readonly string[];
  /** `--snapshot`: internal snapshot of that file, a qcow2 image. */
  readonly snapshot?: string;
  /** `--qmp`: a running QEMU. */
  readonly qmp?: string;
  /** `-S`. */
  readonly stopped?: boolean;
  /** `--incoming`: "defer" or a URI. */
  readonly incoming?: string;
  /** `--content`, laid one over the other. */
  readonly content?: readonly string[];
  /** `--accel`. */
  readonly accel?: "tcg" | "kvm";
  /** `--plugin`: modules, by path or URL. */
  readonly plugins?: readonly string[];
}

/** Opens a fresh bench. */
export type OpenBench = (options: BenchOptions) => Promise<Bench>;

/** What no command should let through (a plugin's own error, a fault of ours) is an error of the line, not the end. */
function fault(error: unknown): Answer {
  return { out: `Error: ${oneLine(error instanceof Error ? error.message : String(error))}\n`, error: true };
}

/** One role of a session: source or destination. */
export type Role = Session["outgoing"] | Session["incoming"];

/**
 * Hears what QEMU would write to its stderr.
 * @param detail the line belongs to a failure that is told in a line of its own
 */
export type Report = (line: string, detail: boolean) => void;

/** Keeps account of the migrations of one session. */
export class Migrations {
  readonly #session: Session;
  readonly #report: Report;
  /** Roles whose present migration nobody was told the end of. */
  readonly #open = new Set<Role>();
  /** Lines held back while a load runs: if it fails, they are details of the failure. */
  #held: string[] = [];
  readonly #prospects = new Prospects();
  /** The failure of a save as the session told it, with its hints. */
  #told: string | undefined;

  constructor(session: Session, report: Report) {
    this.#session = session;
    this.#report = report;
    for (const role of this.#roles) if (role.running) this.#open.add(role);
    session.onReport((line) => this.#hear(line));
  }

  get #roles(): readonly Role[] {
    return [this.#session.outgoing, this.#session.incoming];
  }

  /** What goes on now, as `query-migrate` would have it; without a status when nothing was ever started. */
  get figures(): MigrationFigures {
    const { outgoing, incoming, guest } = this.#session;
    if (outgoing.status !== "none") {
      const { transferred, remaining, dirtySyncCount } = outgoing.counters;
      const total = this.#session.remote?.ramBytes ?? guest.memory.totalBytes;
      const ram = { total, remaining, transferred, "dirty-sync-count": dirtySyncCount };
      const { running, status } = outgoing;
      if (dirtySyncCount === 0 || !running) return { status, ram: dirtySyncCount > 0 ? ram : undefined };
      const limit = Number(this.#session.parameter("downtime-limit"));
      return {
        ...figuresOf(this.#prospects.look(this.#session.info(), this.#session.runState === "running", limit)),
        status,
        ram,
      };
    }
    if (incoming.status === "none") return {};
    const { bytes, total } = incoming.progress;
    const ram = total === undefined ? undefined : { total, remaining: total - bytes, transferred: bytes };
    return { status: incoming.status, ram };
  }

  /** What is lost when the program ends now: a migration of this process. One of an attached QEMU goes on there. */
  get lost(): string | undefined {
    const { outgoing, remote } = this.#session;
    if (remote || !outgoing.running) return undefined;
    return "the migration under way is cancelled: what it wrote so far is not a whole guest";
  }

  /** Those whose end nobody was told yet. */
  get watched(): readonly Role[] {
    return [...this.#open];
  }

  /** Something is under way, or awaited. */
  get running(): boolean {
    return this.#roles.some((role) => role.running);
  }

  /**
   * Run a line, note what it starts.
   * @param patience milliseconds a migration in the background gets before the next line
   * @returns its answer, and why a migration it started and waited for failed
   */
  async follow(line: () => Promise<Answer>, patience = 0): Promise<Answer> {
    const before = this.#roles.map((role) => role.settled);
    const answer = await line().catch(fault);
    const started = this.#roles.filter((role, i) => role.settled !== before[i]);
    for (const role of started) this.#open.add(role);
    await this.ready();
    const failure = this.#endedOf(started).join("; ") || answer.failure;
    if (patience > 0 && this.running) await this.#settledWithin(patience);
    return failure === undefined ? answer : { out: answer.out, error: true, failure };
  }

  async #settledWithin(ms: number): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const enough = new Promise<void>((resolve) => timer = setTimeout(resolve, ms));
    await Promise.race([enough, Promise.all(this.#roles.map((role) => role.settled))]);
    clearTimeout(timer);
  }

  /** Resolves when what comes out of a file is loaded: the next line is to find it there, as in QEMU. */
  async ready(): Promise<void> {
    const { incoming } = this.#session;
    if (incoming.running && incoming.fromFile) await incoming.settled;
  }

  /** Why those that ended since they were last asked for failed; each is told once. */
  ended(): string[] {
    return this.#endedOf([...this.#open]);
  }

  /** Resolves when nothing is under way any more. */
  async settled(): Promise<void> {
    for (const role of this.#open) await role.settled;
  }

  #endedOf(roles: readonly Role[]): string[] {
    const failures: string[] = [];
    for (const role of roles) {
      if (role.running) continue;
      this.#open.delete(role);
      if (role.status === "failed") failures.push(this.#reason(role));
      if (role === this.#session.incoming) this.#release();
    }
    return failures;
  }

  #reason(role: Role): string {
    const { outgoing, incoming } = this.#session;
    if (role === incoming) {
      return `${outgoing.error ?? "load of migration failed"}: ${incoming.failure ?? "no reason given"}`;
    }
    return `migration failed: ${this.#told ?? outgoing.error ?? "no reason given"}`;
  }

  #hear(line: string): void {
    const { outgoing, incoming } = this.#session;
    if (incoming.status === "active") {
      if (this.#held.push(line) === 1) incoming.settled.then(() => this.#release());
      return;
    }
    this.#release();
    const failed = outgoing.status === "failed" || incoming.status === "failed";
    const detail = failed && outgoing.error !== undefined && line.startsWith(outgoing.error);
    if (detail) this.#told = line;
    this.#report(line, detail);
  }

  /** Say what was held back. */
  #release(): void {
    for (const line of this.#held) this.#report(line, this.#session.incoming.status === "failed");
    this.#held = [];
  }
}
