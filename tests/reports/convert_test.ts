import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { type Image, openImage } from "../../containers/image.ts";
import { xbzrle } from "../../plugins/xbzrle.ts";
import { conversionProblems, CONVERT_FORMATS, convertImage } from "../../reports/convert.ts";
import { diffImages } from "../../reports/diff.ts";
import { inspectImage } from "../../reports/inspect.ts";
import { capture, fixturePath, loadFixture, manifest } from "../fixtures.ts";
import { libvirtManifest, loadLibvirt } from "../libvirt_fixtures.ts";

const tables = xbzrle.tables!;

/** A directory that goes away, and what is in it. */
function workplace() {
  const directory = Deno.makeTempDirSync({ prefix: "miglab-convert-" });
  return {
    path: (name: string) => `${directory}/${name}`,
    names: () => [...Deno.readDirSync(directory)].map(({ name }) => name),
    [Symbol.dispose]: () => Deno.removeSync(directory, { recursive: true }),
  };
}

async function open(name: string): Promise<Image> {
  return await openImage(await fixturePath(name), { tables, offset: capture(name).stream_offset ?? 0 });
}

async function hashes(image: Image): Promise<Record<string, string | undefined>> {
  const { ram } = await inspectImage(image, { hash: true, device: "none" });
  return Object.fromEntries(ram.blocks.map(({ id, sha256 }) => [id, sha256]));
}

/** Captures that are whole and whose RAM is in their main file. */
const whole = manifest().filter(({ group, ignored_blocks, name }) =>
  ["legacy", "mapped-ram", "postcopy"].includes(group) && !ignored_blocks?.length &&
  !["pc-postcopy-recover", "q35-postcopy-preempt", "pc-mapped-over-4g"].includes(name)
);

for (const format of ["legacy", "mapped-ram"] as const) {
  Deno.test(`convertImage() to ${format} keeps every capture as it is, with the memory its source had`, async (t) => {
    for (const { name, ram } of whole) {
      await t.step(name, async () => {
        using place = workplace();
        await using image = await open(name);
        if (format === "mapped-ram" && !image.configuration) return;
        await convertImage(image, place.path("out"), format);
        await using out = await openImage(place.path("out"));
        assert.equal(out.fault, undefined);
        assert.equal(out.stream.ramFormat, format === "legacy" ? "stream" : format);
        const { equal, ...differences } = await diffImages(image, out);
        assert(equal, JSON.stringify(differences));
        const found = await hashes(out);
        for (const block of ram?.blocks ?? []) assert.equal(found[block.name], block.sha256, block.name);
        assert.deepEqual(place.names(), ["out"]);
      });
    }
  });
}

Deno.test("convertImage() carries offsets beyond 4 GiB both ways", async () => {
  using place = workplace();
  await using image = await open("pc-mapped-over-4g");
  assert(image.ram.totalBytes > 2 ** 32);
  await convertImage(image, place.path("legacy"), "legacy");
  await using legacy = await openImage(place.path("legacy"));
  assert((await diffImages(image, legacy)).equal);
  await convertImage(legacy, place.path("mapped"), "mapped-ram");
  await using mapped = await openImage(place.path("mapped"));
  assert((await diffImages(image, mapped)).equal);
});

Deno.test("convertImage() writes each page once, and the same bytes again and again", async () => {
  using place = workplace();
  await using image = await open("pc-multipass");
  const first = await convertImage(image, place.path("first"), "legacy");
  assert(first.bytes < image.bytes / 2);
  await using once = await openImage(place.path("first"));
  await convertImage(once, place.path("second"), "legacy");
  assert.deepEqual(Deno.readFileSync(place.path("second")), Deno.readFileSync(place.path("first")));
  await convertImage(once, place.path("mapped"), "mapped-ram");
  await using mapped = await openImage(place.path("mapped"));
  await convertImage(mapped, place.path("third"), "legacy");
  assert.deepEqual(Deno.readFileSync(place.path("third")), Deno.readFileSync(place.path("first")));
});

Deno.test("convertImage() of QEMU's own plain save gives QEMU's bytes", async () => {
  using place = workplace();
  await using image = await open("q35-file-2cpu");
  await convertImage(image, place.path("out"), "legacy");
  assert.deepEqual(Deno.readFileSync(place.path("out")), await loadFixture("q35-file-2cpu"));
});

Deno.test("convertImage() leaves holes where pages are zero, and begins at an offset", async () => {
  using place = workplace();
  await using image = await open("q35-file-2cpu");
  const { bytes, streamOffset } = await convertImage(image, place.path("out"), "mapped-ram", { offset: 0x11000 });
  assert.equal(streamOffset, 0x11000);
  const stat = Deno.statSync(place.path("out"));
  assert.equal(stat.size, bytes);
  assert(stat.blocks! * 512 < bytes / 10);
  await using out = await openImage(place.path("out"), { offset: 0x11000 });
  assert((await diffImages(image, out)).equal);
  for (const { pagesOffset } of out.ram.blocks) assert.equal(pagesOffset! % 0x100000, 0);
});

Deno.test("convertImage() sets the bit of zero pages that a receiver would not leave alone", async () => {
  using place = workplace();
  await using image = await open("q35-file-2cpu");
  await convertImage(image, place.path("out"), "mapped-ram");
  await using out = await openImage(place.path("out"));
  const tables = out.ram.block("/rom@etc/acpi/tables")!;
  assert.equal(tables.normalPages, tables.bytes / 4096);
  assert.equal(out.ram.block("pc.ram")!.normalPages, image.ram.block("pc.ram")!.normalPages);
});

