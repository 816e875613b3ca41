/**
 * A guest of nothing but zeros has no page with data in its stream, and is whole all the same.
 * @module
 */
import assert from "node:assert/strict";
import { openImage, verifyImage, Workbench } from "../../mod.ts";

Deno.test("all of RAM is zero: no multifd channel is missed", async () => {
  const directory = Deno.makeTempDirSync({ prefix: "miglab-zero-" });
  try {
    await using bench = await Workbench.open({ ram: "2M", content: "zero", stopped: true });
    for (const block of bench.session.guest.memory.blocks) block.release();
    await bench.migrate(`file:${directory}/saved`);
    await using image = await openImage(`${directory}/saved`);
    assert.equal(image.ram.blocks.reduce((sum, { normalPages }) => sum + normalPages, 0), 0);
    assert.equal(image.stream.ramFormat, "stream");
    assert.deepEqual(image.warnings, []);
    assert.deepEqual(await image.ram.readPage("pc.ram", 0x3000), new Uint8Array(4096));
    const { findings } = await verifyImage(`${directory}/saved`);
    assert.deepEqual(findings, []);
    await using again = await Workbench.open({ guest: `${directory}/saved` });
    assert.equal(again.session.guest.memory.totalBytes, bench.session.guest.memory.totalBytes);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});
