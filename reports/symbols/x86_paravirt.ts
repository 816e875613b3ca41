/**
 * Registers a guest shares with its hypervisor: KVM's own, Hyper-V's and Xen's.
 *
 *     env.system_time_msr KVM_SYSTEM_TIME 0x00000000000e8381  at 0xe8380
 *     env.msr_hv_hypercall       0x0000000000100001  at 0x100000 (MSR 0x40000001)
 *
 * KVM has two numbers for each of its clocks' registers, and a stream does not say which of them was used.
 * Source: QEMU include/standard-headers/asm-x86/kvm_para.h, target/i386/kvm/hyperv-proto.h; Hypervisor Top Level Functional
 * Specification, "HV_X64_MSR_GUEST_OS_ID"; Xen public/xen.h (VIRQ_TIMER).
 * @module
 */
import { bitField, hexText } from "./rule.ts";
import { durationText } from "./time.ts";
import { enabledAt, type FieldSymbol, type FieldTable, flags, msr, plain, register, wide } from "./x86_words.ts";

const page = enabledAt(0x1000n);
const pageFault = flags("0 ENABLED,1 SEND_ALWAYS,2 DELIVERY_AS_PF_VMEXIT,3 DELIVERY_AS_INT,6-63 -");
const OPEN_SOURCE = ["", "Linux", "FreeBSD", "Xen", "illumos"];
const MICROSOFT = ["", "MS-DOS", "Windows 3.x", "Windows 9x", "Windows NT", "Windows CE"];
const VIRQS = "TIMER DEBUG CONSOLE DOM_EXC TBUF - DEBUGGER XENOPROF CON_RING PCPU_STATE MEM_EVENT ARGO ENOMEM XENPMU"
  .split(" ");

/** Who a guest says it is: "Windows NT 10.0 build 19041", "Linux 0x50f00". */
function guestOs(value: bigint): string {
  if (value === 0n) return "";
  if (value >> 63n) {
    const name = OPEN_SOURCE[bitField(value, 56, 62)];
    return name ? `${name} ${hexText(bitField(value, 16, 47))}` : "";
  }
  const name = bitField(value, 48, 62) === 1 ? MICROSOFT[bitField(value, 40, 47)] : undefined;
  const version = `${bitField(value, 32, 39)}.${bitField(value, 24, 31)}`;
  return name ? `${name} ${version} build ${bitField(value, 0, 15)}` : "";
}

const sint = (value: bigint) =>
  [`vector ${value & 0xffn}`, flags("0-7 -,16 MASKED,17 AUTO_EOI,18 POLLING")(value)].join(" ").trim();
const timer = flags("0 ENABLE,1 PERIODIC,2 LAZY,3 AUTO_ENABLE,4-11 vector,12 DIRECT,16-19 SINT");

function reenlightenment(value: bigint): string {
  if (!(value >> 16n & 1n)) return "";
  return `vector ${value & 0xffn} of virtual processor ${bitField(value, 32, 63)}`;
}

/** Hyper-V counts in 100 ns. */
const hundreds = (value: bigint) => durationText(value * 100n);

/** A place in the guest's memory; all ones where it has named none. */
const place: FieldSymbol = (value, at) => {
  return value === 0xffff_ffff_ffff_ffffn ? { text: wide(value, at), meaning: "none" } : { text: wide(value, at) };
};

/** KVM's registers. */
const KVM: FieldTable = [
  ["env.system_time_msr", register("KVM_SYSTEM_TIME", enabledAt(4n))],
  ["env.wall_clock_msr", register("KVM_WALL_CLOCK", (value) => value === 0n ? "" : `at ${hexText(value)}`)],
  [
    "env.async_pf_en_msr",
    msr("KVM_ASYNC_PF_EN", 0x4b564d02, (value) => [enabledAt(64n)(value), pageFault(value)].filter(Boolean).join(" ")),
  ],
  ["env.async_pf_int_msr", msr("KVM_ASYNC_PF_INT", 0x4b564d06, (value) => `vector ${value & 0xffn}`)],
  ["env.steal_time_msr", msr("KVM_STEAL_TIME", 0x4b564d03, enabledAt(64n))],
  ["env.pv_eoi_en_msr", msr("KVM_PV_EOI_EN", 0x4b564d04, enabledAt(4n))],
  [
    "env.poll_control_msr",
    msr("KVM_POLL_CONTROL", 0x4b564d05, (value) => value & 1n ? "host polls on HLT" : "host does not poll on HLT"),
  ],
];

/** Hyper-V's. */
const HYPERV: FieldTable = [
  ["env.msr_hv_guest_os_id", msr("HV_GUEST_OS_ID", 0x40000000, guestOs)],
  ["env.msr_hv_hypercall", msr("HV_HYPERCALL", 0x40000001, page)],
  ["env.msr_hv_vapic", msr("HV_APIC_ASSIST_PAGE", 0x40000073, page)],
  ["env.msr_hv_tsc", msr("HV_REFERENCE_TSC", 0x40000021, page)],
  ["env.msr_hv_crash_params[]", msr("HV_CRASH_P[]", 0x40000100)],
  ["env.msr_hv_runtime", msr("HV_VP_RUNTIME", 0x40000010, hundreds)],
  ["env.msr_hv_synic_control", msr("HV_SCONTROL", 0x40000080, flags("0 ENABLE"))],
  ["env.msr_hv_synic_evt_page", msr("HV_SIEFP", 0x40000082, page)],
  ["env.msr_hv_synic_msg_page", msr("HV_SIMP", 0x40000083, page)],
  ["env.msr_hv_synic_sint[]", msr("HV_SINT[]", 0x40000090, sint)],
  ["env.msr_hv_stimer_config[]", msr("HV_STIMER[]_CONFIG", 0x400000b0, timer, 2)],
  ["env.msr_hv_stimer_count[]", msr("HV_STIMER[]_COUNT", 0x400000b1, hundreds, 2)],
  ["env.msr_hv_reenlightenment_control", msr("HV_REENLIGHTENMENT_CONTROL", 0x40000106, reenlightenment)],
  ["env.msr_hv_tsc_emulation_control", msr("HV_TSC_EMULATION_CONTROL", 0x40000107, flags("0 ENABLED"))],
  ["env.msr_hv_tsc_emulation_status", msr("HV_TSC_EMULATION_STATUS", 0x40000108, flags("0 IN_PROGRESS"))],
];

/** Xen's, as KVM plays it. */
const XEN: FieldTable = [
  ["env.xen_vcpu_info_gpa", place],
  ["env.xen_vcpu_info_default_gpa", place],
  ["env.xen_vcpu_time_info_gpa", place],
  ["env.xen_vcpu_runstate_gpa", place],
  ["env.xen_vcpu_callback_vector", plain((value) => value === 0n ? "none" : "")],
  ...VIRQS.map((name, i): FieldTable[number] => [
    `env.xen_virq[${i}]`,
    (value) => ({
      ...(name === "-" ? {} : { symbol: `VIRQ_${name}` }),
      text: value.toString(),
      meaning: value === 0n ? "" : `event channel ${value}`,
    }),
  ]),
  ["env.xen_singleshot_timer_ns", (value) => ({ text: durationText(value) })],
  ["env.xen_periodic_timer_period", (value) => ({ text: durationText(value) })],
];

/** What the fields say. */
export const PARAVIRT_FIELDS: FieldTable = [...KVM, ...HYPERV, ...XEN];
