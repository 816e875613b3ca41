/**
 * VGA and its kin: which mode the screen is in; sound: controller and streams of intel-hda.
 *
 *     cr                     5f 4f 50 ...      text, 80x25 characters of 9x16
 *     vbe_regs[4] ENABLE     0x0041            ENABLED LFB_ENABLED
 *
 * Source: QEMU hw/display/vga.c (vga_update_display, vga_get_text_resolution, vga_get_resolution),
 * include/hw/display/bochs-vbe.h, hw/display/vga_regs.h, hw/audio/intel-hda.c, intel-hda-defs.h.
 * @module
 */
import { type Asked, bytes, fieldTable, flags, number, register, type Say, within } from "./chipset_rule.ts";
import { bitNames, bits, integer, type SymbolRule } from "./rule.ts";
import { durationText } from "./time.ts";

const AR_ENABLED = 0x20;
const VBE = "ID XRES YRES BPP ENABLE BANK VIRT_WIDTH VIRT_HEIGHT X_OFFSET Y_OFFSET".split(" ");
const VBE_ENABLE = bits("0 ENABLED, 1 GETCAPS, 5 8BIT_DAC, 6 LFB_ENABLED, 7 NOCLEARMEM");

/** What is on the screen; undefined where registers are missing. */
function mode(cr: Uint8Array, { device, inside }: Asked): string | undefined {
  const [sr, gr] = ["sr", "gr"].map((name) => device.value(inside + name));
  const index = integer(device.value(`${inside}ar_index`));
  if (!(sr instanceof Uint8Array && gr instanceof Uint8Array) || index === undefined) return undefined;
  if (cr.length < 25 || sr.length < 2 || gr.length < 7) return undefined;
  const vbe = (at: number) => integer(device.value(`${inside}vbe_regs[${at}]`)) ?? 0n;
  const on = (vbe(4) & 1n) !== 0n;
  // vga_update_display: until the palette's bit is set the screen is blank
  if (!(Number(index) & AR_ENABLED)) return "blank";
  if (on) return `graphics, ${vbe(1)}x${vbe(2)}, ${vbe(3)} bits a pixel`;
  const columns = cr[1] + 1;
  const lines = (cr[0x12] | (cr[7] & 0x02) << 7 | (cr[7] & 0x40) << 3) + 1;
  if (gr[6] & 1) return `graphics, ${8 * columns}x${lines}`;
  const height = (cr[9] & 0x1f) + 1;
  const width = sr[1] & 8 ? 16 : sr[1] & 1 ? 8 : 9;
  const rows = cr[6] === 100 ? 100 : Math.floor(lines / height);
  return `text, ${columns}x${rows} characters of ${width}x${height}`;
}

const VGA: Record<string, Say> = {
  cr: bytes((value, asked) => {
    const meaning = mode(value, asked);
    return meaning === undefined ? undefined : { symbol: "CRTC", meaning };
  }),
  sr: bytes(() => ({ symbol: "sequencer" })),
  gr: bytes(() => ({ symbol: "graphics" })),
  ar: bytes(() => ({ symbol: "attributes" })),
  msr: register("miscellaneous output"),
  st01: register(undefined, (value) => bitNames(value, bits("0 DISP_ENABLE, 3 V_RETRACE"))),
  "vbe_regs[]": number((value, asked) => {
    const symbol = VBE[asked.index[0]];
    if (symbol !== "ENABLE" && symbol !== "ID") return { symbol };
    return register(symbol, symbol === "ENABLE" ? () => bitNames(value, VBE_ENABLE) : undefined)(asked);
  }),
};

const STREAM_STATUS = "2 BCIS, 3 FIFOE, 4 DESE, 5 FIFORDY";
const HDA: Record<string, Say> = {
  g_ctl: flags("0 CRST, 1 FCNTRL, 8 UNSOL", "GCTL"),
  wake_en: register("WAKEEN"),
  state_sts: register("STATESTS", (value) => {
    const codecs = Array.from({ length: 15 }, (_, at) => at).filter((at) => value >> at & 1);
    return codecs.length > 0 ? `codec ${codecs.join(", ")}` : undefined;
  }),
  int_ctl: flags("0 SD0, 1 SD1, 2 SD2, 3 SD3, 4 SD4, 5 SD5, 6 SD6, 7 SD7, 30 CIE, 31 GIE", "INTCTL"),
  int_sts: flags("0 SD0, 1 SD1, 2 SD2, 3 SD3, 4 SD4, 5 SD5, 6 SD6, 7 SD7, 30 CIS, 31 GIS", "INTSTS"),
  wall_clk: number((value) => ({
    symbol: "WALCLK",
    meaning: `${durationText(BigInt(value) * 1000n / 24n)} of 24 MHz`,
  })),
  corb_lbase: register("CORBLBASE"),
  corb_ubase: register("CORBUBASE"),
  corb_rp: register("CORBRP"),
  corb_wp: register("CORBWP"),
  corb_ctl: flags("0 MEIE, 1 RUN", "CORBCTL"),
  corb_sts: flags("0 MEI", "CORBSTS"),
  rirb_lbase: register("RIRBLBASE"),
  rirb_ubase: register("RIRBUBASE"),
  rirb_wp: register("RIRBWP"),
  rirb_cnt: register("RINTCNT"),
  rirb_ctl: flags("0 IRQ_EN, 1 RUN, 2 OVERRUN_EN", "RIRBCTL"),
  rirb_sts: flags("0 IRQ, 2 OVERRUN", "RIRBSTS"),
  dp_lbase: register("DPLBASE"),
  dp_ubase: register("DPUBASE"),
  icw: register("IC"),
  irr: register("IR"),
  ics: flags("0 BUSY, 1 VALID", "IRS"),
  "st[].ctl": register("SDCTL", (value) =>
    [
      bitNames(value & 0x1f, bits("0 SRST, 1 RUN, 2 IOCE, 3 FEIE, 4 DEIE")),
      `stream ${value >> 20 & 15}`,
      bitNames((value >>> 24) & 0x3c, bits(STREAM_STATUS)),
    ].filter((word) => word !== "").join(" ")),
  "st[].lpib": register("SDLPIB"),
  "st[].cbl": register("SDCBL"),
  "st[].lvi": register("SDLVI"),
  "st[].fmt": register("SDFMT", format),
  "st[].bdlp_lbase": register("SDBDPL"),
  "st[].bdlp_ubase": register("SDBDPU"),
};

/** A stream's format: base, multiplier, divisor, bits, channels; 0 is what reset left. */
function format(value: number): string | undefined {
  if (value === 0 || value & 0x8000) return undefined;
  const rate = (value & 0x4000 ? 44100 : 48000) * ((value >> 11 & 7) + 1) / ((value >> 8 & 7) + 1);
  const size = [8, 16, 20, 24, 32][value >> 4 & 7];
  if (size === undefined) return undefined;
  return `${Math.round(rate)} Hz, ${size} bits, ${(value & 15) + 1} channels`;
}

/** See the module. */
export const DISPLAY: readonly SymbolRule[] = [
  ...fieldTable(/^vga$|^virtio-vga$|^qxl$|^cirrus_vga$/, { ...within("vga.", VGA), ...VGA }),
  ...fieldTable(/^intel-hda$/, HDA),
  ...fieldTable(/^hda-(audio|duplex|micro|output)$/, { "st[].format": register(undefined, format) }),
];
