/**
 * What rules say of processors other than x86, and of Arm's interrupt controllers.
 * @module
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { openImage } from "../../containers/image.ts";
import { inspectImage } from "../../reports/inspect.ts";
import { devicesText } from "../../reports/inspect_detail.ts";
import { cpregName } from "../../reports/symbols/arm_cpregs.ts";
import { irqs } from "../../reports/symbols/arm_gic.ts";
import { programStatus } from "../../reports/symbols/arm_pstate.ts";
import { syndrome } from "../../reports/symbols/arm_words.ts";
import { layout } from "../../reports/symbols/cpu_registers.ts";
import { DeviceSymbols } from "../../reports/symbols/describe.ts";
import { type VmLeaf, vmLeaves, type VmNode, type VmValue } from "../../stream/vmvalue.ts";
import { loadFixture } from "../fixtures.ts";

/** Lines of a fixture's device, without the spaces between columns. */
async function lines(fixture: string, device: string): Promise<string[]> {
  await using image = await openImage(await loadFixture(fixture));
  const text = devicesText(await inspectImage(image, { device }));
  return text.split("\n").map((line) => line.trim().replace(/ {2,}/g, "  "));
}

function assertHas(found: readonly string[], wanted: readonly string[]): void {
  for (const line of wanted) assert(found.includes(line), `${line}\n${found.join("\n")}`);
}

function leaf(name: string, value: VmValue, length: number, type = `uint${length * 8}`): VmLeaf {
  return { kind: "leaf", name, type, offset: 0, length, value };
}

function array(name: string, values: readonly bigint[], length = 8): VmNode {
  const children = values.map((value, i) => leaf(String(i), value, length));
  return { kind: "array", name, type: "uint64", offset: 0, length: 0, children };
}

/** What is said of the fields of a device, by path: "SYMBOL text meaning". */
function said(name: string, nodes: readonly VmNode[]): Map<string, string> {
  const symbols = new DeviceSymbols(name, nodes);
  const found = new Map<string, string>();
  for (const { path, leaf } of vmLeaves(nodes)) {
    if (leaf.kind !== "leaf") continue;
    const { symbol, text, meaning } = symbols.of(leaf, path);
    found.set(path, [symbol, text, meaning].filter((part) => part).join(" "));
  }
  return found;
}

Deno.test("registers of a processor in AArch64", async () => {
  const cpu = await lines("aarch64-virt-file", "cpu");
  assertHas(cpu, [
    "X0  0x0000000040237000",
    "X20  0x00000000beefd00d",
    "SP  0x0000000000000000",
    "env.pc PC  0x000000004010001c",
    "cpsr PSTATE  0x200003c5  --C- DAIF EL1h",
    "0..15  0x00000000",
    "SCTLR_EL1  0x0000000000c50838  SA SA0 CP15BEN EOS nTWI nTWE EIS SPAN",
    "ID_AA64ISAR0_EL1  0x0000000000011120  AES=0x2 SHA1=0x1 SHA2=0x1 CRC32=0x1",
    "CNTFRQ_EL0  0x0000000003b9aca0  62.5 MHz",
    "env.exclusive_addr  0xffffffffffffffff  monitor is open",
    "gt_timer[GTIMER_VIRT]  not armed",
    "power_state  0x00  on",
    "env.vfp.zregs[31].d V31  0x00000000000000000000000000000000",
    "env.vfp.xregs[0] FPSID  0x41034070",
    "MVFR0  0x10110222",
  ]);
  assert(!cpu.some((line) => /^(R0|SPSR_svc|LR_usr) /.test(line)), "no AArch32 register has its name");
  const values = cpu.slice(
    cpu.indexOf("cpreg_vmstate_values") + 1,
    cpu.findIndex((line) => line.startsWith("env.exclusive")),
  );
  assert.equal(values.length, 274, "every system register has a line");
});

