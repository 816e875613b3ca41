/**
 * A real QEMU migrates into our filter and out of it again, by `exec:`.
 * @module
 */
import assert from "node:assert/strict";
import { openImage } from "../../containers/image.ts";
import { diffImages } from "../../reports/diff.ts";
import { qemuTest } from "./available.ts";
import { launchQemu } from "./qemu.ts";

const PROGRAM = `${Deno.execPath()} run -A ${new URL("../../main.ts", import.meta.url).pathname}`;
const MACHINE = ["-machine", "pc", "-m", "64", "-S"];

qemuTest(
  "a guest goes through snap save and snap load, and what is kept loads as a file of mapped-ram too",
  async () => {
    const directory = Deno.makeTempDirSync({ prefix: "miglab-snap-" });
    try {
      const kept = `${directory}/kept`;
      {
        await using source = await launchQemu(MACHINE);
        await source.migrate(`exec:${PROGRAM} -q snap save ${kept}`);
      }
      await using before = await openImage(kept);
      assert(before.complete);
      for (const uri of [`exec:${PROGRAM} -q snap load ${kept}`, `file:${kept}`]) {
        await using target = await launchQemu([...MACHINE, "-incoming", "defer"]);
        if (uri.startsWith("file:")) await target.capabilities("mapped-ram");
        await target.incoming(uri);
        await target.migrate(`file:${directory}/after`);
        await using after = await openImage(`${directory}/after`);
        const { ram, devices } = await diffImages(before, after);
        assert.deepEqual(ram.filter(({ changedPages }) => changedPages > 0), [], uri);
        assert.deepEqual(devices.filter(({ change }) => change !== "fields").map(({ name }) => name), [], uri);
      }
    } finally {
      Deno.removeSync(directory, { recursive: true });
    }
  },
);

qemuTest("a save that cannot be kept fails QEMU's migration, and its guest goes on", async () => {
  await using source = await launchQemu(MACHINE.slice(0, -1));
  await assert.rejects(source.migrate(`exec:${PROGRAM} -q snap save /nonexistent/directory/kept`));
  assert.equal((await source.qmp("query-status")).status, "running");
});
