/**
 * The human monitor: a line in, text out.
 *
 *     name      up to a blank or a slash; whole names and aliases only
 *     failure   the complaint, then `Try "help NAME" for more information`
 *     error     `Error: TEXT`, hints on lines of their own
 *
 * Text has single line feeds here; who speaks to a terminal or to QMP makes them CR LF.
 * Source: QEMU monitor/hmp.c (handle_hmp_command).
 * @module
 */
import { CommandError, MemoryFaultError, StreamError, TransportError } from "../stream/errors.ts";
import { LineError, LineReader, readArguments } from "./arguments.ts";
import { type Command, type HmpFace, type Monitor, PlainError } from "./command.ts";
import { isBlank } from "./expression.ts";
import type { FdTable } from "./fds.ts";
import { fullName, HELP_FACE, helpText, INFO_FACE, isNamed } from "./help.ts";
import { parseJson, stringifyJson } from "./json.ts";
import type { Remote } from "./remote.ts";
import { check, object } from "./schema.ts";
import type { Session } from "./session.ts";
import type { HeldFd } from "./transport.ts";

/** Banner of a monitor that has just been connected to. */
export const BANNER = "QEMU 10.0.2 monitor - type 'help' for more information\n";

/** Prompt of a monitor. */
export const PROMPT = "(qemu) ";

/** Longest command name QEMU looks at. */
const MAX_NAME = 255;

/** What a line came to. */
export interface HmpResult {
  /** What the monitor prints, lines ending in a line feed. */
  readonly out: string;
  /** The line could not be read, or the command failed. */
  readonly error: boolean;
  /** What the person waits for: a migration in the foreground. */
  readonly wait?: Promise<void>;
}

/** How a line is run. */
export interface HmpOptions {
  /** A terminal waits for a migration in the foreground, and knows QMP names. */
  readonly kind: "terminal" | "human-monitor-command";
  /** Names of this connection. */
  readonly fds: FdTable;
  /** A descriptor to go with the line. */
  readonly fd?: HeldFd;
}

/** A monitor that collects what it is told. */
class LineMonitor implements Monitor {
  /** A terminal waits for a migration in the foreground, and knows QMP names. */
  readonly kind: "terminal" | "human-monitor-command";
  readonly fds: FdTable;
  #fd: HeldFd | undefined;
  out = "";

  constructor({ kind, fds, fd }: HmpOptions) {
    this.kind = kind;
    this.fds = fds;
    this.#fd = fd;
  }

  takeFd(): HeldFd | undefined {
    const fd = this.#fd;
    this.#fd = undefined;
    return fd;
  }

  warn(text: string): void {
    this.report(`warning: ${text}`);
  }

  report(text: string): void {
    this.out += text + "\n";
  }
}

/** What a name stands for. */
type Entry = { readonly face: HmpFace; readonly command?: Command };

/** Run one line. Never throws for what a person may type; a fault of our own is thrown. */
export async function runHmp(session: Session, text: string, options: HmpOptions): Promise<HmpResult> {
  const monitor = new LineMonitor(options);
  const line = new LineReader(text, (remark) => session.toStderr(remark));
  let entry: Entry | undefined;
  try {
    entry = await findKnown(session, line, options.kind);
    if (!entry) return { out: "", error: false };
    if (session.remote && !spokenHere(session.remote, entry)) {
      return await handOn(session.remote, named(entry.face, text, line.at));
    }
    return await execute(session, line, entry, monitor);
  } catch (error) {
    if (session.remote && (error instanceof UnknownCommand || error instanceof Unreadable)) {
      return await handOn(session.remote, text);
    }
    return { out: monitor.out + complaint(error), error: true };
  }
}

/**
 * Whether a line for another machine is run by its QMP name, its answer written here. Not where there is no such name, and
 * not where that QEMU is of a release whose texts are not known here.
 */
function spokenHere(remote: Remote, { command, face }: Entry): boolean {
  if (!command) return false; // help: that QEMU knows more commands than this table
  return command.local || (command.qmp !== undefined && (remote.fluent || !face.format || face.raw === true));
}

/** The line with the name its monitor has for the command: hyphens and underscores are one only here. */
function named(face: HmpFace, text: string, end: number): string {
  const word = text.slice(0, end).trim();
  return face.name.includes(" ") || isNamed(face, word) ? text : face.name + text.slice(end);
}

