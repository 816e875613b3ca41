import assert from "node:assert/strict";
import fc from "fast-check";
import { JsonFloat, type JsonItem, JsonStream, parseJson, stringifyJson } from "../../core/json.ts";

/** Everything a text yields, fed in pieces of that many characters. */
function read(text: string, chunk = text.length || 1): unknown[] {
  const items: unknown[] = [];
  const stream = new JsonStream((item: JsonItem) => items.push("error" in item ? item.error.message : item.value));
  for (let i = 0; i < text.length; i += chunk) stream.feed(text.slice(i, i + chunk));
  stream.flush();
  return items;
}

Deno.test("integers of 64 bits stay whole, fractions stay fractions", () => {
  assert.deepEqual(
    parseJson("[1, -1, 9007199254740993, 18446744073709551615, -9223372036854775808]"),
    [1, -1, 9007199254740993n, 18446744073709551615n, -9223372036854775808n],
  );
  for (const text of ["1.0", "1e3", "18446744073709551616", "-9223372036854775809"]) {
    assert(parseJson(text) instanceof JsonFloat, text);
  }
});

Deno.test("values may follow each other without line ends, in single quotes too", () => {
  assert.deepEqual(read(`{'a':'it\\'s "b"'}[1]"x"`), [{ a: `it's "b"` }, [1], "x"]);
});

Deno.test("errors have QEMU's words", () => {
  // each as qemu-system-x86_64 10.0.2 answers it on a QMP socket
  const said: Record<string, string> = {
    "garbage\n": "JSON parse error, invalid keyword 'garbage'",
    '{"a":1,"a":2}': "JSON parse error, duplicate key",
    '{"a" 1}': "JSON parse error, missing : in object pair",
    "{1:2}": "JSON parse error, key is not a string in object",
    '{"a":1 "b":2}': "JSON parse error, expected separator in dict",
    "[1 2]": "JSON parse error, expected separator in list",
    '{"a":}': "JSON parse error, expecting value",
    '"\\x"': "JSON parse error, invalid escape sequence in string",
    '"\\ud800"': "JSON parse error, \\ud800 is not a valid Unicode character",
  };
  for (const [text, message] of Object.entries(said)) assert.equal(read(text)[0], message, text);
});

Deno.test("after an error reading goes on behind the next control character", () => {
  assert.deepEqual(read("@@@\n{}\n"), ["JSON parse error, stray '@'", {}]);
});

Deno.test("nesting has a limit", () => {
  assert.equal(read("[".repeat(1025))[0], "JSON nesting depth limit exceeded");
  assert.equal(read("[".repeat(1024) + "]".repeat(1024)).length, 1);
});

Deno.test("a number without end is refused soon", () => {
  const started = performance.now();
  assert.match(String(read("1".repeat(1 << 20))[0]), /^JSON parse error, stray/);
  assert(performance.now() - started < 20_000);
});

Deno.test("__proto__ is a member like any other", () => {
  const value = parseJson('{"__proto__": {"x": 1}}') as Record<string, unknown>;
  assert(Object.hasOwn(value, "__proto__"));
  assert.equal((value as { x?: number }).x, undefined);
});

Deno.test("stringifyJson() writes as the monitor does", () => {
  assert.equal(
    stringifyJson({ a: [1, 2n ** 64n - 1n, true, null], b: "é\n", c: undefined, d: new JsonFloat(1.5) }),
    '{"a": [1, 18446744073709551615, true, null], "b": "\\u00e9\\n", "d": 1.5}',
  );
});

Deno.test("what is written is read back, in pieces of any size", () => {
  fc.assert(fc.property(fc.jsonValue({ noUnicodeString: true }), fc.integer({ min: 1, max: 7 }), (value, chunk) => {
    const whole = JSON.parse(
      JSON.stringify(value),
      (_, v) => typeof v === "number" && !Number.isSafeInteger(v) ? null : v,
    );
    const [got] = read(stringifyJson(whole) + "\n", chunk);
    assert.equal(stringifyJson(got), stringifyJson(whole));
  }));
});

Deno.test("no text makes the reader throw", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
    read(text, 3);
  }));
});
