import assert from "node:assert/strict";
import { MAX_RAM, parseRamSize, parseSize } from "../../guest/size.ts";

Deno.test("parseSize() reads what QEMU reads", () => {
  const sizes: [string, number][] = [
    ["0", 0],
    ["4096b", 4096],
    ["1k", 1024],
    ["256M", 256 << 20],
    ["1.5g", 1.5 * 2 ** 30],
    [".5K", 512],
    ["0x7c00", 0x7c00],
    ["0x10k", 0x4000],
    ["2T", 2 * 2 ** 40],
    [" 1M", 1 << 20],
    ["0x1b", 0x1b], // not one byte: b is a digit here
  ];
  for (const [text, bytes] of sizes) assert.equal(parseSize(text), bytes, text);
  assert.equal(parseSize("3", "M"), 3 << 20);
});

Deno.test("parseSize() refuses what is no size", () => {
  for (const text of ["", "M", "-1", "1MB", "1.5", "1.5b", "1 M", "0x", "1e3", "nan", "8P8", "9000P", "1..5k"]) {
    assert.throws(() => parseSize(text), RangeError, text);
  }
});

Deno.test("parseRamSize() counts MiB, rounds up to 8 KiB and has limits", () => {
  assert.equal(parseRamSize("64"), 64 << 20);
  assert.equal(parseRamSize("1048577b"), (1 << 20) + 8192);
  assert.equal(parseRamSize("1.004M"), 1056768);
  assert.equal(parseRamSize("64G"), MAX_RAM);
  for (const text of ["0", "1023k", "65537", "64.001G", "1T"]) {
    assert.throws(() => parseRamSize(text), /expected between 1 MiB and 64 GiB$/, text);
  }
});
