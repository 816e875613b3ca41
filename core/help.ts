/**
 * `help`, `info` without an item, and completion: all derived from the command table.
 * Source: QEMU monitor/hmp.c (help_cmd_dump, monitor_find_completion).
 * @module
 */
import { type HmpArgument, LineReader } from "./arguments.ts";
import type { HmpFace } from "./command.ts";
import type { Session } from "./session.ts";

/** Entries of the table that are not commands of a registry. */
export const HELP_FACE: HmpFace = {
  name: "help",
  aliases: ["?"],
  params: "[cmd]",
  help: "show the help",
  args: [{ name: "name", type: "rest", optional: true }],
};

/** `info` by itself. */
export const INFO_FACE: HmpFace = {
  name: "info",
  params: "[subcommand]",
  help: "show various information about the system state",
  args: [{ name: "item", type: "string", optional: true }],
};

/** QEMU's parser for `help` takes no more words than that. */
const MAX_WORDS = 16;

/** The faces of one level, in alphabetical order. */
export function faces(session: Session, level: "top" | "info"): HmpFace[] {
  const all = session.registry.commands.flatMap(({ hmp }) => hmp ?? []);
  const wanted = all.filter(({ name }) => name.startsWith("info ") === (level === "info"));
  if (level === "top") wanted.push(HELP_FACE, INFO_FACE);
  return wanted.sort((a, b) => a.name < b.name ? -1 : 1);
}

/** Last word of the name, with its aliases: how complaints and help spell a command. */
export function fullName({ name, aliases = [] }: HmpFace): string {
  return [name.replace(/^info /, ""), ...aliases].join("|");
}

function helpLine(face: HmpFace): string {
  const prefix = face.name.startsWith("info ") ? "info " : "";
  return `${prefix}${fullName(face)} ${face.params} -- ${face.help}\n`;
}

/** Does this word name the command? Whole names and aliases only. */
export function isNamed(face: HmpFace, word: string): boolean {
  return face.name.replace(/^info /, "") === word || (face.aliases ?? []).includes(word);
}

/** Text of `help [NAME [SUB]]`. */
export function helpText(session: Session, name: string | undefined): string {
  const line = new LineReader(name ?? "", (text) => session.toStderr(text));
  const words: string[] = [];
  while (!line.ended) {
    const word = line.word();
    if (word === undefined || words.length >= MAX_WORDS) return "";
    words.push(word);
  }
  if (words.length === 0) return faces(session, "top").map(helpLine).join("");
  const top = faces(session, "top").find((face) => isNamed(face, words[0]));
  if (!top) return `unknown command: '${words[0]}'\n`;
  if (top.name !== "info") return helpLine(top);
  if (words.length === 1) return faces(session, "info").map(helpLine).join("");
  const item = faces(session, "info").find((face) => isNamed(face, words[1]));
  return item ? helpLine(item) : `unknown command: '${words[0]} ${words[1]}'\n`;
}

/** What a line could go on with. */
export interface Completion {
  /** Where the word being completed begins. */
  readonly start: number;
  /** Whole words that begin as that one does. */
  readonly candidates: readonly string[];
}

/**
 * Candidates for the last word of a line; an attached QEMU is asked for those it knows.
 * @throws {CommandError} {TransportError} when it cannot be asked
 */
export async function complete(session: Session, line: string): Promise<Completion> {
  const { remote } = session;
  await remote?.learn();
  const start = line.length - /[^ \t]*$/.exec(line)![0].length;
  const prefix = line.slice(start);
  const before = line.slice(0, start).trim().split(/[ \t]+/).filter(Boolean);
  const pick = (words: readonly string[]): Completion => ({
    start,
    candidates: [...new Set(words)].filter((word) => word.startsWith(prefix)).sort(),
  });
  const names = (level: "top" | "info") => faces(session, level).flatMap((face) => fullName(face).split("|"));
  if (before.length === 0) return pick(names("top"));
  const helping = isNamed(HELP_FACE, before[0]);
  const [first, ...rest] = helping ? before.slice(1) : before;
  if (first === undefined) return pick(names("top"));
  if (first === "info" && rest.length === 0) return pick(names("info"));
  const name = first === "info" ? rest.shift()! : first;
  const face = faces(session, first === "info" ? "info" : "top").find((one) => isNamed(one, name));
  if (!face || helping) return pick([]);
  const flags = (face.args ?? []).filter(({ type }) => type === "flag").map(({ letter }) => "-" + letter);
  if (prefix.startsWith("-")) return pick(flags);
  const all = face.args ?? [];
  const args: readonly HmpArgument[] = all.filter(({ type }) => type !== "flag" && type !== "format");
  const formatted = all.some(({ type }) => type === "format");
  const index = rest.filter((word) => !flags.includes(word) && !(formatted && word.startsWith("/"))).length;
  const argument = args[index];
  if (argument?.type === "onoff") return pick(["on", "off"]);
  if (!remote || !argument?.names) return pick(argument?.complete?.(session) ?? []);
  const { words, typed } = await remote.names(argument.names, prefix, rest.filter((word) => !flags.includes(word)));
  return { start: line.length - typed.length, candidates: words };
}
