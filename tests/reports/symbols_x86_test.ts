/**
 * What rules say of x86 processors and their interrupt controllers.
 * @module
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { openImage } from "../../containers/image.ts";
import { inspectImage } from "../../reports/inspect.ts";
import { devicesText } from "../../reports/inspect_detail.ts";
import { describeDevice, DeviceSymbols } from "../../reports/symbols/describe.ts";
import type { Meaning } from "../../reports/symbols/rule.ts";
import { float80Text } from "../../reports/symbols/x86_float.ts";
import type { VmLeaf, VmNode, VmValue } from "../../stream/vmvalue.ts";
import { loadFixture } from "../fixtures.ts";

/** Lines of a fixture's device, without the spaces between columns. */
async function lines(fixture: string, device: string): Promise<string[]> {
  await using image = await openImage(await loadFixture(fixture));
  const text = devicesText(await inspectImage(image, { device }));
  return text.split("\n").map((line) => line.trim().replace(/ {2,}/g, "  "));
}

Deno.test("registers of a processor in real mode", async () => {
  const cpu = await lines("pc-seabios-booted", "cpu");
  for (
    const line of [
      "RSP  0x0000000000006f04",
      "R15  0x0000000000000000",
      "env.eip RIP  0x0000000000007c12",
      "env.eflags RFLAGS  0x0000000000000046  PF ZF",
      "env.hflags  0x00000040  HF_ADDSEG",
      "env.fpuc FCW  0x037f  IM DM ZM OM UM PM, 64 bits, to nearest",
      "FPR7  0x00000000000000000000  0",
      "CS  selector 0x0000, base 0x0000000000000000, limit 0x0000ffff, flags 0x00009b00",
    ]
  ) assert(cpu.includes(line), `${line}\n${cpu.join("\n")}`);
});

Deno.test("segments of a processor in protected mode, in the words of info registers", async () => {
  const cpu = await lines("isapc-file", "cpu");
  for (
    const line of [
      "env.hflags  0x000000b0  HF_CS32 HF_SS32 HF_PE",
      "CS  selector 0x0008, base 0x0000000000000000, limit 0xffffffff, flags 0x00cf9b00: DPL=0 CS32 [-RA]",
      "GS  selector 0x0010, base 0x0000000000000000, limit 0xffffffff, flags 0x00cf9300: DPL=0 DS [-WA]",
      "env.ldt LDT  selector 0x0000, base 0x0000000000000000, limit 0x0000ffff, flags 0x00008200: DPL=0 LDT",
      "env.tr TR  selector 0x0000, base 0x0000000000000000, limit 0x0000ffff, flags 0x00008b00: DPL=0 TSS32-busy",
      "env.gdt GDT  selector 0x0000, base 0x00000000000f0080, limit 0x00000017, flags 0x00000000",
    ]
  ) assert(cpu.includes(line), `${line}\n${cpu.join("\n")}`);
});

