/**
 * Interrupt controllers and clocks of x86 processors: local APIC, IOAPIC, kvmclock.
 * @module
 */
import type { SymbolRule } from "./rule.ts";

/** See the module. */
export const X86_APIC: readonly SymbolRule[] = [];
