/**
 * What values of Arm's system registers say: flags, fields, addresses, times.
 *
 *     SCTLR_EL1     0x0000000000c50839   SA SA0 ...
 *     TTBR0_EL1     0x0001000041000000   ASID=0x1 table at 0x41000000
 *     CNTV_CVAL_EL0 0x000000000ee6b280   4 s of the counter
 *
 * Source: Arm ARM (DDI 0487) D24 and G8; QEMU target/arm/cpu.h (SCTLR_*, HCR_*, SCR_*), target/arm/syndrome.h.
 * @module
 */
import { midr, syndrome } from "./arm_words.ts";
import { layout, type Says } from "./cpu_registers.ts";
import { programStatus } from "./arm_pstate.ts";
import { bitField, hexText } from "./rule.ts";
import { durationText } from "./time.ts";

/** What a value's words depend on. */
export interface ArmContext {
  /** The processor is in AArch64: registers of that name have its layout, and not that of their AArch32 half. */
  readonly aarch64: boolean;
  /** Its AArch32 is ARMv7's or later. */
  readonly v7: boolean;
  /** Of the counter, in Hz. */
  readonly frequency?: bigint;
}

type ArmSays = (value: bigint) => string | undefined;

const SCTLR64 = layout(
  "0 M, 1 A, 2 C, 3 SA, 4 SA0, 5 CP15BEN, 6 nAA, 7 ITD, 8 SED, 9 UMA, 10 EnRCTX, 11 EOS, 12 I, 13 EnDB, 14 DZE, 15 UCT, " +
    "16 nTWI, 18 nTWE, 19 WXN, 20 TSCXT, 21 IESB, 22 EIS, 23 SPAN, 24 E0E, 25 EE, 26 UCI, 27 EnDA, 28 nTLSMD, 29 LSMAOE, " +
    "30 EnIB, 31 EnIA, 32 CMOW, 33 MSCEn, 35 BT0, 36 BT1, 37 ITFSB, 39:38 TCF0, 41:40 TCF, 42 ATA0, 43 ATA, 44 DSSBS, " +
    "45 TWEDEn, 49:46 TWEDEL, 50 TMT0, 51 TMT, 52 TME0, 53 TME, 54 EnASR, 55 EnAS0, 56 EnALS, 57 EPAN, 60 EnTP2, 61 NMI, " +
    "62 SPINTMASK, 63 TIDCP",
);
/** As ARMv7 and ARMv8 have it, without the bits one of them has reserved as one. */
const SCTLR32_V7 = layout(
  "0 M, 1 A, 2 C, 5 CP15BEN, 7 ITD, 8 SED, 10 SW, 11 Z, 12 I, 13 V, 14 RR, 17 HA, 19 WXN, 20 UWXN, 21 FI, 24 VE, 25 EE, 27 NMFI, " +
    "28 TRE, 29 AFE, 30 TE, 31 DSSBS",
);
const SCTLR32_RESERVED = 0xc5_0058n;
/** What it was before, too. */
const SCTLR32 = layout("0 M, 1 A, 2 C, 12 I, 13 V");
const SCTLR32_SAME = 0x3007n;
const HCR = layout(
  "0 VM, 1 SWIO, 2 PTW, 3 FMO, 4 IMO, 5 AMO, 6 VF, 7 VI, 8 VSE, 9 FB, 11:10 BSU, 12 DC, 13 TWI, 14 TWE, 15 TID0, 16 TID1, " +
    "17 TID2, 18 TID3, 19 TSC, 20 TIDCP, 21 TACR, 22 TSW, 23 TPCP, 24 TPU, 25 TTLB, 26 TVM, 27 TGE, 28 TDZ, 29 HCD, 30 TRVM, " +
    "31 RW, 32 CD, 33 ID, 34 E2H, 35 TLOR, 36 TERR, 37 TEA, 38 MIOCNCE, 39 TME, 40 APK, 41 API, 42 NV, 43 NV1, 44 AT, 45 NV2, " +
    "46 FWB, 47 FIEN, 48 GPF, 49 TID4, 50 TICAB, 51 AMVOFFEN, 52 TOCU, 53 EnSCXT, 54 TTLBIS, 55 TTLBOS, 56 ATA, 57 DCT, " +
    "58 TID5, 59 TWEDEn, 63:60 TWEDEL",
);
const SCR = layout(
  "0 NS, 1 IRQ, 2 FIQ, 3 EA, 4 FW, 5 AW, 6 nET, 7 SMD, 8 HCE, 9 SIF, 10 RW, 11 ST, 12 TWI, 13 TWE, 14 TLOR, 15 TERR, 16 APK, " +
    "17 API, 18 EEL2, 19 EASE, 20 NMEA, 21 FIEN, 25 EnSCXT, 26 ATA, 27 FGTEn, 28 ECVEn, 29 TWEDEn, 33:30 TWEDEL, 34 TME, " +
    "35 AMVOFFEN, 36 EnAS0, 37 ADEn, 38 HXEn, 40 TRNDR, 41 EnTP2, 48 GPF, 62 NSE",
);
const SHARE = "NSH/reserved/OSH/ISH";
const CACHE = "NC/WBWA/WT/WB";
const TCR_EL1 = layout(
  `5:0 T0SZ, 7 EPD0, 9:8 IRGN0=${CACHE}, 11:10 ORGN0=${CACHE}, 13:12 SH0=${SHARE}, 15:14 TG0=4K/64K/16K, 21:16 T1SZ, 22 A1, ` +
    `23 EPD1, 25:24 IRGN1=${CACHE}, 27:26 ORGN1=${CACHE}, 29:28 SH1=${SHARE}, 31:30 TG1=reserved/16K/4K/64K, ` +
    "34:32 IPS=32b/36b/40b/42b/44b/48b/52b/56b, 36 AS, 37 TBI0, 38 TBI1, 39 HA, 40 HD, 41 HPD0, 42 HPD1, 51 TBID0, 52 TBID1, " +
    "53 NFD0, 54 NFD1, 55 E0PD0, 56 E0PD1, 57 TCMA0, 58 TCMA1, 59 DS",
);
const TTBCR = layout("2:0 N, 4 PD0, 5 PD1, 31 EAE");
const CPACR = layout(
  "17:16 ZEN=/trap EL0/trap/open, 21:20 FPEN=trap/trap EL0/trap/open, 25:24 SMEN=/trap EL0/trap/open, 28 TTA",
);
const TIMER = layout("0 ENABLE, 1 IMASK, 2 ISTATUS");
const KCTL = layout("0 EL0PCTEN, 1 EL0VCTEN, 2 EVNTEN, 3 EVNTDIR, 7:4 EVNTI, 8 EL0VTEN, 9 EL0PTEN, 17 EVNTIS");
const PFR0 = layout(
  "3:0 EL0, 7:4 EL1, 11:8 EL2, 15:12 EL3, 19:16 FP, 23:20 AdvSIMD, 27:24 GIC, 31:28 RAS, 35:32 SVE, 39:36 SEL2, 43:40 MPAM, " +
    "47:44 AMU, 51:48 DIT, 55:52 RME, 59:56 CSV2, 63:60 CSV3",
);
const PFR1 = layout(
  "3:0 BT, 7:4 SSBS, 11:8 MTE, 15:12 RAS_frac, 19:16 MPAM_frac, 27:24 SME, 31:28 RNDR_trap, 35:32 CSV2_frac, 39:36 NMI, " +
    "43:40 MTE_frac, 47:44 GCS, 51:48 THE, 55:52 MTEX, 59:56 DF2, 63:60 PFAR",
);
const ISAR0 = layout(
  "7:4 AES, 11:8 SHA1, 15:12 SHA2, 19:16 CRC32, 23:20 Atomic, 27:24 TME, 31:28 RDM, 35:32 SHA3, 39:36 SM3, 43:40 SM4, 47:44 DP, " +
    "51:48 FHM, 55:52 TS, 59:56 TLB, 63:60 RNDR",
);
const MMFR0 = layout(
  "3:0 PARange, 7:4 ASIDBits, 11:8 BigEnd, 15:12 SNSMem, 19:16 BigEndEL0, 23:20 TGran16, 27:24 TGran64, 31:28 TGran4, " +
    "35:32 TGran16_2, 39:36 TGran64_2, 43:40 TGran4_2, 47:44 ExS, 59:56 FGT, 63:60 ECV",
);
const PMCR = layout("0 E, 1 P, 2 C, 3 D, 4 X, 5 DP, 6 LC, 7 LP, 9 FZO, 15:11 N, 23:16 IDCODE, 31:24 IMP, 32 FZS");
const MDSCR = layout(
  "0 SS, 6 ERR, 12 TDCC, 13 KDE, 14 HDE, 15 MDE, 23:22 INTdis, 26 TXU, 27 RXO, 29 TXfull, 30 RXfull, 31 TFO",
);