Deno.test("what SeaBIOS leaves: memory types, clocks, interrupt controllers", async () => {
  const cpu = await lines("pc-seabios-booted", "cpu");
  for (
    const line of [
      "env.cr[0] CR0  0x0000000000000010  ET",
      "env.a20_mask  0xffffffff  A20 on",
      "env.mxcsr MXCSR  0x00001f80  IM DM ZM OM UM PM, to nearest",
      "XMM15  0x00000000000000000000000000000000",
      "YMM15[255:128]  0x00000000000000000000000000000000",
      "env.hflags2  0x00000101  HF2_GIF HF2_VGIF",
      "env.pat PAT  0x0007040600070406  PA0=WB PA1=WT PA2=UC- PA3=UC PA4=WB PA5=WT PA6=UC- PA7=UC (MSR 0x277)",
      "MTRRfix16K_A0000  0x0000000000000000  0xa0000-0xbffff UC (MSR 0x259)",
      "MTRRfix4K_F8000  0x0505050505050505  0xf8000-0xfffff WP (MSR 0x26f)",
      "env.mtrr_deftype MTRRdefType 0x0000000000000c06  default WB FE E (MSR 0x2ff)",
      "MTRRphys0  base 0x0000000080000000, mask 0x000fffff80000800  0x80000000-0xffffffff UC",
      "MTRRphys7  base 0x0000000000000000, mask 0x000fff0000000000  not valid",
      "env.interrupt_injected  -1  none",
      "env.mp_state  3  KVM_MP_STATE_HALTED",
      "env.tsc IA32_TSC  0x00000c1ae75aa3ea  5119.115537821 s (MSR 0x10)",
      "env.mcg_cap MCG_CAP  0x000000000100010a  banks=10 CTL_P SER_P (MSR 0x179)",
      "MC9_MISC  0x0000000000000000  MSR 0x427",
      "env.system_time_msr KVM_SYSTEM_TIME 0x00000000000e8381  at 0xe8380",
      "env.xcr0 XCR0  0x0000000000000001  FP",
      "cpu/tsc_khz  env.tsc_khz 2599998: 2.599998 GHz",
    ]
  ) assert(cpu.includes(line), `${line}\n${cpu.join("\n")}`);
  assert((await lines("pc-seabios-booted", "kvmclock")).includes("clock  1.617959169 s"));
  assert((await lines("pc-seabios-booted", "kvm-tpr-opt")).includes("state  2  VAPIC_STANDBY"));
  const apic = await lines("pc-seabios-booted", "apic");
  for (
    const line of [
      "apicbase APICBASE  0xfee00900  at 0xfee00000 BSP enabled",
      "spurious_vec SPIV  0x000001ff  APIC enabled, focus=off, spurious vec 255",
      "isr ISR  (none)",
      "LVTT  0x00010000  active-hi edge masked one-shot Fixed (vec 0)",
      "LVT0  0x00008700  active-hi level ExtINT (vec 0)",
      "LVT1  0x00008400  active-hi level NMI",
      "divide_conf DCR  0x00000000  divide by 2",
      "timer_expiry  none",
    ]
  ) assert(apic.includes(line), `${line}\n${apic.join("\n")}`);
  const ioapic = await lines("pc-seabios-booted", "ioapic");
  assert(ioapic.includes("pin 23  0x0000000000010000  dest=0 vec=0 active-hi edge masked fixed physical"));
});

type Given = Readonly<Record<string, readonly [type: string, value: VmValue]>>;
const X86: Given = { "env.eip": ["uint64", 0n], "env.segs[1].selector": ["uint32", 8] };
const SIZES: Readonly<Record<string, number>> = { uint8: 1, uint16: 2, uint32: 4, int32: 4, uint64: 8, int64: 8 };

/** What is said of the fields given, in one line each. */
function said(device: string, given: Given): string[] {
  const nodes = Object.entries({ ...(device === "cpu" ? X86 : {}), ...given }).map(([name, [type, value]]): VmLeaf => ({
    kind: "leaf",
    name,
    type,
    offset: 0,
    length: SIZES[type] ?? 0,
    value,
  }));
  const symbols = new DeviceSymbols(device, nodes);
  return nodes.filter(({ name }) => name in given).map((leaf) => line(symbols.of(leaf, leaf.name)));
}

function line({ symbol, text, meaning }: Meaning): string {
  return [symbol, text, meaning].filter((part) => part !== undefined).join("  ");
}

Deno.test("control and debug registers by their flags", () => {
  assert.deepEqual(
    said("cpu", {
      "env.eflags": ["uint64", 0x3246n],
      "env.hflags": ["uint32", 0x0020c0b3],
      "env.cr[0]": ["uint64", 0x80050033n],
      "env.cr[3]": ["uint64", 0x1_2345_6005n],
      "env.cr[4]": ["uint64", 0x3706b0n],
      "env.dr[0]": ["uint64", 0xffff_ffff_8100_0000n],
      "env.dr[6]": ["uint64", 0xffff4ff1n],
      "env.dr[7]": ["uint64", 0x000d0602n],
      "env.a20_mask": ["int32", -0x100001],
      "env.fpuc": ["uint16", 0x0c7f],
      "env.fpus_vmstate": ["uint16", 0x3841],
      "env.fptag_vmstate": ["uint16", 0x81],
      "env.mxcsr": ["uint32", 0xffc0],
      "cpu/pkru.env.pkru": ["uint32", 0x55555554],
    }),
    [
      "RFLAGS  0x0000000000003246  PF ZF IF IOPL=3",
      "0x0020c0b3  HF_CPL=3 HF_CS32 HF_SS32 HF_PE HF_LMA HF_CS64 HF_GUEST",
      "CR0  0x0000000080050033  PE MP ET NE WP AM PG",
      "CR3  0x0000000123456005  page tables at 0x123456000, PCID 5",
      "CR4  0x00000000003706b0  PSE PAE PGE OSFXSR OSXMMEXCPT FSGSBASE PCIDE OSXSAVE SMEP SMAP",
      "DR0  0xffffffff81000000",
      "DR6  0x00000000ffff4ff1  B0 BS",
      "DR7  0x00000000000d0602  G0 GE; DR0: write, 4 bytes",
      "0xffefffff  A20 off",
      "FCW  0x0c7f  IM DM ZM OM UM PM, 24 bits, to zero",
      "FSW  0x3841  TOP=7, IE SF",
      "FTW  0x0081  R0 R7",
      "MXCSR  0x0000ffc0  DAZ IM DM ZM OM UM PM FZ, to zero",
      "0x55555554  AD 1-15",
    ],
  );
});

