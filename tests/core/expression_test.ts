import assert from "node:assert/strict";
import { evaluate, ExpressionError } from "../../core/expression.ts";

// values and complaints as qemu-system-x86_64 10.0.2 gives them to `print`
const VALUES: readonly (readonly [string, bigint])[] = [
  ["1+2*3", 7n],
  ["0x10", 16n],
  ["010", 8n],
  ["1|2+4", 7n],
  ["6-2&3", 4n],
  ["(6-2)&3", 0n],
  ["-5", -5n],
  ["~0", -1n],
  ["'A' + 1", 66n],
  ["18446744073709551615", -1n],
  ["-9223372036854775808/3", -3074457345618258602n],
  ["7 % 4", 3n],
  ["- - 5", 5n],
];

for (const [text, value] of VALUES) {
  Deno.test(`print ${text} is ${value}`, () => assert.equal(evaluate(text, 0).value, value));
}

const COMPLAINTS: Readonly<Record<string, string>> = {
  "": "unexpected end of expression",
  "1 +": "unexpected end of expression",
  "(1": "')' expected",
  "'": "character constant expected",
  "'a": "missing terminating ' character",
  "1/0": "division by zero",
  "5%0": "division by zero",
  "18446744073709551616": "number too large",
  "$nope": "unknown register",
  "nope": "invalid char 'n' in expression",
};

for (const [text, message] of Object.entries(COMPLAINTS)) {
  Deno.test(`print ${text} says ${message}`, () => {
    assert.throws(() => evaluate(text, 0), (error) => error instanceof ExpressionError && error.message === message);
  });
}

Deno.test("an expression ends where it no longer can go on", () => {
  assert.equal(evaluate("08", 0).end, 1);
  assert.equal(evaluate("0x", 0).end, 1);
  assert.equal(evaluate("16 file", 0).end, 3);
});

Deno.test("registers are asked for by name", () => {
  assert.equal(evaluate("$pc + 1", 0, (name) => name === "pc" ? 0xfff0n : undefined).value, 0xfff1n);
});

Deno.test("nesting has a limit", () => {
  assert.throws(() => evaluate("(".repeat(100000), 0), ExpressionError);
  assert.throws(() => evaluate("-".repeat(100000) + "1", 0), ExpressionError);
});
