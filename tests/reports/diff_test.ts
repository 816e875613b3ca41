import assert from "node:assert/strict";
import { openImage } from "../../containers/image.ts";
import { xbzrle } from "../../plugins/xbzrle.ts";
import { diffImages, type DiffReport } from "../../reports/diff.ts";
import { diffText } from "../../reports/diff_text.ts";
import { ignorePatterns } from "../../reports/field_pattern.ts";
import { capture, loadFixture } from "../fixtures.ts";

const tables = xbzrle.tables!;

async function diff(a: Uint8Array, b: Uint8Array, ignore: string[] = [], offset = 0): Promise<DiffReport> {
  await using left = await openImage(a, { tables, offset });
  await using right = await openImage(b, { tables, offset });
  return await diffImages(left, right, { ignore });
}

/** Bytes of a file with some of them changed. */
function edited(bytes: Uint8Array, ...edits: (readonly [at: number, values: readonly number[]])[]): Uint8Array {
  const copy = bytes.slice();
  for (const [at, values] of edits) copy.set(values, at);
  return copy;
}

Deno.test("diffImages() finds nothing between a file and itself", async () => {
  for (const name of ["q35-virtio-devices", "s390x-ccw-file", "pc-xbzrle", "q35-no-vmdesc"]) {
    const bytes = await loadFixture(name);
    assert.deepEqual(await diff(bytes, bytes), { equal: true, configuration: [], devices: [], ram: [] }, name);
  }
});

Deno.test("diffImages() names a field that differs, with both values", async () => {
  const bytes = await loadFixture("q35-file-2cpu");
  const { device_checks: checks = [] } = capture("q35-file-2cpu");
  const check = checks.find(({ section, path }) => section === "cpu" && path.join() === "env.eip")!;
  const report = await diff(bytes, edited(bytes, [check.offset + 7, [0x42]]));
  const value = Number(check.value);
  const said = (value: number) => "0x" + value.toString(16).padStart(16, "0");
  const after = said(value - value % 256 + 0x42);
  assert.deepEqual(report, {
    equal: false,
    configuration: [],
    devices: [{
      name: "cpu",
      instanceId: check.instance,
      change: "fields",
      fields: [{
        path: "env.eip",
        a: value,
        b: value - value % 256 + 0x42,
        symbol: "RIP",
        text: [said(value), after],
      }],
    }],
    ram: [],
  });
  assert.equal(diffText(report), `cpu ${check.instance}\n  env.eip RIP  ${said(value)} | ${after}\n`);
  const cpuOnly = await diff(bytes, edited(bytes, [check.offset + 7, [0x42]]), ["cpu:env.e*"]);
  assert(cpuOnly.equal);
});

Deno.test("diffImages() counts pages by what became of them, in runs", async () => {
  const bytes = await loadFixture("q35-mapped");
  await using image = await openImage(bytes);
  const block = image.ram.block("pc.ram")!;
  const pages = Array.from({ length: block.bytes / 4096 }, (_, page) => page);
  const isData = (page: number) => image.ram.run(block, page * 4096) > 0;
  const first = pages.findIndex((page) => isData(page) && isData(page + 1));
  const zero = pages.findIndex((page) => page > first + 2 && !isData(page));
  const at = block.pagesOffset!, bitmap = block.bitmapOffset!;
  const changed = edited(
    bytes,
    [at + first * 4096 + 5, [0xee]],
    [at + (first + 1) * 4096, new Array(4096).fill(0)],
    [bitmap + (zero >> 3), [bytes[bitmap + (zero >> 3)] | 1 << (zero & 7)]],
    [at + zero * 4096 + 100, [1]],
  );
  const report = await diff(bytes, changed);
  assert.deepEqual(report.ram, [{
    block: "pc.ram",
    change: "pages",
    changedPages: 3,
    ranges: zero === first + 2 ? [[first, 3]] : [[first, 2], [zero, 1]],
    filled: 1,
    emptied: 1,
    rewritten: 1,
    pageBytes: 4096,
  }]);
  assert.match(diffText(report), /^RAM block pc\.ram {2}3 pages differ \(1 filled, 1 emptied, 1 rewritten\): 0x/);
  assert((await diff(bytes, changed, ["ram:pc.*"])).equal);
  // a page of data that is zero all the same is no difference
  const set = edited(bytes, [bitmap + (zero >> 3), [bytes[bitmap + (zero >> 3)] | 1 << (zero & 7)]]);
  assert((await diff(bytes, set)).equal);
});