/** Give a line to the machine's own monitor as it is. */
async function handOn(remote: Remote, text: string): Promise<HmpResult> {
  try {
    const out = await remote.line(text);
    return { out, error: /^(Error: |unknown command: ')|^Try "help [^"\n]*" for more information$/m.test(out) };
  } catch (error) {
    return { out: complaint(error), error: true };
  }
}

/** Text of an error as the monitor prints it. */
export function complaint(error: unknown): string {
  if (error instanceof UnknownCommand || error instanceof Unreadable || error instanceof PlainError) {
    return error.message + "\n";
  }
  if (error instanceof CommandError) return [`Error: ${error.message}`, ...error.hint].join("\n") + "\n";
  if (isRefusal(error)) return `Error: ${error.message}\n`;
  throw error;
}

/** An error a person is told about, as opposed to a fault of ours. */
export function isRefusal(error: unknown): error is Error {
  return error instanceof TransportError || error instanceof StreamError || error instanceof MemoryFaultError;
}

class UnknownCommand extends Error {}
class Unreadable extends Error {}

/** Another machine may know more commands than every session, and has parameters of its own: it is asked when one is wanted. */
async function findKnown(
  session: Session,
  line: LineReader,
  kind: HmpOptions["kind"],
): Promise<Entry | undefined> {
  const { remote } = session;
  if (!remote) return findCommand(session, line, kind);
  try {
    const entry = findCommand(session, line, kind);
    if (entry?.face.vocabulary) await remote.learn();
    return entry;
  } catch (error) {
    if (!(error instanceof UnknownCommand)) throw error;
    await remote.learn();
    line.at = 0;
    return findCommand(session, line, kind);
  }
}

/** Read the name; undefined for a blank line. */
function findCommand(session: Session, line: LineReader, kind: HmpOptions["kind"]): Entry | undefined {
  const top = readName(line);
  if (top === undefined) return undefined;
  const found = lookUp(session, top, "", kind);
  if (!found) throw new UnknownCommand(`unknown command: '${line.text.slice(0, line.at)}'`);
  const name = line.at;
  line.skip();
  if (found.face !== INFO_FACE || line.at >= line.text.length) {
    line.at = name;
    return found;
  }
  const item = lookUp(session, readName(line)!, "info ", kind);
  if (!item) throw new UnknownCommand(`unknown command: '${line.text.slice(0, line.at)}'`);
  return item;
}

function readName(line: LineReader): string | undefined {
  if (line.ended) return undefined;
  const start = line.at;
  while (line.at < line.text.length && line.text[line.at] !== "/" && !isBlank(line.text[line.at])) line.at++;
  return line.text.slice(start, line.at).slice(0, MAX_NAME);
}

function lookUp(session: Session, word: string, prefix: "" | "info ", kind: HmpOptions["kind"]): Entry | undefined {
  if (prefix === "" && isNamed(HELP_FACE, word)) return { face: HELP_FACE };
  if (prefix === "" && isNamed(INFO_FACE, word)) return { face: INFO_FACE };
  const command = session.registry.hmp.get(prefix + word);
  if (command?.hmp) return { face: command.hmp, command };
  return kind === "terminal" && prefix === "" ? lookUpLoosely(session, word) : undefined;
}

/** At a console QMP's names are good too, and hyphens and underscores are one. */
function lookUpLoosely(session: Session, word: string): Entry | undefined {
  const plain = (name: string) => name.replaceAll("-", "_");
  for (const command of session.registry.commands) {
    const { hmp, qmp } = command;
    if (hmp && plain(hmp.name) === plain(word)) return { face: hmp, command };
    if (!qmp || plain(qmp.name) !== plain(word)) continue;
    if (hmp && !hmp.args?.length) return { face: hmp, command };
    return { command, face: qmpFace(qmp.name) };
  }
  return undefined;
}

/** A QMP command on a line: its arguments are a JSON object, its answer is JSON. */
function qmpFace(name: string): HmpFace {
  return {
    name,
    raw: true,
    params: "[arguments]",
    help: "QMP command; arguments are a JSON object",
    args: [{ name: "json", type: "rest", optional: true }],
    toArguments(values, session) {
      const given = values.json === undefined ? {} : parseJson(values.json as string);
      if (session.remote) return given as Record<string, unknown>;
      const schema = session.registry.qmp.get(name)!.qmp!.arguments ?? object();
      return check(typeof schema === "function" ? schema(session) : schema, given) as Record<string, unknown>;
    },
    format: (value: unknown) => value === undefined ? "" : stringifyJson(value) + "\n",
  };
}

async function execute(session: Session, line: LineReader, entry: Entry, monitor: LineMonitor): Promise<HmpResult> {
  const { face, command } = entry;
  const named = line.text.slice(0, line.at);
  let values;
  try {
    values = readArguments(line, face.args ?? [], fullName(face), session.lineMemory);
  } catch (error) {
    if (!(error instanceof LineError)) throw error;
    throw new Unreadable(`${error.message}\nTry "help ${named}" for more information`);
  }
  if (!command) {
    const name = face === INFO_FACE ? "info" : values.name as string | undefined;
    const out = helpText(session, name);
    return { out, error: out.startsWith("unknown command") };
  }
  // what is reported before the first await belongs to this monitor, as in QEMU what its handler reports does
  const value = await session.as(monitor, () => {
    const args = face.toArguments?.(values, session) ?? values;
    if (session.remote && !command.local) return session.remote.run(command, args, monitor);
    return command.run(session, args, monitor);
  });
  const out = monitor.out + (face.format?.(value as never, values, session) ?? "");
  const wait = monitor.kind === "terminal" ? face.wait?.(session, values) : undefined;
  return { out, error: false, ...(wait ? { wait } : {}) };
}
