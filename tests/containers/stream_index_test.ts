import assert from "node:assert/strict";
import { indexStream } from "../../containers/stream_index.ts";
import { openImage } from "../../containers/image.ts";
import { xbzrle } from "../../plugins/xbzrle.ts";
import { inspectImage } from "../../reports/inspect.ts";
import { inspectText } from "../../reports/inspect_text.ts";
import { bufferSink, bufferSource } from "../../stream/channel.ts";
import { StreamError } from "../../stream/errors.ts";
import { StreamWriter } from "../../stream/writer.ts";
import { loadFixture } from "../fixtures.ts";

const tables = xbzrle.tables!;
let random = 7;
const next = (below: number) => (random = (random * 48271) % 0x7fffffff) % below;

for (const name of ["isapc-file", "pc-no-footers"]) {
  Deno.test(`a stream cut anywhere gives a fault and keeps what was there: ${name}`, async () => {
    const bytes = await loadFixture(name);
    const whole = await indexStream(bufferSource(bytes));
    let furthest = 0;
    for (let cut = 9; cut < bytes.length; cut += 1 + next(4000)) {
      const index = await indexStream(bufferSource(bytes.subarray(0, cut))).catch((error: Error) => error);
      if (index instanceof Error) {
        assert(index instanceof StreamError && cut < 40, `cut at ${cut}: ${index.stack}`);
        continue;
      }
      // without footers and description nobody can say where devices end
      const onePiece = index.warnings.some(({ text }) => /one piece/.test(text));
      assert(index.fault instanceof StreamError || (onePiece && !index.complete), `cut at ${cut}`);
      assert(index.sections.length <= whole.sections.length);
      assert(index.end <= cut);
      furthest = Math.max(furthest, index.end);
    }
    assert(furthest > bytes.length * 0.9, `${furthest}`);
  });
}

Deno.test("flipped bits give faults or other values, never anything else", async () => {
  for (const name of ["isapc-file", "q35-xbzrle-small-cache"]) {
    const whole = await loadFixture(name);
    for (let round = 0; round < 60; round++) {
      const bytes = whole.slice();
      for (let i = 0; i < 1 + round % 4; i++) {
        const at = round % 2 ? next(bytes.length) : round % 4 ? bytes.length - 1 - next(40_000) : next(600);
        bytes[at] ^= 1 << next(8);
      }
      try {
        await using image = await openImage(bytes, { tables });
        const report = await inspectImage(image, { pages: true });
        assert(inspectText(image, report).length > 0);
        for (const block of image.ram.blocks) if (block.bytes > 0) await image.ram.readPage(block, 0);
      } catch (error) {
        assert(error instanceof StreamError, (error as Error).stack);
      }
    }
  }
});

/** A stream with one block of `length` bytes and one page of it. */
async function oneBlock(length: number, pageOffset: number): Promise<Uint8Array> {
  const sink = bufferSink();
  const writer = new StreamWriter(sink);
  await writer.room(1024);
  writer.u32(0x5145564d);
  writer.u32(3);
  writer.u8(7);
  writer.u32(2);
  writer.latin1("pc");
  writer.u8(1);
  writer.u32(1);
  writer.str8("ram");
  writer.u32(0);
  writer.u32(4);
  writer.u64(length + 4);
  writer.str8("pc.ram");
  writer.u64(length);
  writer.u64(0x10);
  writer.u8(0x7e);
  writer.u32(1);
  writer.u8(3);
  writer.u32(1);
  writer.u64(pageOffset + 8);
  writer.str8("pc.ram");
  await writer.room(8192);
  writer.bytes(new Uint8Array(4096).fill(9));
  writer.u64(0x10);
  writer.u8(0x7e);
  writer.u32(1);
  writer.u8(0);
  await writer.flush();
  return sink.bytes();
}

Deno.test("a block of a petabyte is reported at once; it is not hashed", async () => {
  const length = 2 ** 50;
  const begin = performance.now();
  await using image = await openImage(await oneBlock(length, 2 ** 49));
  assert.equal(image.fault, undefined);
  const [block] = image.ram.blocks;
  assert.deepEqual([block.bytes, block.normalPages, block.missingPages], [length, 1, length / 4096 - 1]);
  assert.equal((await image.ram.readPage("pc.ram", 2 ** 49 + 4095))[4095], 9);
  const report = await inspectImage(image, { pages: true, hash: true });
  assert.deepEqual(report.ram.blocks[0].pages, [[2 ** 49 / 4096, 1]]);
  assert.equal(report.ram.blocks[0].sha256, undefined);
  assert(report.stream.warnings.some((text) => /pc.ram is not hashed/.test(text)));
  assert.match(inspectText(image, report), /1024 TiB +\[\.{12}:\.{11}\]/);
  assert(performance.now() - begin < 20_000);
});
