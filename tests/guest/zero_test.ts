import assert from "node:assert/strict";
import { RamBlock, SEGMENT, SLOT } from "../../guest/memory.ts";
import { isZero, scanBlock, ZeroScanner } from "../../guest/zero.ts";

const shared = (bytes: number) =>
  new WebAssembly.Memory({ initial: bytes / 65536, maximum: bytes / 65536, shared: true });

Deno.test("ZeroScanner finds one set byte at every place of a page", () => {
  const memory = shared(65536);
  const bytes = new Uint8Array(memory.buffer as ArrayBuffer);
  const scanner = ZeroScanner.of(memory);
  for (let at = 0; at < 4096; at++) {
    bytes[4096 + at] = 0x80;
    assert.equal(scanner.scan(0, 3, 4096), 1);
    assert.deepEqual([...scanner.flags.subarray(0, 3)], [0, 1, 0]);
    bytes[4096 + at] = 0;
  }
  assert.equal(scanner.scan(0, 16, 4096), 0);
});

for (const pageSize of [1024, 4096, 8192, 16384, 65536]) {
  Deno.test(`ZeroScanner agrees with a plain loop on random pages of ${pageSize} bytes`, () => {
    const memory = shared(1 << 22);
    const bytes = new Uint8Array(memory.buffer as ArrayBuffer);
    let state = 12345 + pageSize;
    const next = () => (state = Math.imul(state, 1103515245) + 12345 >>> 0) >>> 8;
    const pages = (1 << 22) / pageSize;
    for (let page = 0; page < pages; page++) {
      if (next() % 3) bytes[page * pageSize + next() % pageSize] = 1 + next() % 255;
    }
    const expected = Array.from({ length: pages - 2 }, (_, i) => {
      const at = (i + 2) * pageSize;
      return bytes.subarray(at, at + pageSize).some((b) => b !== 0) ? 1 : 0;
    });
    const scanner = ZeroScanner.of(memory);
    const found = scanner.scan(2 * pageSize, pages - 2, pageSize);
    assert.deepEqual([...scanner.flags.subarray(0, pages - 2)], expected);
    assert.equal(found, expected.filter(Boolean).length);
  });
}

Deno.test("ZeroScanner keeps one instance per memory and leaves the memory as it was", () => {
  const memory = shared(65536);
  const bytes = new Uint8Array(memory.buffer as ArrayBuffer);
  for (let i = 0; i < bytes.length; i++) bytes[i] = i * 7;
  const before = bytes.slice();
  assert.equal(ZeroScanner.of(memory), ZeroScanner.of(memory));
  assert.equal(ZeroScanner.of(memory).scan(0, 16, 4096), 16);
  assert.deepEqual(bytes.slice(), before);
});

Deno.test("ZeroScanner refuses a range outside the memory instead of trapping", () => {
  const scanner = ZeroScanner.of(shared(65536));
  assert.throws(() => scanner.scan(4096, 16, 4096), RangeError);
  assert.throws(() => scanner.scan(-4096, 1, 4096), RangeError);
  assert.throws(() => scanner.scan(0, 65537, 128), RangeError);
  assert.throws(() => scanner.scan(0, 1, 100), RangeError);
  assert.throws(() => scanner.scan(0, NaN, 4096), RangeError);
});

Deno.test("scanBlock() answers for untouched slots without making memory, and crosses segments", () => {
  const block = new RamBlock({ idstr: "m", usedLength: 2 * SEGMENT });
  const flags = new Uint8Array(1024).fill(9);
  assert.equal(scanBlock(block, 0, 1024, 4096, flags), 0);
  assert.deepEqual(flags, new Uint8Array(1024));
  assert.deepEqual(block.segments, [null, null]);
  block.writable(SEGMENT - 4096, 4096)[4095] = 1;
  block.writable(SEGMENT, 4096)[0] = 1;
  block.writable(SEGMENT + SLOT, 4096).fill(0);
  assert.equal(scanBlock(block, SEGMENT - SLOT, 1024, 4096, flags), 2);
  assert.deepEqual([flags[254], flags[255], flags[256], flags[257], flags[512]], [0, 1, 1, 0, 0]);
  assert.throws(() => scanBlock(block, SEGMENT, 512 * 1024, 4096, flags), RangeError);
  block.release();
});

Deno.test("isZero() sees the last byte of bytes of any length", () => {
  for (const length of [0, 1, 7, 1024, 4096, 65535, 65536, 65537, 200_000]) {
    const bytes = new Uint8Array(length);
    assert.equal(isZero(bytes), true);
    if (length === 0) continue;
    bytes[length - 1] = 1;
    assert.equal(isZero(bytes), false);
  }
});

Deno.test("ZeroScanner works in a Worker on the same memory", async () => {
  const memory = shared(65536);
  new Uint8Array(memory.buffer as ArrayBuffer)[5000] = 1;
  const source = `import { ZeroScanner } from ${JSON.stringify(new URL("../../guest/zero.ts", import.meta.url).href)};
    onmessage = ({ data }) => {
      const scanner = ZeroScanner.of(data);
      postMessage([scanner.scan(0, 4, 4096), ...scanner.flags.subarray(0, 4)]);
    };
    postMessage("ready");`;
  const worker = new Worker("data:application/javascript," + encodeURIComponent(source), { type: "module" });
  try {
    const answer = await new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => data === "ready" ? worker.postMessage(memory) : resolve(data);
      worker.onerror = (event) => {
        event.preventDefault();
        reject(new Error(event.message));
      };
    });
    assert.deepEqual(answer, [1, 0, 1, 0, 0]);
  } finally {
    worker.terminate();
  }
});