function mpidr(value: bigint): string {
  const levels = [bitField(value, 32, 39), bitField(value, 16, 23), bitField(value, 8, 15), bitField(value, 0, 7)];
  return `affinity ${levels.join(".")}${value >> 30n & 1n ? " uniprocessor" : ""}${value >> 24n & 1n ? " MT" : ""}`;
}

function table(value: bigint): string | undefined {
  if (value === 0n) return undefined;
  const asid = bitField(value, 48, 63);
  return `${asid === 0 ? "" : `ASID=${hexText(asid)} `}table at ${hexText(value & 0xfffffffffffen)}`;
}

const DEVICE_MEMORY = ["nGnRnE", "nGnRE", "nGRE", "GRE"];

/** MAIR_ELx: an attribute for each byte, the lowest first: "0 nGnRnE, 1 NC, 2 WB". Bytes that are 0 at the end are left out. */
function memoryAttributes(value: bigint): string {
  const said: string[] = [];
  for (let i = 0, rest = value; rest !== 0n; i++, rest >>= 8n) said.push(`${i} ${attribute(Number(rest & 0xffn))}`);
  return said.join(", ");
}

function attribute(byte: number): string {
  const outer = byte >> 4, inner = byte & 15;
  if (outer === 0) return (inner & 3) === 0 ? `Device-${DEVICE_MEMORY[inner >> 2]}` : hexText(byte, 2);
  if (outer === 15 && inner === 0) return "tagged";
  if (inner === 0) return hexText(byte, 2);
  return outer === inner ? cacheable(outer) : `outer ${cacheable(outer)} inner ${cacheable(inner)}`;
}

