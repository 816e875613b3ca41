import assert from "node:assert/strict";
import fc from "fast-check";
import { type Image, openImage } from "../../containers/image.ts";
import { StreamError } from "../../stream/errors.ts";
import { DAMAGED_FORMATS, damages, wholeFile, withDamage } from "../damaged.ts";

/** Cases of each format. */
const RUNS = 1000;
/** A place of RAM takes no more. */
const PIECE = 1 << 13;
/** Kinds of content a damaged file may claim before a test has seen enough. */
const PLACES = 200;

/** Look at everything an image offers; only what the file does not hold may be refused. */
async function lookAtAll(image: Image): Promise<void> {
  for (const { text } of image.warnings) assert.doesNotMatch(text, /\n|undefined|NaN/);
  for (const device of image.devices) {
    device.fields;
    assert.doesNotMatch(device.problem ?? "", /\n|undefined|NaN/);
  }
  await image.ram.prepare();
  const piece = new Uint8Array(PIECE);
  for (const block of image.ram.blocks) {
    const { bytes, pageBytes, normalPages, zeroPages } = block;
    assert.equal(normalPages + zeroPages, Math.ceil(bytes / pageBytes));
    for (let at = 0, places = 0; at < bytes && places < PLACES; places++) {
      const run = image.ram.run(block, at);
      assert(run !== 0 && at + Math.abs(run) <= bytes);
      refusable(() => image.ram.readRange(block, at, piece.subarray(0, Math.min(PIECE, bytes - at))));
      at += Math.abs(run);
    }
  }
}

function refusable(look: () => void): void {
  try {
    look();
  } catch (error) {
    oneLine(error);
  }
}

function oneLine(error: unknown): void {
  assert(error instanceof StreamError, String(error));
  assert.match(error.message, /at offset 0x[0-9a-f]+ in "[^"\n]+": [^\n]+$/);
  assert.doesNotMatch(error.message, /undefined|NaN/);
}

for (const format of DAMAGED_FORMATS) {
  Deno.test(`openImage() of any cut and any flipped bytes of ${format}: an image, or one line`, async () => {
    const whole = await wholeFile(format);
    await using sound = await openImage(whole);
    assert(sound.complete && sound.warnings.length === 0);
    await lookAtAll(sound);
    const places = [sound.streamOffset, ...sound.sections.map(({ headerOffset }) => headerOffset)];
    await fc.assert(
      fc.asyncProperty(damages(whole.length, places.slice(0, 40)), async (damage) => {
        await withDamage(whole, damage, async (bytes) => {
          try {
            await using image = await openImage(bytes);
            // a flipped length may hide a cut
            const cut = bytes.length < whole.length && damage.flips.length === 0;
            if (cut) assert(!image.complete || image.warnings.length > 0, "a cut is not told");
            await lookAtAll(image);
          } catch (error) {
            oneLine(error);
          }
        });
      }),
      { numRuns: RUNS, seed: 3 },
    );
    await using again = await openImage(whole);
    assert.deepEqual([again.complete, again.warnings], [true, []]);
  });
}
