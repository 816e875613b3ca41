/**
 * The state of an Arm processor in one word: PSTATE (AArch64), CPSR (AArch32), XPSR (M profile).
 *
 *     0x400003c5   -Z-- DAIF EL1h
 *     0x400001d3   -Z-- AIF svc, Arm
 *     0x41000000   -Z-- Thumb
 *
 * The field "cpsr" is 4 bytes as put_cpsr writes them, big-endian; which of the three, the rest of the device tells.
 * Source: QEMU target/arm/machine.c (put_cpsr, get_cpsr), target/arm/cpu.h (PSTATE_*, CPSR_*); Arm ARM C5.2, G8.2.
 * @module
 */
import { layout, letters } from "./cpu_registers.ts";
import { bitField, type DeviceView } from "./rule.ts";

/** Only of Arm processors. */
export const ARM = "cpreg_vmstate_array_len";
/** PSTATE.nRW: AArch32. */
const NRW = 1n << 4n;

const MODES: Readonly<Record<number, string>> = {
  0x10: "usr",
  0x11: "fiq",
  0x12: "irq",
  0x13: "svc",
  0x16: "mon",
  0x17: "abt",
  0x1a: "hyp",
  0x1b: "und",
  0x1f: "sys",
};

const A64_MORE = layout("11:10 BTYPE, 12 SSBS, 13 ALLINT, 20 IL, 21 SS, 22 PAN, 23 UAO, 24 DIT, 25 TCO");
const A32_MORE = layout("9 E, 19:16 GE, 20 IL, 21 DIT, 22 PAN, 23 SSBS, 24 J, 27 Q");
const M_MORE = layout("19:16 GE, 27 Q");
const A64_BITS = 0x03f03c00n, A32_BITS = 0x09ff0200n, M_BITS = 0x080f0000n;

/** "a64", "a32" or "m" by the device's cpsr; undefined where there is none. */
export function armState(device: DeviceView): "a64" | "a32" | "m" | undefined {
  const cpsr = device.value("cpsr");
  if (device.value(ARM) === undefined || !(cpsr instanceof Uint8Array) || cpsr.length !== 4) return undefined;
  if (device.value("cpu/m.env.v7m.exception") !== undefined) return "m";
  return cpsr[3] & 0x10 ? "a32" : "a64";
}

/** The field "cpsr". */
export function stateWord(value: bigint, device: DeviceView): string | undefined {
  return armState(device) === "m" ? xpsr(value) : programStatus(value);
}

/** PSTATE or CPSR, current or saved. */
export function programStatus(value: bigint): string {
  const { flags, masks, mode, more } = value & NRW ? cpsr(value) : pstate(value);
  return [flags, masks, mode, more].filter((part) => part !== "").join(" ");
}

interface Words {
  readonly flags: string;
  readonly masks: string;
  readonly mode: string;
  readonly more: string;
}

function pstate(value: bigint): Words {
  const level = bitField(value, 2, 3);
  return {
    flags: letters(value, 31, "NZCV"),
    masks: letters(value, 9, "DAIF"),
    mode: `EL${level}${value & 1n ? "h" : "t"}`,
    more: A64_MORE(value & A64_BITS),
  };
}

function cpsr(value: bigint): Words {
  const mode = bitField(value, 0, 4);
  // IT[1:0] in 26:25, IT[7:2] in 15:10
  const it = bitField(value, 25, 26) | bitField(value, 10, 15) << 2;
  const more = A32_MORE(value & A32_BITS);
  return {
    flags: letters(value, 31, "NZCV"),
    masks: letters(value, 8, "AIF"),
    mode: `${MODES[mode] ?? `mode 0x${mode.toString(16)}`}, ${value & 1n << 5n ? "Thumb" : "Arm"}`,
    more: [more, it === 0 ? "" : `IT=0x${it.toString(16)}`].filter((part) => part !== "").join(" "),
  };
}

/** The exception number is another field; the T bit is bit 24. */
function xpsr(value: bigint): string {
  const it = bitField(value, 25, 26) | bitField(value, 10, 15) << 2;
  return [
    letters(value, 31, "NZCV"),
    value & 1n << 24n ? "Thumb" : "",
    M_MORE(value & M_BITS),
    it === 0 ? "" : `IT=0x${it.toString(16)}`,
  ].filter((part) => part).join(" ");
}
