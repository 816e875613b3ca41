/**
 * Registers of MIPS processors: general ones by their ABI names, coprocessor 0 with its flags, the TLB.
 * Source: QEMU target/mips/system/machine.c (vmstate_tc, put_tlb, vmstate_mips_cpu), target/mips/cpu.h (CP0St_*, CP0Ca_*);
 * MIPS32/MIPS64 privileged resource architecture (MD00090, MD00091).
 * @module
 */
import { cpuRegisters, layout, numbered, type Register } from "./cpu_registers.ts";
import { bitField, hexText, type SymbolRule } from "./rule.ts";

const ABI = "r0 at v0 v1 a0 a1 a2 a3 t0 t1 t2 t3 t4 t5 t6 t7 s0 s1 s2 s3 s4 s5 s6 s7 t8 t9 k0 k1 gp sp s8 ra".split(
  " ",
);
const STATUS = layout(
  "0 IE, 1 EXL, 2 ERL, 4:3 KSU=kernel/supervisor/user/reserved, 5 UX, 6 SX, 7 KX, 8 IM0, 9 IM1, 10 IM2, 11 IM3, 12 IM4, 13 IM5, " +
    "14 IM6, 15 IM7, 19 NMI, 20 SR, 21 TS, 22 BEV, 23 PX, 24 MX, 25 RE, 26 FR, 27 RP, 28 CU0, 29 CU1, 30 CU2, 31 CU3",
);
const CAUSE = layout(
  "8 IP0, 9 IP1, 10 IP2, 11 IP3, 12 IP4, 13 IP5, 14 IP6, 15 IP7, 22 WP, 23 IV, 26 PCI, 27 DC, 29:28 CE, 30 TI, 31 BD",
);
const EXCEPTIONS: Readonly<Record<number, string>> = {
  0: "Int",
  1: "Mod",
  2: "TLBL",
  3: "TLBS",
  4: "AdEL",
  5: "AdES",
  6: "IBE",
  7: "DBE",
  8: "Sys",
  9: "Bp",
  10: "RI",
  11: "CpU",
  12: "Ov",
  13: "Tr",
  14: "MSAFPE",
  15: "FPE",
  19: "TLBRI",
  20: "TLBXI",
  21: "MSADis",
  22: "MDMX",
  23: "WATCH",
  24: "MCheck",
  25: "Thread",
  26: "DSPDis",
  30: "CacheErr",
};
const CONFIG0 = layout(
  "2:0 K0, 3 VI, 9:7 MT=/BAT or TLB/BAT/FMT/dual TLB, 12:10 AR=R1/R2/R6, 14:13 AT=MIPS32/MIPS64 32-bit addresses/MIPS64, 15 BE, " +
    "16 BM, 18 MM, 20 MDU, 27:25 KU, 30:28 K23, 31 M",
);
const CONFIG1 = layout(
  "0 FP, 1 EP, 2 CA, 3 WR, 4 PC, 5 MD, 6 C2, 9:7 DA, 12:10 DL, 15:13 DS, 18:16 IA, 21:19 IL, 24:22 IS, 30:25 MMU size-1, 31 M",
);
const LO = layout("0 G, 1 V, 2 D, 5:3 C, 29:6 PFN, 30 XI, 31 RI");
const LO64 = layout("0 G, 1 V, 2 D, 5:3 C, 61:6 PFN, 62 XI, 63 RI");

function cause(value: bigint): string {
  const code = bitField(value, 2, 6);
  return [EXCEPTIONS[code] ?? `exception ${code}`, CAUSE(value & ~0x7cn)].filter((part) => part !== "").join(" ");
}

/** Of the names their fields have: "env.CP0_Wired" is Wired. */
const CP0 =
  ("Index Random VPControl VPEControl VPEConf0 VPEConf1 YQMask VPESchedule VPEScheFBack VPEOpt GlobalNumber Context " +
    "MemoryMapID PageMask PageGrain SegCtl0 SegCtl1 SegCtl2 PWBase PWField PWSize Wired PWCtl SRSConf0 SRSConf1 SRSConf2 SRSConf3 " +
    "SRSConf4 HWREna BadVAddr BadInstr BadInstrP BadInstrX Count EntryHi Compare IntCtl SRSCtl SRSMap EPC PRid EBase CMGCRBase " +
    "Config2 Config3 Config4 Config5 Config6 Config7 LLAddr MAARI XContext Framemask Debug DEPC Performance0 ErrCtl TagLo DataLo " +
    "TagHi DataHi ErrorEPC DESAVE").split(" ");

