/**
 * What rules say of a machine's chips, ports, disks, cards and clocks.
 * @module
 */
import fc from "fast-check";
import assert from "node:assert/strict";
import { openImage } from "../../containers/image.ts";
import { inspectImage } from "../../reports/inspect.ts";
import { devicesText } from "../../reports/inspect_detail.ts";
import { CHIPSET } from "../../reports/symbols/chipset.ts";
import { DeviceSymbols } from "../../reports/symbols/describe.ts";
import type { Meaning, SymbolRule } from "../../reports/symbols/rule.ts";
import { TIMES, virtualClock } from "../../reports/symbols/time.ts";
import { type VmLeaf, vmLeaves, type VmValue } from "../../stream/vmvalue.ts";
import { loadFixture } from "../fixtures.ts";

/** Lines of a fixture's device, without the spaces between columns. */
async function lines(fixture: string, device: string): Promise<string[]> {
  await using image = await openImage(await loadFixture(fixture));
  const text = devicesText(await inspectImage(image, { device }));
  return text.split("\n").map((line) => line.trim().replace(/ {2,}/g, "  "));
}

const EXPECTED: Readonly<Record<string, readonly string[]>> = {
  "pc-seabios-booted globalstate": [
    "size  7  the run state's name takes 7 bytes with its NUL",
    'runstate  "paused"  the guest stays stopped after the load',
  ],
  "pc-seabios-booted fw_cfg": ["cur_entry  0x000e  BOOT_MENU"],
  "pc-seabios-booted mc146818rtc": [
    "cmos_data  2026-11-20 23:06:01  BCD, 24 hours",
    "hours  0x23  23",
    "register A  0x26  32768 Hz, periodic 1024 Hz",
    "register B  0x02  24H",
    "ram 0x10  40 00 00 00 06 80 02 00 3c 00 00 00 00 00 00 00",
    "periodic_timer  not armed",
    "base_rtc  2026-11-20 23:06:00  the guest's time at last_update",
  ],
  "pc-seabios-booted i8254": [
    "count  65536  18.20651 Hz",
    "mode  2  rate generator",
    "rw_mode  3  low byte, then high byte",
    "count_load_time  -110.942 us  1.615671809 s ago",
  ],
  "pc-seabios-booted i8259": [
    "irr IRR  0x01  IR0",
    "imr IMR  0xb8  IR3 IR4 IR5 IR7",
    "irq_base  0x08  vectors 0x08 to 0x0f",
    "irq_base  0x70  vectors 0x70 to 0x77",
    "elcr ELCR  0x0c  IR2 IR3",
  ],
  "pc-seabios-booted hpet": [
    "config  0x400000030  edge PER_INT_CAP SIZE_CAP route 0 of 0x4",
    "cmp  0xffffffffffffffff  never",
  ],
  "pc-seabios-booted dma": ["mode  0x46  single, write to memory, up", "dshift  1  channels 4 to 7, words"],
  "pc-seabios-booted piix4_pm": [
    "ar.pm1.evt.sts PM1_STS  0x0001  TMR",
    "ar.pm1.cnt.cnt PM1_CNT  0x0001  SCI_EN",
    "ar.tmr.timer  not armed",
  ],
  "pc-seabios-booted fdc": ["dor_vmstate DOR  0x1c  drive 0 nRESET DMAEN MOTEN0", "msr MSR  0x80  RQM"],
  "pc-seabios-booted pckbd": ["status  0x1c  SELFTEST CMD UNLOCKED", "mode  0x61  KBD_INT DISABLE_MOUSE KCC"],
  "pc-seabios-booted timer": ["cpu_clock_offset  1.615560867 s  the guest has run, by its clock"],
  "pc-kitchen-sink serial": ["divider  0x123 (291)  395.88 baud", "lcr LCR  0x1f  8E2", "lsr LSR  0x60  THRE TEMT"],
  "pc-kitchen-sink e1000": [
    "mac_reg[STATUS] STATUS  0x80080783  FD LU PHYRA GIO_MASTER_EN 1000 Mb/s",
    "RAL0  0xaa005452  52:54:00:aa:bb:01",
    "RAH0  0x800001bb  AV",
  ],
  "pc-kitchen-sink rtl8139": ["phys  52:54:00:aa:bb:02", "bChipCmdState  0x10  CmdReset"],
  "pc-kitchen-sink xhci": ["usbsts USBSTS  0x00000001  HCH"],
  "pc-kitchen-sink uhci": ["status USBSTS  0x0020  HCHALTED"],
  "pc-kitchen-sink vga": ["cr CRTC  256 bytes, all zero  blank", "msr miscellaneous output 0x00"],
  "pc-kitchen-sink i8254": ["next_transition_time  409.085757 ms  in 8.501547 ms"],
  "q35-virtio-devices ICH9LPC": [
    "smi_en SMI_EN  0x00000020  APMC_EN",
    "tco.tmr TCO_TMR  4  2.4 s",
    "expire_time  none",
  ],
  "q35-virtio-devices ich9_ahci": [
    "port_regs.cmd PxCMD  0x00000006  SUD POD",
    "control_regs.cap CAP  0xc0141f05  6 ports, 32 command slots, SAM SNCQ S64A",
    "control_regs.version VS  0x00010000  AHCI 1.0",
  ],
  "aarch64-virt-file pl011": ["flags UARTFR  0x00000090  RXFE TXFE", "cr UARTCR  0x00000300  TXE RXE"],
};

