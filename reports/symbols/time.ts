/**
 * Times: timers and other moments of QEMU's clocks, in nanoseconds.
 *
 *     frame_timer            1.25 s        in 3.1 ms
 *     last_run_ns            1.2 s         46.9 ms ago
 *     update_timer           2026-11-21 10:06:29.476 UTC
 *
 * A guest's own clock, QEMU_CLOCK_VIRTUAL, stands still while it is saved, and the section "timer" has what it shows: once
 * the guest is stopped, cpu_clock_offset is its time and no longer what is to be added to the host's. With icount the clock
 * counts instructions, and that field is none.
 * Source: QEMU system/cpu-timers.c (cpu_disable_ticks, cpu_get_clock_locked, vmstate_timers).
 * @module
 */
import { type VmLeaf, vmLeaves, type VmNode } from "../../stream/vmvalue.ts";
import { type DeviceView, integer, type Meaning, type SymbolRule } from "./rule.ts";

const UNITS: readonly (readonly [ns: bigint, unit: string])[] = [[1_000_000_000n, "s"], [1_000_000n, "ms"], [
  1_000n,
  "us",
]];
/** Clocks that show more count from 1970: no guest has run for thirty years. */
const SINCE_1970 = 1_000_000_000_000_000_000n;

/** Nanoseconds as people say them, all digits kept: "1.5 s", "250 us", "-3 ns". */
export function durationText(ns: bigint): string {
  const size = ns < 0n ? -ns : ns;
  const [scale, unit] = UNITS.find(([scale]) => size >= scale) ?? [1n, "ns"];
  const digits = scale.toString().length - 1;
  const rest = digits === 0 ? "" : (size % scale).toString().padStart(digits, "0").replace(/0+$/, "");
  return `${ns < 0n ? "-" : ""}${size / scale}${rest && "." + rest} ${unit}`;
}

/** A date in seconds since 1970: "2026-11-21 10:06:29"; undefined behind the year 9999. */
export function dateText(seconds: number | bigint): string | undefined {
  const ms = Number(seconds) * 1000;
  if (!(ms >= -62_135_596_800_000 && ms < 253_402_300_800_000)) return undefined;
  return new Date(ms).toISOString().slice(0, 19).replace("T", " ");
}

/** A moment beside the clock: "in 1.5 s", "250 us ago", "now". */
export function whenText(ns: bigint, clock: bigint): string {
  if (ns === clock) return "now";
  return ns > clock ? `in ${durationText(ns - clock)}` : `${durationText(clock - ns)} ago`;
}

/** A moment of QEMU_CLOCK_VIRTUAL; -1 is none, 0 before anything was. What KVM's timers began earlier is below zero. */
export function virtualTime(ns: bigint, { clock }: DeviceView): Meaning {
  if (ns === -1n) return { text: "none" };
  return { text: durationText(ns), ...(clock !== undefined && ns !== 0n ? { meaning: whenText(ns, clock) } : {}) };
}

/** A moment of the clock that -rtc clock= names: the host's unless said otherwise, which counts from 1970. */
export function rtcTime(ns: bigint): Meaning {
  if (ns < SINCE_1970) return { text: durationText(ns), meaning: "of the clock of -rtc" };
  const date = dateText(ns / 1_000_000_000n);
  if (date === undefined) return { text: durationText(ns) };
  return { text: `${date}.${(ns % 1_000_000_000n).toString().padStart(9, "0").replace(/0{1,6}$/, "")} UTC` };
}

/**
 * What QEMU_CLOCK_VIRTUAL showed when a guest was saved.
 * @param devices of an image
 * @returns ns; undefined where no section says it
 */
export function virtualClock(
  devices: Iterable<{ readonly name: string; walk(): { readonly nodes: readonly VmNode[] } | undefined }>,
): bigint | undefined {
  for (const device of devices) if (device.name === "timer") return clockOf(device.walk()?.nodes ?? []);
  return undefined;
}

/** The same, of the fields of the section "timer". */
export function clockOf(nodes: readonly VmNode[]): bigint | undefined {
  let clock: bigint | undefined;
  for (const { path, leaf } of vmLeaves(nodes)) {
    if (path.startsWith("timer/icount")) return undefined;
    if (path === "cpu_clock_offset") clock = integer(leaf.value);
  }
  return clock !== undefined && clock >= 0n ? clock : undefined;
}

