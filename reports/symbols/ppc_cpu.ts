/**
 * Registers of PowerPC processors.
 *
 * Which family it is, the kind of TLB says: an SLB is of a server processor, "cpu/tlbmas" and "cpu/tlbemb" are of Book E
 * and 4xx, segment registers of the 6xx and 7xx.
 * Source: QEMU target/ppc/machine.c, target/ppc/cpu.h (MSR_*, FPSCR), target/ppc/mmu-hash64.h (SLB_*); Power ISA 3.1B.
 * @module
 */
import { cpuRegisters, layout, numbered } from "./cpu_registers.ts";
import { type PpcFamily, sprName } from "./ppc_sprs.ts";
import { bitField, type DeviceView, hexText, integer, type SymbolRule } from "./rule.ts";

const MSR_COMMON = "0 LE, 1 RI, 8 FE1, 11 FE0, 12 ME, 13 FP, 14 PR, 15 EE, ";
const MSR: Readonly<Record<PpcFamily, (value: bigint) => string>> = {
  server: layout(
    MSR_COMMON +
      "2 PMM, 4 DR, 5 IR, 9 BE, 10 SE, 16 ILE, 22 S, 23 VSX, 25 VR, 32 TM, 34:33 TS=/suspended/transactional, 60 HV, " +
      "61 ISF, 62 TAG, 63 SF",
  ),
  classic: layout(MSR_COMMON + "2 PMM, 4 DR, 5 IR, 6 EP, 7 AL, 9 BE, 10 SE, 16 ILE, 17 TGPR, 18 POW, 19 KEY, 25 VR"),
  "book-e": layout(
    MSR_COMMON + "2 PMM, 4 DS, 5 IS, 9 DE, 10 UBLE, 17 CE, 18 WE, 25 SPE, 26 UCLE, 28 GS, 30 ICM, 31 CM",
  ),
};
const CONDITION = ["SO", "EQ", "GT", "LT"];
const XER = layout("6:0 count, 18 CA32, 19 OV32, 29 CA, 30 OV, 31 SO");
const FPSCR = layout(
  "1:0 RN=/RZ/RP/RM, 2 NI, 3 XE, 4 ZE, 5 UE, 6 OE, 7 VE, 8 VXCVI, 9 VXSQRT, 10 VXSOFT, 12 FU, 13 FE, 14 FG, 15 FL, 16 C, 17 FI, " +
    "18 FR, 19 VXVC, 20 VXIMZ, 21 VXZDZ, 22 VXIDI, 23 VXISI, 24 VXSNAN, 25 XX, 26 ZX, 27 UX, 28 OX, 29 VX, 30 FEX, 31 FX, " +
    "34:32 DRN",
);
const XER_NUMBER = 1;
const LPCR = layout(
  "0 HDICE, 1 RMI, 2 LPES0, 3 LPES1, 4 UPRT, 5 EVIRT, 8 MER, 9 GTSE, 10 TC, 12 PECE2, 13 PECE1, 14 PECE0, 15 DEE, 16 PECE_L1, 17 PECE_L0, " +
    "18 HAIL, 19 LD, 20 HR, 24:23 AIL, 25 ILE, 38 ONL, 43:39 RMLS, 63:60 VC",
);

/** undefined where none of the subsections that tell it is there. */
function familyOf(device: DeviceView): PpcFamily | undefined {
  if (device.value("cpu/slb.env.slb[0]") !== undefined) return "server";
  if (device.value("cpu/tlbmas.env.nb_tlb") !== undefined || device.value("cpu/tlbemb.env.nb_tlb") !== undefined) {
    return "book-e";
  }
  return device.value("cpu/sr.env.sr[0]") !== undefined ? "classic" : undefined;
}

function condition(value: bigint): string {
  return CONDITION.filter((_, bit) => value >> BigInt(bit) & 1n).reverse().join(" ");
}

function machineState(value: bigint, device: DeviceView): string | undefined {
  const family = familyOf(device);
  return family && MSR[family](value);
}

function special(value: bigint, device: DeviceView, number: number): string | undefined {
  const family = familyOf(device);
  if (number === XER_NUMBER) return XER(value);
  return family === "server" && sprName(number, family) === "LPCR" && value ? LPCR(value) : undefined;
}

/** Registers of processors that have an nip. */
export const PPC_CPU: readonly SymbolRule[] = [
  cpuRegisters("env.nip", {
    "env.gpr[]": [numbered("GPR", 32)],
    "env.gprh[]": [(index, device) => integer(device.value(`env.gprh[${index}]`)) ? `GPR${index} high` : undefined],
    "env.crf[]": [numbered("CR", 8), condition],
    "env.nip": ["NIP"],
    "env.msr": ["MSR", machineState],
    "env.spr[]": [(index, device) => {
      const family = familyOf(device), value = device.value(`env.spr[${index}]`);
      return (family && sprName(index, family)) ?? (value === 0 || value === 0n ? undefined : `SPR${index}`);
    }, special],
    "cpu/fpu.env.vsr[]": [numbered("FPR", 32)],
    "cpu/fpu.env.fpscr": ["FPSCR", FPSCR],
    "cpu/altivec.vscr": ["VSCR", layout("0 SAT, 16 NJ")],
    "cpu/sr.env.sr[]": [(index) => index < 16 ? `SR${index}` : undefined],
    "cpu/compat.compat_pvr": [() => undefined],
    "cpu/vsx.env.vsr[]": [(index, device) => {
      const low = device.value(`cpu/vsx.env.vsr[${index}]`);
      return low instanceof Uint8Array && low.some((byte) => byte !== 0) ? `VSR${index}[1]` : undefined;
    }],
  }),
  {
    device: /^cpu$/,
    field: /^cpu\/slb\.env\.slb\[\d+\]$/,
    describe: (value) => value instanceof Uint8Array && value.length === 16 ? slbEntry(value) : undefined,
  },
];

/** ESID and VSID as slbmte takes them, 8 bytes each (put_slbe): an entry that is used. */
function slbEntry(bytes: Uint8Array) {
  const esid = BigInt("0x" + bytes.subarray(0, 8).toHex()), vsid = BigInt("0x" + bytes.subarray(8).toHex());
  if (!(esid >> 27n & 1n)) return undefined;
  const huge = bitField(vsid, 62, 63) === 1;
  const flags = layout("7 C, 8 L, 9 N, 10 Kp, 11 Ks")(vsid & 0xf80n);
  return {
    text: `ESID ${hexText(esid & ~0xfffffffn, 16)} VSID ${hexText(vsid & 0x3fffffffffffffffn & ~0xfffn, 16)}`,
    meaning: `${huge ? "1T" : "256M"} segment${flags && " " + flags}`,
  };
}