Deno.test("registers of a processor in AArch32", async () => {
  const cpu = await lines("arm-versatilepb-1k-pages", "cpu");
  assertHas(cpu, [
    "R4  0x000010a6",
    "PC  0x00100010",
    "cpsr CPSR  0x200001d3  --C- AIF svc, Arm",
    "SP_irq  0x00000000",
    "LR_abt  0x00000000",
    "MIDR  0x41069265  Arm ARM926 r0p5",
    // ARMv5: of its control register only what no later version took for something else
    "SCTLR_S  0x00090078",
    "SCTLR_EL1  0x0000000000090078",
  ]);
  assert(!cpu.some((line) => /^(X0|SP_EL0|ELR_EL1) /.test(line)), "no AArch64 register has its name");
});

Deno.test("registers of riscv and s390x processors", async () => {
  assertHas(await lines("riscv64-virt-file", "cpu"), [
    "t0  0x0000000080230000",
    "env.pc pc  0x0000000080000020",
    "env.misa_ext misa  0x001411ad  ACDFHIMSU",
    "env.priv  0x0000000000000003  M",
    "env.mstatus mstatus  0x0000000a00000000  MPP=U UXL=64 SXL=64",
    "env.mip mip  0x0000000000000080  MTIP",
    "env.mideleg mideleg  0x0000000000001444  VSSI VSTI VSEI SGEI",
    "cpu/envcfg",
  ]);
  assertHas(await lines("s390x-ccw-file", "cpu"), [
    "R15  0x0000000000000000",
    "env.psw.mask PSW mask  0x0000000180000000  CC=0 64-bit",
    "env.psw.addr PSW address  0x0000000000500890",
    "C0  0x00000000000000e0  measurement alert interrupt key",
    "C14  0x00000000c2000000",
    "env.cpu_state  0x03  operating",
    "env.vregs[0][0] F0  0x0000000000000000",
  ]);
});

Deno.test("GICv2: lists of interrupts", async () => {
  assertHas(await lines("aarch64-virt-file", "arm_gic"), [
    "ctlr GICD_CTLR  0x00000000",
    "enabled  0..15",
    "pending  none",
    "GICC_CTLR0  0x00000000",
    "GICC_HPPIR0  0x03ff  none",
    "0..15  enabled 0xff: all CPUs, pending 0, active 0, level 0, model false, edge_trigger true, group 0",
  ]);
});

Deno.test("GICv3: words of the distributor and redistributors as interrupts", () => {
  const cpu: VmNode = {
    kind: "struct",
    name: "0",
    type: "struct",
    offset: 0,
    length: 0,
    children: [
      array("arm_gicv3_cpu/virt.ich_lr_el2", [0n, 0x5000_0000_0000_001bn]),
      leaf("gicr_ienabler0", 0x4800ffff, 4),
      leaf("gicr_waker", 6, 4),
      array("icc_igrpen", [0n, 1n, 1n]),
    ],
  };
  const found = said("arm_gicv3", [
    leaf("gicd_ctlr", 0x37, 4),
    array("enabled", [0n, 0x6n, 0x80000000n], 4),
    { kind: "array", name: "cpu", type: "struct", offset: 0, length: 0, children: [cpu] },
  ]);
  assert.equal(found.get("gicd_ctlr"), "GICD_CTLR 0x00000037 EN_GRP0 EN_GRP1NS EN_GRP1S ARE_S ARE_NS");
  assert.equal(found.get("enabled[0]"), "");
  assert.equal(found.get("enabled[1]"), "0x00000006 33..34");
  assert.equal(found.get("enabled[2]"), "0x80000000 95");
  assert.equal(found.get("cpu[0].gicr_ienabler0"), "GICR_ISENABLER0 0x4800ffff 0..15 27 30");
  assert.equal(found.get("cpu[0].gicr_waker"), "GICR_WAKER 0x00000006 ProcessorSleep ChildrenAsleep");
  assert.equal(found.get("cpu[0].arm_gicv3_cpu/virt.ich_lr_el2[0]"), "ICH_LR0_EL2 0x0000000000000000");
  assert.equal(
    found.get("cpu[0].arm_gicv3_cpu/virt.ich_lr_el2[1]"),
    "ICH_LR1_EL2 0x500000000000001b vINTID 27 pending",
  );
  assert.equal(found.get("cpu[0].icc_igrpen[2]"), "ICC_IGRPEN_G1NS 0x1");
});

