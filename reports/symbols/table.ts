/**
 * All that is known of devices' fields. The first rule that knows a value counts.
 * @module
 */
import { ARM_CPU } from "./arm_cpu.ts";
import { CHIPSET } from "./chipset.ts";
import { OTHER_CPUS } from "./other_cpus.ts";
import { PCI } from "./pci.ts";
import type { SymbolRule } from "./rule.ts";
import { TIMES } from "./time.ts";
import { VIRTIO } from "./virtio.ts";
import { X86_APIC } from "./x86_apic.ts";
import { X86_CPU } from "./x86_cpu.ts";

/** In the order they are tried. */
export const RULES: readonly SymbolRule[] = [
  ...X86_CPU,
  ...X86_APIC,
  ...ARM_CPU,
  ...OTHER_CPUS,
  ...PCI,
  ...VIRTIO,
  ...CHIPSET,
  ...TIMES,
];
