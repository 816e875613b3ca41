/**
 * Registers of RISC-V processors: general ones by their ABI names, control and status registers.
 * Source: QEMU target/riscv/machine.c, target/riscv/cpu_bits.h; RISC-V privileged architecture 20241101.
 * @module
 */
import { cpuRegisters, layout, numbered, type Register, type Says } from "./cpu_registers.ts";
import { bitField, type DeviceView, hexText, integer, type SymbolRule } from "./rule.ts";

const ABI = "zero ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 t3 t4 t5 t6".split(
  " ",
);
const FLOAT =
  ("ft0 ft1 ft2 ft3 ft4 ft5 ft6 ft7 fs0 fs1 fa0 fa1 fa2 fa3 fa4 fa5 fa6 fa7 fs2 fs3 fs4 fs5 fs6 fs7 fs8 fs9 fs10 " +
    "fs11 ft8 ft9 ft10 ft11").split(" ");
const PRIVILEGES = ["U", "S", "reserved", "M"];

const STATUS =
  "0 UIE, 1 SIE, 3 MIE, 4 UPIE, 5 SPIE, 6 UBE, 7 MPIE, 8 SPP, 10:9 VS=/initial/clean/dirty, 12:11 MPP=U/S/reserved/M, " +
  "14:13 FS=/initial/clean/dirty, 16:15 XS=/initial/clean/dirty, 17 MPRV, 18 SUM, 19 MXR, 20 TVM, 21 TW, 22 TSR, 23 SPELP, " +
  "24 SDT, ";
const STATUS64 = layout(
  STATUS + "33:32 UXL=/32/64/128, 35:34 SXL=/32/64/128, 36 SBE, 37 MBE, 38 GVA, 39 MPV, 41 MPELP, 42 MDT, 63 SD",
);
/** mstatush is bits 63 to 32 of QEMU's field. */
const STATUS32 = layout(STATUS + "31 SD, 36 SBE, 37 MBE, 38 GVA, 39 MPV, 41 MPELP, 42 MDT");
/** "MTI", in mip "MTIP", in mie "MTIE". */
function interrupts(suffix = ""): Says {
  return layout(
    [
      "0 USI",
      "1 SSI",
      "2 VSSI",
      "3 MSI",
      "4 UTI",
      "5 STI",
      "6 VSTI",
      "7 MTI",
      "8 UEI",
      "9 SEI",
      "10 VSEI",
      "11 MEI",
      "12 SGEI",
      "13 LCOFI",
    ]
      .map((name) => name + suffix).join(),
  );
}
const INTERRUPT_NAMES = [
  "user software interrupt",
  "supervisor software interrupt",
  "virtual supervisor software interrupt",
  "machine software interrupt",
  "user timer interrupt",
  "supervisor timer interrupt",
  "virtual supervisor timer interrupt",
  "machine timer interrupt",
  "user external interrupt",
  "supervisor external interrupt",
  "virtual supervisor external interrupt",
  "machine external interrupt",
  "supervisor guest external interrupt",
  "counter overflow interrupt",
];
const EXCEPTIONS: Readonly<Record<number, string>> = {
  0: "instruction address misaligned",
  1: "instruction access fault",
  2: "illegal instruction",
  3: "breakpoint",
  4: "load address misaligned",
  5: "load access fault",
  6: "store address misaligned",
  7: "store access fault",
  8: "ecall from U",
  9: "ecall from S",
  10: "ecall from VS",
  11: "ecall from M",
  12: "instruction page fault",
  13: "load page fault",
  15: "store page fault",
  16: "double trap",
  18: "software check",
  19: "hardware error",
  20: "instruction guest page fault",
  21: "load guest page fault",
  22: "virtual instruction",
  23: "store guest page fault",
};
const SATP_MODES: Readonly<Record<number, string>> = { 8: "Sv39", 9: "Sv48", 10: "Sv57", 11: "Sv64" };
const MODES = ["direct", "vectored"];
const MATCHES = ["off", "TOR", "NA4", "NAPOT"];

/** misa_mxl of the device: whether its registers are 64 bits wide. */
function wide(device: DeviceView): boolean {
  return integer(device.value("env.misa_mxl")) !== 1n;
}

const status: Says = (value, device) => (wide(device) ? STATUS64 : STATUS32)(value);

/** scause and others: "supervisor timer interrupt"; 0 is also what nothing has written. */
function cause(value: bigint, device: DeviceView): string | undefined {
  if (value === 0n) return undefined;
  const top = wide(device) ? 63n : 31n;
  const number = Number(value & (1n << top) - 1n & 0xffffn);
  return value >> top & 1n ? INTERRUPT_NAMES[number] ?? `interrupt ${number}` : EXCEPTIONS[number];
}

/** medeleg, hedeleg. */
function exceptions(value: bigint): string {
  const said: string[] = [];
  for (let bit = 0; bit < 64; bit++) if (value >> BigInt(bit) & 1n) said.push(EXCEPTIONS[bit] ?? `bit ${bit}`);
  return said.join(", ");
}

/** satp and others: "Sv39 ASID=0x1 table at 0x80200000". */
function translation(value: bigint, device: DeviceView): string | undefined {
  if (!wide(device)) return value >> 31n & 1n ? `Sv32 table at ${hexText((value & 0x3fffffn) << 12n)}` : undefined;
  const mode = bitField(value, 60, 63), asid = bitField(value, 44, 59);
  if (mode === 0) return undefined;
  const name = SATP_MODES[mode] ?? `mode ${mode}`;
  return `${name} ${asid ? `ASID=${hexText(asid)} ` : ""}table at ${hexText((value & 0xfffffffffffn) << 12n)}`;
}

