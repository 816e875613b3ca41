import assert from "node:assert/strict";
import { gunzipSync } from "node:zlib";
import fc from "fast-check";
import { strtosz } from "../../core/strtosz.ts";

const SIZES = [
  "announce-initial",
  "announce-max",
  "announce-rounds",
  "announce-step",
  "downtime-limit",
  "xbzrle-cache-size",
  "max-postcopy-bandwidth",
  "x-vcpu-dirty-limit-period",
  "vcpu-dirty-limit",
];
const MIB = ["max-bandwidth", "avail-switchover-bandwidth"];

interface Row {
  readonly name: string;
  readonly text: string;
  readonly out: string;
  /** Digits in the row, undamaged by JSON numbers. */
  readonly value: bigint | undefined;
}

/** The HMP rows of the parameters that are read as sizes, captured from QEMU 10.0.2. */
function rows(): Row[] {
  const path = new URL("../fixtures/monitor/params_table.json.gz", import.meta.url);
  const text = gunzipSync(Deno.readFileSync(path)).toString();
  const found: Row[] = [];
  for (const line of text.split("\n")) {
    if (!line.startsWith('{"hmp": ')) continue;
    const row = JSON.parse(line.replace(/,$/, "")) as { hmp: string; out: string };
    const match = /^migrate_set_parameter (\S+) (?:"([^"\\]*)"|(\S+))$/.exec(row.hmp);
    if (!match) continue;
    const digits = /"qmp_value": (\d+)\}/.exec(line)?.[1];
    found.push({
      name: match[1],
      text: match[2] ?? match[3],
      out: row.out,
      value: digits === undefined ? undefined : BigInt(digits),
    });
  }
  return found;
}

Deno.test("strtosz() agrees with every size-typed row QEMU answered", () => {
  let seen = 0;
  for (const row of rows().filter((row) => SIZES.includes(row.name))) {
    const result = strtosz(row.text);
    const label = `${row.name} ${row.text}`;
    if (row.out === "") assert.deepEqual(result, { ok: true, value: row.value }, label);
    else if (/expects a non-negative number below/.test(row.out)) {
      assert.deepEqual(result, { ok: false, error: "EINVAL" }, label);
    } else if (/is out of range for parameter/.test(row.out)) {
      assert.deepEqual(result, { ok: false, error: "ERANGE" }, label);
    } else assert.equal(result.ok, true, label); // a range check of the parameter spoke
    seen++;
  }
  assert.ok(seen > 200, `only ${seen} rows`);
});

Deno.test("strtosz() agrees with every mebibyte row QEMU answered", () => {
  let seen = 0;
  for (const row of rows().filter((row) => MIB.includes(row.name))) {
    const result = strtosz(row.text, "M");
    const accepted = result.ok && result.value < 1n << 63n;
    assert.equal(accepted, row.out === "", `${row.name} ${row.text}: ${row.out}`);
    if (accepted) assert.equal(result.value, row.value, row.text);
    seen++;
  }
  assert.ok(seen > 40, `only ${seen} rows`);
});

Deno.test("strtosz() tells malformed from out of range", () => {
  const bad = ["", "abc", "1.5", "1.5b", "1M,offset=2M", "1Mx", "0x", "0x10k", "0x1.8", "00x10", "-1x", "16Ex", "1e3"];
  const far = [
    "-1",
    "-0",
    "-.5",
    "16E",
    "99999999999999999999",
    "0x10000000000000000",
    " -5",
    "15.9999999999999999999e",
  ];
  for (const text of bad) assert.deepEqual(strtosz(text), { ok: false, error: "EINVAL" }, text);
  for (const text of far) assert.deepEqual(strtosz(text), { ok: false, error: "ERANGE" }, text);
});

Deno.test("strtosz() reads fractions, letters, hexadecimal and blanks", () => {
  const good: [string, bigint][] = [
    ["1.5k", 1536n],
    [".5k", 512n],
    ["1.", 1n],
    ["1.k", 1024n],
    ["0.0", 0n],
    ["+.5m", 524288n],
    [" \t+010", 10n],
    ["0x1b", 27n],
    ["0X7fEE", 0x7feen],
    ["7e", 7n << 60n],
    ["18446744073709551615", (1n << 64n) - 1n],
    ["0.00048828125k", 1n], // exactly half a byte
    ["0.0004k", 0n],
    ["1.99999999999999999999k", 2048n],
  ];
  for (const [text, value] of good) assert.deepEqual(strtosz(text), { ok: true, value }, text);
});

Deno.test("strtosz() reads back every number with every letter", () => {
  fc.assert(fc.property(fc.bigInt(0n, (1n << 64n) - 1n), fc.constantFrom(..."bBkKmMgGtTpPeE", ""), (n, letter) => {
    const value = n << BigInt(10 * Math.max(0, "BKMGTPE".indexOf(letter.toUpperCase() || "B")));
    const result = strtosz(`${n}${letter}`);
    assert.deepEqual(result, value < 1n << 64n ? { ok: true, value } : { ok: false, error: "ERANGE" });
  }));
});
