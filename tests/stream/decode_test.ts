import { Buffer } from "node:buffer";
import assert from "node:assert/strict";
import { bufferSink, bufferSource } from "../../stream/channel.ts";
import { decode } from "../../stream/decode.ts";
import { encodeRecord } from "../../stream/encode.ts";
import { StreamError, TruncatedStreamError, UnsupportedError } from "../../stream/errors.ts";
import type { StreamRecord } from "../../stream/records.ts";
import { StreamWriter } from "../../stream/writer.ts";
import { loadFixture, manifest } from "../fixtures.ts";

const captures = manifest();
/** Captures whose file ends early: cancelled, killed, failed, cut connections. */
const PARTIAL = new Set(captures.filter((c) => c.group === "partial").map((c) => c.name).concat("pc-postcopy-recover"));
/** Those over a hundred megabytes unpacked are read by tests of their own. */
const small = captures.filter((c) => c.files[0].size < 32 << 20);

interface Outcome {
  records: StreamRecord[];
  error?: StreamError;
  warnings: string[];
  bytes: Uint8Array;
}

/** Decode everything, keep records without their borrowed bytes, and encode them again. */
async function roundTrip(bytes: Uint8Array, options: { sequential?: boolean; chunk?: number; start?: number } = {}) {
  const source = bufferSource(bytes, options);
  const outcome: Outcome = { records: [], warnings: [], bytes: new Uint8Array() };
  const sink = bufferSink();
  const writer = new StreamWriter(sink);
  try {
    const onWarning = (w: { text: string }) => outcome.warnings.push(w.text);
    for await (const record of decode(source, { onWarning })) {
      await encodeRecord(writer, record, source);
      outcome.records.push({ ...record });
    }
  } catch (error) {
    if (!(error instanceof StreamError)) throw error;
    outcome.error = error;
  }
  await writer.flush();
  outcome.bytes = sink.bytes();
  return outcome;
}

for (const capture of small) {
  Deno.test(`decode() then encode gives back ${capture.name}, and its records cover it`, async () => {
    const start = capture.stream_offset ?? 0;
    const bytes = await loadFixture(capture.name);
    const { records, error, bytes: again } = await roundTrip(bytes, { start });
    if (PARTIAL.has(capture.name)) assert(error instanceof TruncatedStreamError, String(error?.stack));
    else assert.equal(error?.stack, undefined);
    let at = start;
    for (const record of records) {
      assert.equal(record.offset, at, `${record.kind} begins where the record before ends`);
      at += record.length;
    }
    if (!error) assert.equal(at, bytes.length);
    assert(Buffer.from(bytes.buffer, bytes.byteOffset + start, at - start).equals(again), "bytes are the same");
    const devices = records.filter((record) => record.kind === "device");
    const expected = (capture.sections ?? []).filter((section) => section.offset < at);
    for (const section of expected) {
      const found = devices.find((d) => d.offset === section.offset);
      assert(found, `${section.name} at ${section.offset}`);
      assert.deepEqual(
        [found.idstr, found.instanceId, found.versionId, found.length],
        [section.name, section.instance, section.version, section.size],
      );
    }
    if (capture.sections) assert.equal(devices.length, expected.length);
  });

  if (capture.group === "mapped-ram" || capture.files[0].size > 2 << 20) continue;
  Deno.test(`decode() reads ${capture.name} from a pipe, in pieces`, async () => {
    const start = capture.stream_offset ?? 0;
    const bytes = await loadFixture(capture.name);
    const whole = await roundTrip(bytes, { start });
    const piped = await roundTrip(bytes.subarray(start), { sequential: true, chunk: 4093 });
    assert.equal(piped.error?.name, whole.error?.name);
    if (!whole.error) assert(Buffer.from(bytes.buffer, bytes.byteOffset + start).equals(piped.bytes));
    const bounds = (o: Outcome, less: number) =>
      o.records.filter((r) => r.kind === "device").map((r) => [r.idstr, r.offset - less, r.length]);
    assert.deepEqual(bounds(piped, 0), bounds(whole, start));
  });
}

Deno.test("decode() names the feature of channels it cannot read alone", async () => {
  for (const [name, feature] of [["pc-multifd-2.ch0", "multifd"], ["pc-postcopy-recover.main1", "postcopy recovery"]]) {
    const { error } = await roundTrip(await loadFixture(name));
    assert(error instanceof UnsupportedError);
    assert.equal(error.feature, feature);
  }
});