/** Registers of processors that have a CP0_Status. */
export const MIPS_CPU: readonly SymbolRule[] = [
  cpuRegisters("env.CP0_Status", {
    "env.active_tc.gpr[]": [ABI],
    "env.active_tc.PC": [() => undefined],
    "env.active_tc.HI[]": [["HI", "HI1", "HI2", "HI3"]],
    "env.active_tc.LO[]": [["LO", "LO1", "LO2", "LO3"]],
    "env.active_tc.ACX[]": [numbered("ACX", 4)],
    "env.active_tc.DSPControl": [() => undefined],
    "env.active_tc.CP0_UserLocal": ["UserLocal"],
    "env.active_fpu.fcr0": ["FIR"],
    "env.active_fpu.fcr31": [
      "FCSR",
      layout(
        "1:0 RM=/RZ/RP/RM, 2 FI, 3 FU, 4 FO, 5 FZ, 6 FV, 7 EI, 8 EU, 9 EO, 10 EZ, 11 EV, 12 CI, 13 CU, 14 CO, 15 CZ, 16 CV, 17 CE, " +
          "18 NAN2008, 19 ABS2008, 23 FCC0, 24 FS, 31:25 FCC",
      ),
    ],
    ...Object.fromEntries(CP0.map((name): [string, Register] => [`env.CP0_${name}`, [name]])),
    "env.CP0_Status": ["Status", STATUS],
    "env.CP0_Cause": ["Cause", cause],
    "env.CP0_Config0": ["Config", CONFIG0],
    "env.CP0_Config1": ["Config1", CONFIG1],
    "env.CP0_EntryLo0": ["EntryLo0", entryLo],
    "env.CP0_EntryLo1": ["EntryLo1", entryLo],
    "env.CP0_WatchLo[]": [numbered("WatchLo", 8)],
    "env.CP0_WatchHi[]": [numbered("WatchHi", 8)],
    "env.CP0_KScratch[]": [numbered("KScratch", 8)],
    "env.CP0_MAAR[]": [numbered("MAAR", 64)],
  }),
  {
    device: /^cpu$/,
    field: /^env\.tlb\.mmu\.r4k\.tlb\[\d+\]$/,
    describe: (value) => value instanceof Uint8Array ? tlbEntry(value) : undefined,
  },
  {
    device: /^cpu$/,
    field: /^env\.active_fpu\.fpr\[(\d+)\]$/,
    describe(value, [, number], device) {
      if (!(value instanceof Uint8Array) || value.length !== 16 || device.value("env.CP0_Status") === undefined) {
        return undefined;
      }
      // an MSA register is two doublewords, the low one first; that is also the floating point register
      const low = value.subarray(0, 8).toHex(), high = value.subarray(8).toHex();
      return {
        symbol: `f${number}`,
        text: `0x${low}`,
        ...(/^0*$/.test(high) ? {} : { meaning: `W${number} 0x${high}${low}` }),
      };
    },
  },
];

/** The field is 64 bits wide, XI and RI stand where a 32-bit processor has them or at the top. */
function entryLo(value: bigint): string {
  return (value >> 32n ? LO64 : LO)(value);
}

/**
 * An entry that maps something: "VPN 0x400000 ASID 1, 0x1234000 V D C=3, 0x1235000 V C=3".
 * VPN (4 or 8 bytes), PageMask u32, ASID u16, MMID u32, flags u16, PFN0 u64, PFN1 u64 (put_tlb): PFNs are addresses.
 */
function tlbEntry(bytes: Uint8Array) {
  const wide = bytes.length === 36 ? 8 : bytes.length === 32 ? 4 : 0;
  if (wide === 0 || bytes.every((byte) => byte === 0)) return undefined;
  const number = (at: number, length: number) => BigInt("0x" + bytes.subarray(at, at + length).toHex());
  const flags = Number(number(wide + 10, 2));
  const half = (pfn: bigint, valid: number, dirty: number, cache: number) => {
    if (!(flags & valid)) return "not valid";
    return `${hexText(pfn)} V${flags & dirty ? " D" : ""} C=${flags >> cache & 7}`;
  };
  const words = [
    `VPN ${hexText(number(0, wide))}`,
    flags & 0x400 ? "G" : `ASID ${number(wide + 4, 2)}`,
    `mask ${hexText(number(wide, 4))}`,
  ];
  return {
    text: words.join(" "),
    meaning: `${half(number(wide + 12, 8), 8, 2, 7)}, ${half(number(wide + 20, 8), 4, 1, 4)}`,
  };
}