Deno.test("numbers of Arm's system registers", () => {
  for (
    const [index, name] of [
      [0x603000000013c080n, "SCTLR_EL1"],
      [0x603000000013c100n, "TTBR0_EL1"],
      [0x603000000013c102n, "TCR_EL1"],
      [0x603000000013c510n, "MAIR_EL1"],
      [0x603000000013c600n, "VBAR_EL1"],
      [0x603000000013c290n, "ESR_EL1"],
      [0x603000000013c300n, "FAR_EL1"],
      [0x603000000013c005n, "MPIDR_EL1"],
      [0x603000000013c000n, "MIDR_EL1"],
      [0x603000000013df19n, "CNTV_CTL_EL0"],
      [0x603000000013df1an, "CNTV_CVAL_EL0"],
      [0x603000000013df7fn, "PMCCFILTR_EL0"],
      [0x603000000013df45n, "PMEVCNTR5_EL0"],
      [0x603000000013df65n, "PMEVTYPER5_EL0"],
      [0x6030000000138024n, "DBGBVR4_EL1"],
      [0x603000000013c001n, "S3_0_C0_C0_1"],
      [0x6020000000110003n, "CCSIDR[3]"],
      [0x6030000000140000n, "PSCI_VERSION"],
      [0x40200000200f0800n, "SCTLR"],
      [0x40200000000f0800n, "SCTLR_S"],
      [0x40300000200f0100n, "TTBR0"],
      [0x40200000200f7787n, "PMCCFILTR"],
      [0x40200000200f7888n, "p15_1_c15_c1_0"],
    ] as const
  ) assert.equal(cpregName(index), name, index.toString(16));
  assert.equal(
    cpregName(0x603000000013df1an, true),
    "CNTVCT_EL0",
    "KVM has the virtual timer's two the wrong way round",
  );
  assert.equal(cpregName(0x603000000013df02n, true), "CNTV_CVAL_EL0");
  assert.equal(cpregName(0x6030000000100000n), undefined);
  assert.equal(cpregName(0x2030000000000000n), undefined);
});

Deno.test("values of system registers of a guest that runs in AArch64", () => {
  const values: [bigint, bigint][] = [
    [0x603000000013c000n, 0x411fd070n],
    [0x603000000013c005n, 0x80000103n],
    [0x603000000013c080n, 0x30d0198dn],
    [0x603000000013c100n, 0x0001_0000_4100_0000n],
    [0x603000000013c102n, 0x5_b510_3510n],
    [0x603000000013c290n, 0x96000046n],
    [0x603000000013c510n, 0x44ff0400n],
    [0x603000000013df00n, 62_500_000n],
    [0x603000000013df19n, 5n],
    [0x603000000013df1an, 250_000_000n],
  ];
  const found = said("cpu", [
    leaf("cpsr", Uint8Array.of(0x60, 0, 0, 5), 4, "cpsr"),
    leaf("cpreg_vmstate_array_len", values.length, 4, "int32 le"),
    array("cpreg_vmstate_indexes", values.map(([index]) => index)),
    array("cpreg_vmstate_values", values.map(([, value]) => value)),
  ]);
  assert.deepEqual([...found].filter(([path]) => /values|cpsr/.test(path)).map(([, text]) => text), [
    "PSTATE 0x60000005 -ZC- ---- EL1h",
    "MIDR_EL1 0x00000000411fd070 Arm Cortex-A57 r1p0",
    "MPIDR_EL1 0x0000000080000103 affinity 0.0.1.3",
    "SCTLR_EL1 0x0000000030d0198d M C SA ITD SED EOS I TSCXT EIS SPAN nTLSMD LSMAOE",
    "TTBR0_EL1 0x0001000041000000 ASID=0x1 table at 0x41000000",
    "TCR_EL1 0x00000005b5103510 T0SZ=0x10 IRGN0=WBWA ORGN0=WBWA SH0=ISH TG0=4K T1SZ=0x10 IRGN1=WBWA ORGN1=WBWA SH1=ISH " +
    "TG1=4K IPS=48b",
    "ESR_EL1 0x0000000096000046 data abort: translation fault level 2, write",
    "MAIR_EL1 0x0000000044ff0400 0 Device-nGnRnE, 1 Device-nGnRE, 2 WB RW, 3 NC",
    "CNTFRQ_EL0 0x0000000003b9aca0 62.5 MHz",
    "CNTV_CTL_EL0 0x0000000000000005 ENABLE ISTATUS",
    "CNTV_CVAL_EL0 0x000000000ee6b280 4 s of the counter",
  ]);
});

