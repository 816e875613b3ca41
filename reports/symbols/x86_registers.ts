/**
 * General, control and debug registers, and what QEMU itself keeps of a processor's mode.
 *
 *     env.eip RIP                0x0000000000007c12
 *     env.eflags RFLAGS          0x0000000000000046  PF ZF
 *     env.cr[0] CR0              0x0000000080000011  PE ET PG
 *     env.hflags                 0x0000c0b7  HF_CPL=3 HF_CS32 HF_SS32 HF_PE HF_LMA HF_CS64
 *
 * Source: QEMU target/i386/cpu.h (CR0_PE_MASK, HF_CPL_SHIFT and others), Intel SDM volume 3, "Control Registers", "Debug
 * Registers".
 * @module
 */
import { bitField, hexText } from "./rule.ts";
import { type FieldPlace, type FieldSymbol, type FieldTable, flags, hexField, number, register } from "./x86_words.ts";

/** env.regs, by R_EAX .. R_R15. */
const GENERAL = "AX CX DX BX SP BP SI DI".split(" ");

/** RFLAGS; the flags of a mask of them. */
export const flagsRegister: (value: bigint) => string = flags(
  "0 CF,1 -,2 PF,4 AF,6 ZF,7 SF,8 TF,9 IF,10 DF,11 OF,12-13 IOPL,14 NT,16 RF,17 VM,18 AC,19 VIF,20 VIP,21 ID",
);
const cr0 = flags("0 PE,1 MP,2 EM,3 TS,4 ET,5 NE,16 WP,18 AM,29 NW,30 CD,31 PG");
const cr4 = flags(
  "0 VME,1 PVI,2 TSD,3 DE,4 PSE,5 PAE,6 MCE,7 PGE,8 PCE,9 OSFXSR,10 OSXMMEXCPT,11 UMIP,12 LA57,13 VMXE,14 SMXE," +
    "16 FSGSBASE,17 PCIDE,18 OSXSAVE,20 SMEP,21 SMAP,22 PKE,23 CET,24 PKS,25 UINTR,28 LAM_SUP,32 FRED",
);
const hflags = flags(
  "0-1 CPL,3 INHIBIT_IRQ,4 CS32,5 SS32,6 ADDSEG,7 PE,8 TF,9 MP,10 EM,11 TS,12-13 IOPL,14 LMA,15 CS64,16 RF,17 VM,18 AC," +
    "19 SMM,20 SVME,21 GUEST,22 OSFXSR,23 SMAP,24 IOBPT,25 MPX_EN,26 MPX_IU,27 UMIP,28 AVX_EN",
  "HF_",
);
const hflags2 = flags(
  "0 GIF,1 HIF,2 NMI,3 VINTR,4 SMM_INSIDE_NMI,5 MPX_PR,6 NPT,7 IGNNE,8 VGIF",
  "HF2_",
);
// bits 4 to 11 and 16 to 31 are ones of old (DR6_FIXED_1)
const dr6 = flags("0 B0,1 B1,2 B2,3 B3,4-11 -,13 BD,14 BS,15 BT,16-31 -");
const dr7 = flags("0 L0,1 G0,2 L1,3 G1,4 L2,5 G2,6 L3,7 G3,8 LE,9 GE,10 -,11 RTM,13 GD,16-31 -");
const BREAK_ON = ["execute", "write", "I/O", "read or write"];
const BREAK_BYTES = [1, 2, 8, 4];

/** "RAX", "R8"; of qemu-system-i386, whose registers have four bytes, "EAX". */
const general: FieldSymbol = (value, place) => {
  const { index, bytes } = place;
  if (index > 15) return undefined;
  return register(index > 7 ? `R${index}` : (bytes === 4 ? "E" : "R") + GENERAL[index])(value, place);
};

/** Where the page tables begin; only with paging. */
function cr3(value: bigint, place: FieldPlace): string {
  const paging = (number(place, "env.cr[0]") ?? 0n) >> 31n & 1n;
  if (!paging) return "";
  const cr4 = number(place, "env.cr[4]") ?? 0n;
  const long = (number(place, "env.hflags") ?? 0n) >> 14n & 1n;
  const tables = `page tables at ${hexText(value & (long || !(cr4 & 0x20n) ? 0xf_ffff_ffff_f000n : 0xffff_ffe0n))}`;
  if (cr4 >> 17n & 1n) return `${tables}, PCID ${bitField(value, 0, 11)}`;
  const lam = flags("61 LAM_U57,62 LAM_U48")(value >> 61n << 61n);
  return [tables, value & 8n && long ? "PWT" : "", value & 16n && long ? "PCD" : "", lam].filter(Boolean).join(" ");
}

/** Flags, and each breakpoint that is on: "L0 GE, DR0: write 4 bytes". */
function breakpoints(value: bigint): string {
  const said = [dr7(value)];
  for (let i = 0; i < 4; i++) {
    if (bitField(value, i * 2, i * 2 + 1) === 0) continue;
    const on = BREAK_ON[bitField(value, 16 + i * 4, 17 + i * 4)];
    const bytes = BREAK_BYTES[bitField(value, 18 + i * 4, 19 + i * 4)];
    said.push(on === "execute" ? `DR${i}: execute` : `DR${i}: ${on}, ${bytes} byte${bytes === 1 ? "" : "s"}`);
  }
  return said.filter(Boolean).join("; ");
}

/** By the width of the register: "RIP" or "EIP". */
function pointer(name: string, words?: (value: bigint) => string): FieldSymbol {
  return (value, place) => register((place.bytes === 4 ? "E" : "R") + name, words)(value, place);
}

/** What the fields say. */
export const REGISTER_FIELDS: FieldTable = [
  ["env.regs[]", general],
  ["env.eip", pointer("IP")],
  ["env.eflags", pointer("FLAGS", flagsRegister)],
  ["env.hflags", hexField(hflags)],
  ["env.hflags2", hexField(hflags2)],
  ["env.cr[0]", register("CR0", cr0)],
  ["env.cr[2]", register("CR2")],
  ["env.cr[3]", register("CR3", cr3)],
  ["env.cr[4]", register("CR4", cr4)],
  ...[0, 1, 2, 3, 4, 5].map((i): FieldTable[number] => [`env.dr[${i}]`, register(`DR${i}`)]),
  ["env.dr[6]", register("DR6", dr6)],
  ["env.dr[7]", register("DR7", breakpoints)],
  ["env.a20_mask", hexField((value) => value >> 20n & 1n ? "A20 on" : "A20 off")],
  ["env.smbase", register("SMBASE")],
  [
    "env.pdptrs[]",
    register("PDPTE[]", (value) => value & 1n ? `at ${hexText(value & 0xf_ffff_ffff_f000n)}` : "not present"),
  ],
];
