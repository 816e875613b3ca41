/**
 * Interrupt controllers of Arm machines: GICv2 ("arm_gic") and GICv3 with its redistributors ("arm_gicv3").
 *
 *     ctlr GICD_CTLR   0x00000001   EN_GRP0
 *       enabled        0..15 27 30 33
 *       pending        27
 *     enabled
 *       1              0x00000006   33 34
 *
 * Interrupts go by their INTID: 0 to 15 are SGIs, 16 to 31 PPIs, from 32 on SPIs. A PPI or SGI of a GICv2 is listed when
 * any processor has it so; which ones, the fields of irq_state say, a bit for each.
 * Source: QEMU hw/intc/arm_gic_common.c (vmstate_gic), hw/intc/arm_gicv3_common.c (vmstate_gicv3, vmstate_gicv3_cpu),
 * hw/intc/gic_internal.h, hw/intc/gicv3_internal.h; Arm GIC architecture (IHI 0069).
 * @module
 */
import type { VmValue } from "../../stream/vmvalue.ts";
import { layout } from "./cpu_registers.ts";
import { bitField, type DeviceView, hexText, integer, type Meaning, type Part, type SymbolRule } from "./rule.ts";

/** Most interrupts a GIC has (GIC_MAXIRQ, GICV3_MAXIRQ). */
const MAX_IRQ = 1024;
/** "No interrupt". */
const SPURIOUS = 1023n;

type Row = readonly [name: string | undefined, says?: (value: bigint) => string | undefined];

const GICC = layout("0 EN_GRP0, 1 EN_GRP1, 2 ACK_CTL, 3 FIQ_EN, 4 CBPR, 9 EOIMODE, 10 EOIMODE_NS");
const ICC = layout("0 CBPR, 1 EOImode, 6 PMHE, 10:8 PRIbits, 13:11 IDbits, 14 SEIS, 15 A3V");

const GICV3: Readonly<Record<string, Row>> = {
  "gicd_ctlr": ["GICD_CTLR", layout("0 EN_GRP0, 1 EN_GRP1NS, 2 EN_GRP1S, 4 ARE_S, 5 ARE_NS, 6 DS, 7 E1NWF, 31 RWP")],
  "gicd_statusr[]": ["GICD_STATUSR", layout("0 RRD, 1 WRD, 2 RWOD, 3 WROD")],
  "cpu[].gicr_ctlr": [
    "GICR_CTLR",
    layout("0 EnableLPIs, 1 CES, 2 IR, 3 RWP, 24 DPG0, 25 DPG1NS, 26 DPG1S, 31 UWP"),
  ],
  "cpu[].gicr_statusr[]": ["GICR_STATUSR", layout("0 RRD, 1 WRD, 2 RWOD, 3 WROD")],
  "cpu[].gicr_waker": ["GICR_WAKER", layout("1 ProcessorSleep, 2 ChildrenAsleep")],
  "cpu[].gicr_propbaser": ["GICR_PROPBASER", (value) => address(value, 12)],
  "cpu[].gicr_pendbaser": ["GICR_PENDBASER", (value) => address(value, 16)],
  "cpu[].level": [undefined, (value) => irqs(value, 0)],
  "cpu[].gicr_igroupr0": ["GICR_IGROUPR0", (value) => irqs(value, 0)],
  "cpu[].gicr_ienabler0": ["GICR_ISENABLER0", (value) => irqs(value, 0)],
  "cpu[].gicr_ipendr0": ["GICR_ISPENDR0", (value) => irqs(value, 0)],
  "cpu[].gicr_iactiver0": ["GICR_ISACTIVER0", (value) => irqs(value, 0)],
  "cpu[].edge_trigger": [undefined, (value) => irqs(value, 0)],
  "cpu[].gicr_igrpmodr0": ["GICR_IGRPMODR0", (value) => irqs(value, 0)],
  "cpu[].gicr_nsacr": ["GICR_NSACR"],
  "cpu[].icc_ctlr_el1[]": ["ICC_CTLR_EL1", ICC],
  "cpu[].icc_pmr_el1": ["ICC_PMR_EL1"],
  "cpu[].icc_ctlr_el3": ["ICC_CTLR_EL3"],
  "cpu[].arm_gicv3_cpu/virt.ich_hcr_el2": [
    "ICH_HCR_EL2",
    layout("0 En, 1 UIE, 2 LRENPIE, 3 NPIE, 4 VGrp0EIE, 5 VGrp0DIE, 6 VGrp1EIE, 7 VGrp1DIE, 31:27 EOIcount"),
  ],
  "cpu[].arm_gicv3_cpu/virt.ich_vmcr_el2": ["ICH_VMCR_EL2"],
  "cpu[].arm_gicv3_cpu/virt.ich_lr_el2[]": ["ICH_LR#_EL2", listRegister],
  "cpu[].arm_gicv3_cpu/sre_el1.icc_sre_el1": ["ICC_SRE_EL1", layout("0 SRE, 1 DFB, 2 DIB")],
};
/** By the numbers GICV3_S and GICV3_NS, GICV3_G0, GICV3_G1 and GICV3_G1NS. */
const STATES = ["S", "NS"], GROUPS = ["G0", "G1S", "G1NS"];
const PER_GROUP = /^cpu\[\d+\]\.icc_(bpr|igrpen)\[(\d)\]$/;

