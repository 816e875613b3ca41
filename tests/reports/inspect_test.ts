import assert from "node:assert/strict";
import { openImage } from "../../containers/image.ts";
import { xbzrle } from "../../plugins/xbzrle.ts";
import { inspectImage, uuidText, warningText } from "../../reports/inspect.ts";
import { badManifest, capture, fixturePath, loadFixture, manifest } from "../fixtures.ts";

const tables = xbzrle.tables!;

Deno.test("inspectImage() has the fields of the contract, and JSON keeps them", async () => {
  const path = await fixturePath("pc-mapped-offset");
  const { stream_offset: offset } = capture("pc-mapped-offset");
  await using image = await openImage(path, { tables, offset });
  const report = await inspectImage(image, { hash: true });
  const again = JSON.parse(JSON.stringify(report));
  assert.deepEqual(again, report);
  assert.deepEqual(Object.keys(again), [
    "path",
    "bytes",
    "format",
    "streamOffset",
    "stream",
    "ram",
    "sections",
    "devices",
  ]);
  assert.deepEqual([again.path, again.format, again.streamOffset], [path, "qemu-stream", offset]);
  assert.deepEqual(again.stream, {
    version: 3,
    machine: "pc-i440fx-10.0",
    capabilities: ["mapped-ram"],
    targetPageBits: 12,
    complete: true,
    ramFormat: "mapped-ram",
    warnings: [],
  });
  const [block] = again.ram.blocks;
  assert.deepEqual(Object.keys(block).sort(), [
    "bitmapOffset",
    "bytes",
    "id",
    "normalPages",
    "pageBytes",
    "pagesOffset",
    "sha256",
    "zeroPages",
  ]);
  const full = again.sections!.find((s: { type: string }) => s.type === "full")!;
  assert.deepEqual(Object.keys(full).sort(), [
    "bytes",
    "headerOffset",
    "id",
    "instanceId",
    "name",
    "offset",
    "type",
    "version",
  ]);
  assert.equal(full.offset, capture("pc-mapped-offset").sections![0].offset);
});

Deno.test("inspectImage() hashes every block of every small capture as the source's RAM", async () => {
  let hashed = 0, elsewhere = 0;
  for (const c of manifest()) {
    if (c.files[0].size > 8 << 20 || c.group === "partial" || c.group === "postcopy") continue;
    await using image = await openImage(await fixturePath(c.name), { tables, offset: c.stream_offset ?? 0 });
    const { ram, stream } = await inspectImage(image, { hash: true, sections: false, device: "none" });
    for (const { id, sha256 } of ram.blocks) {
      if (stream.ramFormat === "multifd") assert.equal(sha256, undefined);
      const truth = c.ram?.blocks.find((b: { name: string }) => b.name === id);
      if (stream.warnings.some((text) => text.includes(`block ${id} is not in this file`))) {
        assert.equal(sha256, undefined, `${c.name} ${id}`);
        elsewhere++;
      }
      if (!truth || !sha256) continue;
      assert.equal(sha256, truth.sha256, `${c.name} ${id}`);
      hashed++;
    }
  }
  assert(hashed > 100 && elsewhere > 0, `${hashed} blocks, ${elsewhere} elsewhere`);
});

Deno.test("inspectImage() hashes no block of which pages are on another channel", async () => {
  const channels = [await fixturePath("q35-postcopy-preempt.preempt")];
  await using alone = await openImage(await fixturePath("q35-postcopy-preempt"), { tables });
  await using whole = await openImage(await fixturePath("q35-postcopy-preempt"), { tables, channels });
  const [some, all] = [await inspectImage(alone, { hash: true }), await inspectImage(whole, { hash: true })];
  assert(all.ram.blocks.every(({ sha256 }) => sha256));
  const gone = some.ram.blocks.filter(({ missingPages = 0 }) => missingPages > 0);
  assert(gone.length > 0 && gone.every(({ sha256 }) => sha256 === undefined));
  for (const { id, sha256 } of some.ram.blocks) {
    if (sha256) assert.equal(sha256, all.ram.blocks.find((block) => block.id === id)!.sha256);
  }
});

Deno.test("inspectImage() decodes fields, numbers beyond 2^53 as decimal strings", async () => {
  await using image = await openImage(await loadFixture("pc-seabios-booted"));
  const { devices } = await inspectImage(image, { device: "cpu" });
  assert.deepEqual(devices.map((d) => d.name), ["cpu"]);
  const text = JSON.stringify(devices[0].fields);
  assert.match(text, /"\d{17,20}"/);
  assert.doesNotMatch(text, /[^"\d.]\d{17,}/);
  const { devices: ide } = await inspectImage(image, { device: "ide" });
  assert.deepEqual(ide.map((d) => d.name), ["0000:00:01.1/ide"]);
});

Deno.test("inspectImage() lists the ranges of pages that are data", async () => {
  await using image = await openImage(await loadFixture("pc-multipass"), { tables });
  const { ram } = await inspectImage(image, { pages: true });
  for (const block of ram.blocks) {
    assert.equal(block.pages!.reduce((sum, [, count]) => sum + count, 0), block.normalPages);
    let end = -1;
    for (const [first, count] of block.pages!) {
      assert(first > end && count > 0);
      end = first + count;
    }
  }
  assert.equal((await inspectImage(image)).ram.blocks[0].pages, undefined);
});

Deno.test("a file with a fault is reported up to it", async () => {
  await using image = await openImage(await fixturePath("pc-cancelled"), { tables });
  const { stream, ram } = await inspectImage(image, { hash: true });
  assert.equal(stream.complete, false);
  assert.equal(stream.fault!.offset, 0x23e9b1);
  assert(ram.blocks.every((b) => b.sha256));
});

Deno.test("every corrupted variant that opens is reported", async () => {
  for (const { name } of badManifest()) {
    const image = await openImage(await fixturePath(`bad/${name}`), { tables }).catch(() => undefined);
    if (!image) continue;
    await using open = image;
    const report = await inspectImage(open, { pages: true });
    assert(JSON.stringify(report).length > 100);
  }
});

Deno.test("warnings and UUIDs are printed on one line", () => {
  assert.equal(warningText({ text: "odd", offset: 255 }), "odd (at offset 0xff)");
  assert.equal(warningText({ text: "odd" }), "odd");
  const uuid = Uint8Array.fromHex("00112233445566778899aabbccddeeff");
  assert.equal(uuidText(uuid), "00112233-4455-6677-8899-aabbccddeeff");
});