Deno.test("registers of qemu-system-i386 have 32 bits and their names", () => {
  const given: Given = {
    "env.regs[4]": ["uint32", 0x6f04],
    "env.eip": ["uint32", 0x7c12],
    "env.eflags": ["uint32", 2],
  };
  assert.deepEqual(said("cpu", given), ["EIP  0x00007c12", "ESP  0x00006f04", "EFLAGS  0x00000002"]);
});

Deno.test("model-specific registers with their numbers", () => {
  assert.deepEqual(
    said("cpu", {
      "env.efer": ["uint64", 0xd01n],
      "env.star": ["uint64", 0x0023_0010_0000_0000n],
      "env.fmask": ["uint64", 0x47700n],
      "env.mce_banks[5]": ["uint64", 0xbd80_0000_0000_0134n],
      "env.mcg_status": ["uint64", 5n],
      "cpu/msr_ia32_misc_enable.env.msr_ia32_misc_enable": ["uint64", 0x4_0004_0001n],
      "cpu/msr_ia32_feature_control.env.msr_ia32_feature_control": ["uint64", 5n],
      "cpu/msr_architectural_pmu.env.msr_fixed_ctr_ctrl": ["uint64", 0xb0n],
      "cpu/msr_architectural_pmu.env.msr_global_ctrl": ["uint64", 0x7_0000_0003n],
      "cpu/msr_architectural_pmu.env.msr_gp_evtsel[1]": ["uint64", 0x53003cn],
      "cpu/spec_ctrl.env.spec_ctrl": ["uint64", 5n],
      "cpu/xss.env.xss": ["uint64", 0x1800n],
      "cpu/umwait.env.umwait": ["uint32", 100001],
      "cpu/amd_tsc_scale_msr.env.amd_tsc_scale_msr": ["uint64", 0x1_8000_0000n],
      "cpu/arch_lbr.env.msr_lbr_ctl": ["uint64", 7n],
      "cpu/intel_pt.env.msr_rtit_addrs[3]": ["uint64", 1n],
    }),
    [
      "EFER  0x0000000000000d01  SCE LME LMA NXE (MSR 0xc0000080)",
      "STAR  0x0023001000000000  SYSCALL CS=0x10, SYSRET CS=0x23, or 0x33 to 64 bits (MSR 0xc0000081)",
      "FMASK  0x0000000000047700  TF IF DF IOPL=3 NT AC (MSR 0xc0000084)",
      "MC1_STATUS  0xbd80000000000134  AR S ADDRV MISCV EN UC VAL, code 0x0134 (MSR 0x405)",
      "MCG_STATUS  0x0000000000000005  RIPV MCIP (MSR 0x17a)",
      "IA32_MISC_ENABLE  0x0000000400040001  FAST_STRING MWAIT XD_DISABLE (MSR 0x1a0)",
      "IA32_FEATURE_CONTROL  0x0000000000000005  LOCKED VMXON_ENABLED_OUTSIDE_SMX (MSR 0x3a)",
      "CORE_PERF_FIXED_CTR_CTRL  0x00000000000000b0  1: OS USR PMI (MSR 0x38d)",
      "CORE_PERF_GLOBAL_CTRL  0x0000000700000003  PMC0 PMC1 FIXED0 FIXED1 FIXED2 (MSR 0x38f)",
      "P6_EVNTSEL1  0x000000000053003c  event 0x3c umask 0x00 USR OS INT EN (MSR 0x187)",
      "IA32_SPEC_CTRL  0x0000000000000005  IBRS SSBD (MSR 0x48)",
      "IA32_XSS  0x0000000000001800  CET_U CET_S (MSR 0xda0)",
      "IA32_UMWAIT_CONTROL  0x000186a1  no C0.2, at most 100000 of TSC (MSR 0xe1)",
      "AMD64_TSC_RATIO  0x0000000180000000  times 1.5 (MSR 0xc0000104)",
      "ARCH_LBR_CTL  0x0000000000000007  LBREn OS USR (MSR 0x14ce)",
      "IA32_RTIT_ADDR1_B  0x0000000000000001  MSR 0x583",
    ],
  );
});

