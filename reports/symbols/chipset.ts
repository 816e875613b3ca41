/**
 * Devices of a machine that are on no bus: real-time clock, serial ports, interrupt and timer chips.
 * @module
 */
import type { SymbolRule } from "./rule.ts";

/** See the module. */
export const CHIPSET: readonly SymbolRule[] = [];
