/**
 * Registers of processors other than x86 and Arm.
 * @module
 */
import { MIPS_CPU } from "./mips_cpu.ts";
import { PPC_CPU } from "./ppc_cpu.ts";
import { RISCV_CPU } from "./riscv_cpu.ts";
import type { SymbolRule } from "./rule.ts";
import { S390X_CPU } from "./s390x_cpu.ts";
import { SPARC_CPU } from "./sparc_cpu.ts";

/** One table for each architecture; a field that only it has tells it from the others. */
export const OTHER_CPUS: readonly SymbolRule[] = [...RISCV_CPU, ...PPC_CPU, ...S390X_CPU, ...MIPS_CPU, ...SPARC_CPU];
