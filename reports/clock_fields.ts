/**
 * Which fields tell the time, count it, or say when something is due: all that differs between two saves of a guest that did
 * nothing in between. Timers are told by their type; the rest is listed by name, since names mislead: `timer1_preload`,
 * `clock_scale` and `wall_clock_msr` are settings of the guest.
 *
 *     device          field                                                             source (QEMU 10.0)
 *     timer           cpu_ticks_offset cpu_clock_offset, with icount qemu_icount ...    system/cpu-timers.c, vm_change_state
 *     cpu (x86)       env.tsc, env.tsc_deadline, env.msr_hv_runtime                     target/i386/machine.c
 *     cpu (s390x)     env.cputm env.ckc: CPU timer, clock comparator                    target/s390x/machine.c
 *     cpu (arm)       kvm_vtime: the virtual counter                                    target/arm/machine.c
 *     kvmclock        clock                                                             hw/i386/kvm/clock.c
 *     mc146818rtc     base_rtc last_update offset next_*_time, 9 registers and a bit    hw/rtc/mc146818rtc.c, rtc_update_time
 *     i8254           count_load_time next_transition_time                              hw/timer/i8254_common.c
 *     apic            initial_count_load_time next_time timer_expiry                    hw/intc/apic_common.c
 *     hpet            hpet_counter hpet_offset; cmp, the counter when a timer is due    hw/timer/hpet.c, hpet_pre_save
 *     PIIX4_PM, ICH9  overflow_time, expire_time of the TCO                             hw/acpi/core.c, hw/acpi/ich9_tco.c
 *     xhci            mfindex_start                                                     hw/usb/hcd-xhci.c, xhci_run
 *     ehci uhci ohci  last_run_ns, expire_time, sof_time and the number of the frame    hw/usb/hcd-ehci.c, -uhci.c, -ohci.c
 *     intel-hda       wall_base_ns wall_clk, buft_start of a stream                     hw/audio/intel-hda.c, hda-codec.c
 *     rtl8139, pcnet  TCTR TCTR_base; timer                                             hw/net/rtl8139.c, pcnet.c
 *     pl031           tick_offset tick_offset_vmstate, as goldfish_rtc                  hw/rtc/pl031.c, pl031_pre_save
 *
 * @module
 */

/** Fields of this name are clocks in every device that has them. */
const EVERYWHERE = new Set([
  "base_rtc",
  "buft_start",
  "ckc",
  "count_load_time",
  "cpu_clock_offset",
  "cpu_ticks_offset",
  "cputm",
  "expire_time",
  "frame_number",
  "frindex",
  "frnum",
  "hpet_counter",
  "hpet_offset",
  "initial_count_load_time",
  "kvm_vtime",
  "last_delta",
  "last_run_ns",
  "last_update",
  "mfindex_start",
  "msr_hv_runtime",
  "next_alarm_time",
  "next_periodic_time",
  "next_time",
  "next_transition_time",
  "overflow_time",
  "qemu_icount",
  "qemu_icount_bias",
  "sof_time",
  "TCTR",
  "TCTR_base",
  "tick_offset",
  "tick_offset_vmstate",
  "timer_expiry",
  "tsc",
  "tsc_deadline",
  "usbsts_frindex",
  "vm_clock_warp_start",
  "wall_base_ns",
  "wall_clk",
]);

/** Fields whose names say too little, by device. "(bytes)": a section that nothing describes and that is a clock alone. */
const IN_DEVICE: Readonly<Record<string, readonly string[]>> = {
  timer: ["(bytes)"],
  kvmclock: ["clock", "(bytes)"],
  todclock: ["data", "(bytes)"],
  mc146818rtc: ["offset"],
  hpet: ["cmp"],
  pcnet: ["timer"],
};

/**
 * Bits of cmos_data that the clock sets: seconds, minutes, hours, weekday, day, month, year, and in register A that they are
 * being updated; the century. Alarms, settings and what the firmware keeps there are none.
 */
const CMOS_BITS: ReadonlyMap<number, number> = new Map([
  ...[0x00, 0x02, 0x04, 0x06, 0x07, 0x08, 0x09, 0x32].map((register) => [register, 0xff] as const),
  [0x0a, 0x80],
]);

/**
 * Whether a field is a clock.
 * @param device idstr
 * @param field  its path: "channels[0].count_load_time"
 * @param type   what the description says it is
 */
export function isClock(device: string, field: string, type: string | undefined): boolean {
  if (type === "timer") return true;
  const name = field.slice(field.lastIndexOf(".") + 1).replace(/\[\d+\]$/, "");
  return EVERYWHERE.has(name) || (IN_DEVICE[device.slice(device.lastIndexOf("/") + 1)]?.includes(name) ?? false);
}

/** The bits of a byte that are a clock's, in a field that is not one as a whole. @param at index of the byte */
export function clockBits(device: string, field: string, at: number): number {
  return device === "mc146818rtc" && field === "cmos_data" ? CMOS_BITS.get(at) ?? 0 : 0;
}