function vector(value: bigint): string | undefined {
  if (value === 0n) return undefined;
  const mode = Number(value & 3n);
  return `${MODES[mode] ?? `mode ${mode}`} ${hexText(value & ~3n)}`;
}

/** misa's extensions: "IMAFDC". */
function extensions(value: bigint): string {
  let said = "";
  for (let bit = 0; bit < 26; bit++) if (value >> BigInt(bit) & 1n) said += String.fromCharCode(65 + bit);
  return said;
}

/** pmpcfg: "NAPOT RWX L". */
function protection(value: bigint): string | undefined {
  const match = bitField(value, 3, 4);
  if (value === 0n) return undefined;
  return `${MATCHES[match]} ${value & 1n ? "R" : "-"}${value & 2n ? "W" : "-"}${value & 4n ? "X" : "-"}${
    value & 0x80n ? " L" : ""
  }`;
}

/** A register of the name its field has: "env.mepc" is mepc. */
function plain(names: string, prefix = "env.", says?: Says): Record<string, Register> {
  return Object.fromEntries(names.split(" ").map((name) => [prefix + name, says ? [name, says] : [name]]));
}

const HYPER = "cpu/hyper.env.";

/** Registers of processors that have a misa. */
export const RISCV_CPU: readonly SymbolRule[] = [cpuRegisters("env.misa_mxl", {
  "env.gpr[]": [ABI],
  "env.fpr[]": [FLOAT],
  "env.frm": ["frm", layout("2:0 RM=/RTZ/RDN/RUP/RMM/5/6/DYN")],
  "env.misa_mxl": [() => undefined, layout("1:0 XLEN=/32/64/128")],
  "env.misa_ext": ["misa", extensions],
  "env.misa_ext_mask": [() => undefined, extensions],
  "env.priv": [() => undefined, (value) => PRIVILEGES[Number(value & 7n)]],
  "env.mstatus": ["mstatus", status],
  "env.badaddr": [() => undefined],
  "env.load_res": [
    () => undefined,
    (_, device) => isMinusOne(device.value("env.load_res")) ? "no reservation" : undefined,
  ],
  "env.load_val": [() => undefined],
  ...plain(
    "pc mhartid resetvec stval mtval sepc mepc sscratch mscratch stimecmp miselect siselect scounteren mcounteren",
  ),
  ...plain("scountinhibit mcountinhibit"),
  ...plain("mideleg", "env.", interrupts()),
  ...plain("mip mvip", "env.", interrupts("P")),
  ...plain("mie mvien sie", "env.", interrupts("E")),
  ...plain("medeleg", "env.", exceptions),
  ...plain("mcause scause", "env.", cause),
  ...plain("mtvec stvec", "env.", vector),
  ...plain("satp", "env.", translation),
  "env.miclaim": [() => undefined, interrupts("P")],
  "env.mhpmevent_val[]": [(index) => index >= 3 ? `mhpmevent${index}` : undefined],
  "env.mhpmeventh_val[]": [(index) => index >= 3 ? `mhpmevent${index}h` : undefined],
  ...pmp(),
  ...plain("hedeleg", HYPER, exceptions),
  ...plain("hideleg", HYPER, interrupts()),
  ...plain("hvip", HYPER, interrupts("P")),
  ...plain("hvien vsie", HYPER, interrupts("E")),
  ...plain(
    "hstatus",
    HYPER,
    layout(
      "5 VSBE, 6 GVA, 7 SPV, 8 SPVP, 9 HU, 17:12 VGEIN, 20 VTVM, 21 VTW, 22 VTSR, 24 HUKTE, 33:32 VSXL=/32/64/128, 49:48 HUPMM",
    ),
  ),
  ...plain("hgatp vsatp satp_hs", HYPER, translation),
  ...plain("vscause scause_hs", HYPER, cause),
  ...plain("vsstatus mstatus_hs", HYPER, status),
  ...plain("vstvec stvec_hs", HYPER, vector),
  ...plain(
    "htval htinst hgeie hgeip htimedelta vstimecmp hvictl vsscratch vsepc vstval vsiselect mtval2 mtinst",
    HYPER,
  ),
  ...plain("hcounteren sscratch_hs sepc_hs stval_hs", HYPER),
  ...plain("vxrm vxsat vl vstart vtype", "cpu/vector.env."),
  ...plain(
    "menvcfg henvcfg senvcfg",
    "cpu/envcfg.env.",
    layout("0 FIOM, 2 LPE, 3 SSE, 5:4 CBIE, 6 CBCFE, 7 CBZE, 33:32 PMM, 59 DTE, 60 CDE, 61 ADUE, 62 PBMTE, 63 STCE"),
  ),
  "cpu/debug.env.trigger_cur": ["tselect"],
  "cpu/debug.env.tdata1[]": [numbered("tdata1 ", 16)],
  "cpu/debug.env.tdata2[]": [numbered("tdata2 ", 16)],
  "cpu/debug.env.tdata3[]": [numbered("tdata3 ", 16)],
  ...plain("jvt", "cpu/jvt.env."),
  ...plain("ssp", "cpu/ssp.env."),
})];

function isMinusOne(value: unknown): boolean {
  return value === 0xffffffffffffffffn || value === 0xffffffff;
}

/** MAX_RISCV_PMPS of them. */
function pmp(): Record<string, Register> {
  const table: Record<string, Register> = {};
  for (let i = 0; i < 64; i++) {
    table[`cpu/pmp.env.pmp_state.pmp[${i}].addr_reg`] = [
      `pmpaddr${i}`,
      (value) => value ? hexText(value << 2n) : undefined,
    ];
    table[`cpu/pmp.env.pmp_state.pmp[${i}].cfg_reg`] = [`pmp${i}cfg`, protection];
  }
  return table;
}
