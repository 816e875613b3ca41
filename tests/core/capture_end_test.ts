/**
 * Real streams of every kind, whole and cut: what their last bytes say is what the decoder says who read all of them.
 * @module
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import fc from "fast-check";
import { streamEnded } from "../../core/capture_end.ts";
import { openImage } from "../../mod.ts";
import { fixturePath, loadFixture, manifest } from "../fixtures.ts";

/** Captures whose stream is one a socket could carry. */
const SENT = manifest().filter(({ capabilities, stream_offset, files }) =>
  !capabilities["mapped-ram"] && !stream_offset && files.some(({ role }) => role === "stream" || role === "main")
);

Deno.test("streamEnded() agrees with the decoder about every captured stream", async () => {
  const told = { whole: 0, cut: 0 };
  for (const { name, files } of SENT) {
    const path = await fixturePath(files.find(({ role }) => role === "stream" || role === "main")!.file);
    await using image = await openImage(path).catch(() => undefined);
    if (!image?.stream) continue; // not a stream of its own
    assert.equal(streamEnded(path), image.complete, name);
    told[image.complete ? "whole" : "cut"]++;
  }
  assert(told.whole > 30 && told.cut > 1, JSON.stringify(told));
});

Deno.test("of a postcopy that was recovered the second main channel has the end", async () => {
  const [first, second] = await Promise.all(["main0", "main1"].map((one) => fixturePath(`pc-postcopy-recover.${one}`)));
  assert.deepEqual([streamEnded(first), streamEnded(second)], [false, true]);
});

Deno.test("streamEnded() is false for every stream that lacks bytes at its end, and for no file", async () => {
  const path = Deno.makeTempFileSync({ prefix: "miglab-end-" });
  try {
    for (const name of ["pc-file-stopped", "pc-postcopy.main", "q35-no-vmdesc"]) {
      const bytes = await loadFixture(name);
      fs.writeFileSync(path, bytes);
      assert.equal(streamEnded(path), true, name);
      fc.assert(
        fc.property(
          fc.oneof(fc.nat(bytes.length - 1), fc.integer({ min: bytes.length - 300, max: bytes.length - 1 })),
          (
            length,
          ) => {
            fs.writeFileSync(path, bytes.subarray(0, length));
            assert.equal(streamEnded(path), false, `${name}, ${length} of ${bytes.length} bytes`);
          },
        ),
        { numRuns: 60 },
      );
    }
  } finally {
    fs.rmSync(path);
  }
  assert.equal(streamEnded(path), false);
});