Deno.test("diffImages() tells devices that only one has, versions, blocks and configuration", async () => {
  const [a, b] = [await loadFixture("pc-file-stopped"), await loadFixture("q35-virtio-mem-dimm")];
  const { equal, configuration, devices, ram } = await diff(a, b);
  assert.equal(equal, false);
  assert.deepEqual(configuration, [{ name: "machine", a: "pc-i440fx-10.0", b: "pc-q35-10.0" }]);
  const of = (name: string) => devices.find((device) => device.name === name);
  assert.equal(of("0000:00:00.0/I440FX")?.change, "removed");
  assert.equal(of("0000:00:00.0/mch")?.change, "added");
  assert(ram.some(({ change }) => change === "added"));
  const back = await diff(b, a);
  assert.equal(back.devices.length, devices.length);
  assert.deepEqual(
    back.devices.filter(({ change }) => change === "added").map(({ name }) => name).sort(),
    devices.filter(({ change }) => change === "removed").map(({ name }) => name).sort(),
  );
});

Deno.test("diffImages() tells a subsection that only one has by its name", async () => {
  const { devices } = await diff(await loadFixture("q35-file-2cpu"), await loadFixture("pc-seabios-booted"));
  const cpu = devices.find(({ name, instanceId }) => name === "cpu" && instanceId === 0)!;
  assert.deepEqual(cpu.layout!.find(({ path }) => path === "cpu/poll_control_msr"), {
    path: "cpu/poll_control_msr",
    in: "a",
  });
});

Deno.test("diffImages() compares bytes where no description says what they are", async () => {
  const bytes = await loadFixture("q35-no-vmdesc");
  await using image = await openImage(bytes);
  const timer = image.devices.find(({ name }) => name === "timer")!;
  const { devices } = await diff(bytes, edited(bytes, [timer.offset + 3, [0x77]]));
  assert.equal(devices.length, 1);
  assert.deepEqual([devices[0].name, devices[0].change, devices[0].fields![0].path], ["timer", "fields", "(bytes)"]);
});

Deno.test("diffImages() of two moments of one guest is empty but for the clock, when clocks are ignored", async () => {
  const bytes = await loadFixture("q35-file-2cpu");
  await using image = await openImage(bytes);
  const timer = image.devices.find(({ name }) => name === "timer")!;
  const later = edited(bytes, [timer.offset, [1, 2, 3, 4, 5, 6, 7]]);
  assert.equal((await diff(bytes, later)).equal, false);
  assert((await diff(bytes, later, ["timers"])).equal);
});

Deno.test("ignorePatterns(): timers are clocks, and not settings that are called after them", () => {
  const clocks: [device: string, field: string][] = [
    ["timer", "cpu_ticks_offset"],
    ["timer", "(bytes)"],
    ["mc146818rtc", "base_rtc"],
    ["mc146818rtc", "last_update"],
    ["mc146818rtc", "offset"],
    ["0000:00:03.0/xhci", "xhci.mfindex_start"],
    ["0000:00:1d.7/ehci", "ehci.last_run_ns"],
    ["0000:00:0b.0/uhci", "frnum"],
    ["i8254", "channels[2].count_load_time"],
    ["i8254", "channels[0].next_transition_time"],
    ["0000:00:1f.0/ICH9LPC", "pm.acpi_regs.tmr.overflow_time"],
    ["hpet", "timer[1].cmp"],
    ["hpet", "hpet/offset.hpet_offset"],
    ["0000:00:0d.0/rtl8139", "TCTR"],
    ["0000:00:04.0/pcnet", "timer"],
    ["cpu", "cpu/msr_tscdeadline.env.tsc_deadline"],
  ];
  const others: [device: string, field: string][] = [
    ["timer", "unused"],
    ["kvmclock", "kvmclock/clock_is_reliable.clock_is_reliable"],
    ["cpu", "env.wall_clock_msr"],
    ["cpu", "env.tsc_offset"],
    ["cpu", "cpu/tsc_khz.env.tsc_khz"],
    ["cpu", "cpu/msr_hyperv_stimer.env.msr_hv_stimer_config[0]"],
    ["hpet", "num_timers_save"],
    ["hpet", "timer[1].config"],
    ["iommu", "cmp"],
    ["i6300esb_wdt", "timer1_preload"],
    ["fdc", "timer0"],
    ["0000:00:0d.0/rtl8139", "TimerInt"],
    ["mc146818rtc", "cmos_data"],
    ["mc146818rtc", "period"],
  ];
  const ignored = ignorePatterns(["timers"]);
  for (const [device, field] of clocks) assert(ignored({ device, field }), `${device} ${field}`);
  for (const [device, field] of others) assert(!ignored({ device, field }), `${device} ${field}`);
});

