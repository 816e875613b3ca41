/**
 * Registers of SPARC processors, 32 and 64 bits: globals, all register windows, PSR or PSTATE.
 *
 * The ins of a window are the outs of the next one. QEMU counts the windows of a 64-bit processor the other way round than
 * %cwp does: env.cwp is nwindows - 1 - %cwp.
 * Source: QEMU target/sparc/machine.c, target/sparc/cpu.h (PSR_*, PS_*, FSR_*), target/sparc/win_helper.c (cpu_get_psr,
 * cpu_get_cwp64); SPARC architecture manual versions 8 and 9.
 * @module
 */
import { cpuRegisters, layout, letters, numbered, type Says } from "./cpu_registers.ts";
import { bitField, type DeviceView, integer, type SymbolRule } from "./rule.ts";

/** Registers of a window on the wire: outs, locals. */
const WINDOW = 16;

const PSR_FLAGS = layout("5 ET, 6 PS, 7 S, 11:8 PIL, 12 EF, 13 EC");
const PSTATE = layout("0 AG, 1 IE, 2 PRIV, 3 AM, 4 PEF, 5 RED, 7:6 MM=/PSO/RMO, 8 TLE, 9 CLE, 10 MG, 11 IG, 12 TCT");
const FSR = layout(
  "0 nxc, 1 dzc, 2 ufc, 3 ofc, 4 nvc, 5 nxa, 6 dza, 7 ufa, 8 ofa, 9 nva, 11:10 fcc0=/L/G/U, 13 qne, 16:14 ftt, 19:17 ver, 22 NS, " +
    "23 NXM, 24 DZM, 25 UFM, 26 OFM, 27 NVM, 31:30 RD=/zero/+inf/-inf, 33:32 fcc1, 35:34 fcc2, 37:36 fcc3",
);
/** SPARC reference MMU. */
const MMU_NAMES = ["control", "context table pointer", "context", "fault status", "fault address"];

function wide(device: DeviceView): boolean {
  return device.value("env.pstate") !== undefined;
}

/** "-Z-- S ET CWP=2"; a 64-bit processor has only the condition codes here. */
const psr: Says = (value, device) => {
  const codes = letters(value, 23, "NZVC");
  return wide(device)
    ? codes
    : [codes, PSR_FLAGS(value & 0x3fe0n), `CWP=${bitField(value, 0, 4)}`].filter((part) => part !== "").join(" ");
};

/** Number of the window that is current, in QEMU's count. */
function currentWindow(device: DeviceView): number | undefined {
  const psr = device.value("psr");
  if (wide(device)) return Number(integer(device.value("env.cwp")) ?? -1n);
  return psr instanceof Uint8Array && psr.length === 4 ? psr[3] & 0x1f : undefined;
}

function window(index: number): string {
  const at = index % WINDOW;
  return `w${Math.floor(index / WINDOW)} ${at < 8 ? `%o${at}` : `%l${at - 8}`}`;
}

/** "%o1" of the window that is current, "%i1" of what it sees of the next. */
const seen: Says = (_, device, index) => {
  const current = currentWindow(device), count = Number(integer(device.value("env.nwindows")) ?? 0n);
  const of = Math.floor(index / WINDOW), at = index % WINDOW;
  if (of === current) return at < 8 ? `now %o${at}` : `now %l${at - 8}`;
  return current !== undefined && count > 0 && of === (current + 1) % count && at < 8 ? `now %i${at}` : undefined;
};

/** Registers of processors that have an npc. */
export const SPARC_CPU: readonly SymbolRule[] = [cpuRegisters("env.npc", {
  "env.gregs[]": [numbered("%g", 8)],
  "env.regbase[]": [window, seen],
  "env.fpr[]": [(index) => `%d${index * 2}`],
  "env.pc": ["%pc"],
  "env.npc": ["%npc"],
  "env.y": ["%y"],
  "psr": [(_, device) => wide(device) ? "icc" : "%psr", psr],
  "xcc": ["xcc", (value) => letters(value, 23, "NZVC")],
  "fsr": ["%fsr", FSR],
  "env.tbr": [(_, device) => wide(device) ? "%tba" : "%tbr"],
  "env.wim": ["%wim"],
  "env.mmuregs[]": [
    (index) => MMU_NAMES[index] && `MMU ${MMU_NAMES[index]}`,
    (value, _, index) => index === 0 ? layout("0 E, 1 NF, 23:8 SC, 27:24 ver, 31:28 impl")(value) : undefined,
  ],
  "env.asi": ["%asi"],
  "env.pstate": ["%pstate", PSTATE],
  "env.tl": ["%tl"],
  "env.cansave": ["%cansave"],
  "env.canrestore": ["%canrestore"],
  "env.otherwin": ["%otherwin"],
  "env.wstate": ["%wstate"],
  "env.cleanwin": ["%cleanwin"],
  "env.agregs[]": [numbered("alternate %g", 8)],
  "env.bgregs[]": [numbered("base %g", 8)],
  "env.igregs[]": [numbered("interrupt %g", 8)],
  "env.mgregs[]": [numbered("MMU %g", 8)],
  "env.fprs": ["%fprs", layout("0 DL, 1 DU, 2 FEF")],
  "env.tick_cmpr": ["%tick_cmpr"],
  "env.stick_cmpr": ["%stick_cmpr"],
  "env.gsr": ["%gsr"],
  "env.gl": ["%gl"],
  "env.hpstate": ["%hpstate", layout("0 TLZ, 2 HPRIV, 5 RED, 11 IBE")],
  "env.htba": ["%htba"],
  "env.hver": ["%hver"],
  "env.psrpil": ["%pil"],
  "env.cwp": [() => undefined, (value, device) => {
    const count = integer(device.value("env.nwindows"));
    return count === undefined || value >= count ? undefined : `%cwp is ${count - 1n - value}`;
  }],
})];