Deno.test("what a guest shares with its hypervisor", () => {
  assert.deepEqual(
    said("cpu", {
      "env.wall_clock_msr": ["uint64", 0x1000n],
      "cpu/async_pf_msr.env.async_pf_en_msr": ["uint64", 0x12349n],
      "cpu/steal_time_msr.env.steal_time_msr": ["uint64", 0x7fc12041n],
      "cpu/poll_control_msr.env.poll_control_msr": ["uint64", 0n],
      "cpu/msr_hyperv_hypercall.env.msr_hv_guest_os_id": ["uint64", 0x0001_040a_0000_4a61n],
      "cpu/msr_hyperv_hypercall.env.msr_hv_hypercall": ["uint64", 0x100001n],
      "cpu/msr_hyperv_runtime.env.msr_hv_runtime": ["uint64", 15_000_000n],
      "cpu/msr_hyperv_synic.env.msr_hv_synic_sint[2]": ["uint64", 0x200f2n],
      "cpu/msr_hyperv_stimer.env.msr_hv_stimer_config[1]": ["uint64", 0x30009n],
      "cpu/msr_hyperv_reenlightenment.env.msr_hv_reenlightenment_control": ["uint64", 0x2_0001_00een],
      "cpu/nested_state.env.nested_state.flags": ["uint16", 0x101],
      "cpu/nested_state.env.nested_state.cpu/kvm_nested_state/vmx.hdr.vmx.vmxon_pa": ["uint64", (1n << 64n) - 1n],
      "cpu/xen_vcpu.env.xen_virq[0]": ["uint16", 3],
      "env.exception_nr": ["int32", 14],
      "env.interrupt_injected": ["int32", 236],
      "env.intercept_cr_write": ["uint16", 0x109],
      "env.intercept_exceptions": ["uint32", 0x4002],
    }),
    [
      "KVM_WALL_CLOCK  0x0000000000001000  at 0x1000",
      "KVM_ASYNC_PF_EN  0x0000000000012349  at 0x12340 ENABLED DELIVERY_AS_INT (MSR 0x4b564d02)",
      "KVM_STEAL_TIME  0x000000007fc12041  at 0x7fc12040 (MSR 0x4b564d03)",
      "KVM_POLL_CONTROL  0x0000000000000000  host does not poll on HLT (MSR 0x4b564d05)",
      "HV_GUEST_OS_ID  0x0001040a00004a61  Windows NT 10.0 build 19041 (MSR 0x40000000)",
      "HV_HYPERCALL  0x0000000000100001  at 0x100000 (MSR 0x40000001)",
      "HV_VP_RUNTIME  0x0000000000e4e1c0  1.5 s (MSR 0x40000010)",
      "HV_SINT2  0x00000000000200f2  vector 242 AUTO_EOI (MSR 0x40000092)",
      "HV_STIMER1_CONFIG  0x0000000000030009  ENABLE AUTO_ENABLE SINT=3 (MSR 0x400000b2)",
      "HV_REENLIGHTENMENT_CONTROL  0x00000002000100ee  vector 238 of virtual processor 2 (MSR 0x40000106)",
      "0x0101  KVM_STATE_NESTED_GUEST_MODE KVM_STATE_NESTED_GIF_SET",
      "0xffffffffffffffff  none",
      "VIRQ_TIMER  3  event channel 3",
      "14  #PF",
      "236  vector 0xec",
      "0x0109  CR0 CR3 CR8",
      "0x00004002  #DB #PF",
    ],
  );
});

