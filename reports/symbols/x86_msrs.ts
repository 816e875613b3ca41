/**
 * Model-specific registers, with their numbers.
 *
 *     env.efer EFER              0x0000000000000d01  SCE LME LMA NXE (MSR 0xc0000080)
 *     env.lstar LSTAR            0xffffffff81e00080  MSR 0xc0000082
 *     9 MC2_STATUS               0x0000000000000000  MSR 0x409
 *
 * Names are QEMU's own, of its MSR_EFER and others.
 * Source: QEMU target/i386/cpu.h, target/i386/machine.c, target/i386/svm.h; Intel SDM volume 4; AMD APM volume 2,
 * "MSR Cross-Reference".
 * @module
 */
import { bitField, hexText } from "./rule.ts";
import { durationText } from "./time.ts";
import { flagsRegister } from "./x86_registers.ts";
import {
  type FieldPlace,
  type FieldTable,
  flags,
  hexField,
  msr,
  number,
  plain,
  register,
  type Words,
} from "./x86_words.ts";

/** Parts of XSAVE's area, by their bit: XSTATE_FP_BIT and others. */
export const xstate: (value: bigint) => string = flags(
  "0 FP,1 SSE,2 YMM,3 BNDREGS,4 BNDCSR,5 OPMASK,6 ZMM_Hi256,7 Hi16_ZMM,8 PT,9 PKRU,10 PASID,11 CET_U,12 CET_S,13 HDC," +
    "14 UINTR,15 ARCH_LBR,16 HWP,17 XTILE_CFG,18 XTILE_DATA",
);

/** Selectors of SYSCALL and SYSRET: of the code, and of the stack behind it. */
function star(value: bigint): string {
  if (value === 0n) return "";
  const call = BigInt(bitField(value, 32, 47)), ret = BigInt(bitField(value, 48, 63));
  return `SYSCALL CS=${hexText(call)}, SYSRET CS=${hexText(ret)}, or ${hexText(ret + 16n & 0xffffn)} to 64 bits`;
}

/** How long the guest's processor has counted, where its frequency is known. */
function tsc(value: bigint, place: FieldPlace): string {
  const khz = number(place, "cpu/tsc_khz.env.tsc_khz");
  return khz !== undefined && khz > 0n ? durationText(value * 1_000_000n / khz) : "";
}

function kilohertz(value: bigint): string {
  return `${Number(value) / 1e6} GHz`;
}

const fixedCounters: Words = (value) =>
  [0, 1, 2].map((i): [number, number] => [i, bitField(value, i * 4, i * 4 + 3)]).filter(([, bits]) => bits !== 0)
    .map(([i, bits]) => `${i}: ${flags("0 OS,1 USR,2 ANY,3 PMI")(BigInt(bits))}`).join(", ");
const counters = Array.from({ length: 32 }, (_, i) => `${i} PMC${i}`).join() +
  ",32 FIXED0,33 FIXED1,34 FIXED2,35 FIXED3";
const counterStatus = flags(
  `${counters},48 PERF_METRICS,55 TRACE_TOPA_PMI,58 LBR_FRZ,59 CTR_FRZ,60 ASCI,61 UNC_OVF,62 OVF_BUF,63 COND_CHGD`,
);
const eventFlags = flags("0-15 -,16 USR,17 OS,18 EDGE,19 PC,20 INT,21 ANY,22 EN,23 INV,24-31 CMASK");

function eventSelect(value: bigint): string {
  if (value === 0n) return "";
  return `event ${hexText(value & 0xffn, 2)} umask ${hexText(value >> 8n & 0xffn, 2)} ${eventFlags(value)}`.trim();
}

const traceControl = flags(
  "0 TraceEn,1 CYCEn,2 OS,3 User,4 PwrEvtEn,5 FUPonPTW,6 FabricEn,7 CR3Filter,8 ToPA,9 MTCEn,10 TSCEn,11 DisRETC," +
    "12 PTWEn,13 BranchEn,14-17 MTCFreq,19-22 CycThresh,24-27 PSBFreq,32-35 ADDR0_CFG,36-39 ADDR1_CFG," +
    "40-43 ADDR2_CFG,44-47 ADDR3_CFG",
);

