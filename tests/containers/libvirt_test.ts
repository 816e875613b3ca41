import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { type Image, openImage } from "../../containers/image.ts";
import { xbzrle } from "../../plugins/xbzrle.ts";
import { inspectImage } from "../../reports/inspect.ts";
import { bufferSource } from "../../stream/channel.ts";
import { libvirtManifest, loadLibvirt } from "../libvirt_fixtures.ts";
import { spawnSync } from "node:child_process";

const tables = xbzrle.tables!;
const PROGRAMS = ["bzip2", "xz", "lzop"];
/** Images whose program is not installed cannot be read here; that is said, not passed over. */
const missing = (name: string) => PROGRAMS.includes(name) && spawnSync(name, ["--version"]).error !== undefined;

async function hashes(image: Image): Promise<Record<string, string>> {
  const { ram } = await inspectImage(image, { hash: true, device: "none" });
  return Object.fromEntries(ram.blocks.map(({ id, sha256 }) => [id, sha256!]));
}

for (const fixture of libvirtManifest()) {
  const { name, header, stream } = fixture;
  Deno.test({
    name: `openImage() reads libvirt's ${name}: ${fixture.made_by.slice(0, 60)}`,
    ignore: missing(name),
    async fn() {
      const bytes = loadLibvirt(name);
      assert.equal(createHash("sha256").update(bytes).digest("hex"), fixture.sha256);
      await using image = await openImage(bytes, { tables });
      assert.equal(image.bytes, fixture.bytes);
      assert.equal(image.format, header ? "libvirt-save" : "qemu-stream");
      assert.equal(image.streamOffset, header?.stream_offset ?? 0);
      const report = await inspectImage(image);
      assert.deepEqual(
        report.libvirt,
        header && {
          version: header.version,
          format: header.format_name,
          byteOrder: header.byte_order,
          complete: header.complete,
          wasRunning: header.was_running !== 0,
          dataBytes: header.data_len,
          xmlBytes: header.xml_bytes,
          cookieBytes: header.cookie_bytes,
        },
      );
      if (header) {
        assert.equal(image.libvirt!.xml, fixture.xml);
        assert.equal(image.libvirt!.cookie, fixture.cookie ?? "");
        assert.equal(image.complete, header.complete && image.stream.complete);
      }
      if (name.startsWith("partial-")) {
        assert(image.fault);
        assert.equal(image.complete, false);
        return;
      }
      assert.equal(image.fault, undefined);
      assert.equal(image.stream.complete, true);
      assert.equal(image.stream.machine, stream.machine);
      assert.deepEqual([...image.stream.capabilities], stream.capabilities);
      assert.equal(image.streamEnd, stream.end);
      const headers = stream.sections.filter((s: { type: number }) => s.type <= 4).map((s: { at: number }) => s.at);
      for (const at of headers) assert(image.sections.some((s) => s.headerOffset === at), `a section at ${at}`);
      for (const block of stream.blocks) {
        const found = image.ram.block(block.name)!;
        const { bytes, normalPages, zeroPages, pagesOffset } = found;
        assert.deepEqual(
          [bytes, normalPages, zeroPages, pagesOffset],
          [block.used_length, block.pages_with_data, block.pages_zero, block.mapped_ram?.pages_offset],
        );
      }
      assert.deepEqual(await hashes(image), fixture.ram_truth);
    },
  });
}

Deno.test("images come through a pipe too, and inside gzip", async () => {
  for (const name of ["raw", "gzip", "zstd", "sparse", "raw-big-endian"]) {
    const bytes = loadLibvirt(name);
    await using whole = await openImage(bytes, { tables });
    await using piped = await openImage(bufferSource(bytes, { sequential: true, chunk: 65_521 }), { tables });
    assert.deepEqual(piped.libvirt, whole.libvirt);
    assert.deepEqual(piped.ram.blocks, whole.ram.blocks);
    assert.deepEqual(piped.sections, whole.sections);
    const packed = new Uint8Array(
      await new Response(new Blob([bytes]).stream().pipeThrough(new CompressionStream("gzip"))).arrayBuffer(),
    );
    await using again = await openImage(packed, { tables });
    assert.deepEqual(again.compressions, whole.compressions.length ? ["gzip", ...whole.compressions] : ["gzip"]);
    assert.deepEqual(again.libvirt, whole.libvirt);
    assert.deepEqual(await hashes(again), await hashes(whole));
    const page = await again.ram.readPage("pc.bios", 0);
    assert.deepEqual(page, await whole.ram.readPage("pc.bios", 0));
  }
});

Deno.test("labels that are not true are told", async () => {
  const texts = async (bytes: Uint8Array) => {
    await using image = await openImage(bytes, { tables });
    assert.equal(image.fault, undefined);
    return image.warnings.map(({ text }) => text).join("; ");
  };
  assert.match(await texts(loadLibvirt("snapshot-sparse-label")), /labelled sparse, but the stream is not mapped-ram/);
  const sparse = loadLibvirt("sparse");
  sparse[28] = 0;
  assert.match(await texts(sparse), /labelled raw, but the stream is mapped-ram/);
  const gzip = loadLibvirt("gzip");
  gzip[28] = 5;
  assert.match(await texts(gzip), /labelled zstd, but the stream is packed with gzip: libvirt will not restore it/);
  gzip[28] = 0;
  assert.match(await texts(gzip), /labelled raw, but the stream is packed with gzip: libvirt will not restore it/);
  const raw = loadLibvirt("raw");
  raw[28] = 1;
  assert.match(await texts(raw), /labelled gzip, but the stream is not packed: libvirt will not restore it/);
  raw[16] = 1; // in version 1 the label says nothing
  assert.equal(await texts(raw), "");
  assert.match(await texts(loadLibvirt("sparse-unfinished")), /did not complete/);
});

Deno.test("header words that make no sense are refused before anything is allocated", async () => {
  const refused = async (at: number, value: number, expected: RegExp) => {
    const bytes = loadLibvirt("raw");
    new DataView(bytes.buffer).setUint32(at, value, true);
    await assert.rejects(openImage(bytes), { message: expected });
  };
  await refused(16, 3, /version 3, expected at most 2/);
  await refused(20, 0, /data area of 0 bytes/);
  await refused(20, 0xffffffff, /data area .* before the end, expected 4294967295/);
  await refused(28, 7, /format 7, expected 0 to 6/);
  await refused(32, 66901, /cookie offset 0x10555, expected at most 0x10554/);
  await assert.rejects(
    openImage(loadLibvirt("raw").subarray(0, 91)),
    /header of libvirt save image at offset 0x0.*91 bytes/,
  );
  await assert.rejects(openImage(loadLibvirt("raw").subarray(0, 500)), /data area of libvirt save image/);
  await assert.rejects(openImage(loadLibvirt("raw").subarray(0, 66992)), /Not a migration stream/);
});

Deno.test("the domain XML is not in the report", async () => {
  await using image = await openImage(loadLibvirt("raw"));
  assert.match(image.libvirt!.xml, /^<domain/);
  assert.doesNotMatch(JSON.stringify(await inspectImage(image)), /<domain/);
});