for (const [which, expected] of Object.entries(EXPECTED)) {
  Deno.test(`inspect --device: ${which}`, async () => {
    const [fixture, device] = which.split(" ");
    const said = await lines(fixture, device);
    for (const line of expected) assert(said.includes(line), `${line}\n${said.join("\n")}`);
  });
}

/** What is said of one field, by what its bytes say; the other fields as `beside` has them. */
function say(
  device: string,
  path: string,
  value: VmValue,
  beside: Record<string, VmValue> = {},
  clock?: bigint,
): Meaning {
  const length = value instanceof Uint8Array ? value.length : typeof value === "bigint" ? 8 : 4;
  const leaf = (name: string, value: VmValue): VmLeaf => ({
    kind: "leaf",
    name,
    type: "int64",
    offset: 0,
    length,
    value,
  });
  const nodes = Object.entries(beside).map(([name, value]) => leaf(name, value));
  return new DeviceSymbols(device, nodes, clock).of(leaf(path, value), path);
}

Deno.test("times beside the clock", () => {
  const clock = 5_000_000_000n;
  assert.deepEqual(say("uhci", "expire_time", 5_001_500_000n, {}, clock), { text: "5.0015 s", meaning: "in 1.5 ms" });
  assert.deepEqual(say("uhci", "expire_time", 4_000_000_000n, {}, clock), { text: "4 s", meaning: "1 s ago" });
  assert.deepEqual(say("uhci", "expire_time", clock, {}, clock), { text: "5 s", meaning: "now" });
  assert.deepEqual(say("uhci", "expire_time", -1n, {}, clock), { text: "none" });
  assert.deepEqual(say("uhci", "expire_time", 4_000_000_000n), { text: "4 s" });
  assert.deepEqual(say("mc146818rtc", "last_update", 1795215989476490000n), { text: "2026-11-20 23:06:29.47649 UTC" });
  assert.deepEqual(say("mc146818rtc", "last_update", 4_000_000_000n).meaning, "of the clock of -rtc");
  const ptimer = { "t.period_frac": 0, "t.period": 1000n, "t.last_event": 0n, "t.next_event": 0n, "t.enabled": 1 };
  assert.deepEqual(say("arm_timer", "t.next_event", 6_000_000_000n, ptimer, clock), { text: "6 s", meaning: "in 1 s" });
  assert.deepEqual(say("arm_timer", "t.delta", 3_000n, ptimer), { text: "3000 ticks", meaning: "3 ms" });
  assert.deepEqual(say("arm_timer", "t.period", 1_000n, ptimer), { text: "1 us", meaning: "1000000 Hz" });
  assert.deepEqual(say("arm_timer", "t.limit", 3_000n), {}, "no ptimer around it");
  assert.deepEqual(say("ICH9LPC", "pm.acpi_regs.tmr.overflow_time", 3579545n * 6n, {}, clock), {
    text: "6 s",
    meaning: "in 1 s",
  });
});

Deno.test("the clock of a stream: none with icount, nor of a guest that ran on", async () => {
  await using image = await openImage(await loadFixture("pc-seabios-booted"));
  assert.equal(virtualClock(image.devices), 1_615_560_867n);
  const of = (fields: Record<string, bigint>) =>
    virtualClock([{
      name: "timer",
      walk: () => ({
        nodes: Object.entries(fields).map(([name, value]): VmLeaf => {
          return { kind: "leaf", name, type: "int64", offset: 0, length: 8, value };
        }),
      }),
    }]);
  assert.equal(of({ cpu_clock_offset: 7n }), 7n);
  assert.equal(of({ cpu_clock_offset: -7n }), undefined);
  assert.equal(of({ cpu_clock_offset: 7n, "timer/icount.qemu_icount": 1n }), undefined);
  assert.equal(virtualClock([]), undefined);
});