/** In the order the section has them. */
export const MSR_FIELDS: FieldTable = [
  ["env.sysenter_cs", msr("IA32_SYSENTER_CS", 0x174)],
  ["env.sysenter_esp", msr("IA32_SYSENTER_ESP", 0x175)],
  ["env.sysenter_eip", msr("IA32_SYSENTER_EIP", 0x176)],
  ["env.efer", msr("EFER", 0xc0000080, flags("0 SCE,8 LME,10 LMA,11 NXE,12 SVME,13 LMSLE,14 FFXSR,15 TCE"))],
  ["env.star", msr("STAR", 0xc0000081, star)],
  ["env.lstar", msr("LSTAR", 0xc0000082)],
  ["env.cstar", msr("CSTAR", 0xc0000083)],
  ["env.fmask", msr("FMASK", 0xc0000084, flagsRegister)],
  ["env.kernelgsbase", msr("KERNELGSBASE", 0xc0000102)],
  ["env.vm_hsave", msr("VM_HSAVE_PA", 0xc0010117)],
  ["env.tsc", msr("IA32_TSC", 0x10, tsc)],
  ["env.tsc_aux", msr("TSC_AUX", 0xc0000103)],
  ["env.tsc_adjust", msr("TSC_ADJUST", 0x3b)],
  ["env.tsc_deadline", msr("IA32_TSCDEADLINE", 0x6e0)],
  ["env.tsc_khz", plain(kilohertz)],
  [
    "env.amd_tsc_scale_msr",
    msr("AMD64_TSC_RATIO", 0xc0000104, (value) => `times ${Number(value & 0xff_ffff_ffffn) / 2 ** 32}`),
  ],
  ["env.msr_smi_count", msr("SMI_COUNT", 0x34, (value) => `${value}`)],
  [
    "env.msr_ia32_misc_enable",
    msr(
      "IA32_MISC_ENABLE",
      0x1a0,
      flags(
        "0 FAST_STRING,3 TM1,7 EMON,11 BTS_UNAVAIL,12 PEBS_UNAVAIL,13 TM2,16 ENHANCED_SPEEDSTEP,18 MWAIT,22 LIMIT_CPUID," +
          "23 XTPR_DISABLE,34 XD_DISABLE",
      ),
    ),
  ],
  [
    "env.msr_ia32_feature_control",
    msr(
      "IA32_FEATURE_CONTROL",
      0x3a,
      flags("0 LOCKED,1 VMXON_ENABLED_INSIDE_SMX,2 VMXON_ENABLED_OUTSIDE_SMX,17 SGX_LC,18 SGX,20 LMCE"),
    ),
  ],
  [
    "env.spec_ctrl",
    msr(
      "IA32_SPEC_CTRL",
      0x48,
      flags(
        "0 IBRS,1 STIBP,2 SSBD,3 IPRED_DIS_U,4 IPRED_DIS_S,5 RRSBA_DIS_U,6 RRSBA_DIS_S,7 PSFD,8 DDPD_U,10 BHI_DIS_S",
      ),
    ),
  ],
  ["env.virt_ssbd", msr("VIRT_SSBD", 0xc001011f, flags("2 SSBD"))],
  ["env.tsx_ctrl", msr("IA32_TSX_CTRL", 0x122, flags("0 RTM_DISABLE,1 CPUID_CLEAR"))],
  [
    "env.msr_hwcr",
    msr("K7_HWCR", 0xc0010015, flags("0 SmmLock,18 McStatusWrEn,24 TscFreqSel,25 CpbDis,30 IRPerfEn,35 CpuidUserDis")),
  ],
  [
    "env.umwait",
    msr("IA32_UMWAIT_CONTROL", 0xe1, (value) => `${value & 1n ? "no C0.2, " : ""}at most ${value & ~3n} of TSC`),
  ],
  // XSAVE
  ["env.xcr0", register("XCR0", xstate)],
  ["env.xstate_bv", register("XSTATE_BV", xstate)],
  ["env.xss", msr("IA32_XSS", 0xda0, xstate)],
  ["env.msr_xfd", msr("IA32_XFD", 0x1c4, xstate)],
  ["env.msr_xfd_err", msr("IA32_XFD_ERR", 0x1c5, xstate)],
  ["env.bndcs_regs.cfgu", register("BNDCFGU", flags("0 EN,1 BNDPRESERVE,12-63 -"))],
  ["env.bndcs_regs.sts", register("BNDSTATUS")],
  ["env.msr_bndcfgs", msr("IA32_BNDCFGS", 0xd90, flags("0 EN,1 BNDPRESERVE,12-63 -"))],
  ...[0, 1, 2, 3].map((i): FieldTable[number] => [`env.bnd_regs[${i}].lb`, hexField()]),
  // in one's complement, as the processor keeps it
  ...[0, 1, 2, 3].map((i): FieldTable[number] => [`env.bnd_regs[${i}].ub`, hexField()]),
  // performance counters
  ["env.msr_fixed_ctr_ctrl", msr("CORE_PERF_FIXED_CTR_CTRL", 0x38d, fixedCounters)],
  ["env.msr_global_ctrl", msr("CORE_PERF_GLOBAL_CTRL", 0x38f, flags(`${counters},48 PERF_METRICS`))],
  ["env.msr_global_status", msr("CORE_PERF_GLOBAL_STATUS", 0x38e, counterStatus)],
  ["env.msr_global_ovf_ctrl", msr("CORE_PERF_GLOBAL_OVF_CTRL", 0x390, counterStatus)],
  ["env.msr_fixed_counters[]", msr("CORE_PERF_FIXED_CTR[]", 0x309)],
  ["env.msr_gp_counters[]", msr("P6_PERFCTR[]", 0xc1)],
  ["env.msr_gp_evtsel[]", msr("P6_EVNTSEL[]", 0x186, eventSelect)],
  // Intel PT, LBR, SGX, FRED
  ["env.msr_rtit_ctrl", msr("IA32_RTIT_CTL", 0x570, traceControl)],
  [
    "env.msr_rtit_status",
    msr("IA32_RTIT_STATUS", 0x571, flags("0 FilterEn,1 ContextEn,2 TriggerEn,4 Error,5 Stopped,32-48 PacketByteCnt")),
  ],
  ["env.msr_rtit_output_base", msr("IA32_RTIT_OUTPUT_BASE", 0x560)],
  ["env.msr_rtit_output_mask", msr("IA32_RTIT_OUTPUT_MASK", 0x561)],
  ["env.msr_rtit_cr3_match", msr("IA32_RTIT_CR3_MATCH", 0x572)],
  ...[0, 1, 2, 3].flatMap((i) =>
    ["A", "B"].map((end, at): FieldTable[number] => [
      `env.msr_rtit_addrs[${i * 2 + at}]`,
      msr(`IA32_RTIT_ADDR${i}_${end}`, 0x580 + i * 2 + at),
    ])
  ),
  [
    "env.msr_lbr_ctl",
    msr(
      "ARCH_LBR_CTL",
      0x14ce,
      flags(
        "0 LBREn,1 OS,2 USR,3 CALL_STACK,16 JCC,17 NEAR_REL_JMP,18 NEAR_IND_JMP,19 NEAR_REL_CALL,20 NEAR_IND_CALL," +
          "21 NEAR_RET,22 OTHER_BRANCH",
      ),
    ),
  ],
  ["env.msr_lbr_depth", msr("ARCH_LBR_DEPTH", 0x14cf, (value) => `${value}`)],
  ["env.msr_ia32_sgxlepubkeyhash[]", msr("IA32_SGXLEPUBKEYHASH[]", 0x8c)],
  ["env.fred_rsp0", msr("IA32_FRED_RSP0", 0x1cc)],
  ["env.fred_rsp1", msr("IA32_FRED_RSP1", 0x1cd)],
  ["env.fred_rsp2", msr("IA32_FRED_RSP2", 0x1ce)],
  ["env.fred_rsp3", msr("IA32_FRED_RSP3", 0x1cf)],
  ["env.fred_stklvls", msr("IA32_FRED_STKLVLS", 0x1d0)],
  ["env.fred_ssp1", msr("IA32_FRED_SSP1", 0x1d1)],
  ["env.fred_ssp2", msr("IA32_FRED_SSP2", 0x1d2)],
  ["env.fred_ssp3", msr("IA32_FRED_SSP3", 0x1d3)],
  ["env.fred_config", msr("IA32_FRED_CONFIG", 0x1d4)],
];