Deno.test("80-bit numbers are said with the digits that tell them apart", () => {
  const cases: [mantissa: bigint, signExponent: number, text: string | undefined][] = [
    [0xc90fdaa22168c235n, 0x4000, "3.14159265358979323851"],
    [1n << 63n, 0xbffe, "-0.5"],
    [0x8ac7230489e80000n, 0x403e, "10000000000000000000"],
    [0xcccccccccccccccdn, 0x3ffb, "0.100000000000000000001"],
    [0x8637bd05af6c69b6n, 0x3feb, "1.00000000000000000004e-6"],
    [(1n << 64n) - 1n, 0x7ffe, "1.18973149535723176502e+4932"],
    [1n, 0, "3.64519953188247460253e-4951"],
    [0n, 0x8000, "-0"],
    [1n << 63n, 0xffff, "-Inf"],
    [3n << 62n, 0xffff, "NaN"],
    [1n, 0x3fff, undefined],
    [1n, 0x7fff, undefined],
  ];
  for (const [mantissa, signExponent, text] of cases) assert.equal(float80Text(mantissa, signExponent), text);
});

/** A struct of 64-bit words. */
function words(name: string, vmsdName: string, fields: Readonly<Record<string, bigint>>): VmNode {
  const children = Object.entries(fields).map(([name, value]): VmLeaf => {
    return { kind: "leaf", name, type: "uint64", offset: 0, length: 8, value };
  });
  return { kind: "struct", name, type: "struct", offset: 0, length: children.length * 8, vmsdName, children };
}

Deno.test("a vector register is one value, its pieces by their bits", () => {
  const nodes: VmNode[] = Object.entries(X86).map(([name, [type, value]]) => {
    return { kind: "leaf", name, type, offset: 0, length: SIZES[type], value };
  });
  const pieces: [path: string, vmsdName: string, fields: number][] = [
    ["env.xmm_regs[0][3]", "xmm_reg", 2],
    ["env.xmm_regs[1][3]", "ymmh_reg", 2],
    ["cpu/avx512.env.xmm_regs[0][3]", "zmmh_reg", 4],
    ["cpu/avx512.env.xmm_regs[1][3]", "hi16_zmm_reg", 8],
  ];
  const symbols = new DeviceSymbols("cpu", nodes);
  const whole = pieces.map(([path, vmsdName, count]) => {
    const fields = Object.fromEntries(Array.from({ length: count }, (_, i) => [`q${i}`, BigInt(i + 1)]));
    const branch = words(path, vmsdName, fields);
    assert(branch.kind === "struct");
    return line(symbols.whole(branch, path));
  });
  const word = (value: number) => value.toString(16).padStart(16, "0");
  assert.deepEqual(whole, [
    `XMM3  0x${word(2)}${word(1)}`,
    `YMM3[255:128]  0x${word(2)}${word(1)}`,
    `ZMM3[511:256]  0x${[4, 3, 2, 1].map(word).join("")}`,
    `ZMM19  0x${[8, 7, 6, 5, 4, 3, 2, 1].map(word).join("")}`,
  ]);
  assert.deepEqual(
    said("cpu", {
      "env.xmm_regs[1][3]._q_ZMMReg[2]": ["uint64", 1n],
      "cpu/avx512.env.xmm_regs[1][3]._q_ZMMReg[2]": ["uint64", 1n],
      "cpu/avx512.env.opmask_regs[7]": ["uint64", 1n],
    }),
    [`YMM3[191:128]  0x${word(1)}`, `ZMM19[191:128]  0x${word(1)}`, `k7  0x${word(1)}`],
  );
});

