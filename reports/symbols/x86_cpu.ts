/**
 * Sections of x86 processors: "cpu" with its subsections, and "cpu_common".
 *
 * Processors of other architectures have sections of the same name: one that has env.eip and a segment is x86.
 * Source: QEMU target/i386/machine.c (vmstate_x86_cpu), hw/core/cpu-system.c (vmstate_cpu_common).
 * @module
 */
import type { DeviceView, Meaning, SymbolRule } from "./rule.ts";
import { EVENT_FIELDS } from "./x86_events.ts";
import { floatRegister, FPU_FIELDS, vectorRegister, vectorWord } from "./x86_fpu.ts";
import { MEMORY_TYPE_FIELDS, variableRange } from "./x86_memory_types.ts";
import { MSR_FIELDS } from "./x86_msrs.ts";
import { PARAVIRT_FIELDS } from "./x86_paravirt.ts";
import { REGISTER_FIELDS } from "./x86_registers.ts";
import { SEGMENT_FIELDS, segmentName } from "./x86_segments.ts";
import { FieldSymbols, type FieldTable, flags, hexField, plain } from "./x86_words.ts";

const CPU = new FieldSymbols(
  REGISTER_FIELDS,
  FPU_FIELDS,
  SEGMENT_FIELDS,
  MSR_FIELDS,
  MEMORY_TYPE_FIELDS,
  EVENT_FIELDS,
  PARAVIRT_FIELDS,
);

/** Which bit is whose differs between architectures: QEMU include/exec/cpu-interrupt.h has names for the first of them. */
const interrupts = flags(
  "1 HARD,2 EXITTB,3 TGT_EXT_0,4 TGT_EXT_1,5 HALT,6 TGT_EXT_2,7 DEBUG,8 TGT_INT_0,9 TGT_EXT_3,10 RESET,11 TGT_INT_1," +
    "12 TGT_EXT_4,13 TGT_INT_2",
  "CPU_INTERRUPT_",
);
const COMMON_FIELDS: FieldTable = [
  ["halted", plain((value) => value === 0n ? "" : "halted")],
  ["interrupt_request", hexField(interrupts)],
];
const COMMON = new FieldSymbols(COMMON_FIELDS);

function isX86(device: DeviceView): boolean {
  return device.value("env.eip") !== undefined && device.value("env.segs[1].selector") !== undefined;
}

/** Structs that are a register, or have a name. */
function struct(path: string, device: DeviceView): Meaning | undefined {
  const segment = segmentName(path);
  if (segment !== undefined) return { symbol: segment };
  const bound = /^cpu\/mpx\.env\.bnd_regs\[([0-3])\]$/.exec(path);
  if (bound) return { symbol: `BND${bound[1]}` };
  const branch = /^cpu\/arch_lbr\.env\.lbr_records\[(\d|[12]\d|3[01])\]$/.exec(path);
  if (branch) return { symbol: `LBR${branch[1]}` };
  return variableRange(path, device) ?? floatRegister(path, device);
}

/** See the module. */
export const X86_CPU: readonly SymbolRule[] = [
  {
    device: /^cpu$/,
    field: /env\.|^cpu\/nested_state\./,
    describe(_, { input }, device, leaf) {
      if (!isX86(device)) return undefined;
      return CPU.of(leaf, input, "cpu", device) ?? vectorWord(leaf, input);
    },
    whole({ input }, device, branch) {
      if (branch.kind !== "struct" || !isX86(device)) return undefined;
      return vectorRegister(input, branch) ?? struct(input, device);
    },
  },
  {
    device: /^cpu_common$/,
    describe: (_, { input }, device, leaf) => COMMON.of(leaf, input, "cpu_common", device),
  },
];
