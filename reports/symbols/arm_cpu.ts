/**
 * Registers of Arm processors.
 * @module
 */
import type { SymbolRule } from "./rule.ts";

/** See the module. */
export const ARM_CPU: readonly SymbolRule[] = [];