Deno.test("diffImages() tells the clock of the CMOS from what else is in it", async () => {
  const bytes = await loadFixture("q35-file-2cpu");
  await using image = await openImage(bytes);
  const rtc = image.devices.find(({ name }) => name === "mc146818rtc")!;
  assert.match(String(rtc.fields.cmos_data), /^[0-9a-f]{256}$/);
  const body = rtc.body();
  const changed = (...registers: [register: number, bits: number][]) => {
    return edited(
      bytes,
      ...registers.map(([register, bits]) => [rtc.offset + register, [body[register] ^ bits]] as const),
    );
  };
  const clock: [number, number][] = [0, 2, 4, 6, 7, 8, 9, 0x32].map((register) => [register, 0xff]);
  const later = changed(...clock, [0x0a, 0x80]);
  assert.equal((await diff(bytes, later)).equal, false);
  assert((await diff(bytes, later, ["timers"])).equal);
  for (const [register, bits] of [[1, 1], [5, 8], [0x0a, 1], [0x0b, 4], [0x0f, 1], [0x33, 1], [0x7f, 0x80]]) {
    const { devices } = await diff(bytes, changed(...clock, [register, bits]), ["timers"]);
    const [{ path, at }] = devices[0].fields!;
    assert.deepEqual([devices.length, devices[0].name, path, at], [1, "mc146818rtc", "cmos_data", register]);
  }
});

Deno.test("diffImages() leaves RAM alone when told to", async () => {
  const bytes = await loadFixture("q35-mapped");
  await using image = await openImage(bytes);
  const { pagesOffset, bitmapOffset } = image.ram.block("pc.bios")!;
  assert(bytes[bitmapOffset!] | bytes[bitmapOffset! + 1]);
  const changed = edited(bytes, [pagesOffset! + 0xfff0, [1, 2, 3]]);
  await using other = await openImage(changed);
  assert.equal((await diffImages(image, other)).equal, false);
  assert((await diffImages(image, other, { withoutRam: true })).equal);
});

Deno.test("diffImages() says why RAM of a multifd main channel cannot be compared", async () => {
  const bytes = await loadFixture("pc-multifd-2");
  await assert.rejects(diff(bytes, bytes), /^RefusedError: Cannot compare RAM of standard input: .*multifd/);
});

Deno.test("ignorePatterns() matches devices, fields, blocks and lines as documented", () => {
  const cases: [pattern: string, device: string, field: string | undefined, matches: boolean][] = [
    ["cpu", "cpu", "env.eip", true],
    ["e1000", "0000:00:03.0/e1000", undefined, true],
    ["0000:00:03.0/e1000", "0000:00:03.0/e1000", undefined, true],
    ["0000:00:04.0/e1000", "0000:00:03.0/e1000", undefined, false],
    ["0000:00:03.0/e1000:mac_reg", "0000:00:03.0/e1000", "mac_reg[3]", true],
    ["0000:00:03.0/e1000:mac_reg[4]", "0000:00:03.0/e1000", "mac_reg[3]", false],
    ["cpu:env.tsc", "cpu", "env.tsc", true],
    ["cpu:env.tsc", "cpu", "env.tsc_offset", false],
    [":env.tsc*", "cpu", "env.tsc_offset", true],
    ["cpu:env.segs", "cpu", "env.segs[2].base", true],
    ["ram:pc.ram", "ram", "pc.ram", true],
    ["ram:0000:00:02.0/*", "ram", "0000:00:02.0/vga.vram", true],
    ["pc.ram", "ram", "pc.ram", false],
    ["machine", "configuration", "machine", true],
    ["machine", "configuration", "uuid", false],
    ["c?u", "cpu", undefined, true],
    ["timers", "kvmclock", "clock", true],
    ["timers", "cpu", "env.tsc", true],
    ["timers", "cpu", "env.eip", false],
    ["timers", "kvmclock", undefined, false],
    ["timers", "ram", "timer", false],
  ];
  for (const [pattern, device, field, matches] of cases) {
    assert.equal(ignorePatterns([pattern])({ device, field }), matches, `${pattern} on ${device} ${field}`);
  }
  assert.equal(ignorePatterns(["timers"])({ device: "x", field: "y", type: "timer" }), true);
});
