/**
 * Extended capabilities, from 0x100 on in a space of 4 KiB: u32 with the id in bits 15..0, the version in 19..16 and the offset of
 * the next in 31..20; then registers of its own.
 *
 * Source: PCI Express 5.0, 7.6 to 7.9; QEMU hw/pci/pcie_aer.c, pcie.c, pcie_sriov.c, include/standard-headers/linux/pci_regs.h.
 * @module
 */
import { flags, present, register, type Registers, words } from "./pci_parts.ts";
import { bits, hexText, type Part } from "./rule.ts";

const FIRST = 0x100;
/** Each takes eight bytes at least. */
const MOST = (0x1000 - FIRST) / 8;

const NAMES: Readonly<Record<number, string>> = {
  0x01: "Advanced Error Reporting",
  0x02: "Virtual Channel",
  0x03: "Device Serial Number",
  0x04: "Power Budgeting",
  0x05: "Root Complex Link Declaration",
  0x06: "Root Complex Internal Link Control",
  0x07: "Root Complex Event Collector",
  0x08: "Multi-Function Virtual Channel",
  0x09: "Virtual Channel",
  0x0b: "Vendor-Specific",
  0x0d: "Access Control Services",
  0x0e: "Alternative Routing-ID",
  0x0f: "Address Translation Services",
  0x10: "Single Root I/O Virtualization",
  0x11: "Multi Root I/O Virtualization",
  0x12: "Multicast",
  0x13: "Page Request",
  0x15: "Resizable BAR",
  0x16: "Dynamic Power Allocation",
  0x17: "TPH Requester",
  0x18: "Latency Tolerance Reporting",
  0x19: "Secondary PCI Express",
  0x1b: "PASID",
  0x1d: "Downstream Port Containment",
  0x1e: "L1 PM Substates",
  0x1f: "Precision Time Measurement",
  0x23: "Designated Vendor-Specific",
  0x25: "Data Link Feature",
  0x26: "Physical Layer 16.0 GT/s",
  0x2a: "Physical Layer 32.0 GT/s",
  0x2e: "Data Object Exchange",
};

const UNCORRECTABLE = bits(
  "4 DLP, 5 SURPDN, 12 POISON_TLP, 13 FCP, 14 COMP_TIME, 15 COMP_ABORT, 16 UNX_COMP, 17 RX_OVER, 18 MALF_TLP, 19 ECRC, " +
    "20 UNSUP, 21 ACSV, 22 INTN, 23 MCBTLP, 24 ATOMEG, 25 TLPPRE",
);
const CORRECTABLE = bits(
  "0 RCVR, 6 BAD_TLP, 7 BAD_DLLP, 8 REP_ROLL, 12 REP_TIMER, 13 ADV_NFAT, 14 INTERNAL, 15 LOG_OVER",
);
const ACS = bits("0 SV, 1 TB, 2 RR, 3 CR, 4 UF, 5 EC, 6 DT");
const ARI = bits("0 MFVC, 1 ACS");
const SRIOV_CONTROL = bits("0 VFE, 1 VFM, 2 INTR, 3 MSE, 4 ARI");

/** Main registers of a capability, by its id. `at` is where it begins. */
const DECODERS: Readonly<Record<number, (config: Registers, at: number) => Part[]>> = {
  0x01: errorParts,
  0x03: (config, at) => [words("serial", serial(config, at))],
  0x0b: (config, at) => [
    register("vsec_id", config.u16(at + 4), 4),
    register("revision", config.u16(at + 6) & 0xf, 1),
    register("length", config.u16(at + 6) >> 4, 3),
  ],
  0x0d: (config, at) => [
    flags("acs_capabilities", config.u16(at + 4) & 0x7f, 4, ACS),
    flags("acs_control", config.u16(at + 6), 4, ACS),
  ],
  0x0e: (config, at) => {
    const able = config.u16(at + 4);
    return [
      register("ari_capabilities", able, 4, `next function ${able >> 8}`),
      flags("ari_control", config.u16(at + 6) & 3, 4, ARI),
    ];
  },
  0x0f: (config, at) => {
    const control = config.u16(at + 6);
    return [
      register("ats_capabilities", config.u16(at + 4), 4),
      register("ats_control", control, 4, control & 0x8000 ? "enabled" : "disabled"),
    ];
  },
  0x10: virtualFunctionParts,
  0x1b: (config, at) => {
    const control = config.u16(at + 6);
    return [
      register("pasid_capabilities", config.u16(at + 4), 4),
      register("pasid_control", control, 4, control & 1 ? "enabled" : "disabled"),
    ];
  },
  0x23: (config, at) => [
    register("vendor", config.u16(at + 4), 4),
    register("dvsec_id", config.u16(at + 8), 4),
    register("revision", config.u16(at + 6) & 0xf, 1),
    register("length", config.u16(at + 6) >> 4, 3),
  ],
};

/** The list, in its order; [] where there is none. */
export function extendedCapabilities(config: Registers): Part[] {
  const parts: Part[] = [];
  const seen = new Set<number>();
  for (let at = FIRST; at >= FIRST && config.has(at, 4) && !seen.has(at) && seen.size < MOST;) {
    seen.add(at);
    const head = config.u32(at), id = head & 0xffff;
    if (head === 0 || head === 0xffff_ffff) break;
    // id 0 is only a link to the next
    if (id !== 0) {
      const own = DECODERS[id]?.(config, at) ?? [];
      parts.push({ name: `extended[${hexText(at, 3)}]`, parts: [register("id", id, 4, NAMES[id]), ...own] });
    }
    at = head >>> 20 & ~3;
  }
  return parts;
}

function errorParts(config: Registers, at: number): Part[] {
  return [
    flags("uncorrectable_status", config.u32(at + 0x04), 8, UNCORRECTABLE),
    flags("uncorrectable_mask", config.u32(at + 0x08), 8, UNCORRECTABLE),
    flags("uncorrectable_severity", config.u32(at + 0x0c), 8, UNCORRECTABLE),
    flags("correctable_status", config.u32(at + 0x10), 8, CORRECTABLE),
    flags("correctable_mask", config.u32(at + 0x14), 8, CORRECTABLE),
    register("aer_control", config.u32(at + 0x18), 8, `first error ${config.u32(at + 0x18) & 0x1f}`),
  ];
}

function serial(config: Registers, at: number): string {
  const low = config.u32(at + 4), high = config.u32(at + 8);
  const digits = [high, low].map((half) => half.toString(16).padStart(8, "0")).join("");
  return digits.match(/../g)!.join("-");
}

function virtualFunctionParts(config: Registers, at: number): Part[] {
  const count = (name: string, offset: number): Part => ({
    name,
    value: config.u16(at + offset),
    text: String(config.u16(at + offset)),
  });
  return present([
    flags("sriov_control", config.u16(at + 0x08), 4, SRIOV_CONTROL),
    count("initial_vfs", 0x0c),
    count("total_vfs", 0x0e),
    count("num_vfs", 0x10),
    count("first_vf_offset", 0x14),
    count("vf_stride", 0x16),
    register("vf_device_id", config.u16(at + 0x1a), 4),
  ]);
}
