/**
 * What the Tab key offers: the line is read as far as it goes with the command table, and the argument under the cursor
 * says what could stand there.
 *
 *     migrate_set_parameter multifd-c|          ^ the word under the cursor
 *     ^ command             ^ argument 0 of it: names of parameters that begin with "multifd-c"
 *
 * URIs, files and values of parameters are known here by the argument's name; any other argument is asked itself
 * (`HmpArgument.complete`). What cannot be completed is explained: the command's own help line.
 * @module
 */
import { type HmpArgument, LineReader } from "../core/arguments.ts";
import type { HmpFace } from "../core/command.ts";
import { faces, fullName, HELP_FACE, isNamed } from "../core/help.ts";
import type { Parameter } from "../core/plugin.ts";
import type { Session } from "../core/session.ts";
import { pathCandidates } from "./paths.ts";

/** What the console knows about its session. */
export interface CompletionSource {
  readonly session: Session;
}

/** The answer to one Tab. */
export interface Completion {
  /** What could stand there, each beginning with `typed`. A single one that is whole ends with a blank. */
  readonly candidates: readonly string[];
  /** The end of the line that they replace. */
  readonly typed: string;
  /** Said when there is nothing to offer. */
  readonly hint?: string;
}

const NOTHING: Completion = { candidates: [], typed: "" };

/** A word on the line that is complete, and the one under the cursor. */
interface Words {
  readonly done: readonly string[];
  /** Under the cursor; "" behind a blank. With its opening quote. */
  readonly last: string;
}

/** Complete the line up to the cursor. */
export function completeLine(line: string, { session }: CompletionSource): Completion {
  const words = split(line);
  if (!words || line.trimStart().startsWith("#") || line.trimStart().startsWith("{")) return NOTHING;
  const { done, last } = words;
  const top = namesOf(faces(session, "top"));
  const items = namesOf(faces(session, "info"));
  if (done.length === 0) return whole(top, last);
  const name = done[0];
  if (isNamed(HELP_FACE, name)) {
    if (done.length === 1) return whole(top, last);
    return done[1] === "info" && done.length === 2 ? whole(items, last) : NOTHING;
  }
  if (name === "info" && done.length === 1) return whole(items, last);
  const face = name === "info"
    ? faces(session, "info").find((one) => isNamed(one, done[1]))
    : faces(session, "top").find((one) => isNamed(one, name.replaceAll("-", "_")));
  return face ? completeArgument(face, done.slice(name === "info" ? 2 : 1), last, session) : NOTHING;
}

/** Names and aliases, one character long ones left out: they need no help. */
function namesOf(all: readonly HmpFace[]): string[] {
  return all.flatMap((face) => fullName(face).split("|")).filter((name) => name.length > 1);
}

function completeArgument(face: HmpFace, before: readonly string[], last: string, session: Session): Completion {
  const all = face.args ?? [];
  const flags = all.filter(({ type }) => type === "flag");
  const positional = all.filter(({ type }) => type !== "flag");
  const hint = `${fullName(face)} ${face.params} -- ${face.help}`.replace(/\s+/g, " ");
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
  const found = candidatesFor(argument, given, last, session);
  return found.candidates.length > 0 || last !== "" ? found : { ...found, hint };
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
      if (fdset) return some(session.fds.queryFdsets().map((set) => String(set.fdsetId)), fdset[1]);
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

/** A file; `word`: it is one word, so a name with blanks needs quotes. */
function completePath(last: string, word: boolean): Completion {
  const quoted = word && last.startsWith('"');
  const { candidates, typed } = pathCandidates(quoted ? last.slice(1) : last);
  const usable = candidates.filter((name) => quoted ? !/["\\]/.test(name) : !word || !/[\s"]/.test(name));
  if (usable.length !== 1 || usable[0].endsWith("/")) return { candidates: usable, typed };
  return { candidates: [usable[0] + (quoted ? '" ' : " ")], typed };
}

/** Words of which the fitting ones are offered; the only one gets a blank behind it. */
function whole(all: readonly string[], typed: string): Completion {
  const { candidates } = some(all, typed);
  return { candidates: candidates.length === 1 ? [candidates[0] + " "] : candidates, typed };
}

/** Beginnings of words of which the fitting ones are offered. */
function some(all: readonly string[], typed: string): Completion {
  return { candidates: all.filter((one) => one.startsWith(typed)), typed };
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
