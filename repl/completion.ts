/**
 * What the Tab key offers: the line is read as far as it goes with the command table, and the argument under the cursor
 * says what could stand there.
 *
 *     migrate_set_parameter multifd-c|          ^ the word under the cursor
 *     ^ command             ^ argument 0 of it: names of parameters that begin with "multifd-c"
 *
 * URIs, files and values of parameters are known here by the argument's name; any other argument is asked itself
 * (`HmpArgument.complete`), or the attached QEMU is (`HmpArgument.names`), which takes a moment. What cannot be completed is
 * explained: the command's own help line.
 * @module
 */
import { type HmpArgument, LineReader } from "../core/arguments.ts";
import type { HmpFace } from "../core/command.ts";
import { faces, fullName, HELP_FACE, isNamed } from "../core/help.ts";
import type { Parameter } from "../core/plugin.ts";
import type { Session } from "../core/session.ts";
import { completePath, type Completion, namesFound, NOTHING, some, whole } from "./candidates.ts";
import type { CommandShape } from "./command_shape.ts";
import { lineWords } from "./line_words.ts";
import { completeReport } from "./report_completion.ts";

/** What the console knows about its session. */
export interface CompletionSource {
  readonly session: Session;
  /** Reports that can stand on a line. */
  readonly reports?: readonly CommandShape[];
}

/** A word on the line that is complete, and the one under the cursor. */
interface Words {
  readonly done: readonly string[];
  /** Under the cursor; "" behind a blank. With its opening quote. */
  readonly last: string;
}

/** Complete the line up to the cursor. */
export function completeLine(line: string, { session, reports = [] }: CompletionSource): Completion {
  const report = /^\s*(\w+)\s/.exec(line)?.[1];
  const shape = reports.find(({ name }) => name === report);
  if (shape) return completeReport(shape, lineWords(line));
  const words = split(line);
  if (!words || line.trimStart().startsWith("#") || line.trimStart().startsWith("{")) return NOTHING;
  const { done, last } = words;
  const top = [...new Set([...namesOf(faces(session, "top")), ...reports.map(({ name }) => name)])].sort();
  const items = namesOf(faces(session, "info"));
  if (done.length === 0) return completeFormat(session, last) ?? whole(top, last);
  const name = done[0];
  if (isNamed(HELP_FACE, name)) {
    if (done.length === 1) return whole(top, last);
    return done[1] === "info" && done.length === 2 ? whole(items, last) : NOTHING;
  }
  if (name === "info" && done.length === 1) return whole(items, last);
  const face = name === "info"
    ? faces(session, "info").find((one) => isNamed(one, done[1]))
    : faces(session, "top").find((one) => isNamed(one, name) || plain(one.name) === plain(name));
  return face ? completeArgument(face, done.slice(name === "info" ? 2 : 1), last, session) : NOTHING;
}

/** At a console hyphens and underscores are one. */
function plain(name: string): string {
  return name.replaceAll("-", "_");
}

/** `x/|`: what may stand behind the slash. */
function completeFormat(session: Session, last: string): Completion | undefined {
  const slash = last.indexOf("/");
  if (slash < 0) return undefined;
  const face = faces(session, "top").find((one) => isNamed(one, last.slice(0, slash)));
  if (!face?.params.startsWith("/")) return undefined;
  return { ...NOTHING, hint: `${hintOf(face)}; fmt: a count, one of x d u o c i, one of b h w g` };
}

/** The command's own help line. */
function hintOf(face: HmpFace): string {
  const info = face.name.startsWith("info ") ? "info " : "";
  return `${info}${fullName(face)} ${face.params} -- ${face.help}`.replace(/\s+/g, " ");
}

/** Names and aliases, one character long ones left out: they need no help. */
function namesOf(all: readonly HmpFace[]): string[] {
  return all.flatMap((face) => fullName(face).split("|")).filter((name) => name.length > 1);
}

