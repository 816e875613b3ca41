import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { type Image, openImage } from "../../containers/image.ts";
import { xbzrle } from "../../plugins/xbzrle.ts";
import { MemoryFaultError, StreamError, TransportError, UnsupportedError } from "../../stream/errors.ts";
import { bufferSource } from "../../stream/channel.ts";
import { type Capture, capture, fixturePath, loadFixture, manifest } from "../fixtures.ts";

const tables = xbzrle.tables!;
const open = (capture: Capture) => fixturePath(capture.name).then((path) => openImage(path, options(capture)));
const options = (capture: Capture) => ({ tables, offset: capture.stream_offset ?? 0 });

/** Why a capture's RAM cannot be had from its main file alone. */
const ELSEWHERE: Record<string, RegExp> = {
  "pc-ignore-shared": /shm0 .*x-ignore-shared/,
  "pc-cpr-reboot": /ram0 .*x-ignore-shared/,
  "q35-postcopy-preempt": /postcopy-preempt/,
  "pc-postcopy-recover": /postcopy had not ended/,
};
/** Files that end early: what they hold is older than the source's RAM. */
const partial = (c: Capture) => c.group === "partial" || c.name === "pc-postcopy-recover";
const ignored = (c: Capture): string[] =>
  (c.ignored_blocks ?? []).map((b: string | { name: string }) => typeof b === "string" ? b : b.name);

function hashBlock(image: Image, id: string): string {
  const block = image.ram.block(id)!;
  const hash = createHash("sha256");
  const buffer = new Uint8Array(1 << 20);
  const zeros = new Uint8Array(1 << 20);
  for (let at = 0; at < block.bytes;) {
    const run = image.ram.run(block, at);
    const n = Math.min(Math.abs(run), buffer.length);
    if (run > 0) image.ram.readRange(block, at, buffer.subarray(0, n));
    hash.update((run > 0 ? buffer : zeros).subarray(0, n));
    at += n;
  }
  return hash.digest("hex");
}

for (const c of manifest()) {
  Deno.test(`openImage() reads ${c.name} as the manifest has it`, async () => {
    await using image = await open(c);
    const { stream, ram } = image;
    assert.equal(image.streamOffset, c.stream_offset ?? 0);
    assert.equal(image.bytes, c.files[0].size);
    assert.equal(stream.machine ?? "", c.stream.machine ?? "");
    assert.deepEqual([...stream.capabilities], c.stream.config_capabilities);
    assert.equal(ram.pageBytes, c.stream.page_size);
    assert.equal(stream.targetPageBits, Math.log2(c.stream.page_size));
    assert.equal(stream.complete, !partial(c), image.fault?.message);
    assert.equal(image.fault === undefined, !partial(c));
    const format = c.group === "multifd"
      ? "multifd"
      : c.stream.config_capabilities.includes("mapped-ram")
      ? "mapped-ram"
      : "stream";
    assert.equal(stream.ramFormat, format);

    const lengths = c.stream_blocks.map((b: { name: string; size: number }) => [b.name, b.size]);
    assert.deepEqual(ram.blocks.map((b) => [b.id, b.bytes]), lengths);
    assert.equal(ram.totalBytes, ram.blocks.reduce((sum, b) => sum + b.bytes, 0));
    for (const b of ram.blocks) assert.equal((b.normalPages + b.zeroPages) * b.pageBytes, b.bytes);

    for (const section of c.sections ?? []) {
      const device = image.devices.find((d) => d.offset === section.offset);
      assert.deepEqual(
        device && [device.name, device.instanceId, device.version, device.bytes],
        [section.name, section.instance, section.version, section.size],
      );
    }
    assert.equal(image.devices.length, c.sections?.length ?? 0);
  });

  if (c.device_checks?.length) {
    Deno.test(`device fields of ${c.name} have the values known from elsewhere`, async () => {
      await using image = await open(c);
      for (const check of c.device_checks!) {
        const device = image.devices.find((d) => d.name === check.section && d.instanceId === check.instance);
        assert(device, check.section);
        if (!image.description) {
          assert.deepEqual(device.fields, {});
          continue;
        }
        // deno-lint-ignore no-explicit-any -- a path of any depth
        const value = check.path.reduce<any>((at, step) => at?.[step], device.fields);
        const where = `${check.section} ${check.path.join(".")}`;
        const from = (check.byte_offset ?? 0) * 2;
        if (check.type === "buffer" || check.type === "pci config") {
          assert.equal(value.slice(from, from + check.raw.length), check.raw, where);
        } else if (check.byte_offset !== undefined) {
          assert.equal(value.slice(from, from + check.raw.length), check.value, where);
        } else assert.equal(BigInt(value), BigInt(check.value), where);
        assert.equal(device.problem, undefined);
      }
    });
  }

  Deno.test(`RAM of ${c.name} is that of the source, or a warning says where it is`, async () => {
    await using image = await open(c);
    const { ram, stream } = image;
    const texts = stream.warnings.map(({ text }) => text);
    if (c.group === "multifd") {
      assert(texts.some((text) => /multifd/.test(text)), texts.join());
      assert(ram.blocks.every((b) => b.normalPages === 0));
      assert.throws(() => ram.readRange(ram.blocks[0], 0, new Uint8Array(1)), UnsupportedError);
      return;
    }
    const elsewhere = ELSEWHERE[c.name];
    if (elsewhere) assert(texts.some((text) => elsewhere.test(text)), texts.join());
    else if (!partial(c)) {
      assert.deepEqual(texts.filter((text) => !/configuration|footers|description|END part/.test(text)), []);
    }
    if (partial(c) || c.name === "q35-postcopy-preempt") return;
    for (const truth of c.ram?.blocks ?? []) {
      const block = ram.block(truth.name);
      if (!block || ignored(c).includes(truth.name)) continue;
      assert(block.normalPages >= truth.nonzero_pages, `${truth.name}: ${block.normalPages} pages of data`);
      assert.equal(hashBlock(image, truth.name), truth.sha256, truth.name);
    }
    for (const area of c.mapped_ram ?? []) {
      const block = ram.block(area.name)!;
      assert.deepEqual(
        [block.normalPages, block.pagesOffset, block.bitmapOffset],
        [area.pages_set, area.pages_offset, area.bitmap_offset],
      );
    }
    if (c.group === "mapped-ram" || c.ram?.blocks === undefined) return;
    const { zero, normal, xbzrle: deltas } = c.stream.pages;
    const sent = ram.blocks.reduce((sum, b) => sum + b.normalPages + b.zeroPages - b.missingPages, 0);
    assert(sent <= zero + normal + deltas);
    assert(ram.blocks.reduce((sum, b) => sum + b.normalPages, 0) <= normal + deltas);
    // one pass: each page record is a page's last copy
    if (c.stream.pages.eos === 3) assert.equal(sent, zero + normal);
  });
}

