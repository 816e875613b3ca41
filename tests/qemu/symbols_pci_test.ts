/**
 * What `inspect --device` says of PCI functions, against `info pci` of the same stopped QEMU.
 * @module
 */
import assert from "node:assert/strict";
import { openImage } from "../../containers/image.ts";
import { describeDevice, type DescribedField } from "../../reports/symbols/describe.ts";
import { qemuTest } from "./available.ts";
import { launchQemu, type Qemu } from "./qemu.ts";

const MACHINES: readonly (readonly [what: string, args: string])[] = [
  [
    "pc",
    "-machine pc -vga std -device e1000 -device rtl8139 -device pci-bridge,id=b,chassis_nr=1 " +
    "-device virtio-rng-pci,bus=b,addr=3 -device piix3-usb-uhci -device lsi53c895a -device virtio-blk-pci,drive=d " +
    "-drive if=none,id=d,driver=null-co,size=1M",
  ],
  [
    "q35",
    "-machine q35 -vga none -device bochs-display -device qemu-xhci -device e1000e -device igb -device megasas " +
    "-device pcie-root-port,id=p,chassis=1,multifunction=on,addr=1c.0 -device virtio-net-pci,bus=p -device intel-hda " +
    "-device pcie-root-port,id=q,chassis=2,addr=1c.1 -device pcie-pci-bridge,id=b,bus=q -device virtio-serial-pci " +
    "-device virtio-scsi-pci,bus=b,addr=2 -device ioh3420,id=r,chassis=3 -device x3130-upstream,bus=r,id=u " +
    "-device xio3130-downstream,bus=u,id=w,chassis=4 -device virtio-balloon-pci,bus=w",
  ],
];

for (const [machine, args] of MACHINES) {
  qemuTest(`PCI functions of ${machine} are described as info pci does`, async () => {
    await using vm = await launchQemu([...args.split(" "), "-m", "64"]);
    await untilPlaced(vm);
    await vm.qmp("stop");
    const theirs = functions(await vm.hmp("info pci"));
    await vm.migrate(`file:${vm.path("saved")}`);
    await using image = await openImage(vm.path("saved"));
    const ours = new Map<string, string[]>();
    const buses = new Map<string, number>();
    const found = image.devices.flatMap((device) => {
      const [, path] = /^([0-9a-f]{4}:00(?::[0-9a-f]{2}\.[0-7])+)\/[^/]+$/.exec(device.name) ?? [];
      const config = path && configOf(describeDevice(device.name, device.walk()?.nodes ?? []));
      return path && config ? [{ path, config }] : [];
    });
    // shorter paths are those of bridges above
    for (const { path, config } of found.toSorted((a, b) => a.path.length - b.path.length)) {
      const secondary = part(config, "secondary_bus")?.text;
      if (secondary !== undefined) buses.set(path, Number(secondary));
      const above = path.slice(0, path.lastIndexOf(":"));
      const [slot, fn] = path.slice(path.lastIndexOf(":") + 1).split(".").map((digits) => parseInt(digits, 16));
      ours.set(`${buses.get(above) ?? 0}:${slot}.${fn}`, linesOf(config));
    }
    assert(theirs.size >= 8);
    assert([...theirs.values()].flat().some((line) => /memory at 0x[1-9a-f]/.test(line)));
    assert.deepEqual([...ours.keys()].sort(), [...theirs.keys()].sort());
    for (const [at, lines] of theirs) assert.deepEqual(ours.get(at), lines, at);
    assert([...theirs.values()].flat().some((line) => line.startsWith("secondary bus")));
  });
}

async function untilPlaced(vm: Qemu): Promise<void> {
  for (let i = 0; i < 300; i++) {
    const text = await vm.hmp("info pci");
    if (/memory at 0x[1-9a-f]/.test(text) && /IRQ [1-9]/.test(text)) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** "0:1.0" -> what is said of it, without ends of BARs, which a stream does not tell. */
function functions(text: string): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const block of text.replaceAll("\r", "").split(/^(?= {2}Bus )/m)) {
    const [head, ...lines] = block.split("\n").map((line) => line.trim()).filter((line) => line !== "");
    const match = /^Bus +(\d+), device +(\d+), function +(\d+):/.exec(head ?? "");
    // a virtual function that is off has no state of its own
    if (!match || block.includes("device ffff:ffff")) continue;
    const said = lines.filter((line) => !line.startsWith("id ")).map((line) =>
      line.replace(/ \[0x[0-9a-f]+\]\.?$/, "")
    );
    found.set(`${match[1]}:${match[2]}.${match[3]}`, said.flatMap(comparable));
  }
  return found;
}

/** What of a line a stream may tell too. */
function comparable(line: string): string[] {
  // whether there is such a BAR is not in its bits
  if (/^BAR\d: 32 bit memory \(not mapped\)/.test(line)) return [];
  const [, kind, base, limit] = /^(IO|memory|prefetchable memory) range \[(\w+), (\w+)\]/.exec(line) ?? [];
  if (kind) return [BigInt(base) > BigInt(limit) ? `${kind} closed` : `${kind} ${BigInt(base)} ${BigInt(limit)}`];
  return [line.replace(/0x0+(?=[0-9a-f])/, "0x").replace(/^Class \d+:/, "Class:")];
}

/** Parts of a configuration, wherever in a device it is. */
function configOf(fields: readonly DescribedField[]): readonly DescribedField[] | undefined {
  for (const { name, children = [], text } of fields) {
    if (/^config(\[\d\])?$/.test(name) && /^\d+ bytes$/.test(text ?? "") && part(children, "header_type")) {
      return children;
    }
    const inner = configOf(children);
    if (inner) return inner;
  }
  return undefined;
}

function part(parts: readonly DescribedField[], name: string): DescribedField | undefined {
  return parts.find((field) => field.name === name);
}

/** The same in the words of info pci. */
function linesOf(config: readonly DescribedField[]): string[] {
  const text = (name: string) => part(config, name)?.text ?? "";
  const lines = [`${part(config, "class")?.meaning ?? "Class"}: PCI device ${text("id")}`];
  if (part(config, "subsystem")) lines.push(`PCI subsystem ${text("subsystem")}`);
  const pin = part(config, "interrupt_pin")?.meaning;
  if (pin?.startsWith("INT")) lines.push(`IRQ ${text("interrupt_line")}, pin ${pin.slice(3)}`);
  if (part(config, "primary_bus")) {
    lines.push(`BUS ${text("primary_bus")}.`, `secondary bus ${text("secondary_bus")}.`);
    lines.push(`subordinate bus ${text("subordinate_bus")}.`);
    for (const [name, kind] of [["io", "IO"], ["memory", "memory"], ["prefetchable", "prefetchable memory"]]) {
      const window = text(`${name}_window`);
      lines.push(window === "closed" ? `${kind} closed` : `${kind} ${window.split("..").map(BigInt).join(" ")}`);
    }
  }
  for (const { name, text, meaning } of config) {
    const [, n] = /^bar\[(\d)\]$/.exec(name) ?? [];
    if (n === undefined && name !== "rom") continue;
    const what = n === undefined ? `32 bit memory ${text}` : text!;
    const kind = what.split(" at ")[0];
    if (meaning === undefined) lines.push(`BAR${n ?? 6}: ${what}`);
    else if (kind !== "32 bit memory") lines.push(`BAR${n ?? 6}: ${kind} (not mapped)`);
  }
  return lines;
}
