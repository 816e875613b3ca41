/**
 * One command, declared once: a name and arguments for people (HMP), a name and a schema for programs (QMP), and one
 * function that does it. Help, completion and checks are derived.
 *
 *     HMP line --words--> hmp.toArguments --> run(session, arguments, monitor) --> value --> hmp.format --> text
 *     QMP JSON --check--> ------------------> run(session, arguments, monitor) --> value --> {"return": value}
 *
 * Commands return values and never print. What a line may hold is in arguments.ts, who calls them in hmp.ts and qmp.ts.
 * @module
 */
import { CommandError } from "../stream/errors.ts";
import type { FdTable } from "./fds.ts";
import type { HmpArgument, HmpValues } from "./arguments.ts";
import type { ObjectSchema } from "./schema.ts";
import type { Session } from "./session.ts";
import type { HeldFd } from "./transport.ts";

/** The connection a command came by. */
export interface Monitor {
  /** A terminal can wait for a migration; the short-lived monitor of `human-monitor-command` and QMP cannot. */
  readonly kind: "terminal" | "human-monitor-command" | "qmp";
  /** Names given with `getfd` belong to the connection. */
  readonly fds: FdTable;
  /** The descriptor that came with this command, taken once. */
  takeFd(): HeldFd | undefined;
  /** A remark: printed here with `warning: ` in front; from QMP it goes where QEMU's stderr would. */
  warn(text: string): void;
  /** A line QEMU would print while this command runs: here when a person asks, else on its stderr. */
  report(text: string): void;
}

/** Arguments by QMP name. */
export type Arguments = Readonly<Record<string, unknown>>;

/** The face of a command on the monitor's line. */
export interface HmpFace {
  /** "migrate", or "info migrate" for an item of `info`. */
  readonly name: string;
  /** Short names: "s" of "stop". */
  readonly aliases?: readonly string[];
  /** The text is QMP's JSON, whichever release answers. */
  readonly raw?: boolean;
  /** Its words depend on all that a machine in another process has: parameters, and their values. */
  readonly vocabulary?: boolean;
  /** What `help` prints behind the name: "[-d] [-r] uri". */
  readonly params: string;
  /** What `help` prints behind the dashes. */
  readonly help: string;
  /** What may stand behind the name, in order. */
  readonly args?: readonly HmpArgument[];
  /** Words of the line to arguments of `run`. Left out: the same names. */
  toArguments?(values: HmpValues, session: Session): Arguments;
  /** Text for the value, lines ending in a line feed. Left out: nothing is printed. */
  format?(value: never, values: HmpValues, session: Session): string;
  /** What the person waits for after the text, on a terminal. */
  wait?(session: Session, values: HmpValues): Promise<void> | undefined;
}

/** The face of a command in QMP. */
export interface QmpFace {
  /** "migrate-set-capabilities". */
  readonly name: string;
  /** Left out: it takes none. A function where the names depend on the plugins of a session. */
  readonly arguments?: ObjectSchema | ((session: Session) => ObjectSchema);
  /** May run out of band. */
  readonly oob?: boolean;
}

/** A command. At least one face is there. */
export interface Command {
  /** Left out: QMP only. */
  readonly hmp?: HmpFace;
  /** Left out: for people only. */
  readonly qmp?: QmpFace;
  /** Done in this process whosever the machine is: it looks at files, or at this program itself. */
  readonly local?: boolean;
  /**
   * Do it.
   * @returns the value QMP answers; undefined answers `{}`
   * @throws {CommandError} with QEMU's text
   */
  run(session: Session, args: Arguments, monitor: Monitor): unknown;
}

/** An error the monitor prints without `Error: ` in front. */
export class PlainError extends CommandError {
  /** Name of the class. */
  override name = "PlainError";
}