Deno.test("sections come in stream order, bodies between header and footer", async () => {
  await using image = await open(capture("pc-xbzrle"));
  const { sections } = image;
  assert.deepEqual(sections.slice(0, 2).map((s) => [s.type, s.name, s.id]), [["start", "ram", sections[0].id], [
    "part",
    "ram",
    sections[0].id,
  ]]);
  assert.equal(sections.filter((s) => s.type === "full").length, image.devices.length);
  let before = sections[0];
  assert.equal(before.offset - before.headerOffset, 1 + 4 + 1 + 3 + 8);
  for (const section of sections.slice(1)) {
    // a footer has 5 bytes; SWITCHOVER_START, 5 more, stands before the END of ram
    const behind = before.offset + before.bytes + 5;
    assert(section.headerOffset === behind || section.headerOffset === behind + 5, `${section.type} ${section.name}`);
    before = section;
  }
});

Deno.test("sections of a stream without footers end where the next begins", async () => {
  await using image = await open(capture("pc-no-footers"));
  const { sections } = image;
  const parts = sections.filter((s) => s.name === "ram");
  assert.deepEqual(parts.map((s) => s.type), ["start", "part", "end"]);
  const next = sections[sections.indexOf(parts[2]) + 1];
  assert.equal(parts[2].offset + parts[2].bytes, next.headerOffset);
});

Deno.test("readPage() and readRange() agree over borders of pages and blocks of any size", async () => {
  for (const name of ["pc-xbzrle", "pc-mapped-live", "arm-versatilepb-1k-pages", "pc-postcopy"]) {
    await using image = await open(capture(name));
    const { ram } = image;
    for (const block of ram.blocks) {
      const whole = new Uint8Array(Math.min(block.bytes, 4 << 20));
      ram.readRange(block, 0, whole);
      const piece = new Uint8Array(3 * block.pageBytes);
      for (let at = 0; at + piece.length <= whole.length; at += 7 * block.pageBytes + 123) {
        ram.readRange(block.id, at, piece);
        assert.deepEqual(piece, whole.subarray(at, at + piece.length));
      }
      for (let at = 0; at < whole.length; at += 37 * block.pageBytes) {
        assert.deepEqual(await ram.readPage(block.id, at + 5), whole.slice(at, at + block.pageBytes));
      }
      const odd = new Uint8Array(100);
      ram.readRange(block, block.pageBytes - 50 < block.bytes - 100 ? block.pageBytes - 50 : 0, odd);
      assert.deepEqual(
        odd,
        whole.slice(block.pageBytes - 50 < block.bytes - 100 ? block.pageBytes - 50 : 0).subarray(0, 100),
      );
    }
  }
});

