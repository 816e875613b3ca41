import assert from "node:assert/strict";
import { openImage } from "../../containers/image.ts";
import { xbzrle } from "../../plugins/xbzrle.ts";
import { StreamError } from "../../stream/errors.ts";
import { badManifest, type BadVariant, fixturePath } from "../fixtures.ts";

/** Rejected by a QEMU that waits with a machine of its own; the file alone gives no reason to doubt it. */
const NEEDS_A_MACHINE: Record<string, string> = {
  "legacy-machine-other": "another machine's name",
  "legacy-capability-not-set": "a good stream",
  "mapped-capability-not-set": "a good stream",
  "legacy-equal-field-differs": "a number that differs from the destination's",
};
/** Each is opened within a second on an idle machine; this is for a busy one. */
const LIMIT_MS = 10_000;
/** What is wrong is in a multifd channel, the main one is good: opening says that pages are elsewhere. */
const inChannels = ({ name }: BadVariant) => name.startsWith("multifd-");

for (const variant of badManifest()) {
  const { name, what } = variant;
  Deno.test(`openImage() of bad/${name}: ${what}`, async () => {
    const begin = performance.now();
    let said: string[];
    let fault: StreamError | undefined;
    try {
      await using image = await openImage(await fixturePath(`bad/${name}`), { tables: xbzrle.tables! });
      fault = image.fault;
      said = image.warnings.map(({ text }) => text).concat(fault ? [fault.message] : []);
      for (const device of image.devices) if (device.problem && image.description) said.push(device.problem);
      assert.equal(image.complete && fault !== undefined, false);
      for (const block of image.ram.blocks) {
        assert.equal(block.normalPages + block.zeroPages, Math.ceil(block.bytes / block.pageBytes), block.id);
      }
    } catch (error) {
      if (!(error instanceof StreamError)) throw error;
      fault = error;
      said = [error.message];
    }
    assert(performance.now() - begin < LIMIT_MS, "took too long");
    for (const text of said) assert.doesNotMatch(text, /\n|^\s*at |undefined|NaN/);
    if (fault) assert.match(fault.message, /at offset 0x[0-9a-f]+ in "main": /);
    const { verdict } = variant.qemu;
    if (verdict === "rejected" && NEEDS_A_MACHINE[name]) {
      assert.deepEqual(said.filter((t) => !/x-ignore-shared/.test(t)), []);
    } else if (verdict === "rejected" && !inChannels(variant)) assert(fault, said.join());
    else if (inChannels(variant)) assert(said.some((text) => /multifd/.test(text)));
    else if (verdict === "crashed") assert(fault);
  });
}

Deno.test("what a real QEMU loads in spite of being wrong is doubted where the file shows it", async () => {
  const shown: Record<string, RegExp> = {
    "legacy-truncated-vmdesc": /description/,
    "legacy-vmdesc-length-huge": /description/,
    "legacy-vmdesc-not-json": /description/,
    "legacy-section-removed": /description/,
    "legacy-section-twice": /only once|again/,
    "legacy-end-mark-early": /description|0x6/,
    "legacy-trailing-garbage": /behind the end/,
    "legacy-block-twice": /again/,
    "mapped-page-size-8k": /page size/,
    "mapped-page-size-1k": /page size/,
    "mapped-bitmap-offset-elsewhere": /bitmap offset/,
  };
  for (const [name, expected] of Object.entries(shown)) {
    await using image = await openImage(await fixturePath(`bad/${name}`));
    const said = [...image.warnings.map(({ text }) => text), image.fault?.message ?? ""].join("; ");
    assert.match(said, expected, name);
  }
});

Deno.test("a fault keeps what was decoded before it", async () => {
  await using cut = await openImage(await fixturePath("bad/legacy-truncated-between-sections"));
  assert(cut.fault && !cut.complete);
  assert(cut.ram.blocks.length > 0 && cut.devices.length > 0);
  assert(cut.sections.length > cut.devices.length);
  await using pages = await openImage(await fixturePath("bad/mapped-multifd-truncated-pages"));
  assert(pages.fault);
  const [block] = pages.ram.blocks;
  assert(block.normalPages > 0);
  assert((await pages.ram.readPage(block, 0)).length === block.pageBytes);
  let at = block.bytes - block.pageBytes;
  while (pages.ram.run(block, at) < 0) at -= block.pageBytes;
  await assert.rejects(pages.ram.readPage(block, at), /Cannot read pages of RAM block .* before the end/);
});
