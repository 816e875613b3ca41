import assert from "node:assert/strict";
import { gunzipSync } from "node:zlib";
import { openImage } from "../../containers/image.ts";
import { xbzrle } from "../../plugins/xbzrle.ts";
import { inspectImage } from "../../reports/inspect.ts";
import { inspectText } from "../../reports/inspect_text.ts";
import { fixturePath, loadFixture, manifest } from "../fixtures.ts";
import { loadLibvirt } from "../libvirt_fixtures.ts";

const tables = xbzrle.tables!;

Deno.test("inspectText() of a stream with several passes", async () => {
  await using image = await openImage(await loadFixture("pc-multipass"), { tables });
  const text = inspectText(image, { ...await inspectImage(image), path: "vm.sav" });
  assert.equal(
    text,
    `\
vm.sav: QEMU stream of pc-i440fx-10.0, complete, 3.81 MiB

RAM  12.3 MiB in 6 blocks, pages of 4 KiB
  pc.ram                    12 MiB  [:.+.....:...............]  178 data, 2894 zero
  /rom@etc/acpi/tables     128 KiB  [#:......................]  2 data, 30 zero
  pc.rom                   128 KiB  [........................]  0 data, 32 zero
  pc.bios                   64 KiB  [#..............#]          2 data, 14 zero
  /rom@etc/table-loader      4 KiB  [#]                         1 data, 0 zero
  /rom@etc/acpi/rsdp         4 KiB  [#]                         1 data, 0 zero

Sections
  ram: start, 12 parts, end, 3.71 MiB, 7 passes
  devices: 30, 11.8 KiB

Devices
  timer v2, cpu_common v1, cpu v12, kvm-tpr-opt v1, apic v3, 0000:00:00.0/I440FX v3, PCIHost v1,
  PCIBUS v1, fw_cfg v2, dma v1 (2), mc146818rtc v3, 0000:00:01.1/ide v3, i2c_bus v1,
  0000:00:01.3/piix4_pm v3, 0000:00:01.0/PIIX3 v3, i8259 v1 (2), ioapic v3, hpet v2, i8254 v3,
  pcspk v1, fdc v2, ps2kbd v3, ps2mouse v2, pckbd v3, vmmouse v0, port92 v1, acpi_build v1,
  globalstate v1
`,
  );
});

Deno.test("inspectText() tells what is around the stream", async () => {
  const page = async (bytes: Uint8Array) => {
    await using image = await openImage(bytes, { tables });
    return inspectText(image, { ...await inspectImage(image), path: "vm.sav" }).split("\n").slice(0, 4);
  };
  assert.deepEqual(await page(loadLibvirt("gzip")), [
    "vm.sav: libvirt save image (gzip) of pc-i440fx-10.0, complete, 411.1 KiB, stream at 0x105b0",
    "",
    "libvirt       version 2, format gzip; runs when restored",
    "              XML 1.10 KiB, cookie 235 bytes, in 65.3 KiB",
  ]);
  const partial = await page(loadLibvirt("sparse-unfinished"));
  assert.match(partial[0], /^vm.sav: libvirt save image of pc-i440fx-10.0, incomplete, 38.1 MiB/);
  const gz = Deno.readFileSync(new URL("../fixtures/qcow2/savevm-plain.qcow2.gz", import.meta.url));
  assert.deepEqual(await page(gunzipSync(gz)), [
    "vm.sav: qcow2 image with a snapshot of pc-i440fx-10.0, complete, 1.19 MiB",
    "",
    'Snapshot      1 "first", 2026-11-21T01:15:00Z, 196.9 KiB',
    'Snapshot      2 "second", 2026-11-21T01:15:01Z, 200.9 KiB, read here',
  ]);
});

Deno.test("inspectText() of every capture is one page without control characters", async () => {
  for (const c of manifest()) {
    await using image = await openImage(await fixturePath(c.name), { tables, offset: c.stream_offset ?? 0 });
    const report = await inspectImage(image);
    const text = inspectText(image, { ...report, path: "vm.sav" }, { width: 80 });
    // deno-lint-ignore no-control-regex -- none may be there
    assert.doesNotMatch(text, /[\x00-\x09\x0b-\x1f\x7f]|undefined|NaN/, c.name);
    assert(text.endsWith("\n") && !text.endsWith("\n\n"));
    assert(text.split("\n").length < 50, c.name);
    assert.match(text, report.stream.complete ? /, complete,/ : /, incomplete,/);
    for (const block of report.ram.blocks) assert(text.includes(block.id), block.id);
    for (const warning of report.stream.warnings) assert(text.includes(warning));
  }
});

Deno.test("inspectText() marks with the style it is given, and escapes what names hold", async () => {
  const mark = (letter: string) => (text: string) => `<${letter}:${text}>`;
  const style = {
    bold: mark("b"),
    dim: mark("d"),
    red: mark("r"),
    green: mark("g"),
    yellow: mark("y"),
    cyan: mark("c"),
  };
  await using image = await openImage(await loadFixture("pc-cancelled"), { tables });
  const text = inspectText(image, { ...await inspectImage(image), path: "a\x1b[31m" }, { style });
  assert.match(text, /^<b:a\\x1b\[31m>: QEMU stream of <b:pc-i440fx-10.0>, <r:incomplete>/);
});