Deno.test("run() covers a block without gaps and says what is data", async () => {
  for (const name of ["pc-multipass", "pc-mapped-live", "q35-virtio-mem-dimm"]) {
    await using image = await open(capture(name));
    for (const block of image.ram.blocks) {
      let data = 0, at = 0;
      while (at < block.bytes) {
        const run = image.ram.run(block, at);
        assert.notEqual(run, 0);
        if (run > 0) data += run;
        at += Math.abs(run);
      }
      assert.equal(at, block.bytes);
      assert.equal(data, block.normalPages * block.pageBytes);
    }
  }
});

Deno.test("a page nobody sent is not a page sent as zero", async () => {
  await using image = await open(capture("q35-virtio-mem-dimm"));
  const vmem = image.ram.block("0000:00:01.0/vmem0")!;
  assert.equal(vmem.missingPages, vmem.bytes / 4096);
  assert.equal(image.ram.block("pc.ram")!.missingPages, 0);
  assert(!image.ram.isSent(vmem, 0) && image.ram.isSent("dimm0", 0));
  assert((await image.ram.readPage(vmem, 4096)).every((byte) => byte === 0));
});

Deno.test("ranges of RAM hold what the captures put there", async () => {
  let ranges = 0;
  for (const c of manifest()) {
    if (c.group === "multifd" || partial(c) || c.name === "q35-postcopy-preempt") continue;
    await using image = await open(c);
    for (const { block, offset, length, sha256 } of c.ram?.ranges ?? []) {
      if (ignored(c).includes(block)) continue;
      const bytes = new Uint8Array(length);
      image.ram.readRange(block, offset, bytes);
      assert.equal(createHash("sha256").update(bytes).digest("hex"), sha256, `${c.name} ${block} ${offset}`);
      ranges++;
    }
  }
  assert(ranges > 20, `${ranges} ranges`);
});

Deno.test("a pipe is read in one pass; its pages cannot be had again", async () => {
  const bytes = await loadFixture("pc-file-stopped");
  await using image = await openImage(bufferSource(bytes, { sequential: true, chunk: 65521 }), { tables });
  await using whole = await openImage(bytes, { tables });
  assert.deepEqual(image.ram.blocks, whole.ram.blocks);
  assert.deepEqual(image.sections, whole.sections);
  assert.deepEqual(image.devices.map((d) => d.fields), whole.devices.map((d) => d.fields));
  assert.equal(image.bytes, bytes.length);
  assert.throws(() => image.ram.readRange("pc.ram", 0, new Uint8Array(1)), UnsupportedError);
});

Deno.test("a mapped-ram stream behind a header is read from a pipe at its offset", async () => {
  const c = capture("pc-mapped-offset");
  const bytes = await loadFixture(c.name);
  await using image = await openImage(bufferSource(bytes, { sequential: true }), options(c));
  await using whole = await open(c);
  assert.equal(image.fault, undefined);
  assert.deepEqual(image.ram.blocks, whole.ram.blocks);
  assert.deepEqual(image.sections, whole.sections);
});

Deno.test("interrupted mapped-ram says that its bitmaps are empty", async () => {
  await using image = await open(capture("pc-mapped-cancelled"));
  assert(image.fault instanceof StreamError);
  assert(image.warnings.some(({ text }) => /bitmaps of mapped-ram are all zero/.test(text)));
  assert(image.ram.blocks.every((b) => b.normalPages === 0));
});

Deno.test("openImage() wants a stream, a file and blocks that exist", async () => {
  await assert.rejects(openImage(new Uint8Array(100)), /Not a migration stream/);
  await assert.rejects(openImage("/nonexistent/vm.sav"), (error: Error) => {
    return error instanceof TransportError &&
      error.message === "Could not open '/nonexistent/vm.sav': No such file or directory";
  });
  await assert.rejects(openImage("/"), /Could not open '\/': Is a directory/);
  await assert.rejects(openImage(await loadFixture("pc-multifd-2.ch0")), UnsupportedError);
  await assert.rejects(openImage(await loadFixture("isapc-file"), { channels: ["x"] }), TransportError);
  await assert.rejects(openImage(await loadFixture("isapc-file"), { offset: -1 }), RangeError);
  await using image = await openImage(await loadFixture("isapc-file"));
  await assert.rejects(image.ram.readPage("nothing", 0), MemoryFaultError);
  await assert.rejects(image.ram.readPage("pc.ram", 8 << 20), MemoryFaultError);
  await assert.rejects(image.ram.readPage("pc.ram", -1), MemoryFaultError);
});

Deno.test("without a codec pages sent as differences name the feature", async () => {
  await using image = await openImage(await loadFixture("pc-xbzrle"));
  const { ram } = image;
  const read = () => ram.blocks.forEach((b) => ram.readRange(b, 0, new Uint8Array(b.bytes)));
  assert.throws(read, (error: Error) => error instanceof UnsupportedError && error.feature === "xbzrle");
});