Deno.test("clocks of a guest: binary and twelve hours, a century, no date at all", () => {
  const cmos = new Uint8Array(128);
  cmos.set([59, 0xc0, 58, 5, 0x80 | 11, 0x80 | 12, 3, 31, 12, 99, 0x26, 0x04, 0, 0x80]);
  cmos[0x32] = 19;
  const { text, meaning, parts = [] } = say("mc146818rtc", "cmos_data", cmos);
  assert.deepEqual([text, meaning], ["1999-12-31 23:58:59", "binary, 12 hours"]);
  assert.deepEqual(parts.slice(1, 6).map(({ meaning }) => meaning), ["any", "58", "05", "23", "12"]);
  assert.equal(parts.reduce((sum, { length = 0 }) => sum + length, 0), 128);
  cmos[8] = 13;
  assert.equal(say("mc146818rtc", "cmos_data", cmos).text, "no date");
  assert.deepEqual(say("mc146818rtc", "cmos_data", cmos.subarray(1)), {});
});

Deno.test("a screen's mode: graphics of VGA and of VBE", () => {
  const cr = new Uint8Array(256), sr = new Uint8Array(8), gr = new Uint8Array(16);
  cr.set([0x5f, 0x4f, 0, 0, 0, 0, 0, 0x3e]);
  cr[0x12] = 0xdf;
  gr[6] = 1;
  const beside = { "vga.sr": sr, "vga.gr": gr, "vga.ar_index": 0x20 };
  assert.equal(say("vga", "vga.cr", cr, beside).meaning, "graphics, 640x480");
  const vbe = { "vga.vbe_regs[1]": 1024, "vga.vbe_regs[2]": 768, "vga.vbe_regs[3]": 32, "vga.vbe_regs[4]": 0x41 };
  assert.equal(say("vga", "vga.cr", cr, { ...beside, ...vbe }).meaning, "graphics, 1024x768, 32 bits a pixel");
});

Deno.test("a disk's registers are told as a disk's only where it is known to be one", () => {
  const identify = new Uint8Array(512);
  const beside = { "bus[0].ifs[0].lcyl": 2, "bus[0].ifs[0].hcyl": 0, "bus[0].ifs[0].select": 0xe0 };
  const sector = (more: Record<string, VmValue>) =>
    say("ide", "bus[0].ifs[0].sector", 1, { ...beside, ...more }).meaning;
  assert.equal(sector({}), undefined);
  assert.equal(sector({ "bus[0].ifs[0].identify_data": identify }), "LBA 513");
  identify[1] = 0x85;
  assert.equal(sector({ "bus[0].ifs[0].identify_data": identify }), undefined);
  const packet = { "bus[0].ifs[0].identify_data": identify };
  assert.equal(say("ide", "bus[0].ifs[0].error", 0x20, packet).meaning, "not ready");
});

const VALUES = fc.oneof(
  fc.bigInt({ min: -(1n << 63n), max: (1n << 64n) - 1n }),
  fc.integer(),
  fc.uint8Array({ maxLength: 600 }),
  fc.constantFrom<VmValue>(
    null,
    "",
    "text",
    true,
    0,
    0n,
    -1n,
    new Uint8Array(128),
    new Uint8Array(512),
    new Uint8Array(256),
  ),
);

Deno.test("whatever the bytes are, no rule throws", async () => {
  const places: [rule: SymbolRule, device: string, path: string][] = [];
  for (
    const fixture of [
      "pc-seabios-booted",
      "pc-kitchen-sink",
      "q35-virtio-devices",
      "aarch64-virt-file",
      "riscv64-virt-file",
    ]
  ) {
    await using image = await openImage(await loadFixture(fixture));
    for (const device of image.devices) {
      const name = device.name.slice(device.name.lastIndexOf("/") + 1);
      const paths = new Set(
        [...vmLeaves(device.walk()?.nodes ?? [])].map(({ path }) => path.replace(/\[(\d{2,})\]/g, "[9]")),
      );
      for (const rule of [...CHIPSET, ...TIMES]) {
        if (rule.type !== undefined || rule.device?.test(name) === false) continue;
        for (const path of paths) if (!rule.field || rule.field.test(path)) places.push([rule, name, path]);
      }
    }
  }
  assert(places.length > 500);
  fc.assert(
    fc.property(
      fc.constantFrom(...places),
      VALUES,
      VALUES,
      fc.nat(9),
      fc.boolean(),
      ([rule, name, path], value, other, length, timed) => {
        const device = { idstr: name, name, value: () => other, ...(timed ? { clock: 5n } : {}) };
        const leaf: VmLeaf = { kind: "leaf", name: path, type: "any", offset: 0, length, value };
        const said = rule.describe(value, (rule.field ?? /^/).exec(path)!, device, leaf);
        for (const word of [said?.symbol, said?.text, said?.meaning]) {
          assert(
            word === undefined || typeof word === "string" && !/undefined|NaN|\[object/.test(word),
            `${name} ${path}: ${word}`,
          );
        }
      },
    ),
    { numRuns: 20000 },
  );
});
