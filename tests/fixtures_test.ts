import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { badManifest, fixtureFile, fixturePath, loadFixture, manifest } from "./fixtures.ts";

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

Deno.test("loadFixture() gives the bytes the manifest has the hash of", async () => {
  for (const name of ["isapc-file", "pc-multifd-2.ch1", "bad/legacy-magic.bin.gz", "arm-versatilepb-1k-pages-mapped"]) {
    const bytes = await loadFixture(name);
    assert.equal(bytes.length, fixtureFile(name).size);
    assert.equal(sha256(bytes), fixtureFile(name).sha256);
  }
});

Deno.test("fixturePath() writes the same bytes once, holes included", async () => {
  const name = "arm-versatilepb-1k-pages-mapped";
  const path = await fixturePath(name);
  assert.equal(await fixturePath(`${name}.bin`), path);
  assert.equal(sha256(Deno.readFileSync(path)), fixtureFile(name).sha256);
});

Deno.test("fixturePath() keeps a 4.5 GiB file sparse", async () => {
  const path = await fixturePath("pc-mapped-over-4g");
  const stat = Deno.statSync(path);
  assert.equal(stat.size, fixtureFile("pc-mapped-over-4g").size);
  assert.ok(stat.blocks === null || stat.blocks * 512 < 64 * 1024 * 1024, `${stat.blocks} blocks on disk`);
  await assert.rejects(loadFixture("pc-mapped-over-4g"), /Cannot hold/);
});

Deno.test("every file the manifests name is there", () => {
  for (const [prefix, entries] of [["", manifest()], ["bad/", badManifest()]] as const) {
    for (const file of entries.flatMap((entry) => entry.files)) {
      const stat = Deno.statSync(new URL(`./fixtures/streams/${prefix}${file.file}`, import.meta.url));
      assert.ok(stat.size > 0, file.file);
    }
  }
});

Deno.test("fixtureFile() says which name it does not know", () => {
  assert.throws(() => fixtureFile("bad/nothing"), /"bad\/nothing"/);
});
