import assert from "node:assert/strict";
import fc from "fast-check";
import { StreamWriter } from "../../stream/writer.ts";
import { exchangeInto, PIECES, type PieceWriter, WriteAtOnce, WriteBehind } from "../../threads/write_behind.ts";

const SIZE = 4096;

/** Both writers over one file each; what is asserted holds for both. */
async function both(body: (open: () => PieceWriter, bytes: () => Uint8Array) => Promise<void>): Promise<void> {
  const path = Deno.makeTempFileSync({ prefix: "miglab-pieces-" });
  try {
    await body(() => new WriteBehind(path, SIZE, (error) => error), () => Deno.readFileSync(path));
    Deno.truncateSync(path);
    using file = Deno.openSync(path, { write: true });
    const write = (view: Uint8Array, position: number) => {
      file.seekSync(position, Deno.SeekMode.Start);
      for (let done = 0; done < view.length;) done += file.writeSync(view.subarray(done));
    };
    await body(() => new WriteAtOnce(write, SIZE), () => Deno.readFileSync(path));
  } finally {
    Deno.removeSync(path);
  }
}

Deno.test("pieces land where they were listed for, in the order they were handed over", async () => {
  const rounds = fc.array(
    fc.array(fc.record({ at: fc.nat(SIZE - 1), length: fc.nat(300), position: fc.nat(20_000) }), { maxLength: 5 }),
    { minLength: 1, maxLength: 12 },
  );
  await fc.assert(
    fc.asyncProperty(rounds, async (rounds) => {
      await both(async (open, bytes) => {
        const expected = new Uint8Array(bytes().length + 21_000);
        expected.set(bytes());
        let end = bytes().length;
        using pieces = open();
        for (const [round, list] of rounds.entries()) {
          const { buffer } = pieces;
          for (let i = 0; i < SIZE; i++) buffer[i] = i * 7 + round;
          for (const { at, length, position } of list) {
            const part = buffer.slice(at, Math.min(SIZE, at + length));
            pieces.list(at, part.length, position);
            expected.set(part, position);
            if (part.length > 0) end = Math.max(end, position + part.length);
          }
          await pieces.next();
        }
        await pieces.drain();
        assert.deepEqual(bytes(), expected.subarray(0, end));
      });
    }),
    { numRuns: 20 },
  );
});

Deno.test("a buffer takes as many pieces as it may have", async () => {
  await both(async (open, bytes) => {
    using pieces = open();
    pieces.buffer.fill(9);
    for (let i = 0; i < PIECES; i++) pieces.list(i, 1, i * 2);
    await pieces.drain();
    assert.equal(bytes().filter((byte) => byte === 9).length, PIECES);
    assert.equal(bytes().length, PIECES * 2 - 1);
  });
});

Deno.test("exchangeInto() carries a stream from its start on", async () => {
  await both(async (open, bytes) => {
    using pieces = open();
    const writer = new StreamWriter({ name: "main", start: 3, exchange: exchangeInto(pieces, 3), write() {} });
    for (let i = 0; i < 10_000; i++) {
      await writer.room(4);
      writer.u32(i);
    }
    await writer.flush();
    await pieces.drain();
    const view = new DataView(bytes().buffer);
    assert.equal(view.byteLength, 3 + 40_000);
    for (let i = 0; i < 10_000; i++) assert.equal(view.getUint32(3 + i * 4), i);
  });
});

Deno.test("WriteBehind says why it cannot write, with the system's code", async () => {
  const failed = (error: Error) => new Error(`no: ${(error as NodeJS.ErrnoException).code}`);
  for (const [path, code] of [["/dev/full", "ENOSPC"], ["/nonexistent/file", "ENOENT"]]) {
    using pieces = new WriteBehind(path, SIZE, failed);
    pieces.list(0, SIZE, 0);
    await assert.rejects(pieces.drain(), { message: `no: ${code}` });
  }
});
