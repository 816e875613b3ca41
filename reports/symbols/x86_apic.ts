/**
 * Interrupt controllers and clocks of x86 processors: local APIC, IOAPIC, kvmclock, and QEMU's patching of guests that
 * write to the TPR. The words are those of `info lapic` and `info pic`.
 *
 *     3 LVT0                     0x00008700  active-hi level ExtINT (vec 0)
 *     irr IRR                    48 236(level)
 *     pin 4                      0x0000000000010000  dest=0 vec=0 active-hi edge masked fixed physical
 *
 * Source: QEMU hw/intc/apic_common.c (vmstate_apic_common), include/hw/i386/apic_internal.h, target/i386/cpu-dump.c
 * (dump_apic_lvt and others), hw/intc/ioapic_common.c (vmstate_ioapic_common, ioapic_print_redtbl), hw/i386/kvm/clock.c
 * (kvmclock_vmsd), hw/i386/vapic.c (vmstate_vapic).
 * @module
 */
import type { VmBranch } from "../../stream/vmvalue.ts";
import { bitField, type DeviceView, hexText, integer, type Meaning, type SymbolRule } from "./rule.ts";
import { durationText, virtualTime } from "./time.ts";
import { setBits } from "./x86_vectors.ts";
import {
  type FieldSymbol,
  FieldSymbols,
  type FieldTable,
  flags,
  hexField,
  number,
  plain,
  register,
} from "./x86_words.ts";

/** APIC_LVT_TIMER and what follows, as `info lapic` calls them. */
const LVTS = ["LVTT", "LVTTHMR", "LVTPC", "LVT0", "LVT1", "LVTERR"];
const DELIVERY = ["Fixed", "LowPri", "SMI", "reserved", "NMI", "INIT", "SIPI", "ExtINT"];
const TIMER_MODES = ["one-shot", "periodic", "tsc-deadline", "reserved"];
const SHORTHANDS = ["no-shorthand", "self", "all-self", "all"];
/** delm_str of ioapic_print_redtbl(), with names for what it has none. */
const PIN_DELIVERY = ["fixed", "lowest", "SMI", "reserved", "NMI", "INIT", "SIPI", "extINT"];

const sentence = (...words: readonly string[]) => words.filter((word) => word !== "").join(" ");

function polarity(value: bigint): string {
  return `${value >> 13n & 1n ? "active-lo" : "active-hi"} ${value >> 15n & 1n ? "level" : "edge"}`;
}

/** @param timer the timer's, which has a mode */
function lvt(value: bigint, timer: boolean): string {
  const mode = bitField(value, 8, 10);
  return sentence(
    polarity(value),
    value >> 16n & 1n ? "masked" : "",
    value >> 12n & 1n ? "pending" : "",
    timer ? TIMER_MODES[bitField(value, 17, 18)] : "",
    DELIVERY[mode],
    DELIVERY[mode] === "NMI" ? "" : `(vec ${value & 0xffn})`,
  );
}

function command(value: bigint): string {
  return sentence(
    value >> 11n & 1n ? "logical" : "physical",
    value >> 15n & 1n ? "level" : "edge",
    value >> 14n & 1n ? "assert" : "de-assert",
    SHORTHANDS[bitField(value, 18, 19)],
    DELIVERY[bitField(value, 8, 10)],
    `(vec ${value & 0xffn})`,
  );
}

function divide(value: bigint): string {
  const code = bitField(value, 0, 1) | bitField(value, 3, 3) << 2;
  return `divide by ${code === 7 ? 1 : 2 << code}`;
}

/** A word of ISR, TMR or IRR: its vectors. */
const vectors: FieldSymbol = (value, place) => {
  const numbers = setBits([Number(value & 0xffff_ffffn)]).map((bit) => place.index * 32 + bit);
  return hexField(() => place.index < 8 ? numbers.join(" ") : "")(value, place);
};

const moment: FieldSymbol = (value, { bytes, device }) => virtualTime(BigInt.asIntN(bytes * 8, value), device);

/** When the timer fires next; without one, what was left there. */
const nextTime: FieldSymbol = (value, place) => {
  const said = moment(value, place);
  return number(place, "timer_expiry") === -1n ? { text: said?.text, meaning: "not armed" } : said;
};

/** A priority: its class, which is CR8 of 64-bit code. */
const priority = (value: bigint) => value >> 4n ? `CR8=${value >> 4n}` : "";

