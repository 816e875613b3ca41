/**
 * Captures in another format load in the QEMU they were made for; what that QEMU then saves has the same RAM.
 * @module
 */
import assert from "node:assert/strict";
import { openImage } from "../../containers/image.ts";
import { xbzrle } from "../../plugins/xbzrle.ts";
import { convertImage } from "../../reports/convert.ts";
import { diffImages } from "../../reports/diff.ts";
import { type Capture, capture, fixturePath } from "../fixtures.ts";
import { qemuTest } from "./available.ts";
import { destination } from "./destination.ts";
import { launchQemu, type Qemu } from "./qemu.ts";

const tables = xbzrle.tables!;
/** Different in machine, devices, framing, format, and in the way they travelled. */
const NAMES = [
  "pc-file-stopped",
  "pc-kitchen-sink",
  "pc-multipass",
  "pc-no-footers",
  "pc-numa-blocks",
  "pc-xbzrle",
  "pc-background-snapshot-stopped",
  "pc-postcopy",
  "pc-2.4-old-machine",
  "q35-mapped-live-multifd",
  "q35-no-vmdesc",
  "q35-return-path-switchover-ack",
  "q35-virtio-devices",
  "q35-virtio-mem-dimm",
  "microvm-file",
  "isapc-file",
];

/** libvirt tells QEMU where in its image the stream begins; what is in front QEMU never sees. */
const XML = "<domain/>";

for (const name of NAMES) {
  const entry = capture(name);
  qemuTest(`${name}, converted to each format, loads in a real QEMU with its memory`, async () => {
    const directory = Deno.makeTempDirSync({ prefix: "miglab-convert-" });
    try {
      await using image = await openImage(await fixturePath(name), { tables, offset: entry.stream_offset ?? 0 });
      const args = destination(entry, directory, image.stream.machine ?? "pc");
      for (const format of ["legacy", "mapped-ram", "libvirt-raw", "libvirt-sparse"] as const) {
        const path = `${directory}/ours`;
        const libvirt = format.startsWith("libvirt");
        const { streamOffset } = await convertImage(image, path, format, libvirt ? { xml: XML } : { offset: 0x3000 });
        await using ours = await openImage(path, libvirt ? {} : { offset: streamOffset });
        const { equal, ...differences } = await diffImages(image, ours);
        assert(equal, JSON.stringify(differences));
        await using vm = await launchQemu(args, { accel: entry.needs_kvm ? "kvm" : "tcg" });
        if (ours.stream.ramFormat === "mapped-ram") await vm.capabilities("mapped-ram");
        await vm.incoming(`file:${path},offset=${streamOffset}`);
        await vm.migrate(`file:${directory}/theirs`);
        await using theirs = await openImage(`${directory}/theirs`);
        assert.deepEqual(changed(await ram(ours, theirs)), clockPages(entry), format);
      }
    } finally {
      Deno.removeSync(directory, { recursive: true });
    }
  }, entry.needs_kvm ? "kvm" : undefined);
}

qemuTest("dirty bitmaps of disks are still there after a conversion", async () => {
  const disk = ["-blockdev", "driver=null-co,node-name=disk0,size=16777216"];
  const machine = ["-machine", "q35", "-m", "16", ...disk, "-S"];
  const bitmap = async (vm: Qemu) => {
    const nodes = await vm.qmp("query-named-block-nodes");
    return nodes.find((node: { "node-name": string }) => node["node-name"] === "disk0")["dirty-bitmaps"];
  };
  await using source = await launchQemu(machine);
  await source.qmp("block-dirty-bitmap-add", { node: "disk0", name: "backup", granularity: 65536 });
  assert.equal(await source.hmp(`qemu-io disk0 "write 1M 128k"`), "");
  const before = await bitmap(source);
  assert.equal(before[0].count, 131072);
  await source.capabilities("dirty-bitmaps");
  await source.migrate(`file:${source.path("saved")}`);
  await using image = await openImage(source.path("saved"));
  for (const format of ["legacy", "mapped-ram"] as const) {
    const path = source.path(format);
    await convertImage(image, path, format);
    await using vm = await launchQemu([...machine, "-incoming", "defer"]);
    await vm.capabilities("dirty-bitmaps", ...(format === "mapped-ram" ? [format] : []));
    await vm.incoming(`file:${path}`);
    assert.deepEqual(await bitmap(vm), before, format);
  }
});

async function ram(...images: [Parameters<typeof diffImages>[0], Parameters<typeof diffImages>[0]]) {
  return (await diffImages(...images)).ram;
}

function changed(differences: Awaited<ReturnType<typeof ram>>): string[] {
  return differences.flatMap(({ block, change, ranges, pageBytes }) => [
    ...(change === "pages" ? [] : [`${block} ${change}`]),
    ...ranges.map(([first, count]) => `${block} ${first * pageBytes} ${count}`),
  ]);
}

/** Pages KVM itself writes when it loads a guest of SeaBIOS: its clock. */
function clockPages(entry: Capture): string[] {
  const differences: { block: string; page_offset: number }[] = entry.truth_checks.qemu_restore.differences ?? [];
  return differences.map(({ block, page_offset }) => `${block} ${page_offset} 1`);
}