function cacheable(bits: number): string {
  if (bits === 4) return "NC";
  const allocate = `${bits & 2 ? "R" : ""}${bits & 1 ? "W" : ""}`;
  const kind = (bits & 4 ? "WB" : "WT") + (bits & 8 ? "" : " transient");
  return allocate === "" ? kind : `${kind} ${allocate}`;
}

/** "62.5 MHz". */
function hertz(value: bigint): string | undefined {
  const number = Number(value);
  if (number === 0) return undefined;
  return number >= 1e9 ? `${number / 1e9} GHz` : number >= 1e6 ? `${number / 1e6} MHz` : `${number} Hz`;
}

/** Registers of one layout in both execution states. */
const ALWAYS: readonly (readonly [RegExp, ArmSays])[] = [
  [/^V?MIDR(_EL[12])?$|^VPIDR(_EL2)?$/, midr],
  [/^V?MPIDR(_EL[12])?$/, mpidr],
  [/^SPSR_/, (value) => value === 0n ? undefined : programStatus(value)],
  [/^CNT\w+_CTL(_EL[012]|_S)?$/, TIMER],
  [/^CNTKCTL(_EL1)?$/, KCTL],
  [/^CNTFRQ(_EL0)?$/, hertz],
  [/^PMCR(_EL0)?$/, PMCR],
  [/^(MDSCR_EL1|DBGDSCRext)$/, MDSCR],
  [/^(OSLSR_EL1|DBGOSLSR)$/, layout("0 OSLM0, 1 OSLK, 2 nTT, 3 OSLM1")],
  [/^DBG[BW]CR\d+(_EL1)?$/, (value) => value & 1n ? "enabled" : undefined],
  [/^HSR$/, syndrome],
  [/^HCR$/, HCR],
  [/^SCR$/, SCR],
];
const AARCH64: readonly (readonly [RegExp, ArmSays])[] = [
  [/^SCTLR_EL[123]$/, SCTLR64],
  [/^HCR_EL2$/, HCR],
  [/^SCR_EL3$/, SCR],
  [/^TCR_EL1$/, TCR_EL1],
  [/^TTBR[01]_EL[123]$|^VTTBR_EL2$/, table],
  [/^CPACR_EL1$/, CPACR],
  [/^ESR_EL[123]$/, syndrome],
  [/^MAIR_EL[123]$/, memoryAttributes],
  [/^ID_AA64PFR0_EL1$/, PFR0],
  [/^ID_AA64PFR1_EL1$/, PFR1],
  [/^ID_AA64ISAR0_EL1$/, ISAR0],
  [/^ID_AA64MMFR0_EL1$/, MMFR0],
];

