import assert from "node:assert/strict";
import { bufferSource, type ByteSource } from "../../stream/channel.ts";
import { findVmdescription } from "../../stream/vmdesc.ts";
import { badManifest, fixtureFile, fixturePath, loadFixture, manifest } from "../fixtures.ts";

const JSON_TEXT = '{"page_size": 4096, "devices": []}';

/** EOF, type, length and text of a record, with bytes around it. */
function record(text: string, options: { before?: Uint8Array; after?: Uint8Array; length?: number } = {}): Uint8Array {
  const before = options.before ?? new Uint8Array(8);
  const after = options.after ?? new Uint8Array(0);
  const json = new TextEncoder().encode(text);
  const bytes = new Uint8Array(before.length + 6 + json.length + after.length);
  bytes.set(before);
  bytes[before.length + 1] = 6;
  new DataView(bytes.buffer).setUint32(before.length + 2, options.length ?? json.length);
  bytes.set(json, before.length + 6);
  bytes.set(after, before.length + 6 + json.length);
  return bytes;
}

Deno.test("findVmdescription() finds every capture's record, and none where there is none", async () => {
  for (const capture of manifest()) {
    if (fixtureFile(capture.name).size > 64e6) continue;
    const vmdesc = capture.ops?.find((op: { op: string }) => op.op === "vmdesc");
    const found = findVmdescription(await loadFixture(capture.name), capture.stream_offset);
    assert.deepEqual(found && [found.offset, found.length], vmdesc && [vmdesc.offset, vmdesc.len], capture.name);
  }
});

Deno.test("findVmdescription() reads only the tail of a file that can seek", async () => {
  const path = await fixturePath("pc-mapped-over-4g");
  using file = Deno.openSync(path);
  const size = file.statSync().size;
  let read = 0;
  const source: ByteSource = {
    name: "main",
    read: () => 0,
    readAt(view, position) {
      file.seekSync(position, Deno.SeekMode.Start);
      read += view.length;
      return file.readSync(view) ?? 0;
    },
    size: () => size,
  };
  const vmdesc = manifest().find((each) => each.name === "pc-mapped-over-4g")!.ops.at(-1);
  assert.equal(findVmdescription(source)?.offset, vmdesc.offset);
  assert.ok(read < 4 * 1024 * 1024, `${read} bytes read`);
});

Deno.test("findVmdescription() judges the corrupted variants as they are", async () => {
  const whole: Record<string, boolean> = {
    "legacy-trailing-garbage": true,
    "legacy-truncated-vmdesc": false,
    "legacy-vmdesc-length-huge": false,
    "legacy-vmdesc-not-json": false,
  };
  for (const [name, expected] of Object.entries(whole)) {
    assert.ok(badManifest().some((variant) => variant.name === name));
    assert.equal(findVmdescription(await loadFixture(`bad/${name}`)) !== undefined, expected, name);
  }
});

Deno.test("findVmdescription() is not misled by a brace in the length", () => {
  for (const length of [0x7b, 0x227b, 0x7b7b, 0x7b22]) {
    const text = '{"page_size": 4096, "devices": [], "pad": "' + "x".repeat(length - 45) + '"}';
    assert.equal(text.length, length);
    assert.deepEqual(findVmdescription(record(text)), { offset: 9, length, text });
  }
});

Deno.test("findVmdescription() finds a record on either side of every chunk border", () => {
  const chunk = 1024 * 1024;
  for (const tail of [chunk - 40, chunk - 35, chunk - 34, chunk - 33, chunk - 1, chunk, chunk + 1, 2 * chunk + 3]) {
    const bytes = record(JSON_TEXT, { after: new Uint8Array(tail).fill(0x7b) });
    assert.equal(findVmdescription(bytes)?.offset, 9, `${tail}`);
    assert.equal(
      findVmdescription(record(JSON_TEXT, { before: new Uint8Array(0), after: new Uint8Array(tail) }))?.offset,
      1,
    );
  }
});

Deno.test("findVmdescription() takes the last record at or after `from`", () => {
  const first = record(JSON_TEXT);
  const both = record(JSON_TEXT, { before: first });
  assert.equal(findVmdescription(both)?.offset, first.length + 1);
  assert.equal(findVmdescription(both, first.length)?.offset, first.length + 1);
  assert.equal(findVmdescription(both, first.length + 1), undefined);
  assert.equal(findVmdescription(first, first.length + 10), undefined);
});

Deno.test("findVmdescription() refuses a record without EOF before it, too long, cut, or of another shape", () => {
  const noEof = record(JSON_TEXT);
  noEof[8] = 1;
  assert.equal(findVmdescription(noEof), undefined);
  assert.equal(findVmdescription(record(JSON_TEXT, { length: JSON_TEXT.length + 1 })), undefined);
  assert.equal(findVmdescription(record(JSON_TEXT, { length: 0xffffffff })), undefined);
  assert.equal(findVmdescription(record(JSON_TEXT, { length: JSON_TEXT.length - 1 })), undefined);
  assert.equal(findVmdescription(record('{"page_size": 4096}')), undefined);
  assert.equal(findVmdescription(record('{"devices": {}}')), undefined);
  const bytes = record(JSON_TEXT);
  for (let cut = 0; cut < bytes.length; cut++) assert.equal(findVmdescription(bytes.subarray(0, cut)), undefined);
});

Deno.test("findVmdescription() gives up after a few false records", () => {
  const one = record('{"not JSON}');
  const bytes = new Uint8Array(one.length * 100_000 + 64);
  for (let i = 0; i < 100_000; i++) bytes.set(one, i * one.length);
  const begun = performance.now();
  assert.equal(findVmdescription(bytes), undefined);
  assert.ok(performance.now() - begun < 20_000);
});

Deno.test("findVmdescription() has nothing to say about a source that cannot seek", () => {
  assert.equal(findVmdescription(bufferSource(record(JSON_TEXT), { sequential: true })), undefined);
});
