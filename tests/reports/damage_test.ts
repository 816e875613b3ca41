import assert from "node:assert/strict";
import fc from "fast-check";
import { openImage } from "../../containers/image.ts";
import { CONVERT_FORMATS, convertImage } from "../../reports/convert.ts";
import { diffImages } from "../../reports/diff.ts";
import { extractBlock } from "../../reports/extract.ts";
import { RefusedError } from "../../reports/readable.ts";
import { salvageImage } from "../../reports/salvage.ts";
import { verifyImage } from "../../reports/verify.ts";
import { MemoryFaultError, StreamError } from "../../stream/errors.ts";
import { DAMAGED_FORMATS, damages, wholeFile, withDamage } from "../damaged.ts";

/** Cases of each format; each writes files. */
const RUNS = 150;
/** A damaged file may claim much RAM; what is written of it is holes, but a disk has an end. */
const BLOCK_LIMIT = 1 << 28;

function oneLine(error: unknown): void {
  const known = [StreamError, RefusedError, MemoryFaultError].some((each) => error instanceof each);
  assert(known && !/\n|undefined|NaN/.test((error as Error).message), String(error));
}

/** Run with an empty directory, and hold that it has what the run says. */
async function inDirectory(run: (path: (name: string) => string) => Promise<readonly string[]>): Promise<void> {
  const directory = Deno.makeTempDirSync({ prefix: "miglab-damage-" });
  try {
    const made = await run((name) => `${directory}/${name}`);
    assert.deepEqual([...Deno.readDirSync(directory)].map(({ name }) => name).sort(), [...made].sort());
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

for (const format of DAMAGED_FORMATS) {
  const what = `of any cut and any flipped bytes of ${format}`;
  Deno.test(`convert, extract and diff ${what}: a whole file, or one line and no file`, async () => {
    const whole = await wholeFile(format);
    const sound = await openImage(whole.slice());
    await fc.assert(
      fc.asyncProperty(
        damages(whole.length, [sound.streamOffset]),
        fc.constantFrom(...CONVERT_FORMATS.filter((each) => each !== "raw")),
        (damage, to) =>
          inDirectory((path) =>
            withDamage(whole, damage, async (bytes) => {
              const made: string[] = [];
              try {
                await using image = await openImage(bytes);
                if (image.ram.blocks.some((block) => block.bytes > BLOCK_LIMIT)) return made;
                await attempt(async () => {
                  await convertImage(image, path("converted"), to, { xml: "<domain/>" });
                  made.push("converted");
                  await using again = await openImage(path("converted"));
                  assert(again.complete, again.fault?.message);
                });
                await attempt(async () => {
                  await extractBlock(image, image.ram.blocks[0]?.id ?? "none", path("extracted"));
                  made.push("extracted");
                  assert.equal(Deno.statSync(path("extracted")).size, image.ram.blocks[0].bytes);
                });
                await attempt(() => diffImages(image, sound));
              } catch (error) {
                oneLine(error);
              }
              return made;
            })
          ),
      ),
      { numRuns: RUNS, seed: 3 },
    );
    await sound[Symbol.asyncDispose]();
  });

  if (format === "elf") continue;
  Deno.test(`verify and salvage ${what}: a report that counts`, async () => {
    const whole = await wholeFile(format);
    await using sound = await openImage(whole);
    await fc.assert(
      fc.asyncProperty(
        damages(whole.length, [sound.streamOffset]),
        (damage) =>
          inDirectory((path) =>
            withDamage(whole, damage, async (bytes) => {
              const { ok, findings } = await verifyImage(bytes);
              assert.equal(ok, findings.every(({ severity }) => severity === "warning"));
              if (bytes.length < whole.length && !damage.flips.length) assert(findings.length > 0, "a cut is not told");
              for (const { message, offset } of findings) {
                assert.doesNotMatch(message, /\n|undefined|NaN/);
                assert(Number.isSafeInteger(offset) && offset >= 0, message);
              }
              Deno.writeFileSync(path("damaged"), bytes);
              const { ram, devices, lost, intact } = await salvageImage(path("damaged"), path("salvaged"));
              for (const { recoveredPages, lostPages, bytes, pageBytes } of ram) {
                // a flipped address leaves a page that nobody sent, and nothing to miss it by
                const pages = Math.ceil(bytes / pageBytes), counted = recoveredPages + lostPages;
                assert(counted === pages || (intact && counted < pages), `${counted} of ${pages}`);
              }
              assert(devices.every(({ bytes }) => bytes >= 0));
              for (const note of lost.notes) assert.doesNotMatch(note, /\n|undefined|NaN/);
              return ["damaged", "salvaged"];
            })
          ),
      ),
      { numRuns: RUNS / 2, seed: 3 },
    );
  });
}

async function attempt(job: () => Promise<unknown>): Promise<void> {
  try {
    await job();
  } catch (error) {
    if (error instanceof assert.AssertionError) throw error;
    oneLine(error);
  }
}
