/**
 * What rules say of a PC's chips, held against what the QEMU says that wrote them, of the same stopped guest.
 * @module
 */
import assert from "node:assert/strict";
import { openImage } from "../../containers/image.ts";
import type { ImageDevice } from "../../containers/image_device.ts";
import { describeDevice, type DescribedField } from "../../reports/symbols/describe.ts";
import { virtualClock } from "../../reports/symbols/time.ts";
import { qemuTest } from "./available.ts";
import { launchQemu, type Qemu } from "./qemu.ts";

/** Until SeaBIOS has looked for something to boot from. */
const BOOT_MS = 4000;
const FRAME_NS = 1_000_000n;
const MAC = "52:54:00:12:34:56";

/** Fields of a saved guest's devices. */
class Saved {
  readonly #clock: bigint | undefined;

  constructor(readonly devices: readonly ImageDevice[]) {
    this.#clock = virtualClock(devices);
  }

  get clock(): bigint {
    assert(this.#clock !== undefined);
    return this.#clock;
  }

  all(name: string): DescribedField[][] {
    return this.devices.filter((device) => device.name === name || device.name.endsWith("/" + name))
      .map((device) => describeDevice(device.name, device.walk()?.nodes ?? [], this.#clock));
  }

  /** The first field of that name, wherever it stands. */
  field(device: string, name: string): DescribedField {
    const found = find(this.all(device)[0] ?? [], name);
    assert(found, `${device} has no ${name}`);
    return found;
  }
}

function find(fields: readonly DescribedField[], name: string): DescribedField | undefined {
  for (const field of fields) {
    if (field.name === name || field.symbol === name) return field;
    const inside = find(field.children ?? [], name);
    if (inside) return inside;
  }
  return undefined;
}

async function booted(args: readonly string[], look: (vm: Qemu, saved: Saved) => Promise<void>): Promise<void> {
  const disk = await Deno.makeTempFile();
  try {
    await Deno.truncate(disk, 20 << 20);
    const drive = `file=${disk},format=raw,if=none,id=disk`;
    await using vm = await launchQemu(["-m", "64", "-vga", "std", "-serial", "null", "-drive", drive, ...args]);
    await new Promise((resolve) => setTimeout(resolve, BOOT_MS));
    await vm.qmp("stop");
    await vm.migrate(`file:${vm.path("saved")}`);
    await using image = await openImage(vm.path("saved"));
    await look(vm, new Saved(image.devices));
  } finally {
    await Deno.remove(disk);
  }
}

/** "text, 80x25 characters of 9x16" in pixels. */
function pixels(mode: string): string {
  const [columns, rows, width = 1, height = 1] = [...mode.matchAll(/(\d+)x(\d+)/g)]
    .flatMap(([, x, y]) => [Number(x), Number(y)]);
  return `${columns * width} ${rows * height}`;
}

async function hmp(vm: Qemu, command: string): Promise<string> {
  return String(await vm.qmp("human-monitor-command", { "command-line": command }));
}

async function sameOnEveryPc(vm: Qemu, saved: Saved): Promise<void> {
  const info = await hmp(vm, "info pic");
  for (const pic of saved.all("i8259")) {
    const [irr, imr, isr, elcr, base] = ["IRR", "IMR", "ISR", "ELCR", "irq_base"].map((name) =>
      find(pic, name)!.text!.slice(2)
    );
    const line = new RegExp(`irr=(..) imr=${imr} isr=${isr} hprio=\\d irq_base=${base} rr_sel=\\d elcr=${elcr}`);
    const [said, now] = line.exec(info) ?? assert.fail(`${line}\n${info}`);
    // KVM's own timer ticks on while the guest is stopped, so that IR0 may have come since
    assert.equal(Number(`0x${now}`) | 1, Number(`0x${irr}`) | 1, said);
  }
  await vm.qmp("screendump", { filename: vm.path("screen") });
  const [, size] = new TextDecoder().decode((await Deno.readFile(vm.path("screen"))).subarray(0, 32)).split("\n");
  assert.equal(pixels(saved.field("vga", "CRTC").meaning!), size);

  const time = await vm.qmp("qom-get", { path: "/machine", property: "rtc-time" }) as Record<string, number>;
  const shown = Date.parse(saved.field("mc146818rtc", "cmos_data").text!.replace(" ", "T") + "Z");
  const now = Date.UTC(1900 + time.tm_year, time.tm_mon, time.tm_mday, time.tm_hour, time.tm_min, time.tm_sec);
  assert(now - shown >= 0 && now - shown < 60_000, `${new Date(shown)} and then ${new Date(now)}`);
  assert.equal(saved.field("serial", "lcr").symbol, "LCR");
}

qemuTest("a pc that SeaBIOS booted: interrupts, screen, clock, disk and card are as QEMU says", async () => {
  const args = [
    ["-machine", "pc,hpet=on"],
    ["-device", "ide-hd,drive=disk,model=MIGLAB DISK,serial=ABC123"],
    ["-device", `e1000,mac=${MAC}`],
    ["-device", "piix3-usb-uhci,id=u", "-device", "usb-kbd,bus=u.0"],
  ].flat();
  await booted(args, async (vm, saved) => {
    await sameOnEveryPc(vm, saved);
    const identify = saved.field("ide", "identify_data");
    assert.equal(identify.text, '"MIGLAB DISK"');
    assert.deepEqual(identify.children!.map(({ text }) => text).filter((text) => text !== '"2.5+"'), [
      '"ABC123"',
      '"MIGLAB DISK"',
      `0x${(20 << 11).toString(16)} (${20 << 11})`,
    ]);
    assert.equal(saved.field("e1000", "RAL0").meaning, MAC);
    assert.match(await hmp(vm, "info network"), new RegExp(`e1000.*${MAC}`));
    assert.match(saved.field("uhci", "PORTSC1").meaning!, /\bCCS\b.*\bPED\b/);
    // the clock of a stopped guest is within the frame whose end the timer waits for
    const timer = saved.field("uhci", "frame_timer");
    const [, amount, unit] = /^in ([\d.]+) (ns|us|ms)$/.exec(timer.meaning!) ?? assert.fail(JSON.stringify(timer));
    assert(Number(amount) * { ns: 1, us: 1e3, ms: 1e6 }[unit]! <= 2 * Number(FRAME_NS), timer.meaning);
    assert(saved.clock > 0n && saved.clock < 10n * 60n * 1_000_000_000n);
    assert.equal(saved.field("globalstate", "runstate").text, '"paused"');
  });
});

qemuTest("a q35 that SeaBIOS booted: its disk is on AHCI, its keyboard on xHCI", async () => {
  const args = [
    ["-machine", "q35", "-device", "ide-hd,drive=disk,bus=ide.0,model=MIGLAB SATA"],
    ["-device", "ide-cd,bus=ide.1"],
    ["-device", "qemu-xhci,id=x", "-device", "usb-kbd,bus=x.0"],
  ].flat();
  await booted(args, async (vm, saved) => {
    await sameOnEveryPc(vm, saved);
    const ports = find(saved.all("ich9_ahci")[0], "dev")!.children!;
    assert.deepEqual(ports.map((port) => find([port], "PxSIG")!.meaning).slice(0, 3), [
      "ATA disk",
      "ATAPI",
      "no signature yet",
    ]);
    assert.equal(find([ports[0]], "identify_data")!.meaning, "disk");
    const speeds = find(saved.all("xhci")[0], "ports")!.children!.map((port) => find([port], "PORTSC")!.meaning!);
    const [, speed] = /Speed (\d+) Mb\/s, Product QEMU USB Keyboard/.exec(await hmp(vm, "info usb"))!;
    assert.equal(speed, "480");
    assert.equal(speeds.filter((port) => port.startsWith("CCS PED U0 PP high-speed")).length, 1);
  });
});
