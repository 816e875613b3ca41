/**
 * What `inspect --device` says of virtio devices, against x-query-virtio-status and x-query-virtio-queue-status of the same
 * stopped QEMU, whose firmware has read from a disk.
 * @module
 */
import assert from "node:assert/strict";
import { type Image, openImage } from "../../containers/image.ts";
import { describeDevice, type DescribedField } from "../../reports/symbols/describe.ts";
import { qemuTest } from "./available.ts";
import { launchQemu, type Qemu } from "./qemu.ts";
import type { Json } from "./qmp.ts";

const DEVICES = "-device virtio-blk-pci,drive=d,num-queues=2,bootindex=1 -drive if=none,id=d,driver=null-co,size=3M " +
  "-device virtio-net-pci -device virtio-scsi-pci -device virtio-rng-pci -device virtio-serial-pci " +
  "-device virtio-balloon-pci,free-page-reporting=on,free-page-hint=on,page-poison=on,iothread=t -object iothread,id=t " +
  "-device virtconsole,chardev=c -chardev null,id=c";
/** Those that have no legacy form. */
const MODERN = "-device virtio-gpu-pci -device virtio-keyboard-pci -device virtio-iommu-pci";
const MACHINES: readonly (readonly [what: string, args: string])[] = [
  ["modern", `-machine q35 ${DEVICES} ${MODERN}`],
  // rings of a legacy guest lie one behind the other: no stream tells where avail and used are
  ["legacy", `-machine pc ${DEVICES.replace(/-device virtio-\w+-pci/g, "$&,disable-modern=on")}`],
];
/** What firmware boots from. */
const DRIVEN = "virtio-blk";
/** Names of sections that are not those of x-query-virtio. */
const SECTIONS: Readonly<Record<string, string>> = { "virtio-serial": "virtio-console" };

for (const [what, args] of MACHINES) {
  qemuTest(`${what} virtio devices are described as x-query-virtio-status does`, async () => {
    await using vm = await launchQemu([...args.split(" "), "-m", "64"]);
    const devices = await vm.qmp("x-query-virtio") as { name: string; path: string }[];
    assert(devices.length >= 6);
    await untilDriven(vm, devices.find(({ name }) => name === DRIVEN)!.path);
    await vm.qmp("stop");
    const theirs = new Map<string, Json>();
    for (const { name, path } of devices) theirs.set(SECTIONS[name] ?? name, await statusOf(vm, path));
    await vm.migrate(`file:${vm.path("saved")}`);
    await using image = await openImage(vm.path("saved"));
    for (const [name, status] of theirs) {
      const queues = status.queues.length;
      assert.deepEqual(described(image, name, queues), status, name);
    }
    const { status, queues } = theirs.get(DRIVEN)!;
    assert(status.includes("DRIVER_OK") && queues.some((queue: Json) => queue.desc > 0 && queue.last > 0));
  });
}

async function untilDriven(vm: Qemu, path: string): Promise<void> {
  for (let i = 0; i < 500; i++) {
    if ((await vm.qmp("x-query-virtio-queue-status", { path, queue: 0 }))["last-avail-idx"] > 0) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** What QEMU says, as far as a stream tells it. */
async function statusOf(vm: Qemu, path: string): Promise<Json> {
  const said = await vm.qmp("x-query-virtio-status", { path });
  const features = said["guest-features"];
  assert.equal(features["unknown-dev-features"], undefined);
  const queues: Json[] = [];
  for (let queue = 0; queue < said["num-vqs"]; queue++) {
    const ring = await vm.qmp("x-query-virtio-queue-status", { path, queue });
    queues.push({
      num: ring["vring-num"],
      desc: ring["vring-desc"],
      avail: ring["vring-avail"],
      used: ring["vring-used"],
      last: ring["last-avail-idx"],
    });
  }
  return {
    status: words(said.status.statuses),
    features: words([...features.transports, ...features["dev-features"]]),
    isr: said.isr,
    queueSel: said["queue-sel"],
    broken: said.broken,
    disabled: said.disabled,
    started: said.started,
    queues,
  };
}

/** "VIRTIO_BLK_F_SEG_MAX: what that is" as SEG_MAX. */
function words(said: readonly string[]): string[] {
  return said.map((text) => text.split(":")[0].replace(/^VIRTIO_(?:[A-Z0-9]+_)?(?:F|CONFIG_S|S)_/, ""))
    .map((word) => word.replace(/^VIRTIO_CONFIG_S_|^VHOST_USER_F_|^VHOST_F_/, "")).sort();
}

/** The same of a saved device. */
function described(image: Image, section: string, queues: number): Json {
  const device = image.devices.find(({ name }) => name.endsWith(`/${section}`));
  assert(device, section);
  const [{ children: parts = [] }] = describeDevice(device.name, device.walk()!.nodes);
  assert(!parts.some(({ name }) => name === "rest"), section);
  const text = (name: string, among: readonly DescribedField[] = parts) =>
    among.find((part) => part.name === name)?.text;
  const names = (name: string) =>
    (parts.find((part) => part.name === name)?.meaning ?? "").split(" ").filter(Boolean).sort();
  const vq = parts.find(({ name }) => name === "vq")!.children!;
  assert.equal(vq.length, queues, section);
  return {
    status: names("status").filter((word) => word !== "reset"),
    features: names("guest_features"),
    isr: Number(text("isr")),
    queueSel: Number(text("queue_sel")),
    broken: text("broken") === "true",
    disabled: text("disabled") === "true",
    started: text("started") === "true",
    queues: vq.map(({ children }) => {
      const number = (name: string) => Number(text(name, children!) ?? 0);
      return {
        num: number("num"),
        desc: number("desc"),
        avail: number("avail"),
        used: number("used"),
        last: number("last_avail_idx"),
      };
    }),
  };
}
