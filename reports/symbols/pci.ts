/**
 * Configuration spaces of PCI devices.
 * @module
 */
import type { SymbolRule } from "./rule.ts";

/** See the module. */
export const PCI: readonly SymbolRule[] = [];
