/**
 * Chips that every PC has: interval timer, interrupt controllers, DMA, HPET, speaker, A20.
 *
 *     i8254   count 65536     18.20651 Hz         mode 2   rate generator
 *     i8259   irr IRR 0x01    IR0                 irq_base 0x08 vectors 0x08 to 0x0f
 *     dma     mode 0x58       single, auto-init, read, up
 *
 * Source: QEMU hw/timer/i8254.c, hw/timer/hpet.c, hw/intc/i8259.c, hw/dma/i8257.c, hw/i386/port92.c, hw/audio/pcspk.c;
 * Intel's data sheets of these chips, IA-PC HPET specification 1.0a.
 * @module
 */
import { beside, choice, either, fieldTable, flags, number, register, wide } from "./chipset_rule.ts";
import { bitField, bitNames, bits, hexText, type SymbolRule } from "./rule.ts";
import { durationText } from "./time.ts";

const PIT_HZ = 1193182;
/** Modes 6 and 7 are 2 and 3. */
const PIT_MODES = ("interrupt on terminal count,retriggerable one-shot,rate generator,square wave,software strobe," +
  "hardware strobe,rate generator,square wave").split(",");
const PIT_ACCESS = ["", "low byte", "high byte", "low byte, then high byte", "high byte, low one done"];

const LINES = "0 IR0, 1 IR1, 2 IR2, 3 IR3, 4 IR4, 5 IR5, 6 IR6, 7 IR7";

/** HPET_CLK_PERIOD: 10 ns. */
const HPET_TICK_NS = 10n;
const HPET_TIMER_BITS = bits(
  "2 INT_ENB, 3 PERIODIC, 4 PER_INT_CAP, 5 SIZE_CAP, 6 VAL_SET, 8 32MODE, 14 FSB_EN, 15 FSB_CAP",
);
/** Those of the bits above, and of the fields between them. */
const HPET_TIMER_FLAGS = 0xc17cn;

const hpetTime = wide((value) => {
  const all = value === (1n << 64n) - 1n;
  return { text: hexText(value), meaning: all ? "never" : durationText(value * HPET_TICK_NS) };
});

const DMA_MODES = ["demand", "single", "block", "cascade"];
const DMA_TRANSFERS = ["verify", "write to memory", "read from memory", "illegal"];

function dmaMode(mode: number): string {
  const kind = DMA_MODES[bitField(mode, 6, 7)];
  if (kind === "cascade") return kind;
  return [
    kind,
    DMA_TRANSFERS[bitField(mode, 2, 3)],
    mode & 0x20 ? "down" : "up",
    ...(mode & 0x10 ? ["auto-init"] : []),
  ].join(", ");
}

/** See the module. */
export const PC_CHIPS: readonly SymbolRule[] = [
  ...fieldTable(/^i8254$/, {
    "channels[].count": number((value, asked) => {
      const periodic = (beside(asked, "mode") ?? 0) & 2;
      if (value === 0) return undefined;
      return periodic
        ? { meaning: `${Number((PIT_HZ / value).toPrecision(7))} Hz` }
        : { meaning: durationText(BigInt(Math.round(value * 1e9 / PIT_HZ))) };
    }),
    "channels[].mode": choice(PIT_MODES),
    "channels[].rw_mode": choice({ 1: PIT_ACCESS[1], 2: PIT_ACCESS[2], 3: PIT_ACCESS[3] }),
    "channels[].read_state": choice({ 1: PIT_ACCESS[1], 2: PIT_ACCESS[2], 3: PIT_ACCESS[3], 4: PIT_ACCESS[4] }),
    "channels[].write_state": choice({ 1: PIT_ACCESS[1], 2: PIT_ACCESS[2], 3: PIT_ACCESS[3], 4: PIT_ACCESS[4] }),
    "channels[].bcd": either("BCD", "binary"),
    "channels[].gate": either("counts", "stopped"),
  }),
  ...fieldTable(/^i8259$/, {
    irr: flags(LINES, "IRR"),
    last_irr: flags(LINES),
    imr: flags(LINES, "IMR"),
    isr: flags(LINES, "ISR"),
    elcr: flags(LINES, "ELCR"),
    irq_base: register(undefined, (value) => `vectors ${hexText(value, 2)} to ${hexText(value + 7 & 0xff, 2)}`),
    priority_add: number((value) => ({ meaning: `IR${value & 7} comes first` })),
    read_reg_select: choice(["reads show IRR", "reads show ISR"]),
    init_state: choice(["initialized", "awaits ICW2", "awaits ICW3", "awaits ICW4"]),
  }),
  ...fieldTable(/^hpet$/, {
    config: wide((value) => ({
      text: hexText(value),
      meaning: bitNames(value, bits("0 ENABLE_CNF, 1 LEG_RT_CNF")),
    })),
    isr: wide((value) => ({ text: hexText(value), meaning: bitNames(value, bits("0 T0, 1 T1, 2 T2")) })),
    hpet_counter: hpetTime,
    "timer[].cmp": hpetTime,
    "timer[].period": wide((value) => value === 0n ? undefined : { meaning: durationText(value * HPET_TICK_NS) }),
    "timer[].config": wide((value) => {
      const routes = bitField(value, 32, 63);
      return {
        text: hexText(value),
        meaning: [
          value & 2n ? "level" : "edge",
          bitNames(value & HPET_TIMER_FLAGS, HPET_TIMER_BITS),
          `route ${bitField(value, 9, 13)} of ${hexText(routes)}`,
        ].filter((word) => word !== "").join(" "),
      };
    }),
    "hpet/offset.hpet_offset": wide((value) => ({ text: durationText(BigInt.asIntN(64, value)) })),
  }),
  ...fieldTable(/^dma$/, {
    command: flags(
      "0 MEM_TO_MEM, 1 FIXED_ADDRESS, 2 DISABLED, 3 COMPRESSED_TIMING, 4 ROTATING, 5 EXTENDED_WRITE, 6 DREQ_LOW, 7 DACK_HIGH",
    ),
    mask: register(undefined, (value) => bitNames(value & 15, bits("0 CH0, 1 CH1, 2 CH2, 3 CH3"))),
    dshift: choice(["channels 0 to 3, bytes", "channels 4 to 7, words"]),
    "regs[].mode": register(undefined, dmaMode),
    "regs[].now[]": number((_value, { index }) => ({ symbol: ["address", "count"][index[1]] })),
    "regs[].base[]": number((_value, { index }) => ({ symbol: ["address", "count"][index[1]] })),
    "regs[].page": register(undefined),
  }),
  ...fieldTable(/^port92$/, { outport: flags("0 INIT_NOW, 1 A20") }),
  ...fieldTable(/^pcspk$/, { data_on: either("the speaker is on", "the speaker is off") }),
];
