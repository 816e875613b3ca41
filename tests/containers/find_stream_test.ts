import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { Workbench } from "../../mod.ts";
import { loadFixture } from "../fixtures.ts";
import { libvirtManifest, loadLibvirt } from "../libvirt_fixtures.ts";

/** A workbench on a file of these bytes. */
async function opened(bytes: Uint8Array, options: { offset?: number } = {}): Promise<Workbench> {
  const path = Deno.makeTempFileSync();
  try {
    Deno.writeFileSync(path, bytes);
    return await Workbench.open({ guest: path, ...options });
  } finally {
    Deno.removeSync(path);
  }
}

/** SHA-256 of each RAM block. */
function hashes(bench: Workbench): Record<string, string> {
  const page = new Uint8Array(4096);
  return Object.fromEntries(bench.session.guest.memory.blocks.map((block) => {
    const hash = createHash("sha256");
    for (let at = 0; at < block.usedLength; at += page.length) {
      block.read(at, page);
      hash.update(page);
    }
    return [block.idstr, hash.digest("hex")];
  }));
}

for (const name of ["raw", "sparse", "gzip", "snapshot"]) {
  Deno.test(`a guest comes out of libvirt's save image of format ${name} with the RAM its process had`, async () => {
    const { ram_truth } = libvirtManifest().find((image) => image.name === name)!;
    await using bench = await opened(loadLibvirt(name));
    const got = hashes(bench);
    for (const [block, sha256] of Object.entries(ram_truth)) assert.equal(got[block], sha256, block);
  });
}

Deno.test("a guest comes out of a compressed stream, also behind something else", async () => {
  const stream = await loadFixture("pc-file-stopped");
  await using plain = await opened(stream);
  const packed = new Uint8Array(gzipSync(stream));
  await using unpacked = await opened(packed);
  assert.deepEqual(hashes(unpacked), hashes(plain));
  const behind = new Uint8Array(512 + packed.length);
  behind.set(packed, 512);
  await using further = await opened(behind, { offset: 512 });
  assert.deepEqual(hashes(further), hashes(plain));
});

Deno.test("a compressed stream that is cut is refused at the place where its bytes end", async () => {
  const packed = new Uint8Array(gzipSync(await loadFixture("pc-file-stopped")));
  await assert.rejects(
    opened(packed.subarray(0, 4000)),
    /^TruncatedStreamError: Cannot read page 0x[0-9a-f]+ of pc\.ram at offset 0x[0-9a-f]+ .*bytes before the end/,
  );
});
