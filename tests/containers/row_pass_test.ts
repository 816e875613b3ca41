/**
 * Rows of page records are passed over without being decoded: what is found must be what the decoder finds.
 * @module
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { fileSource } from "../../containers/file_source.ts";
import { indexStream } from "../../containers/stream_index.ts";
import { bufferSource } from "../../stream/channel.ts";
import { StreamDecoder } from "../../stream/decode.ts";
import { StreamError } from "../../stream/errors.ts";
import { zeroRow } from "../../stream/page_row.ts";
import { RecordHeads } from "../../threads/record_heads.ts";

const PAGE = 4096, PAGES = 6_000;
const ZERO = 0x02, DATA = 0x08, CONTINUE = 0x20;
/** First page in hex 0xfffff000 and beyond: words whose high half changes in the middle of a row. */
const FIRST = 0xff000;

interface Run {
  readonly first: number;
  readonly count: number;
  readonly data: boolean;
}

/** A stream of one block, its pages in runs; and where its records begin. */
function streamOf(runs: readonly Run[]): { bytes: Uint8Array<ArrayBuffer>; records: number[] } {
  const records: number[] = [];
  const text = (value: string) => [...new TextEncoder().encode(value)];
  const u32 = (value: number) => [value >>> 24, value >>> 16 & 255, value >>> 8 & 255, value & 255];
  const u64 = (value: number) => [...u32(Math.floor(value / 2 ** 32)), ...u32(value % 2 ** 32)];
  const length = (FIRST + PAGES) * PAGE;
  const block = [6, ...text("pc.ram")];
  const footer = [0x7e, ...u32(1)];
  const front = [
    ...[...text("QEVM"), ...u32(3), 7, ...u32(2), ...text("pc")],
    ...[1, ...u32(1), 3, ...text("ram"), ...u32(0), ...u32(4)],
    ...[...u64(length + 4), ...block, ...u64(length), ...u64(0x10), ...footer],
    ...[2, ...u32(1)],
  ];
  const total = runs.reduce((sum, { count, data }) => sum + count * (data ? 8 + PAGE : 9), 0);
  const bytes = new Uint8Array(front.length + total + 7 + 30);
  bytes.set(front);
  let at = front.length;
  for (const { first, count, data } of runs) {
    for (let i = 0; i < count; i++) {
      const named = records.length > 0;
      records.push(at);
      bytes.set(u64((FIRST + first + i) * PAGE + (data ? DATA : ZERO) + (named ? CONTINUE : 0)), at);
      at += 8;
      if (!named) {
        bytes.set(block, at);
        at += block.length;
      }
      if (data) bytes[at + 1 + i % 4000] = 1 + i % 255;
      at += data ? PAGE : 1;
    }
  }
  bytes.set([...u64(0x10), ...footer, 0], at);
  return { bytes: bytes.subarray(0, at + 14), records };
}

/** What the decoder alone finds: where each page's last copy is, 0 for zero; and the first fault. */
async function decoded(bytes: Uint8Array<ArrayBuffer>) {
  const pages = new Map<number, number>();
  try {
    for await (const record of new StreamDecoder(bufferSource(bytes)).records()) {
      if (record.kind !== "ram-pages") continue;
      const { count, pageOffset, dataAt, flags, offset } = record;
      for (let i = 0; i < count; i++) pages.set(pageOffset[i] / PAGE, flags[i] & DATA ? offset + dataAt[i] : 0);
    }
  } catch (error) {
    assert.ok(error instanceof StreamError);
    return { pages, fault: error.message };
  }
  return { pages, fault: undefined };
}

async function agree(bytes: Uint8Array<ArrayBuffer>, path: string): Promise<void> {
  Deno.writeFileSync(path, bytes);
  const expected = await decoded(bytes);
  const source = fileSource(path);
  try {
    const { blocks: [block], fault, lastPage } = await indexStream(source);
    assert.equal(fault?.message, expected.fault);
    const { pages } = block;
    assert.equal(pages.sentPages, expected.pages.size);
    assert.equal(pages.normalPages, [...expected.pages.values()].filter((at) => at > 0).length);
    for (const [page, at] of expected.pages) assert.ok(pages.isSent(page) && pages.code(page) === at, `page ${page}`);
    const last = [...expected.pages.keys()].length > 0;
    assert.equal(lastPage !== undefined, last);
  } finally {
    source.close();
  }
}

const run = fc.record({
  first: fc.integer({ min: 0, max: PAGES - 1 }),
  count: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 100, max: 3_000 })),
  data: fc.boolean(),
}).map(({ first, count, data }) => ({ first, count: Math.min(count, PAGES - first), data }));

Deno.test("passing over rows finds what decoding each record finds, in whole, cut and damaged streams", async () => {
  const path = Deno.makeTempFileSync({ prefix: "miglab-rows-" });
  // enough data for a file that is worth it, whatever follows
  const long = { first: 0, count: 4_200, data: true };
  try {
    await fc.assert(
      fc.asyncProperty(
        fc.array(run, { minLength: 1, maxLength: 6 }),
        fc.nat(),
        fc.nat(),
        fc.integer({ min: 0, max: 8 }),
        async (runs, cut, flip, byte) => {
          const { bytes, records } = streamOf([long, ...runs]);
          await agree(bytes, path);
          await agree(bytes.slice(0, records[40] + cut % (bytes.length - records[40])), path);
          const damaged = bytes.slice();
          damaged[records[1 + flip % (records.length - 1)] + byte] ^= 1 << flip % 8;
          await agree(damaged, path);
        },
      ),
      { numRuns: 12, seed: 5 },
    );
  } finally {
    Deno.removeSync(path);
  }
});

Deno.test("zeroRow() counts what is there, up to the end of the bytes, the block or the row", () => {
  const { bytes, records } = streamOf([{ first: 0, count: 100, data: false }]);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const at = records[1], offset = (FIRST + 1) * PAGE;
  assert.equal(zeroRow(view, at, bytes.length, offset, 1_000, PAGE), 99);
  assert.equal(zeroRow(view, at, bytes.length, offset, 5, PAGE), 5);
  assert.equal(zeroRow(view, at, at + 26, offset, 99, PAGE), 2);
  assert.equal(zeroRow(view, at, bytes.length, offset + PAGE, 99, PAGE), 0);
  bytes[records[50] + 8] = 1; // a byte other than 0 is an error, and the decoder's to tell
  assert.equal(zeroRow(view, at, bytes.length, offset, 99, PAGE), 49);
});

Deno.test("heads are counted up to the first that is another, also while the file is open for writing", () => {
  const path = Deno.makeTempFileSync({ prefix: "miglab-heads-" });
  try {
    const { bytes, records } = streamOf([{ first: 0, count: 5_000, data: true }]);
    for (const wrong of [undefined, 1, 2, 700, 1_900, 1_901]) {
      const changed = bytes.slice();
      if (wrong !== undefined) changed[records[wrong] + 7] = 0;
      Deno.writeFileSync(path, changed);
      for (const written of [false, true]) {
        using _writer = written ? Deno.openSync(path, { write: true }) : undefined;
        const source = fileSource(path);
        using heads = RecordHeads.over(source.fd!);
        assert.ok(heads);
        let good = 0;
        for (let more = -1; more !== 0; good += more) {
          more = heads.count((FIRST + 1 + good) * PAGE, 9_000, PAGE, records[1] + good * (8 + PAGE));
        }
        assert.equal(good, (wrong ?? 5_000) - 1);
        source.close();
      }
    }
  } finally {
    Deno.removeSync(path);
  }
});
