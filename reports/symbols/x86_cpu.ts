/**
 * Registers of x86 processors.
 * @module
 */
import type { SymbolRule } from "./rule.ts";

/** See the module. */
export const X86_CPU: readonly SymbolRule[] = [];
