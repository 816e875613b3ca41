/**
 * Real-time clocks: what a PC's CMOS holds, and those of Arm's and Android's boards.
 *
 *     cmos_data    2026-11-21 10:06:29   BCD, 24 hours
 *       register A 0x26                  32768 Hz, periodic 1024 Hz
 *
 * Registers are as of the save: mc146818rtc brings them up to date before it goes.
 * Source: QEMU hw/rtc/mc146818rtc.c (rtc_get_time, rtc_set_cmos, get_guest_rtc_ns, rtc_pre_save), hw/rtc/pl031.c,
 * hw/rtc/goldfish_rtc.c; Motorola MC146818 data sheet.
 * @module
 */
import { beside, bytes, either, fieldTable, flags, number, register, wide } from "./chipset_rule.ts";
import { bitField, bitNames, bits, hexText, type Part, type SymbolRule } from "./rule.ts";
import { dateText, durationText, rtcTime } from "./time.ts";

const REGISTERS =
  ("seconds,seconds alarm,minutes,minutes alarm,hours,hours alarm,day of week,day of month,month,year," +
    "register A,register B,register C,register D").split(",");
const CENTURY = 0x32;
/** Bytes of the CMOS of a PC. */
const CMOS_BYTES = 128;
const HOUR_PM = 0x80;
/** An alarm byte with both bits: any value will do. */
const ANY = 0xc0;
const B = { DM: 4, HOURS_24: 2 };
const B_BITS = bits("0 DSE, 1 24H, 2 DM, 3 SQWE, 4 UIE, 5 AIE, 6 PIE, 7 SET");
const C_BITS = bits("4 UF, 5 AF, 6 PF, 7 IRQF");
const D_BITS = bits("7 VRT");

/** Reads the numbers of one CMOS. */
class Cmos {
  constructor(readonly data: Uint8Array) {}

  number(value: number): number {
    return this.data[11] & B.DM ? value : (value >> 4) * 10 + (value & 15);
  }

  hour(value: number): number {
    if (this.data[11] & B.HOURS_24) return this.number(value);
    return this.number(value & 0x7f) % 12 + (value & HOUR_PM ? 12 : 0);
  }

  /** undefined where the registers hold no date. */
  date(): string | undefined {
    const [second, minute, hour, day, month, year] = [0, 2, 4, 7, 8, 9].map((at) =>
      at === 4 ? this.hour(this.data[4]) : this.number(this.data[at])
    );
    const century = this.number(this.data[CENTURY]);
    if (second > 59 || minute > 59 || hour > 23 || day < 1 || day > 31 || month < 1 || month > 12 || year > 99) {
      return undefined;
    }
    return `${two(century)}${two(year)}-${two(month)}-${two(day)} ${two(hour)}:${two(minute)}:${two(second)}`;
  }

  alarm(at: number): string {
    const value = this.data[at];
    if ((value & ANY) === ANY) return "any";
    return two(at === 5 ? this.hour(value) : this.number(value));
  }

  words(at: number): string | undefined {
    const value = this.data[at];
    if (at === 1 || at === 3 || at === 5) return this.alarm(at);
    if (at === 4) return String(this.hour(value));
    if (at < 10) return String(this.number(value));
    if (at === 10) return registerA(value);
    return bitNames(value, [B_BITS, C_BITS, D_BITS][at - 11]);
  }
}

function two(value: number): string {
  return String(value).padStart(2, "0");
}

function registerA(value: number): string {
  const base = ["4.194304 MHz", "1.048576 MHz", "32768 Hz"][bitField(value, 4, 6)] ?? "divider reset";
  const rate = value & 15;
  const periodic = rate === 0 ? "off" : `${32768 / (1 << (rate <= 2 ? rate + 6 : rate - 1))} Hz`;
  return `${value & 0x80 ? "UIP " : ""}${base}, periodic ${periodic}`;
}

const cmosData = bytes((data) => {
  if (data.length !== CMOS_BYTES) return undefined;
  const cmos = new Cmos(data);
  const parts: Part[] = REGISTERS.map((name, offset) => ({
    name,
    text: hexText(data[offset], 2),
    meaning: cmos.words(offset),
    offset,
    length: 1,
  }));
  for (let offset = REGISTERS.length; offset < data.length;) {
    const end = (offset & ~15) + 16;
    const text = data.subarray(offset, end).toHex().replace(/..(?=.)/g, "$& ");
    parts.push({ name: `ram ${hexText(offset, 2)}`, text, offset, length: end - offset });
    offset = end;
  }
  const mode = `${data[11] & B.DM ? "binary" : "BCD"}, ${data[11] & B.HOURS_24 ? 24 : 12} hours`;
  return { text: cmos.date() ?? "no date", meaning: mode, parts };
});

/** Clocks whose offset is sent against QEMU_CLOCK_VIRTUAL: with what that showed they tell the guest's time. */
function guestTime(unit: bigint) {
  return wide((value, { device: { clock } }) => {
    if (clock === undefined) return undefined;
    const date = dateText(BigInt.asIntN(64, value) * unit / 1_000_000_000n + clock / 1_000_000_000n);
    return date === undefined ? undefined : { meaning: `the clock showed ${date}` };
  });
}

function setDate(seconds: number): string | undefined {
  return seconds === 0 ? undefined : dateText(seconds);
}

/** See the module. */
export const RTC: readonly SymbolRule[] = [
  ...fieldTable(/^mc146818rtc$/, {
    cmos_data: cmosData,
    cmos_index: register(undefined, (value) => REGISTERS[value & 0x7f]),
    base_rtc: wide((value) => {
      const text = dateText(value);
      return text === undefined ? undefined : { text, meaning: "the guest's time at last_update" };
    }),
    last_update: wide((value) => value === 0n ? undefined : rtcTime(value)),
    next_alarm_time: wide((value) => value === 0n || value >> 63n ? undefined : rtcTime(value)),
    next_periodic_time: wide((value) => value === 0n || value >> 63n ? undefined : rtcTime(value)),
    offset: wide((value) => ({ text: durationText(BigInt.asIntN(64, value)) })),
    period: number((value) =>
      value === 0 ? { meaning: "no periodic interrupt" } : { text: `${value} ticks of 32768 Hz` }
    ),
  }),
  ...fieldTable(/^pl031$/, {
    tick_offset_vmstate: guestTime(1_000_000_000n),
    mr: register("RTCMR", setDate),
    lr: register("RTCLR", setDate),
    cr: register("RTCCR"),
    im: register("RTCIMSC", (value) => value & 1 ? "interrupt on" : undefined),
    is: register("RTCRIS", (value) => value & 1 ? "interrupt pending" : undefined),
  }),
  ...fieldTable(/^goldfish_rtc$/, {
    tick_offset_vmstate: guestTime(1n),
    alarm_next: wide((value, asked) => beside(asked, "alarm_running") ? rtcTime(value) : undefined),
    alarm_running: either("the alarm is set", "no alarm"),
    irq_pending: flags("0 ALARM"),
    irq_enabled: flags("0 ALARM"),
  }),
];
