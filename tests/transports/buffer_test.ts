import assert from "node:assert/strict";
import fc from "fast-check";
import { bufferBytes, bufferTransport, dropBuffer, setBuffer } from "../../transports/buffer.ts";
import { conformance, pattern, readAll, recordingContext } from "./conformance.ts";

let serial = 0;

conformance({
  transport: bufferTransport,
  stored: true,
  rest: fc.string(),
  open(_dir, context) {
    const address = bufferTransport.parse(`test ${serial++}`);
    const writer = bufferTransport.connect(address, context);
    return Promise.resolve({
      writer: writer as Awaited<typeof writer>,
      reader: () => bufferTransport.listen(address, context).accept(),
    });
  },
  skip: {
    "abort wakes a reader": "reading memory never waits",
    "abort wakes a writer": "writing memory never waits",
  },
});

Deno.test("buffer: the same name is the same bytes", async () => {
  const context = recordingContext();
  const address = bufferTransport.parse("shared");
  assert.throws(() => bufferTransport.listen(address, context), {
    message: "Could not open buffer 'shared': No such file or directory",
  });
  setBuffer("shared", pattern(3_000_000));
  const reader = await bufferTransport.listen(address, context).accept();
  assert.deepEqual(await readAll(reader), pattern(3_000_000));
  const writer = await bufferTransport.connect(address, context);
  assert.deepEqual(bufferBytes("shared"), new Uint8Array(0), "a source empties it");
  await writer.write!(pattern(10, 2));
  assert.deepEqual(bufferBytes("shared"), pattern(10, 2));
  dropBuffer("shared");
  assert.equal(bufferBytes("shared"), undefined);
});

Deno.test("buffer: a hole of a tebibyte reads as zero and costs nothing", async () => {
  const context = recordingContext();
  const address = bufferTransport.parse("sparse");
  const writer = await bufferTransport.connect(address, context);
  writer.writeAt!(pattern(100), 2 ** 40);
  const reader = await bufferTransport.listen(address, context).accept();
  assert.equal(reader.size!(), 2 ** 40 + 100);
  const view = pattern(200);
  assert.equal(reader.readAt!(view, 2 ** 40 - 50), 150);
  assert.deepEqual(view.subarray(0, 50), new Uint8Array(50));
  assert.deepEqual(view.subarray(50, 150), pattern(100));
  writer.truncate!(2 ** 40 + 10);
  writer.truncate!(2 ** 40 + 100);
  assert.equal(reader.readAt!(view, 2 ** 40), 100);
  assert.deepEqual(view.subarray(0, 10), pattern(10));
  assert.deepEqual(view.subarray(10, 100), new Uint8Array(90), "what was cut away does not come back");
  dropBuffer("sparse");
});
