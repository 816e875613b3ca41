/**
 * The second backend behind the command table: a machine in another process.
 *
 *     HMP line --words--> hmp.toArguments --> remote.run(command, arguments) --QMP--> value --> hmp.format --> text
 *     QMP JSON ----------------------------> remote.execute(name, arguments) --QMP--> value
 *     a line nobody here knows ------------> remote.line(text) --human-monitor-command--> text
 *
 * @module
 */
import type { Arguments, Command, Monitor } from "./command.ts";
import type { NameKind, Names } from "./remote_names.ts";
import type { HeldFd } from "./transport.ts";

/** How one command is run there. */
export interface RemoteOptions {
  /** Sent with it, and then closed here. */
  readonly fd?: HeldFd;
  /** Out of band: it passes those that wait. */
  readonly oob?: boolean;
}

/** What the command layers ask of it. */
export interface Remote {
  /** Where it is, for people: "/run/vm.qmp". */
  readonly address: string;
  /** Its monitor's texts are the ones written here: it is of the same release. */
  readonly fluent: boolean;
  /** Descriptors can go with commands. */
  readonly passesFds: boolean;
  /** Bytes of its RAM: the last migration's figure, else what the machine was given. */
  readonly ramBytes: number;
  /**
   * Run a command of the table there.
   * @throws {CommandError} {TransportError}
   */
  run(command: Command, args: Arguments, monitor: Monitor): Promise<unknown>;
  /**
   * Run whatever has this QMP name there; arguments go as they are.
   * @throws {CommandError} {TransportError}
   */
  execute(name: string, args: Arguments, options?: RemoteOptions): Promise<unknown>;
  /** Run a line of its human monitor. @returns its text, lines ending in a line feed */
  line(text: string): Promise<string>;
  /**
   * Learn what its table of commands has beyond the one every session has, and its parameters. Asked for once.
   * @throws {CommandError} {TransportError}
   */
  learn(): Promise<void>;
  /**
   * Names it knows for a word of a line.
   * @param typed  the word as far as it is there
   * @param before words between the command and this one
   * @throws {CommandError} {TransportError}
   */
  names(kind: NameKind, typed: string, before: readonly string[]): Promise<Names>;
}