const GICV2: Readonly<Record<string, Row>> = {
  "ctlr": ["GICD_CTLR", layout("0 EN_GRP0, 1 EN_GRP1")],
  "cpu_ctlr[]": ["GICC_CTLR", GICC],
  "priority_mask[]": ["GICC_PMR"],
  "running_priority[]": ["GICC_RPR"],
  "current_pending[]": ["GICC_HPPIR", (value) => value === SPURIOUS ? "none" : undefined],
  "bpr[]": ["GICC_BPR"],
  "abpr[]": ["GICC_ABPR"],
};

/** Set bits of a word as interrupt numbers from `first` on, runs as "16..31". */
export function irqs(word: bigint, first: number): string {
  return runs(function* () {
    for (let bit = 0; bit < 64; bit++) if (word >> BigInt(bit) & 1n) yield first + bit;
  });
}

/** "0..15 27 30" of ascending numbers. */
function runs(numbers: () => Iterable<number>): string {
  const said: string[] = [];
  let from = -1, to = -1;
  const say = () => {
    if (from >= 0) said.push(from === to ? String(from) : `${from}..${to}`);
  };
  for (const number of numbers()) {
    if (number !== to + 1 || from < 0) {
      say();
      from = number;
    }
    to = number;
  }
  say();
  return said.join(" ");
}

function address(value: bigint, low: number): string | undefined {
  const at = value & 0xfffffffffffffn & ~((1n << BigInt(low)) - 1n);
  return at === 0n ? undefined : `table at ${hexText(at)}`;
}

const LR_STATES = ["", "pending", "active", "pending and active"];

/** ICH_LR<n>_EL2: "vINTID 27 pending". 0 is empty. */
function listRegister(value: bigint): string | undefined {
  const state = LR_STATES[bitField(value, 62, 63)];
  return state === "" ? undefined : `vINTID ${bitField(value, 0, 31)} ${state}`;
}

/** What is so of some interrupt of a GICv2, of any processor: irq_state[n].enabled and the others are a bit for each. */
function distributorLists(device: DeviceView): Part[] {
  return ["enabled", "pending", "active", "level"].map((name) => ({
    name,
    text: runs(function* () {
      for (let i = 0; i < MAX_IRQ; i++) {
        const bits = integer(device.value(`irq_state[${i}].${name}`));
        if (bits === undefined) break;
        if (bits !== 0n) yield i;
      }
    }) || "none",
  }));
}

/** By its path with "[]" for every index: the last one is part of the name, as the security state where that is what it says. */
function row(rows: Readonly<Record<string, Row>>, value: VmValue, path: string, bytes: number): Meaning | undefined {
  const key = path.replace(/\[\d+\]/g, "[]");
  const number = integer(value);
  if (number === undefined || bytes > 8 || !Object.hasOwn(rows, key)) return undefined;
  const [name, says] = rows[key];
  const register = BigInt.asUintN(bytes * 8, number);
  const meaning = says?.(register);
  return {
    ...(name !== undefined ? { symbol: numberedName(name, key, path) } : {}),
    text: hexText(register, bytes * 2),
    ...(meaning ? { meaning } : {}),
  };
}

/** The number goes where "#" is, to the end where there is none. */
function numberedName(name: string, key: string, path: string): string {
  if (!key.endsWith("[]")) return name;
  const index = path.slice(path.lastIndexOf("[") + 1, -1);
  if (/_statusr|icc_ctlr/.test(key)) return `${name}_${STATES[Number(index)] ?? index}`;
  return name.includes("#") ? name.replace("#", index) : name + index;
}

/** Both controllers. */
export const ARM_GIC: readonly SymbolRule[] = [
  {
    device: /^arm_gicv3$/,
    field: /^(group|grpmod|enabled|pending|active|level|edge_trigger)\[(\d+)\]$/,
    describe(value, [, , word], _device, leaf) {
      const bits = integer(value);
      if (bits === undefined || bits === 0n || leaf.length !== 4 || Number(word) >= MAX_IRQ / 32) return undefined;
      return { text: hexText(bits, 8), meaning: irqs(bits, Number(word) * 32) };
    },
  },
  {
    device: /^arm_gicv3$/,
    field: PER_GROUP,
    describe(value, [, register, group]) {
      const number = integer(value);
      const name = GROUPS[Number(group)];
      if (number === undefined || name === undefined) return undefined;
      return { symbol: `ICC_${register.toUpperCase()}_${name}`, text: hexText(number) };
    },
  },
  {
    device: /^arm_gicv3$/,
    field: /^(gicd_|cpu\[)/,
    describe: (value, match, _device, { length }) => row(GICV3, value, match.input, length),
  },
  {
    device: /^arm_gic$/,
    field: /^(ctlr|cpu_ctlr|priority_mask|running_priority|current_pending|a?bpr)(\[\d+\])?$/,
    describe(value, match, device, { length }) {
      const meaning = row(GICV2, value, match.input, length);
      return meaning && match[0] === "ctlr" ? { ...meaning, parts: distributorLists(device) } : meaning;
    },
  },
  {
    device: /^arm_gic$/,
    field: /^irq_state\[\d+\]\.(enabled|pending|active|level|group)$/,
    describe(value) {
      const cpus = integer(value);
      if (cpus === undefined || cpus <= 0n || cpus > 0xffn) return undefined;
      return { text: hexText(cpus), meaning: cpus === 0xffn ? "all CPUs" : `CPU ${irqs(cpus, 0)}` };
    },
  },
];