const APIC = new FieldSymbols([
  [
    "apicbase",
    register("APICBASE", (value) =>
      sentence(
        `at ${hexText(value & 0xffff_f000n)}`,
        flags("0-7 -,8 BSP,10 x2APIC,11 enabled,12-31 -")(value),
      )),
  ],
  ["arb_id", register("APR")],
  ["tpr", register("TPR", priority)],
  [
    "spurious_vec",
    register(
      "SPIV",
      (value) =>
        `APIC ${value >> 8n & 1n ? "enabled" : "disabled"}, focus=${value >> 9n & 1n ? "on" : "off"}, spurious vec ${
          value & 0xffn
        }`,
    ),
  ],
  ["log_dest", register("LDR")],
  ["dest_mode", register("DFR", (value) => value === 0xfn ? "flat" : value === 0n ? "cluster" : "")],
  ["isr[]", vectors],
  ["tmr[]", vectors],
  ["irr[]", vectors],
  ...LVTS.map((name, i): FieldTable[number] => [`lvt[${i}]`, register(name, (value) => lvt(value, i === 0))]),
  [
    "esr",
    register(
      "ESR",
      flags(
        "0 SEND_CHECK_SUM,1 RECV_CHECK_SUM,2 SEND_ACCEPT,3 RECV_ACCEPT,5 SEND_ILLEGAL_VECT,6 RECV_ILLEGAL_VECT," +
          "7 ILLEGAL_ADDRESS",
      ),
    ),
  ],
  ["icr[0]", register("ICR", command)],
  ["icr[1]", register("ICR2")],
  ["divide_conf", register("DCR", divide)],
  ["initial_count_load_time", moment],
  ["next_time", nextTime],
  ["timer_expiry", moment],
  ["wait_for_sipi", plain((value) => value === 0n ? "" : "waits for a SIPI")],
]);

/** ISR, TMR or IRR as a list; vectors that are level-triggered are marked, as `info lapic` does. */
function vectorList(name: string, branch: VmBranch, device: DeviceView): Meaning | undefined {
  const words: number[] = [];
  if (branch.children.length !== 8) return undefined;
  for (const child of branch.children) {
    if (child.kind !== "leaf" || child.type !== "uint32" || typeof child.value !== "number") return undefined;
    words.push(child.value);
  }
  const level = (vector: number) => {
    const word = integer(device.value(`tmr[${vector >> 5}]`)) ?? 0n;
    return name !== "tmr" && word >> BigInt(vector & 31) & 1n ? "(level)" : "";
  };
  const list = setBits(words).map((vector) => `${vector}${level(vector)}`);
  return { symbol: name.toUpperCase(), text: list.join(" ") || "(none)" };
}

/** A pin's entry. */
function redirection(value: bigint): string {
  const logical = value >> 11n & 1n;
  return sentence(
    `dest=${(value >> 56n & (logical ? 0xffn : 0xfn)).toString(16)}`,
    `vec=${value & 0xffn}`,
    polarity(value),
    value >> 16n & 1n ? "masked" : "",
    PIN_DELIVERY[bitField(value, 8, 10)],
    logical ? "logical" : "physical",
    value >> 12n & 1n ? "pending" : "",
    value >> 14n & 1n ? "remote-irr" : "",
  );
}

function selected(value: bigint): string {
  if (value >= 0x10n && value < 0x40n) return `redir[${value - 0x10n >> 1n}], ${value & 1n ? "upper" : "lower"} half`;
  return ["id", "version", "arbitration"][Number(value)] ?? "";
}

const IOAPIC = new FieldSymbols([
  ["ioregsel", hexField(selected)],
  ["irr", register("IRR", (value) => setBits([Number(value & 0xffff_ffffn)]).map((pin) => `pin ${pin}`).join(", "))],
  ["ioredtbl[]", (value, place) => place.index < 24 ? register("pin []", redirection)(value, place) : undefined],
]);

const KVMCLOCK = new FieldSymbols([["clock", (value) => ({ text: durationText(value) })]]);

/** VAPICMode of hw/i386/vapic.c. */
const VAPIC_STATES = ["INACTIVE", "ACTIVE", "STANDBY"];
const ADDRESSES = [
  "rom_state.vaddr",
  "rom_state.fixup_start",
  "rom_state.fixup_end",
  "rom_state.vapic_vaddr",
  "rom_state.vapic_size",
  "rom_state.real_tpr_addr",
  ...["up", "mp"].flatMap((at) => [
    `rom_state.${at}.set_tpr`,
    `rom_state.${at}.set_tpr_eax`,
    `rom_state.${at}.get_tpr_stack`,
  ]),
  "real_tpr_addr",
  "rom_state_vaddr",
  "vapic_paddr",
  "rom_state_paddr",
];
const VAPIC = new FieldSymbols([
  ...ADDRESSES.map((name): FieldTable[number] => [name, hexField()]),
  ...["up", "mp"].map((at): FieldTable[number] => [`rom_state.${at}.get_tpr[]`, hexField()]),
  ["state", plain((value) => value < 3n ? `VAPIC_${VAPIC_STATES[Number(value)]}` : "")],
]);

/** See the module. */
export const X86_APIC: readonly SymbolRule[] = [
  {
    device: /^apic$/,
    describe: (_, { input }, device, leaf) => APIC.of(leaf, input, "apic_sipi", device),
    whole({ input }, device, branch) {
      return /^(isr|tmr|irr)$/.test(input) && branch.kind === "array" ? vectorList(input, branch, device) : undefined;
    },
  },
  { device: /^ioapic$/, describe: (_, { input }, device, leaf) => IOAPIC.of(leaf, input, "ioapic", device) },
  { device: /^kvmclock$/, describe: (_, { input }, device, leaf) => KVMCLOCK.of(leaf, input, "kvmclock", device) },
  { device: /^kvm-tpr-opt$/, describe: (_, { input }, device, leaf) => VAPIC.of(leaf, input, "kvm-tpr-opt", device) },
];