Deno.test("registers of the M profile, with and without two security states", () => {
  const m = (name: string, children: VmNode[]): VmNode => {
    return { kind: "subsection", name, type: "subsection", offset: 0, length: 0, children };
  };
  const plain = [
    leaf("cpsr", Uint8Array.of(0x41, 0, 0, 0), 4, "cpsr"),
    leaf("cpreg_vmstate_array_len", 0, 4, "int32 le"),
    m("cpu/m", [
      leaf("env.v7m.vecbase[M_REG_NS]", 0x8000, 4),
      leaf("env.v7m.control[M_REG_NS]", 2, 4),
      leaf("env.v7m.cfsr[M_REG_NS]", 0x8200, 4),
      leaf("env.v7m.exception", 15, 4, "int32"),
      m("cpu/m/other-sp", [leaf("env.v7m.other_sp", 0x20001000, 4)]),
    ]),
  ];
  assert.deepEqual([...said("cpu", plain).values()], [
    "XPSR 0x41000000 -Z-- Thumb",
    "",
    "VTOR 0x00008000",
    "CONTROL 0x00000002 SPSEL",
    "CFSR 0x00008200 PRECISERR BFARVALID",
    "IPSR 0x0000000f SysTick",
    "PSP 0x20001000",
  ]);
  const security = said("cpu", [
    ...plain,
    m("cpu/m-security", [leaf("env.v7m.secure", 1, 4), leaf("env.v7m.other_ss_msp", 4, 4)]),
  ]);
  assert.equal(security.get("cpu/m.env.v7m.vecbase[M_REG_NS]"), "VTOR_NS 0x00008000");
  assert.equal(security.get("cpu/m-security.env.v7m.other_ss_msp"), "MSP_NS 0x00000004");
});

Deno.test("words of processor states and exceptions", () => {
  assert.equal(programStatus(0x800003c9n), "N--- DAIF EL2h");
  assert.equal(programStatus(0x00401000n), "---- ---- EL0t SSBS PAN");
  assert.equal(programStatus(0x60000030n), "-ZC- --- usr, Thumb");
  assert.equal(programStatus(0x0600fc12n), "---- --- irq, Arm IT=0xff");
  assert.equal(syndrome(0x56000000n), "SVC: #0");
  assert.equal(syndrome(0x92000010n), "data abort from a lower level: external abort");
  assert.equal(syndrome(0n), "");
  assert.equal(irqs(0x80000003n, 32), "32..33 63");
  assert.equal(layout("0 A, 3:2 B=/one/two, 7:4 C")(0x1_00a5n), "A B=one C=0xa bit 16");
  assert.equal(layout("0 A, 3:2 B=none/one")(0xdn), "A B=0x3");
  assert.equal(layout("3:2 B=none/one")(0n), "");
});

