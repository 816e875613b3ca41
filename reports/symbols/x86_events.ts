/**
 * What a processor is about to take, its machine checks, and a guest hypervisor's state.
 *
 *     env.mp_state               3  KVM_MP_STATE_HALTED
 *     env.exception_nr           14  #PF
 *     MC0_STATUS                 0xbd80000000000134  VAL UC EN MISCV ADDRV PCC S AR, code 0x0134 (MSR 0x401)
 *
 * Source: QEMU linux-headers/linux/kvm.h (KVM_MP_STATE_RUNNABLE), linux-headers/asm-x86/kvm.h (KVM_STATE_NESTED_GUEST_MODE),
 * target/i386/cpu.h (MCI_STATUS_VAL, MCG_CTL_P, PG_MODE_PAE), target/i386/svm.h (SVM_EXIT_INTR, V_TPR_MASK).
 * @module
 */
import { hexText } from "./rule.ts";
import { exceptionName, setBits } from "./x86_vectors.ts";
import { type FieldSymbol, type FieldTable, flags, hexField, msr, number, plain, register, wide } from "./x86_words.ts";

const MP_STATES =
  "RUNNABLE UNINITIALIZED INIT_RECEIVED HALTED SIPI_RECEIVED STOPPED CHECK_STOP OPERATING LOAD AP_RESET_HOLD SUSPENDED"
    .split(" ");
const BANK = ["CTL", "STATUS", "ADDR", "MISC"];
const bankStatus = flags(
  "0-42 -,43 POISON,44 DEFERRED,45-54 -,55 AR,56 S,57 PCC,58 ADDRV,59 MISCV,60 EN,61 UC,62 OVER,63 VAL",
);
/** Bits of env.intercept: SVM_EXIT_INTR and what follows. */
const INTERCEPTS =
  ("INTR NMI SMI INIT VINTR CR0_SEL_WRITE IDTR_READ GDTR_READ LDTR_READ TR_READ IDTR_WRITE GDTR_WRITE " +
    "LDTR_WRITE TR_WRITE RDTSC RDPMC PUSHF POPF CPUID RSM IRET SWINT INVD PAUSE HLT INVLPG INVLPGA IOIO MSR TASK_SWITCH " +
    "FERR_FREEZE SHUTDOWN VMRUN VMMCALL VMLOAD VMSAVE STGI CLGI SKINIT RDTSCP ICEBP WBINVD MONITOR MWAIT MWAIT_COND XSETBV")
    .split(" ");
const intercepts = flags(INTERCEPTS.map((name, bit) => `${bit} ${name}`).join());
const NONE = 0xffff_ffff_ffff_ffffn;

/** A vector, -1 for none. */
function vector(words: (vector: number) => string | undefined): FieldSymbol {
  return (value, { bytes }) => {
    const signed = Number(BigInt.asIntN(bytes * 8, value));
    return { text: String(signed), meaning: signed < 0 ? "none" : words(signed) };
  };
}

/** MC0_CTL, MC0_STATUS, MC0_ADDR, MC0_MISC, MC1_CTL .. */
const bank: FieldSymbol = (value, place) => {
  const name = BANK[place.index % 4];
  const status = () => value >> 63n ? `${bankStatus(value)}, code ${hexText(value & 0xffffn, 4)}` : "";
  return msr(`MC${Math.floor(place.index / 4)}_${name}`, 0x400, name === "STATUS" ? status : undefined)(value, place);
};

/** A physical address, all ones for none. */
const address: FieldSymbol = (value, place) => {
  return value === NONE ? { text: wide(value, place), meaning: "none" } : { text: wide(value, place) };
};

/** Registers of which a mask has a bit each: "CR0 CR3". */
function each(name: string): FieldSymbol {
  return hexField((value) => setBits([Number(value & 0xffffn)]).map((bit) => `${name}${bit}`).join(" "));
}

const yes = (words: string) => plain((value) => value !== 0n ? words : "");

/** What the fields say. */
export const EVENT_FIELDS: FieldTable = [
  ["env.interrupt_injected", vector((number) => exceptionName(number) ?? `vector ${hexText(number)}`)],
  [
    "env.mp_state",
    plain((value) => {
      const name = value < BigInt(MP_STATES.length) ? MP_STATES[Number(value)] : undefined;
      return name && `KVM_MP_STATE_${name}`;
    }),
  ],
  ["env.exception_nr", vector(exceptionName)],
  ["env.exception_pending", yes("not delivered yet")],
  ["env.exception_injected", yes("being delivered")],
  [
    "env.exception_payload",
    hexField((_, place) => {
      const vector = number(place, "env.exception_nr");
      return vector === 14n ? "for CR2" : vector === 1n ? "for DR6" : "";
    }),
  ],
  ["env.sipi_vector", hexField((value) => value === 0n ? "" : `starts at ${hexText((value & 0xffn) << 12n)}`)],
  [
    "env.mcg_cap",
    msr(
      "MCG_CAP",
      0x179,
      flags(
        "0-7 banks,8 CTL_P,9 EXT_P,10 CMCI_P,11 TES_P,16-23 EXT_CNT,24 SER_P,25 EMC_P,26 ELOG_P,27 LMCE_P",
      ),
    ),
  ],
  ["env.mcg_status", msr("MCG_STATUS", 0x17a, flags("0 RIPV,1 EIPV,2 MCIP,3 LMCE"))],
  ["env.mcg_ctl", msr("MCG_CTL", 0x17b, (value) => value === NONE ? "all on" : value === 0n ? "all off" : "")],
  ["env.mcg_ext_ctl", msr("MCG_EXT_CTL", 0x4d0, flags("0 LMCE_EN"))],
  ["env.mce_banks[]", bank],
  // a guest that is a hypervisor: SVM under TCG
  ["env.vm_vmcb", hexField()],
  ["env.tsc_offset", hexField()],
  ["env.intercept", hexField(intercepts)],
  ["env.intercept_cr_read", each("CR")],
  ["env.intercept_cr_write", each("CR")],
  ["env.intercept_dr_read", each("DR")],
  ["env.intercept_dr_write", each("DR")],
  [
    "env.intercept_exceptions",
    hexField((value) =>
      setBits([Number(value & 0xffff_ffffn)]).map((bit) => exceptionName(bit) ?? `vector ${bit}`).join(" ")
    ),
  ],
  ["env.nested_cr3", register("nested CR3")],
  [
    "env.nested_pg_mode",
    hexField(flags("0 PAE,1 LMA,2 NXE,3 PSE,4 LA57,16 WP,17 PKE,18 PKS,19 SMEP,20 PG", "PG_MODE_")),
  ],
  [
    "env.int_ctl",
    hexField(flags("0-3 V_TPR,8 V_IRQ,9 V_GIF,16-19 V_INTR_PRIO,20 V_IGN_TPR,24 V_INTR_MASKING,25 V_GIF_ENABLED")),
  ],
  // a guest that is a hypervisor: what KVM says of it
  [
    "env.nested_state.flags",
    hexField(flags("0 GUEST_MODE,1 RUN_PENDING,2 EVMCS,3 MTF_PENDING,8 GIF_SET", "KVM_STATE_NESTED_")),
  ],
  ["env.nested_state.format", plain((value) => value === 0n ? "VMX" : value === 1n ? "SVM" : "")],
  ["hdr.vmx.vmxon_pa", address],
  ["hdr.vmx.vmcs12_pa", address],
  ["hdr.vmx.smm.flags", hexField(flags("0 GUEST_MODE,1 VMXON", "KVM_STATE_NESTED_SMM_"))],
  ["hdr.svm.vmcb_pa", address],
];
