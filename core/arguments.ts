/**
 * What may stand behind a command's name on the monitor's line: each type of argument knows how to read itself and what
 * it could be completed to. Arguments are read by position; one that is missing and optional is absent from the values.
 *
 *     string    a word, or anything in double quotes with \n \r \\ \' \"
 *     rest      everything to the end of the line
 *     onoff     on, off; never quoted
 *     flag      -d; flags stand in front, in the declared order
 *     format    /COUNT FORMAT SIZE in any order, remembered for the next one
 *     int, long a C expression of 32 or 64 bits
 *     mib       a C expression counting MiB
 *
 * Source: QEMU monitor/hmp.c (monitor_parse_arguments, get_str).
 * @module
 */
import type { DumpFormat } from "./dump.ts";
import { evaluate, ExpressionError, isBlank } from "./expression.ts";
import type { NameKind } from "./remote_names.ts";
import type { Session } from "./session.ts";

/** Longest word QEMU keeps; what goes beyond is dropped without a word. */
const MAX_WORD = 1023;

/** One declared argument. */
export interface HmpArgument {
  /** Key of its value. */
  readonly name: string;
  /** See the module. */
  readonly type: "string" | "rest" | "onoff" | "flag" | "format" | "int" | "long" | "mib";
  /** May be missing at the end of the line. */
  readonly optional?: boolean;
  /** The letter of a flag. */
  readonly letter?: string;
  /** Candidates for tab completion; the person's prefix is applied by the caller. */
  complete?(session: Session): readonly string[];
  /** A running QEMU knows the names that could stand here. */
  readonly names?: NameKind;
}

/** Values read from a line, by argument name. */
export type HmpValues = Readonly<Record<string, unknown>>;

/** The line is not what the command takes; the message is QEMU's first line. */
export class LineError extends Error {
  override name = "LineError";
}

/** State the monitor keeps from one line to the next. */
export interface LineMemory {
  /** Letter of `/FMT`. */
  format: DumpFormat["format"];
  /** Bytes: 1, 2, 4, 8. */
  size: number;
}

/** A line and how far it was read. */
export class LineReader {
  at = 0;
  constructor(readonly text: string, private readonly remark: (text: string) => void = () => {}) {}

  /** Move over blanks. */
  skip(): void {
    while (isBlank(this.text[this.at])) this.at++;
  }

  /** Nothing but blanks is left. */
  get ended(): boolean {
    this.skip();
    return this.at >= this.text.length;
  }

  /** A word or a quoted string; undefined when there is none or its quotes are broken. */
  word(): string | undefined {
    if (this.ended) return undefined;
    if (this.text[this.at] === '"') return this.#quoted();
    const start = this.at;
    while (this.at < this.text.length && !isBlank(this.text[this.at])) this.at++;
    return this.text.slice(start, this.at).slice(0, MAX_WORD);
  }

  #quoted(): string | undefined {
    const escapes: Record<string, string> = { n: "\n", r: "\r", "\\": "\\", "'": "'", '"': '"' };
    let word = "";
    for (this.at++; this.at < this.text.length && this.text[this.at] !== '"'; this.at++) {
      let char = this.text[this.at];
      if (char === "\\") {
        char = this.text[++this.at] ?? "";
        if (!(char in escapes)) {
          this.remark(`unsupported escape code: '\\${char}'`);
          return undefined;
        }
        char = escapes[char];
      }
      word += char;
    }
    if (this.at >= this.text.length) {
      this.remark("unterminated string");
      return undefined;
    }
    this.at++;
    return word.slice(0, MAX_WORD);
  }
}

/**
 * Read all arguments of a command.
 * @param name the command's name as QEMU's complaints have it: with its aliases, last word only for `info` items
 * @throws {LineError}
 */
export function readArguments(
  line: LineReader,
  args: readonly HmpArgument[],
  name: string,
  memory: LineMemory,
  registers?: (name: string) => bigint | undefined,
): HmpValues {
  const values: Record<string, unknown> = {};
  args.forEach((argument, index) => {
    line.skip();
    switch (argument.type) {
      case "flag":
        return readFlag(line, args, index, name, values);
      case "format":
        return void (values[argument.name] = readFormat(line, memory));
    }
    if (argument.optional && line.ended) return;
    values[argument.name] = readOne(line, argument, name, registers);
  });
  if (!line.ended) throw new LineError(`${name}: extraneous characters at the end of line`);
  return values;
}

function readOne(
  line: LineReader,
  { type }: HmpArgument,
  name: string,
  registers?: (name: string) => bigint | undefined,
): unknown {
  switch (type) {
    case "string": {
      const word = line.word();
      if (word === undefined) throw new LineError(`${name}: string expected`);
      return word;
    }
    case "rest": {
      if (line.ended) throw new LineError(`${name}: string expected`);
      const rest = line.text.slice(line.at);
      line.at = line.text.length;
      return rest;
    }
    case "onoff": {
      const word = /^[!-~]*/.exec(line.text.slice(line.at))![0];
      line.at += word.length;
      if (word !== "on" && word !== "off") throw new LineError("Expected 'on' or 'off'");
      return word === "on";
    }
    default:
      return readNumber(line, type, name, registers);
  }
}

function readNumber(
  line: LineReader,
  type: string,
  name: string,
  registers?: (name: string) => bigint | undefined,
): bigint {
  let value: bigint;
  try {
    ({ value, end: line.at } = evaluate(line.text, line.at, registers));
  } catch (error) {
    if (error instanceof ExpressionError) throw new LineError(error.message);
    throw error;
  }
  if (type === "int" && BigInt.asUintN(32, value >> 32n) !== 0n) {
    throw new LineError(`'${name}' has failed: integer is for 32-bit values`);
  }
  if (type === "mib") {
    if (value < 0n) throw new LineError("enter a positive value");
    value = BigInt.asIntN(64, value << 20n);
  }
  return value;
}

function readFlag(
  line: LineReader,
  args: readonly HmpArgument[],
  index: number,
  name: string,
  values: Record<string, unknown>,
): void {
  if (line.text[line.at] !== "-") return;
  const letter = line.text[line.at + 1] ?? "";
  if (letter === args[index].letter) {
    line.at += 2;
    values[args[index].name] = true;
  } else if (letter === "" || !args.slice(index + 1).some((other) => other.letter === letter)) {
    throw new LineError(`${name}: unsupported option -${letter}`);
  }
}

const SIZES: Readonly<Record<string, number>> = { b: 1, h: 2, w: 4, g: 8, L: 8 };

function readFormat(line: LineReader, memory: LineMemory): DumpFormat {
  if (line.text[line.at] !== "/") {
    return { count: 1, format: memory.format, size: memory.format === "i" ? -1 : memory.size };
  }
  const match = /^\/([0-9]*)([oduxicbhwgL]*)/.exec(line.text.slice(line.at))!;
  line.at += match[0].length;
  let size = -1;
  let format: DumpFormat["format"] = memory.format;
  for (const letter of match[2]) {
    if (letter in SIZES) size = SIZES[letter];
    else format = letter as DumpFormat["format"];
  }
  const stray = line.text[line.at];
  if (stray !== undefined && !isBlank(stray)) throw new LineError(`invalid char in format: '${stray}'`);
  if (format !== "i") {
    if (size < 0) size = memory.size;
    memory.size = size;
  }
  memory.format = format;
  return { count: match[1] === "" ? 1 : Number(match[1]), format, size };
}
