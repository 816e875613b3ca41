/**
 * Streams without a configuration, which nothing announces as mapped-ram: the block list shows it.
 * @module
 */
import assert from "node:assert/strict";
import { openImage, Workbench } from "../../mod.ts";
import { fixturePath } from "../fixtures.ts";

Deno.test("a mapped-ram file without a configuration is read as one", async () => {
  const directory = Deno.makeTempDirSync({ prefix: "miglab-unconfigured-" });
  try {
    const original = await fixturePath("pc-no-configuration");
    const path = `${directory}/mapped`;
    {
      await using bench = await Workbench.open({ guest: original });
      await bench.setCapability("mapped-ram", true);
      await bench.migrate(`file:${path}`);
    }
    await using plain = await openImage(original);
    await using mapped = await openImage(path);
    assert.equal(plain.stream.ramFormat, "stream");
    assert.equal(mapped.stream.ramFormat, "mapped-ram");
    assert.equal(mapped.stream.machine, undefined);
    assert.equal(mapped.fault, undefined);
    assert.ok(plain.ram.blocks.length > 1);
    for (const block of plain.ram.blocks) {
      for (let offset = 0; offset < block.bytes; offset += block.pageBytes) {
        assert.deepEqual(
          await mapped.ram.readPage(block.id, offset),
          await plain.ram.readPage(block.id, offset),
          `${block.id} ${offset}`,
        );
      }
    }
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});
