/**
 * JSON as QMP speaks it: a stream of values with no line ends needed, single quotes allowed, integers of 64 bits kept whole.
 *
 *     integer   number while JavaScript holds it exactly, bigint up to int64/uint64, {@link JsonFloat} beyond
 *     fraction  {@link JsonFloat}: `1.0` is not an integer to QMP, so it may not become one here
 *
 * Limits are QEMU's: 1024 levels, 64 MiB of text and 2 Mi tokens a value. Errors carry QEMU's texts, and reading goes on
 * behind the next bracket, comma, colon or control character. Source: QEMU qobject/json-lexer.c, json-streamer.c, json-parser.c.
 * @module
 */
import { CommandError } from "../stream/errors.ts";

const MAX_NESTING = 1024;
const MAX_BYTES = 64 << 20;
const MAX_TOKENS = 2 << 20;
/** Digits of one number; QEMU has no such limit, and nothing it accepts is that long. */
const MAX_NUMBER = 1024;

/** A number written with a point or an exponent, or too large for 64 bits. */
export class JsonFloat {
  /** Hold it, as near as a double comes. */
  constructor(readonly value: number) {}
}

/** What a stream of JSON yields: a value, or why there is none. */
export type JsonItem = { readonly value: unknown } | { readonly error: CommandError };

type Kind = "{" | "}" | "[" | "]" | ":" | "," | "string" | "integer" | "float" | "keyword";
interface Token {
  readonly kind: Kind;
  readonly text: string;
}

