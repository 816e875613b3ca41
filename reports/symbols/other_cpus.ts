/**
 * Registers of processors other than x86 and Arm.
 * @module
 */
import type { SymbolRule } from "./rule.ts";

/** See the module. */
export const OTHER_CPUS: readonly SymbolRule[] = [];