Deno.test("fields of one architecture mean nothing in another's processor", () => {
  const found = said("cpu", [
    leaf("env.pc", 5n, 8),
    leaf("env.msr", 5n, 8),
    leaf("psr", Uint8Array.of(1, 2, 3, 4), 4, "psr"),
  ]);
  assert.deepEqual([...found.values()], ["", "", ""]);
  const other = said("gpu", [leaf("env.nip", 5n, 8), leaf("env.msr", 5n, 8)]);
  assert.deepEqual([...other.values()], ["", ""]);
});

const FIXTURES = ["aarch64-virt-file", "arm-versatilepb-1k-pages", "riscv64-virt-file", "s390x-ccw-file"];
/** Of architectures no fixture has, and of subsections none of them has. */
const FIELDS =
  ("env.nip env.spr[318] env.msr cpu/slb.env.slb[0] env.npc psr env.regbase[17] env.nwindows env.CP0_Status env.CP0_Cause " +
    "env.tlb.mmu.r4k.tlb[0] env.active_fpu.fpr[1] cpu/m.env.v7m.exception cpu/m-security.env.v7m.secure env.cwp env.pstate " +
    "cpu/pmsav7.env.pmsav7.drsr[0] env.CP0_EntryLo0 cpu/sve.env.vfp.zregs[0].d[3] gicd_ctlr cpu[0].icc_bpr[9] enabled[40] " +
    "cpu[0].arm_gicv3_cpu/virt.ich_lr_el2[0] irq_state[3].enabled ctlr").split(" ");

/** A field each that tells an architecture. */
const MARKS = ["cpreg_vmstate_array_len", "env.misa_mxl", "env.nip", "env.psw.mask", "env.CP0_Status", "env.npc"];

Deno.test("no values make a rule throw", async () => {
  const paths = new Set(FIELDS);
  for (const fixture of FIXTURES) {
    await using image = await openImage(await loadFixture(fixture));
    for (const device of image.devices.filter(({ name }) => name === "cpu" || name.startsWith("arm_gic"))) {
      for (const { path } of vmLeaves(device.walk()?.nodes ?? [])) if (!/\[\d\d+\]/.test(path)) paths.add(path);
    }
  }
  const value: fc.Arbitrary<VmValue> = fc.oneof(
    fc.bigInt({ min: -(1n << 63n), max: (1n << 64n) - 1n }),
    fc.integer(),
    fc.boolean(),
    fc.string(),
    fc.constant(null),
    fc.uint8Array({ maxLength: 40 }),
  );
  const all = [...paths];
  const node = fc.record({ at: fc.nat(all.length - 1), value, length: fc.constantFrom(0, 1, 2, 4, 8, 16, 1 << 30) });
  const names = fc.constantFrom("cpu", "cpu", "cpu", "arm_gic", "arm_gicv3");
  fc.assert(
    fc.property(
      names,
      fc.constantFrom(...MARKS),
      value,
      fc.array(node, { maxLength: 60 }),
      (name, mark, state, nodes) => {
        const leaves = nodes.map(({ at, value, length }) => leaf(all[at], value, length));
        leaves.push(leaf(mark, 1, 4), leaf("cpsr", state, 4, "cpsr"));
        const symbols = new DeviceSymbols(name, leaves);
        for (const { path, leaf } of vmLeaves(leaves)) {
          // an element's leaf has its number for a name
          const element = { ...leaf, name: /\[(\d+)\]$/.exec(path)?.[1] ?? leaf.name } as VmLeaf;
          const { text = "", meaning = "" } = symbols.of(element, path);
          assert(text.length + meaning.length < 20_000);
          symbols.whole({ kind: "array", name: "d", type: "uint64", offset: 0, length: 8, children: leaves }, path);
        }
      },
    ),
    { numRuns: 500 },
  );
});
