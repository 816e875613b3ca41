/**
 * JSON that keeps what `JSON.parse` drops: repeated keys, and where in the text an object stands.
 *
 * QEMU writes the elements of a qtailq, qlist or gtree one after another into one object, so that
 * `vmsd_name`, `version` and `fields` repeat (migration/vmstate-types.c put_qtailq). Otherwise plain RFC 8259;
 * the text is hostile, so depth and number of values are bounded.
 * @module
 */
import { StreamError } from "./errors.ts";

/** Deepest nesting; QEMU's own descriptions stay below 20. */
const DEPTH_LIMIT = 200;
/** Most values in one text; a large machine's description has some 50 000. */
const VALUE_LIMIT = 1 << 22;

/** Any JSON value. Numbers are doubles: whoever reads one checks that it is a safe integer. */
export type JsonValue = string | number | boolean | null | JsonValue[] | JsonObject;

/** An object's members in text order, repeated keys included. */
export class JsonObject {
  readonly keys: string[] = [];
  readonly values: JsonValue[] = [];
  /** Index in the text of its `{`. */
  readonly start: number;
  /** Index in the text just after its `}`. */
  end: number;

  constructor(start: number) {
    this.start = start;
    this.end = start;
  }

  /** Value of the last member named `key`, as `JSON.parse` would have it; undefined when there is none. */
  get(key: string): JsonValue | undefined {
    const at = this.keys.lastIndexOf(key);
    return at < 0 ? undefined : this.values[at];
  }
}

/** Where the text came from, for errors. */
export interface JsonOrigin {
  /** Default "vmdescription". */
  readonly channel?: string;
  /** Offset in the channel of the text's first byte; default 0. */
  readonly offset?: number;
}

/**
 * Parse one JSON value that takes all of `text`, blanks around it allowed.
 * @throws {StreamError} with the offset at which the text stops being JSON, or passes a limit
 */
export function parseJson(text: string, origin: JsonOrigin = {}): JsonValue {
  return new JsonParser(text, origin).parse();
}

const QUOTE = 0x22, BACKSLASH = 0x5c;
const PLAIN_ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  "\\": "\\",
  "/": "/",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
};
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?/y;

class JsonParser {
  #at = 0;
  #depth = 0;
  #count = 0;
  readonly #text: string;
  readonly #origin: JsonOrigin;

  constructor(text: string, origin: JsonOrigin) {
    this.#text = text;
    this.#origin = origin;
  }

  parse(): JsonValue {
    const value = this.#value();
    this.#blanks();
    if (this.#at < this.#text.length) this.#fail("the end of the text");
    return value;
  }

  #value(): JsonValue {
    this.#blanks();
    if (++this.#count > VALUE_LIMIT) this.#fail(`at most ${VALUE_LIMIT} values`);
    switch (this.#text.charCodeAt(this.#at)) {
      case 0x7b:
        return this.#object();
      case 0x5b:
        return this.#array();
      case QUOTE:
        return this.#string();
      case 0x74:
        return this.#word("true", true);
      case 0x66:
        return this.#word("false", false);
      case 0x6e:
        return this.#word("null", null);
      default:
        return this.#number();
    }
  }

  #object(): JsonObject {
    this.#enter();
    const object = new JsonObject(this.#at++);
    this.#blanks();
    if (!this.#accept(0x7d)) {
      do {
        this.#blanks();
        object.keys.push(this.#string());
        this.#blanks();
        if (!this.#accept(0x3a)) this.#fail('":"');
        object.values.push(this.#value());
        this.#blanks();
      } while (this.#accept(0x2c));
      if (!this.#accept(0x7d)) this.#fail('"," or "}"');
    }
    object.end = this.#at;
    this.#depth--;
    return object;
  }

  #array(): JsonValue[] {
    this.#enter();
    this.#at++;
    const array: JsonValue[] = [];
    this.#blanks();
    if (!this.#accept(0x5d)) {
      do {
        array.push(this.#value());
        this.#blanks();
      } while (this.#accept(0x2c));
      if (!this.#accept(0x5d)) this.#fail('"," or "]"');
    }
    this.#depth--;
    return array;
  }

  #string(): string {
    const text = this.#text;
    if (text.charCodeAt(this.#at) !== QUOTE) this.#fail("a string");
    let from = ++this.#at;
    let value = "";
    for (;;) {
      const code = text.charCodeAt(this.#at);
      if (code === QUOTE) {
        const rest = text.slice(from, this.#at++);
        return value === "" ? rest : value + rest;
      }
      if (code === BACKSLASH) {
        value += text.slice(from, this.#at) + this.#escape();
        from = this.#at;
      } else if (code >= 0x20) {
        this.#at++;
      } else { // a control character, or NaN: the end of the text
        this.#fail("the rest of a string");
      }
    }
  }

  #escape(): string {
    const letter = this.#text[this.#at + 1];
    if (letter === "u") {
      const digits = this.#text.slice(this.#at + 2, this.#at + 6);
      if (!/^[0-9a-fA-F]{4}$/.test(digits)) this.#fail("four hex digits");
      this.#at += 6;
      return String.fromCharCode(parseInt(digits, 16));
    }
    const plain = letter === undefined ? undefined : PLAIN_ESCAPES[letter];
    if (plain === undefined) this.#fail("an escape sequence");
    this.#at += 2;
    return plain;
  }

  #number(): number {
    NUMBER.lastIndex = this.#at;
    const found = NUMBER.exec(this.#text);
    if (!found) this.#fail("a value");
    this.#at += found[0].length;
    return Number(found[0]);
  }

  #word<T extends boolean | null>(word: string, value: T): T {
    if (!this.#text.startsWith(word, this.#at)) this.#fail("a value");
    this.#at += word.length;
    return value;
  }

  #enter(): void {
    if (++this.#depth > DEPTH_LIMIT) this.#fail(`nesting of at most ${DEPTH_LIMIT}`);
  }

  #accept(code: number): boolean {
    if (this.#text.charCodeAt(this.#at) !== code) return false;
    this.#at++;
    return true;
  }

  #blanks(): void {
    for (;;) {
      const code = this.#text.charCodeAt(this.#at);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
      this.#at++;
    }
  }

  #fail(expected: string): never {
    const rest = this.#text.slice(this.#at, this.#at + 16);
    throw new StreamError("Cannot parse VMDESCRIPTION", {
      channel: this.#origin.channel ?? "vmdescription",
      offset: (this.#origin.offset ?? 0) + this.#at,
      found: rest === "" ? "the end of the text" : JSON.stringify(rest),
      expected,
    });
  }
}