const START = /[\s"'0-9{}[\],:a-z-]/;
const NUMBER = /^-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$/;
/** Every beginning of a number, so that the first character that breaks it can be named. */
const NUMBER_SO_FAR = /^-?(?:(?:0|[1-9][0-9]*)(?:\.(?:[0-9]+(?:[eE](?:[-+]?[0-9]*)?)?)?|[eE](?:[-+]?[0-9]*)?)?)?$/;

/** Reads JSON values out of text that arrives in pieces. */
export class JsonStream {
  readonly #emit: (item: JsonItem) => void;
  #tokens: Token[] = [];
  #bytes = 0;
  #depth = 0;
  #token: string[] = [];
  #state: "start" | "string" | "escape" | "number" | "keyword" | "recovery" = "start";
  #quote = "";

  /**
   * Begin with nothing read.
   * @param emit called for each value and each error, in order
   */
  constructor(emit: (item: JsonItem) => void) {
    this.#emit = emit;
  }

  /** True while a value has begun and not ended. */
  get pending(): boolean {
    return this.#tokens.length > 0 || this.#state !== "start";
  }

  /** Take the next piece of text. */
  feed(text: string): void {
    for (const char of text) {
      while (!this.#step(char));
      if (this.#token.length > MAX_BYTES) this.#finish("JSON token size limit exceeded");
    }
  }

  /** The text ends here: a value that is complete without a further character comes out, half of one is an error. */
  flush(): void {
    if (this.#state === "number" || this.#state === "keyword") this.#step("\n");
    else if (this.#state !== "start" && this.#state !== "recovery") this.#stray();
    this.#state = "start";
    if (this.#tokens.length > 0) this.#finish();
  }

  /** @returns true when the character was consumed */
  #step(char: string): boolean {
    switch (this.#state) {
      case "start":
        return this.#begin(char);
      case "string":
        if (char < " ") return this.#stray(char);
        this.#token.push(char);
        if (char === "\\") this.#state = "escape";
        else if (char === this.#quote) this.#push("string");
        return true;
      case "escape":
        if (char < " ") return this.#stray(char);
        this.#token.push(char);
        this.#state = "string";
        return true;
      case "number": {
        const longer = this.#token.join("") + char;
        if (longer.length > MAX_NUMBER) return this.#stray(char);
        if (NUMBER_SO_FAR.test(longer)) {
          this.#token.push(char);
          return true;
        }
        const whole = NUMBER.exec(this.#token.join(""));
        if (!whole || (/^-?0$/.test(whole[0]) && /[0-9]/.test(char))) return this.#stray(char);
        this.#push(whole[1] || whole[2] ? "float" : "integer");
        return false;
      }
      case "keyword":
        if (char >= "a" && char <= "z") {
          this.#token.push(char);
          return true;
        }
        this.#push("keyword");
        return false;
      case "recovery":
        if (!/[[\]{}:,]/.test(char) && (char >= " " || char === "\t")) return true;
        this.#state = "start";
        return false;
    }
  }

  #begin(char: string): boolean {
    if (char === " " || char === "\t" || char === "\r" || char === "\n") return true;
    if (!START.test(char)) return this.#stray(char);
    this.#token.push(char);
    if (char === '"' || char === "'") {
      this.#quote = char;
      this.#state = "string";
    } else if (/[0-9-]/.test(char)) this.#state = "number";
    else if (/[a-z]/.test(char)) this.#state = "keyword";
    else this.#push(char as Kind);
    return true;
  }

  #push(kind: Kind): void {
    const text = this.#token.join("");
    this.#token = [];
    this.#state = "start";
    this.#bytes += text.length;
    if (kind === "{" || kind === "[") this.#depth++;
    if (kind === "}" || kind === "]") this.#depth--;
    if (this.#bytes > MAX_BYTES) return this.#finish("JSON token size limit exceeded");
    if (this.#tokens.length >= MAX_TOKENS) return this.#finish("JSON token count limit exceeded");
    if (this.#depth > MAX_NESTING) return this.#finish("JSON nesting depth limit exceeded");
    this.#tokens.push({ kind, text });
    if (this.#depth <= 0) this.#finish();
  }

  #stray(char = ""): true {
    const text = this.#token.join("") + char;
    this.#finish(`JSON parse error, stray '${text}'`);
    this.#state = "recovery";
    return true;
  }

  #finish(error?: string): void {
    const tokens = this.#tokens;
    this.#tokens = [];
    this.#token = [];
    this.#bytes = 0;
    this.#depth = 0;
    this.#state = "start";
    if (error) return this.#emit({ error: new CommandError(error) });
    let value: unknown;
    try {
      value = new TokenReader(tokens).value();
    } catch (error) {
      if (error instanceof CommandError) return this.#emit({ error });
      throw error;
    }
    this.#emit({ value });
  }
}

function parseError(text: string): CommandError {
  return new CommandError(`JSON parse error, ${text}`);
}

/** Builds one value from its tokens. */
class TokenReader {
  #at = 0;
  constructor(private readonly tokens: readonly Token[]) {}

  value(): unknown {
    const token = this.tokens[this.#at++];
    switch (token?.kind) {
      case undefined:
        throw parseError("premature EOI");
      case "{":
        return this.#object();
      case "[":
        return this.#array();
      case "string":
        return stringOf(token.text);
      case "integer":
      case "float":
        return numberOf(token);
      case "keyword":
        if (token.text === "true") return true;
        if (token.text === "false") return false;
        if (token.text === "null") return null;
        throw parseError(`invalid keyword '${token.text}'`);
      default:
        throw parseError("expecting value");
    }
  }

  #object(): Record<string, unknown> {
    const object: Record<string, unknown> = {};
    if (this.tokens[this.#at]?.kind === "}") {
      this.#at++;
      return object;
    }
    for (;;) {
      const key = this.value();
      if (typeof key !== "string") throw parseError("key is not a string in object");
      this.#expect(":", "missing : in object pair");
      const value = this.value();
      if (Object.hasOwn(object, key)) throw parseError("duplicate key");
      // defineProperty: a member may be called __proto__
      Object.defineProperty(object, key, { value, enumerable: true, writable: true, configurable: true });
      if (this.#next("}", "expected separator in dict")) return object;
    }
  }

  #array(): unknown[] {
    const list: unknown[] = [];
    if (this.tokens[this.#at]?.kind === "]") {
      this.#at++;
      return list;
    }
    for (;;) {
      list.push(this.value());
      if (this.#next("]", "expected separator in list")) return list;
    }
  }

  /** A comma (false) or the end (true). */
  #next(end: Kind, complaint: string): boolean {
    const token = this.tokens[this.#at++];
    if (!token) throw parseError("premature EOI");
    if (token.kind === end) return true;
    if (token.kind !== ",") throw parseError(complaint);
    return false;
  }

  #expect(kind: Kind, complaint: string): void {
    const token = this.tokens[this.#at++];
    if (!token) throw parseError("premature EOI");
    if (token.kind !== kind) throw parseError(complaint);
  }
}

function numberOf(token: Token): unknown {
  if (token.kind === "float") return new JsonFloat(Number(token.text));
  const big = BigInt(token.text);
  if (big >= -(1n << 63n) && big < 1n << 64n) {
    const small = Number(big);
    return Number.isSafeInteger(small) ? small : big;
  }
  return new JsonFloat(Number(token.text));
}

const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  "'": "'",
  "\\": "\\",
  "/": "/",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
};

function stringOf(quoted: string): string {
  const body = quoted.slice(1, -1);
  if (!body.includes("\\")) return body;
  let out = "";
  for (let i = 0; i < body.length; i++) {
    if (body[i] !== "\\") {
      out += body[i];
      continue;
    }
    const letter = body[++i];
    if (letter === "u") {
      const match = /^u(?:([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|([0-9a-fA-F]{4}))/.exec(
        body.slice(i, i + 11),
      );
      const code = match?.[3] === undefined ? NaN : parseInt(match[3], 16);
      if (!match || !(match[1] || isCharacter(code))) {
        throw parseError(`${body.slice(i - 1, i + 5)} is not a valid Unicode character`);
      }
      out += match[1] ? String.fromCharCode(parseInt(match[1], 16), parseInt(match[2], 16)) : String.fromCharCode(code);
      i += match[0].length - 1;
    } else if (letter in ESCAPES) out += ESCAPES[letter];
    else throw parseError("invalid escape sequence in string");
  }
  return out;
}

function isCharacter(code: number): boolean {
  return code >= 0 && !(code >= 0xd800 && code <= 0xdfff) && !(code >= 0xfdd0 && code <= 0xfdef) && code < 0xfffe;
}

/**
 * Read exactly one JSON value.
 * @throws {CommandError} with QEMU's text
 */
export function parseJson(text: string): unknown {
  const items: JsonItem[] = [];
  const stream = new JsonStream((item) => items.push(item));
  stream.feed(text);
  stream.flush();
  const failed = items.find((item) => "error" in item);
  if (failed && "error" in failed) throw failed.error;
  if (items.length !== 1) throw parseError(items.length === 0 ? "premature EOI" : "expecting value");
  return (items[0] as { value: unknown }).value;
}

/** Write a value as QEMU's monitor does: a blank behind comma and colon, ASCII only, 64-bit integers whole. */
export function stringifyJson(value: unknown): string {
  switch (typeof value) {
    case "string":
      return JSON.stringify(value).replace(
        /[\u007f-\uffff]/g,
        (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"),
      );
    case "bigint":
    case "boolean":
    case "number":
      return Object.is(value, -0) ? "-0" : String(value);
    case "object":
      break;
    default:
      return "null";
  }
  if (value === null) return "null";
  if (value instanceof JsonFloat) return Object.is(value.value, -0) ? "-0" : String(value.value);
  if (Array.isArray(value)) return "[" + value.map(stringifyJson).join(", ") + "]";
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  return "{" + members.map(([key, member]) => `${stringifyJson(key)}: ${stringifyJson(member)}`).join(", ") + "}";
}