for (const { name, ram_truth: truth } of libvirtManifest()) {
  if (name !== "raw" && name !== "sparse") continue;
  Deno.test(`convertImage() keeps XML, cookie and memory of libvirt's ${name} in both of libvirt's formats`, async () => {
    using place = workplace();
    await using image = await openImage(loadLibvirt(name));
    for (const format of ["libvirt-raw", "libvirt-sparse"] as const) {
      await convertImage(image, place.path("out"), format);
      await using out = await openImage(place.path("out"));
      assert.equal(out.libvirt!.format, format.slice(8));
      for (const field of ["xml", "cookie", "wasRunning", "dataBytes", "version", "complete"] as const) {
        assert.deepEqual(out.libvirt![field], image.libvirt![field], field);
      }
      assert((await diffImages(image, out)).equal);
      const found = await hashes(out);
      for (const [id, sha256] of Object.entries(truth)) assert.equal(found[id], sha256, id);
    }
  });
}

Deno.test("convertImage() makes a libvirt image of a bare stream, as virsh save lays it out", async () => {
  using place = workplace();
  await using image = await open("pc-file-stopped");
  const xml = "<domain type='qemu'><name>ä</name></domain>";
  await convertImage(image, place.path("out"), "libvirt-raw", { xml, running: true });
  const bytes = Deno.readFileSync(place.path("out"));
  const view = new DataView(bytes.buffer);
  const length = new TextEncoder().encode(xml).length;
  const words = [16, 20, 24, 28, 32].map((at) => view.getUint32(at, true));
  assert.deepEqual(words, [2, length + 1 + 65536, 1, 0, 0]);
  await using out = await openImage(place.path("out"));
  assert.equal(out.libvirt!.xml, xml);
  assert((await diffImages(image, out)).equal);
});

Deno.test("convertImage() to raw puts every byte at its address", async () => {
  using place = workplace();
  await using image = await open("aarch64-virt-file");
  const { bytes } = await convertImage(image, place.path("out"), "raw");
  assert.equal(bytes, 0x40000000 + image.ram.block("mach-virt.ram")!.bytes);
  using file = Deno.openSync(place.path("out"));
  const hash = createHash("sha256");
  const page = new Uint8Array(1 << 20);
  file.seekSync(0x40000000, Deno.SeekMode.Start);
  for (let n = file.readSync(page); n; n = file.readSync(page)) hash.update(page.subarray(0, n));
  assert.equal(
    hash.digest("hex"),
    capture("aarch64-virt-file").ram.blocks.find((block: { name: string }) => block.name === "mach-virt.ram").sha256,
  );
});

Deno.test("convertImage() says every reason at once and writes nothing", async () => {
  using place = workplace();
  const reasons = async (name: string, format: typeof CONVERT_FORMATS[number], options = {}) => {
    await using image = await open(name);
    const problems = conversionProblems(image, format, options);
    await assert.rejects(convertImage(image, place.path("out"), format, options), {
      name: "RefusedError",
      problems,
      message: `Cannot convert to ${format}: ${problems.join("; ")}`,
    });
    assert.deepEqual(place.names(), []);
    return problems;
  };
  assert.match((await reasons("pc-multifd-2", "legacy")).join(), /multifd/);
  const shared = await reasons("pc-ignore-shared", "libvirt-sparse", { offset: 1 });
  assert.equal(shared.length, 4);
  assert.match(shared.join(), /block shm0 is in a shared memory file.*does not go with mapped-ram.*begins where.*XML/);
  assert.match((await reasons("pc-no-configuration", "mapped-ram")).join(), /configuration section/);
  const password = { xml: "root:x:0:0:root:/root:/bin/bash\n" };
  assert.match((await reasons("pc-file-stopped", "libvirt-raw", password)).join(), /^the XML .* describes no domain$/);
  assert.match((await reasons("q35-killed", "legacy")).join(), /Cannot read footer/);
  assert.match((await reasons("q35-postcopy-preempt", "elf")).join(), /503 pages/);
  const cancelled = await reasons("pc-mapped-cancelled", "raw", { offset: 4096 });
  assert.match(cancelled.join(), /bitmaps are empty.*no place for an offset/);
});

Deno.test("convertImage() leaves shared memory out of a plain stream, as its source did", async () => {
  using place = workplace();
  await using image = await open("pc-ignore-shared");
  await convertImage(image, place.path("out"), "legacy");
  await using out = await openImage(place.path("out"));
  assert.deepEqual(out.stream.capabilities, ["x-ignore-shared"]);
  assert.deepEqual(out.ram.blocks.map(({ address }) => address), image.ram.blocks.map(({ address }) => address));
  assert((await diffImages(image, out)).equal);
});

Deno.test("convertImage() that is stopped leaves nothing", async () => {
  using place = workplace();
  await using image = await open("q35-file-2cpu");
  for (const format of CONVERT_FORMATS) {
    if (format.startsWith("libvirt")) continue;
    const abort = new AbortController();
    abort.abort(new Error("interrupted"));
    await assert.rejects(convertImage(image, place.path("out"), format, { signal: abort.signal }), {
      message: "interrupted",
    });
    assert.deepEqual(place.names(), [], format);
  }
});
