import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { bufferSource } from "../../stream/channel.ts";
import { decode } from "../../stream/decode.ts";
import { StreamError, TruncatedStreamError } from "../../stream/errors.ts";
import { StreamReader } from "../../stream/reader.ts";
import { loadFixture } from "../fixtures.ts";

/** Decode to the end; the error, and where the last record before it ends. */
async function drain(bytes: Uint8Array, options: { sequential?: boolean; chunk?: number } = {}) {
  const kinds = new Map<string, number>();
  let end = 0;
  try {
    for await (const record of decode(bufferSource(bytes, options))) {
      assert.equal(record.offset, end, "records are contiguous");
      assert(record.length >= 0);
      end += record.length;
      kinds.set(record.kind, (kinds.get(record.kind) ?? 0) + (record.kind === "ram-pages" ? record.count : 1));
    }
    return { end, kinds };
  } catch (error) {
    return { end, kinds, error };
  }
}

/** Offsets worth cutting at: around every record's borders, and everywhere in the first half KiB. */
async function borders(bytes: Uint8Array): Promise<number[]> {
  const cuts = new Set<number>(Array.from({ length: 512 }, (_, i) => i));
  for await (const record of decode(bufferSource(bytes))) {
    for (let by = -3; by <= 9; by++) cuts.add(record.offset + by);
  }
  return [...cuts].filter((cut) => cut >= 0 && cut < bytes.length);
}

const isapc = await loadFixture("isapc-file");
const whole = await drain(isapc);
/** Behind the EOF byte a stream without its description is whole too: suppress-vmdesc=on writes it so. */
const behindEof = await eofOffset();

async function eofOffset(): Promise<number> {
  for await (const record of decode(bufferSource(isapc))) if (record.kind === "eof") return record.offset + 1;
  throw new Error("the capture has no end mark");
}

Deno.test("decode() finds the same records one byte at a time", async () => {
  assert.equal(whole.error, undefined);
  for (const options of [{ chunk: 1 }, { chunk: 1, sequential: true }, { chunk: 7, sequential: true }]) {
    const { error, kinds } = await drain(isapc, options);
    assert.equal(error, undefined);
    assert.deepEqual(kinds, whole.kinds);
  }
});

Deno.test("decode() says so at every cut, and never reads past it", async () => {
  for (const cut of await borders(isapc)) {
    if (cut === behindEof) continue;
    for (const sequential of [false, true]) {
      const { error, end } = await drain(isapc.subarray(0, cut), { sequential });
      assert(error instanceof TruncatedStreamError, `cut at ${cut}: ${error}`);
      assert(error.offset <= cut && end <= cut);
      assert.doesNotMatch(error.message, /\n/);
      assert.match(error.message, /at offset 0x[0-9a-f]+ in "main"/);
    }
  }
});

Deno.test("decode() of any cut is an error", async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: isapc.length - 1 }), async (cut) => {
      fc.pre(cut !== behindEof);
      const { error } = await drain(isapc.subarray(0, cut));
      assert(error instanceof TruncatedStreamError, String(error));
    }),
    { numRuns: 300 },
  );
});

/** Everything but the pages of a capture: flips there change content, not structure. */
async function structure(bytes: Uint8Array): Promise<[number, number][]> {
  const ranges: [number, number][] = [];
  for await (const record of decode(bufferSource(bytes))) {
    if (record.kind !== "mapped-pages" && record.kind !== "opaque") ranges.push([record.offset, record.length]);
  }
  return ranges;
}

for (
  const name of [
    "isapc-file",
    "q35-dirty-bitmaps",
    "pc-postcopy",
    "aarch64-virt-file",
    "pc-mapped-many-blocks",
    "pc-xbzrle",
  ]
) {
  Deno.test(`decode() of ${name} with flipped bytes gives records or one line`, async () => {
    const original = await loadFixture(name);
    const ranges = (await structure(original)).filter(([, length]) => length < 1 << 16);
    const bytes = original.slice();
    await fc.assert(
      fc.asyncProperty(
        fc.nat(ranges.length - 1),
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        fc.boolean(),
        async (which, where, xor, sequential) => {
          const [offset, length] = ranges[which];
          const at = offset + where % length;
          bytes[at] ^= xor;
          try {
            const started = performance.now();
            const { error } = await drain(bytes, { sequential });
            assert(performance.now() - started < 10_000);
            if (error === undefined) return;
            assert(error instanceof StreamError, String((error as Error).stack));
            assert.doesNotMatch(error.message, /\n|undefined|NaN|\[object/);
          } finally {
            bytes[at] ^= xor;
          }
        },
      ),
      { numRuns: ({ "isapc-file": 400, "q35-dirty-bitmaps": 8 } as Record<string, number>)[name] ?? 40 },
    );
    assert(Buffer.from(bytes.buffer).equals(Buffer.from(original.buffer)));
  });
}

Deno.test("decode() of noise behind a good header is one line", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), fc.nat(200), async (noise, keep) => {
      const bytes = new Uint8Array(keep + noise.length);
      bytes.set(isapc.subarray(0, keep));
      bytes.set(noise, keep);
      const { error, kinds } = await drain(bytes);
      if (error === undefined) assert(kinds.has("eof"), "noise may begin with a byte that ends a stream");
      else assert(error instanceof StreamError, String((error as Error)?.stack));
    }),
    { numRuns: 500 },
  );
});

Deno.test("a reader that is asked for one byte more each time does not read, nor move, byte by byte", async () => {
  const bytes = new Uint8Array(5 << 20);
  const inner = bufferSource(bytes, { sequential: true });
  let reads = 0;
  const reader = new StreamReader({ name: "main", read: (view) => (reads++, inner.read(view)) });
  const seen = new Set<Uint8Array>();
  while (await reader.ensure(reader.available + 1)) seen.add(reader.buf);
  assert.equal(reader.available, bytes.length);
  assert(reads < 40, `${reads} reads`);
  assert(seen.size < 10, `${seen.size} buffers`);
  assert(reader.buf.length < 16 << 20);
});