/** CVAL and offsets, in ticks of the counter. */
const TICKS = /^CNT\w*(CVAL|VOFF|POFF|VCT)(_EL\d|_S)?$/;
/** Longest time worth saying, in seconds: what is later never comes. */
const LONG = 1n << 40n;

/** What the value of the register of this name says. */
export function armValueText(name: string, value: bigint, { aarch64, v7, frequency }: ArmContext): string | undefined {
  if (TICKS.test(name)) return ticks(value, frequency);
  if (/^H?SCTLR(_S)?$/.test(name)) return v7 ? SCTLR32_V7(value & ~SCTLR32_RESERVED) : SCTLR32(value & SCTLR32_SAME);
  if (/^TTBCR(_S)?$/.test(name)) return v7 ? TTBCR(value & 0x80000037n) : undefined;
  const says = [...ALWAYS, ...(aarch64 ? AARCH64 : [])];
  return says.find(([pattern]) => pattern.test(name))?.[1](value);
}

/** "4.25 s of the counter". */
function ticks(value: bigint, frequency: bigint | undefined): string | undefined {
  if (!frequency || value === 0n || value / frequency > LONG) return undefined;
  return `${durationText(value * 1_000_000_000n / frequency)} of the counter`;
}

/** FPCR, FPSR and, in AArch32, both in one: FPSCR. */
export const FPCR: Says = layout(
  "0 FIZ, 1 AH, 2 NEP, 8 IOE, 9 DZE, 10 OFE, 11 UFE, 12 IXE, 13 EBF, 15 IDE, 18:16 Len, 19 FZ16, 21:20 Stride, " +
    "23:22 RMode=/RP/RM/RZ, 24 FZ, 25 DN, 26 AHP",
);
/** See FPCR. */
export const FPSR: Says = layout(
  "0 IOC, 1 DZC, 2 OFC, 3 UFC, 4 IXC, 7 IDC, 27 QC, 28 V, 29 C, 30 Z, 31 N",
);
/** See FPCR. */
export const FPSCR: Says = layout(
  "0 IOC, 1 DZC, 2 OFC, 3 UFC, 4 IXC, 7 IDC, 8 IOE, 9 DZE, 10 OFE, 11 UFE, 12 IXE, 15 IDE, 18:16 Len, 19 FZ16, 21:20 Stride, " +
    "23:22 RMode=/RP/RM/RZ, 24 FZ, 25 DN, 26 AHP, 27 QC, 28 V, 29 C, 30 Z, 31 N",
);
