/**
 * What the benchmark writes: tables and a picture, from figures.
 * @module
 */
import assert from "node:assert/strict";
import { chart } from "../../bench/chart.ts";
import { formatFormats, type FormatTable } from "../../bench/formats.ts";
import { median } from "../../bench/measure.ts";
import { formatTable } from "../../bench/table.ts";

const TABLE: FormatTable = {
  guest: "dirty",
  place: "memory",
  rows: [
    { format: "legacy", save: 410, qemuSave: 470, restore: 400, qemuRestore: 430, bytes: 1 << 30, occupied: 1 << 30 },
    { format: "a<b & c", save: 1000, restore: 500, bytes: 2 ** 31, occupied: 4096 },
  ],
};

Deno.test("formatFormats() shows seconds, and a dash where nobody is beside", () => {
  assert.equal(
    formatFormats(TABLE),
    [
      "| format  | save s | QEMU | restore s | QEMU | st_size MiB | blocks MiB |",
      "|---------|--------|------|-----------|------|-------------|------------|",
      "| legacy  | 0.41   | 0.47 | 0.40      | 0.43 | 1024        | 1024       |",
      "| a<b & c | 1.00   | -    | 0.50      | -    | 2048        | 0          |",
      "",
    ].join("\n"),
  );
});

Deno.test("chart() draws a bar for each figure, the longest as long as there is room, and escapes names", () => {
  const svg = chart(TABLE);
  const widths = [...svg.matchAll(/<rect x="250" y="\d+" width="([\d.]+)"/g)].map(([, width]) => Number(width));
  assert.equal(widths.length, 6);
  assert.equal(Math.max(...widths), widths[4]);
  assert.ok(Math.abs(widths[5] * 2 - widths[4]) < 0.2, "half the time, half as long");
  assert.match(svg, />a&lt;b &amp; c</);
  assert.match(svg, /^<svg [^>]*viewBox="0 0 860 \d+"/);
});

Deno.test("formatTable() has a ratio where somebody is beside, and median() of an even number is between", () => {
  assert.match(
    formatTable([{ what: "x", unit: "ms", ours: 50, theirs: 100, against: "QEMU" }]),
    /\| x +\| 50\.0 ms \| QEMU 100 ms \| 0\.50 /,
  );
  assert.match(formatTable([{ what: "x", unit: "MiB", ours: 50 }]), /\| 50\.0 MiB \| - +\| - /);
  assert.equal(median([4, 1, 3, 2]), 2.5);
});
