import assert from "node:assert/strict";
import fc from "fast-check";
import { StreamError } from "../../stream/errors.ts";
import { JsonObject, type JsonValue, parseJson } from "../../stream/vmjson.ts";

/** As `JSON.parse` would have it: the last of repeated keys. */
function plain(value: JsonValue): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (!(value instanceof JsonObject)) return value;
  return Object.fromEntries(value.keys.map((key, at) => [key, plain(value.values[at])]));
}

Deno.test("parseJson() agrees with JSON.parse on any value", () => {
  fc.assert(fc.property(fc.jsonValue(), fc.constantFrom(undefined, 1), (value, indent) => {
    const text = JSON.stringify(value, null, indent);
    assert.equal(JSON.stringify(plain(parseJson(text))), JSON.stringify(JSON.parse(text)));
  }));
});

Deno.test("parseJson() refuses what JSON.parse refuses, with the offset", () => {
  const texts = [
    "",
    "{",
    "[1,]",
    '{"a":1,}',
    '{"a" 1}',
    "01",
    "1.",
    "-",
    "+1",
    "tru",
    "nul",
    '"a',
    '"\\x"',
    '"\\u12g4"',
  ];
  for (const text of [...texts, '"\n"', "[1 2]", "{1:2}", "[]]", "\u00a01", "NaN", "'a'", '{"a":1', '{"a"']) {
    assert.throws(() => JSON.parse(text), SyntaxError);
    assert.throws(() => parseJson(text), StreamError, text);
  }
  assert.throws(() => parseJson('{"a": [1, x]}', { channel: "main", offset: 0x100 }), {
    name: "StreamError",
    offset: 0x10a,
    message: 'Cannot parse VMDESCRIPTION at offset 0x10a in "main": "x]}", expected a value',
  });
});

Deno.test("parseJson() refuses what JSON.parse refuses when one character of a text is lost or changed", () => {
  const text = '{"name": "a\\u0041\\n", "size": -12.5e+3, "list": [true, false, null, {}, []]}';
  for (let at = 0; at < text.length; at++) {
    for (const changed of [text.slice(0, at) + text.slice(at + 1), text.slice(0, at) + "}" + text.slice(at + 1)]) {
      let expected: unknown;
      try {
        expected = JSON.parse(changed);
      } catch {
        assert.throws(() => parseJson(changed), StreamError, changed);
        continue;
      }
      assert.deepEqual(plain(parseJson(changed)), expected, changed);
    }
  }
});

Deno.test("parseJson() keeps repeated keys in order, and where each object stands", () => {
  const text = ' {"a": 1, "b": {"c": 2}, "a": 3} ';
  const object = parseJson(text);
  assert.ok(object instanceof JsonObject);
  assert.deepEqual(object.keys, ["a", "b", "a"]);
  assert.equal(object.get("a"), 3);
  assert.equal(object.get("z"), undefined);
  assert.equal(text.slice(object.start, object.end), text.trim());
  const inner = object.get("b") as JsonObject;
  assert.equal(text.slice(inner.start, inner.end), '{"c": 2}');
});

Deno.test("parseJson() bounds depth and number of values", () => {
  const deep = (n: number) => "[".repeat(n) + "]".repeat(n);
  assert.ok(Array.isArray(parseJson(deep(200))));
  assert.throws(() => parseJson(deep(201)), /nesting of at most 200/);
  assert.throws(() => parseJson("[".repeat(1_000_000)), /nesting of at most 200/);
  assert.throws(() => parseJson("[" + "0,".repeat(1 << 22) + "0]"), /at most 4194304 values/);
});