function completeArgument(face: HmpFace, before: readonly string[], last: string, session: Session): Completion {
  const all = face.args ?? [];
  const flags = all.filter(({ type }) => type === "flag");
  const positional = all.filter(({ type }) => type !== "flag");
  const hint = hintOf(face);
  let given = before.slice();
  while (given.length > 0 && flags.some(({ letter }) => given[0] === `-${letter}`)) given = given.slice(1);
  if (given.length === 0 && last.startsWith("-")) {
    return whole(flags.map(({ letter }) => `-${letter}`).filter((flag) => !before.includes(flag)), last);
  }
  // /FMT is read only where it is typed
  const argument = positional.filter(({ type }) => type !== "format" || given[0]?.startsWith("/"))[given.length];
  if (!argument) return { ...NOTHING, hint: given.length > 0 ? undefined : hint };
  const number = positional[given.length - 1];
  if (last.startsWith("/") && number && ["int", "long", "mib"].includes(number.type)) {
    return { ...NOTHING, hint: `behind a number a slash divides: put the path in quotes, "${last}` };
  }
  const hinted = (found: Completion) =>
    found.candidates.length > 0 || last !== "" || found.hint ? found : { ...found, hint };
  const { remote } = session;
  if (!remote || !argument.names) return hinted(candidatesFor(argument, given, last, session));
  const { names } = argument;
  return { ...NOTHING, ask: async () => hinted(namesFound(await remote.names(names, last, given))) };
}

function candidatesFor(argument: HmpArgument, given: readonly string[], last: string, session: Session): Completion {
  switch (argument.name) {
    case "value":
      return whole(valuesOf(session.registry.parameters.find(({ name }) => name === given.at(-1))), last);
    case "fdname":
      return whole(session.fds.names(), last);
    case "uri":
      return completeUri(last, session);
    case "filename":
    case "file":
    case "path":
    case "module":
      return completePath(last, argument.type === "string");
  }
  if (argument.complete) return whole(argument.complete(session), last);
  return argument.type === "onoff" ? whole(["on", "off"], last) : NOTHING;
}

function valuesOf(parameter: Parameter | undefined): readonly string[] {
  if (parameter?.type === "bool") return ["on", "off"];
  return parameter?.values ?? [];
}

function completeUri(last: string, session: Session): Completion {
  const quote = last.startsWith('"') ? '"' : "";
  const uri = last.slice(quote.length);
  const colon = uri.indexOf(":");
  if (colon < 0) return some(session.transports.map(({ scheme }) => `${quote}${scheme}:`), last);
  const rest = uri.slice(colon + 1);
  switch (uri.slice(0, colon)) {
    case "file": {
      const fdset = /^\/dev\/fdset\/(\d*)$/.exec(rest);
      if (fdset) return completeFdset(fdset[1], session);
      const option = /,([a-z]*)$/.exec(rest);
      if (option && !option[1]) return some(["offset="], "");
      if (option) return some(["offset="], option[1]);
      if (/,offset=/.test(rest)) return { ...NOTHING, hint: "offset: bytes, or with a suffix: 4096, 0x11000, 1M" };
      return completePath(quote + rest, true);
    }
    case "unix":
      return completePath(quote + rest, true);
    case "fd":
      return whole(session.fds.names(), rest);
    default:
      return NOTHING;
  }
}

function completeFdset(typed: string, { remote, fds }: Session): Completion {
  if (!remote) return some(fds.queryFdsets().map((set) => String(set.fdsetId)), typed);
  return { ...NOTHING, ask: async () => namesFound({ ...await remote.names("fdsets", typed, []), open: true }) };
}

/** Words of the line; undefined when a quote in it is broken. */
function split(line: string): Words | undefined {
  const reader = new LineReader(line);
  const done: string[] = [];
  for (;;) {
    if (reader.ended) return { done, last: "" };
    const start = reader.at;
    const word = reader.word();
    if (word === undefined) return /^"[^\\]*$/.test(line.slice(start)) ? { done, last: line.slice(start) } : undefined;
    if (reader.at >= line.length) return { done, last: line.slice(start) };
    done.push(word);
  }
}
