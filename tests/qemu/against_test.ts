import assert from "node:assert/strict";
import { verifyImage } from "../../reports/verify.ts";
import { fixturePath, loadFixture } from "../fixtures.ts";
import { QEMU, qemuTest } from "./available.ts";

qemuTest("verify --against a real QEMU accepts the devices of what such a QEMU wrote", async () => {
  let accepted = 0;
  for (const name of ["pc-seabios-booted", "q35-virtio-devices", "pc-kitchen-sink", "pc-2.4-old-machine"]) {
    const { ok, findings, against } = await verifyImage(await fixturePath(name), { against: QEMU });
    assert(ok, findings.map(({ message }) => message).join("\n"));
    assert.equal(against!.machine, true);
    accepted += against!.devices.filter(({ verdict }) => verdict === "accepted").length;
  }
  assert(accepted > 60, `${accepted} devices`);
});

qemuTest("verify --against a real QEMU refuses a machine type it has not", async () => {
  const bytes = (await loadFixture("pc-file-stopped")).slice();
  const at = bytes.findIndex((_, i) => new TextDecoder().decode(bytes.subarray(i, i + 14)) === "pc-i440fx-10.0");
  bytes[at + 10] = 0x39; // pc-i440fx-90.0
  const { ok, findings, against } = await verifyImage(bytes, { against: QEMU });
  assert.deepEqual([ok, against!.machine], [false, false]);
  assert.equal(findings[0].message, `machine type pc-i440fx-90.0: ${QEMU} has none of that name`);
  assert.equal(findings[0].offset, at);
});