/** Devices whose timers are of the clock of -rtc. Source: timer_new of every device with VMSTATE_TIMER in QEMU's hw/. */
const RTC_TIMERS = /^(mc146818rtc|m48t59)/;
/** Moments of QEMU_CLOCK_VIRTUAL that are sent as numbers, by the last name of their path. */
const MOMENTS: readonly (readonly [device: RegExp, names: readonly string[]])[] = [
  // hw/timer/i8254_common.c, hw/timer/i8254.c (pit_get_next_transition_time)
  [/^i8254$/, ["count_load_time", "next_transition_time"]],
  // hw/acpi/ich9_tco.c (tco_timer_reload)
  [/^ICH9LPC$/, ["expire_time"]],
  // hw/usb/hcd-uhci.c, hcd-ehci.c, hcd-ohci.c, hcd-xhci.c, hcd-dwc2.c
  [/uhci$/, ["expire_time"]],
  [/ehci$/, ["last_run_ns"]],
  [/ohci$|^dwc2$/, ["sof_time"]],
  [/xhci$/, ["mfindex_start"]],
  // hw/audio/intel-hda.c, hda-codec.c
  [/^intel-hda$/, ["wall_base_ns"]],
  [/^hda-/, ["buft_start"]],
  // hw/net/rtl8139.c, pcnet.c
  [/^rtl8139$/, ["TCTR_base"]],
  [/^pcnet$/, ["timer"]],
];

/** ptimer's fields stand among those of the device; no other struct has these. Source: hw/core/ptimer.c. */
const PTIMER = /^(.*\.)?(limit|delta|period|last_event|next_event)$/;

function ptimer(value: bigint, [, prefix = "", name]: RegExpExecArray, device: DeviceView): Meaning | undefined {
  if (!["period_frac", "last_event", "next_event"].every((field) => device.value(prefix + field) !== undefined)) {
    return undefined;
  }
  if (name.endsWith("_event")) {
    // what was planned counts only while it runs
    const { text, meaning } = virtualTime(value, device);
    return { text, ...(integer(device.value(`${prefix}enabled`)) ? { meaning } : { meaning: "not running" }) };
  }
  const fraction = integer(device.value(`${prefix}period_frac`)) ?? 0n;
  const period = integer(device.value(`${prefix}period`)) ?? 0n;
  if (name === "period") {
    const hz = period > 0n || fraction > 0n ? 1e9 / (Number(period) + Number(fraction) / 2 ** 32) : undefined;
    return { text: durationText(value), ...(hz ? { meaning: `${Number(hz.toPrecision(7))} Hz` } : {}) };
  }
  return { text: `${value} ticks`, meaning: durationText(value * period + (value * fraction >> 32n)) };
}

function timer(value: bigint, device: DeviceView): Meaning {
  if (value === -1n) return { text: "not armed" };
  if (RTC_TIMERS.test(device.name)) return rtcTime(value);
  // the timers of icount have clocks of their own
  return device.name === "timer" ? { text: durationText(value), meaning: "of its clock" } : virtualTime(value, device);
}

/** A rule for values that are whole numbers, signed ones as they are. */
function moment(
  rule: Omit<SymbolRule, "describe">,
  say: (value: bigint, match: RegExpExecArray, device: DeviceView, leaf: VmLeaf) => Meaning | undefined,
): SymbolRule {
  return {
    ...rule,
    describe(value, match, device, leaf) {
      const number = integer(value);
      return number === undefined ? undefined : say(number, match, device, leaf);
    },
  };
}

/** Source: QEMU migration/savevm.c (timer_put), util/qemu-timer.c (timer_expire_time_ns: -1 when it is not pending). */
export const TIMES: readonly SymbolRule[] = [
  moment({ type: "timer" }, (value, _match, device) => timer(BigInt.asIntN(64, value), device)),
  moment({ device: /^timer$/, field: /^cpu_clock_offset$/ }, (value) => ({
    text: durationText(value),
    ...(value >= 0n ? { meaning: "the guest has run, by its clock" } : {}),
  })),
  moment({ device: /^timer$/, field: /^cpu_ticks_offset$/ }, (value) => ({
    text: `${value} ticks`,
    meaning: "the guest has run, by the host's cycle counter",
  })),
  moment({ field: PTIMER }, ptimer),
  ...MOMENTS.map(([device, names]) =>
    moment(
      { device, field: new RegExp(`(?:^|[.])(${names.join("|")})$`) },
      (value, _match, view) => virtualTime(BigInt.asIntN(64, value), view),
    )
  ),
];
