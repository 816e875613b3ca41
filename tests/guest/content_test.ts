import assert from "node:assert/strict";
import { type Content, fillContent, parseContent, PATTERN_MARKER } from "../../guest/content.ts";
import { RamBlock } from "../../guest/memory.ts";
import { scanBlock } from "../../guest/zero.ts";

Deno.test("parseContent() reads every form", () => {
  const forms: [string, Content][] = [
    ["zero", { kind: "zero" }],
    ["pattern", { kind: "pattern" }],
    ["pattern:1M", { kind: "pattern", bytes: 1 << 20 }],
    ["pattern:at=0x100000,bytes=8k", { kind: "pattern", at: 0x100000, bytes: 8192 }],
    ["random", { kind: "random" }],
    ["random:1G", { kind: "random", bytes: 2 ** 30 }],
    ["random=50%", { kind: "random", percent: 50 }],
    ["random:seed=7,bytes=1G", { kind: "random", seed: 7n, bytes: 2 ** 30 }],
    ["random:seed=0xffffffffffffffff,percent=3", { kind: "random", seed: 2n ** 64n - 1n, percent: 3 }],
    ["file:a@b.img@0x7c00", { kind: "file", path: "a@b.img", address: 0x7c00 }],
  ];
  for (const [text, content] of forms) assert.deepEqual(parseContent(text), content, text);
});

Deno.test("parseContent() refuses the rest in one line", () => {
  const wrong = [
    "",
    "pattern5",
    "noise",
    "toString",
    "zero:1M",
    "pattern:seed=1",
    "pattern:50%",
    "random:101%",
    "random:percent=-1",
    "random:seed=x",
    "random:at=5",
    "random:bytes=",
    "random:__proto__=1",
    "file:a",
    "file:@0",
    "file:a@",
    "file=a@0",
  ];
  for (const text of wrong) {
    assert.throws(
      () => parseContent(text),
      (error) => error instanceof RangeError && !error.message.includes("\n"),
      text,
    );
  }
});

Deno.test("fillContent() pattern: marker, page number, zeros", () => {
  const block = new RamBlock({ idstr: "pc.ram", usedLength: 4 << 20 });
  fillContent(block, { kind: "pattern", at: 1 << 20, bytes: 5000 });
  const flags = new Uint8Array(1024);
  assert.equal(scanBlock(block, 0, 1024, 4096, flags), 2);
  assert.deepEqual([flags[255], flags[256], flags[257], flags[258]], [0, 1, 1, 0]);
  const page = block.view(257 * 4096, 4096)!;
  const view = new DataView(page.buffer, page.byteOffset);
  assert.equal(view.getBigUint64(0, true), PATTERN_MARKER);
  assert.equal(String.fromCharCode(...page.subarray(0, 8)), "MIGLABpg");
  assert.equal(view.getBigUint64(8, true), 257n);
  assert.equal(page.subarray(16).some(Boolean), false);
  block.release();
});

Deno.test("fillContent() random: the share of pages asked for, spread, and the same each time", () => {
  const flags = new Uint8Array(1024);
  for (const percent of [0, 1, 33, 50, 99, 100]) {
    const block = new RamBlock({ idstr: "pc.ram", usedLength: 4 << 20 });
    fillContent(block, { kind: "random", seed: 5n, percent });
    assert.equal(scanBlock(block, 0, 1024, 4096, flags), Math.floor(1024 * percent / 100), `${percent} %`);
    if (percent === 50) assert.deepEqual([...flags.subarray(0, 6)], [0, 1, 0, 1, 0, 1]);
    block.release();
  }
  const [a, b] = [50, 100].map((percent) => {
    const block = new RamBlock({ idstr: "pc.ram", usedLength: 1 << 20 });
    fillContent(block, { kind: "random", seed: 9n, percent });
    const page = block.view(4096, 4096)!.slice();
    block.release();
    return page;
  });
  assert.deepEqual(a, b);
});

Deno.test("fillContent() zero touches nothing; what does not fit is refused", () => {
  const block = new RamBlock({ idstr: "pc.ram", usedLength: 1 << 20 });
  fillContent(block, { kind: "zero" });
  assert.deepEqual(block.segments, [null]);
  for (const content of [{ bytes: (1 << 20) + 1 }, { at: 1 << 21 }, { at: 4096, bytes: 1 << 20 }]) {
    assert.throws(() => fillContent(block, { kind: "random", ...content }), /the block has 0x100000 bytes$/);
  }
  fillContent(block, { kind: "pattern", at: 1 << 20, bytes: 0 });
  assert.deepEqual(block.segments, [null]);
});