Deno.test("local APIC and IOAPIC with a guest's interrupts", () => {
  assert.deepEqual(
    said("apic", {
      "apicbase": ["uint32", 0xfee00d00],
      "tpr": ["uint8", 0x20],
      "isr[1]": ["uint32", 0x10000],
      "lvt[0]": ["uint32", 0x200ec],
      "lvt[2]": ["uint32", 0x400],
      "icr[0]": ["uint32", 0x000008fd],
      "esr": ["uint32", 0x60],
      "divide_conf": ["uint32", 0xb],
      "initial_count_load_time": ["int64", 1_500_000_000n],
    }),
    [
      "APICBASE  0xfee00d00  at 0xfee00000 BSP x2APIC enabled",
      "TPR  0x20  CR8=2",
      "0x00010000  48",
      "LVTT  0x000200ec  active-hi edge periodic Fixed (vec 236)",
      "LVTPC  0x00000400  active-hi edge NMI",
      "ICR  0x000008fd  logical edge de-assert no-shorthand Fixed (vec 253)",
      "ESR  0x00000060  SEND_ILLEGAL_VECT RECV_ILLEGAL_VECT",
      "DCR  0x0000000b  divide by 1",
      "1.5 s",
    ],
  );
  assert.deepEqual(
    said("ioapic", {
      "ioregsel": ["uint8", 0x13],
      "irr": ["uint32", 0x30],
      "ioredtbl[4]": ["uint64", 0x0100_0000_0000_a830n],
    }),
    [
      "0x13  redir[1], upper half",
      "IRR  0x00000030  pin 4, pin 5",
      "pin 4  0x010000000000a830  dest=1 vec=48 active-lo level fixed logical",
    ],
  );
});

Deno.test("no value, of whatever type and length, makes a rule throw", () => {
  const names = [
    ..."env.eip env.eflags env.hflags env.cr[0] env.cr[3] env.cr[4] env.dr env.dr[7] env.regs env.segs env.ldt env.fpregs"
      .split(" "),
    ..."env.xmm_regs env.xmm_regs[0] env.xmm_regs[1] env.mtrr_fixed env.mtrr_var env.mce_banks env.star env.pat".split(
      " ",
    ),
    ..."env.mp_state env.exception_nr env.interrupt_injected env.tsc env.tsc_khz env.fpuc env.fpus_vmstate env.mxcsr"
      .split(" "),
    ..."env.msr_hv_guest_os_id env.msr_hv_synic_sint env.xen_virq env.pkru env.umwait env.nested_state hdr.vmx.vmxon_pa"
      .split(" "),
    ..."selector base limit flags mask tmp tmp_mant tmp_exp _q_ZMMReg[0] _q_ZMMReg[7] cpu/avx512 cpu/tsc_khz 0 1 3 15"
      .split(" "),
    ..."apicbase tpr isr tmr irr lvt icr esr divide_conf timer_expiry next_time ioregsel ioredtbl clock state halted"
      .split(" "),
    ..."interrupt_request cpu/ apic_sipi / . [0]".split(" "),
  ];
  const value = fc.oneof(
    fc.bigInt({ min: -(1n << 70n), max: 1n << 70n }),
    fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
    fc.integer({ min: -0x8000_0000, max: 0xffff_ffff }),
    fc.boolean(),
    fc.string({ maxLength: 8 }),
    fc.constant(null),
    fc.uint8Array({ maxLength: 20 }),
  );
  const name = fc.constantFrom(...names);
  const length = fc.constantFrom(0, 1, 2, 3, 4, 8, 9, 64, 8192);
  const type = fc.constantFrom("uint8", "uint16", "uint32", "uint64", "int32", "int64", "bool", "buffer", "timer");
  const { node } = fc.letrec<{ leaf: VmLeaf; branch: VmNode; node: VmNode }>((tie) => ({
    leaf: fc.record({ kind: fc.constant("leaf" as const), name, type, offset: fc.constant(0), length, value }),
    branch: fc.record({
      kind: fc.constantFrom("struct" as const, "array" as const, "subsection" as const),
      name,
      type: fc.constant("struct"),
      offset: fc.constant(0),
      length,
      vmsdName: fc.constantFrom("segment", "fpreg", "xmm_reg", "ymmh_reg", "zmmh_reg", "hi16_zmm_reg", "toString"),
      children: fc.array(tie("node"), { maxLength: 8 }),
    }),
    node: fc.oneof({ maxDepth: 4 }, tie("leaf"), tie("branch")),
  }));
  const device = fc.constantFrom("cpu", "cpu_common", "apic", "ioapic", "kvmclock", "kvm-tpr-opt");
  fc.assert(
    fc.property(device, fc.array(node, { maxLength: 12 }), fc.boolean(), (device, nodes, x86) => {
      const known = Object.entries(X86).map(([name, [type, value]]): VmLeaf => {
        return { kind: "leaf", name, type, offset: 0, length: 8, value };
      });
      assert.doesNotMatch(JSON.stringify(describeDevice(device, x86 ? [...known, ...nodes] : nodes)), /undefined|0x-/);
    }),
    { numRuns: 2000 },
  );
});
