import assert from "node:assert/strict";
import { JsonFloat } from "../../core/json.ts";
import { array, BOOL, check, enumeration, INT, object, type Schema, STRING, UINT64 } from "../../core/schema.ts";

const refuses = (schema: Schema, value: unknown, message: string) =>
  assert.throws(() => check(schema, value), { name: "CommandError", message });

Deno.test("members are asked for in the schema's order, unknown ones last", () => {
  const shape = object({ a: STRING, "*b": BOOL });
  assert.deepEqual(check(shape, { b: true, a: "x" }), { a: "x", b: true });
  refuses(shape, { x: 1 }, "Parameter 'a' is missing");
  refuses(shape, { a: "x", b: 1, x: 1 }, "Invalid parameter type for 'b', expected: boolean");
  refuses(shape, { a: "x", x: 1 }, "Parameter 'x' is unexpected");
});

Deno.test("paths are spelled out, but not for words of an enumeration", () => {
  const shape = object({ list: array(object({ kind: enumeration(["a"]), on: BOOL })) });
  refuses(shape, { list: [{ kind: "a" }] }, "Parameter 'list[0].on' is missing");
  refuses(shape, { list: [{ kind: "z", on: true }] }, "Parameter 'kind' does not accept value 'z'");
  refuses(shape, { list: [{ kind: 1, on: true }] }, "Invalid parameter type for 'list[0].kind', expected: string");
  refuses(object({ words: array(enumeration(["a"])) }), { words: ["z"] }, "Parameter 'null' does not accept value 'z'");
});

Deno.test("integers wrap as QEMU's do", () => {
  const shape = object({ n: UINT64 });
  assert.deepEqual(check(shape, { n: -1 }), { n: 18446744073709551615n });
  assert.deepEqual(check(shape, { n: 5n }), { n: 5 });
  refuses(shape, { n: new JsonFloat(1) }, "Parameter 'n' expects uint64");
  refuses(shape, { n: 1.5 }, "Parameter 'n' expects uint64");
  refuses(object({ n: { type: "uint8" } }), { n: 256 }, "Parameter 'n' expects uint8_t");
  refuses(object({ n: INT }), { n: 2n ** 63n }, "Invalid parameter type for 'n', expected: integer");
});

Deno.test("a union's members follow from its discriminator", () => {
  const shape: Schema = {
    type: "union",
    discriminator: "kind",
    variants: { file: object({ path: STRING }), none: object() },
  };
  assert.deepEqual(check(shape, { kind: "file", path: "/x" }), { kind: "file", path: "/x" });
  refuses(shape, {}, "Parameter 'kind' is missing");
  refuses(shape, { kind: "none", path: "/x" }, "Parameter 'path' is unexpected");
});
