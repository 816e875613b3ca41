/**
 * Captured guests, adopted and saved here, load in the QEMU they were made for; saved again by that QEMU, no block changed.
 * @module
 */
import assert from "node:assert/strict";
import { type Capture, capture, fixturePath } from "../fixtures.ts";
import { qemuTest } from "./available.ts";
import { destination } from "./destination.ts";
import { assertSameBlocks, type BlockRange, loadHere, saveHere } from "./here.ts";
import { launchQemu } from "./qemu.ts";

const FORMATS = [[], ["mapped-ram"]];

/** Different in machine, devices, blocks or framing; those whose disks need no format of their own. */
const NAMES = [
  "pc-file-stopped",
  "pc-exec-cat",
  "pc-fd-pipe",
  "pc-kitchen-sink",
  "pc-mapped-many-blocks",
  "pc-multipass",
  "pc-no-configuration",
  "pc-no-footers",
  "pc-numa-blocks",
  "pc-seabios-booted",
  "pc-zero-detection-none",
  "q35-file-2cpu",
  "q35-mapped",
  "q35-mapped-live-multifd",
  "q35-no-vmdesc",
  "q35-virtio-devices",
  "q35-virtio-mem-dimm",
  "isapc-file",
  "microvm-file",
  "pc-2.4-old-machine",
];

for (const name of NAMES) {
  const entry = capture(name);
  qemuTest(`${name}, adopted and saved in each format, loads in a real QEMU`, async () => {
    const directory = Deno.makeTempDirSync({ prefix: "miglab-captures-" });
    try {
      const guest = await loadHere(`file:${await fixturePath(name)},offset=${entry.stream_offset ?? 0}`, {
        capabilities: Object.keys(entry.capabilities),
      });
      const args = destination(entry, directory, guest.configuration.machine);
      for (const capabilities of FORMATS) {
        const uri = `file:${directory}/ours`;
        await saveHere(guest, uri, { capabilities });
        await using vm = await launchQemu(args, { accel: entry.needs_kvm ? "kvm" : "tcg" });
        await vm.capabilities(...capabilities);
        await vm.incoming(uri);
        const saved = guest.savedRunState;
        assert.equal(await vm.runState(), saved === undefined || saved === "running" ? "paused" : saved);
        await vm.migrate(`file:${directory}/theirs`);
        const back = await loadHere(`file:${directory}/theirs`, { capabilities });
        assertSameBlocks(back, guest, clockPages(entry));
        back.memory.release();
      }
      guest.memory.release();
    } finally {
      Deno.removeSync(directory, { recursive: true });
    }
  }, entry.needs_kvm ? "kvm" : undefined);
}

/** What QEMU itself changes when it loads the capture: SeaBIOS under KVM has a clock page of 32 bytes that KVM writes. */
function clockPages(entry: Capture): BlockRange[] {
  const differences: { block: string; page_offset: number; first: number }[] =
    entry.truth_checks.qemu_restore.differences ?? [];
  return differences.map(({ block, page_offset, first }) => {
    const offset = page_offset + first - first % 32;
    return { block, offset, length: 32 };
  });
}
