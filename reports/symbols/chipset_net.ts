/**
 * Network cards: e1000, rtl8139.
 *
 *     mac_reg[STATUS]  STATUS 0x80080783      FD LU 1000 Mb/s
 *     mac_reg[0][0]    RAL0   0xaa005452      52:54:00:aa:bb:01
 *
 * Source: QEMU hw/net/e1000.c (vmstate_e1000), hw/net/e1000x_regs.h, hw/net/rtl8139.c; Intel 8254x developer's manual.
 * @module
 */
import { bytes, fieldTable, flags, macText, number, register, type Say } from "./chipset_rule.ts";
import { bitNames, bits, hexText, integer, type SymbolRule } from "./rule.ts";

const INTERRUPTS =
  "0 TXDW, 1 TXQE, 2 LSC, 3 RXSEQ, 4 RXDMT0, 6 RXO, 7 RXT0, 9 MDAC, 10 RXCFG, 15 TXD_LOW, 16 SRPD, 17 ACK, " +
  "18 MNG, 31 INT_ASSERTED";
const CTRL = bits(
  "0 FD, 2 PRIOR, 3 LRST, 5 ASDE, 6 SLU, 7 ILOS, 11 FRCSPD, 12 FRCDPX, 18 SWDPIN0, 19 SWDPIN1, 20 SWDPIN2, 21 SWDPIN3, " +
    "22 SWDPIO0, 23 SWDPIO1, 24 SWDPIO2, 25 SWDPIO3, 26 RST, 27 RFCE, 28 TFCE, 30 VME, 31 PHY_RST",
);
const STATUS = bits("0 FD, 1 LU, 4 TXOFF, 5 TBIMODE, 10 PHYRA, 11 PCI66, 12 BUS64, 13 PCIX_MODE, 19 GIO_MASTER_EN");
const RCTL = bits(
  "1 EN, 2 SBP, 3 UPE, 4 MPE, 5 LPE, 14 MDR, 15 BAM, 18 VFE, 19 CFIEN, 20 CFI, 22 DPF, 23 PMCF, 25 BSEX, 26 SECRC",
);
const TCTL = bits("1 EN, 2 BCE, 3 PSP, 22 SWXOFF, 23 PBE, 24 RTLC, 25 NRTU, 28 MULR");
const SPEEDS = ["10 Mb/s", "100 Mb/s", "1000 Mb/s", "1000 Mb/s"];

function words(...said: string[]): string {
  return said.filter((word) => word !== "").join(" ");
}

function rctl(value: number): string {
  const sizes = value & 1 << 25 ? [0, 16384, 8192, 4096] : [2048, 1024, 512, 256];
  const loopback = value >> 6 & 3 ? "loopback" : "";
  return words(bitNames((value & ~0x333c0) >>> 0, RCTL), loopback, `buffers of ${sizes[value >> 16 & 3]}`);
}

/** Registers whose bits are known, by name. */
const E1000_WORDS: Readonly<Record<string, (value: number) => string>> = {
  CTRL: (value) => words(bitNames((value & ~0x300) >>> 0, CTRL), value & 0x800 ? SPEEDS[value >> 8 & 3] : ""),
  STATUS: (value) => words(bitNames((value & 0x7fffff3f & ~0x300) >>> 0, STATUS), SPEEDS[value >> 6 & 3]),
  RCTL: rctl,
  TCTL: (value) => words(bitNames((value & ~0x3ffff0) >>> 0, TCTL)),
  ICR: (value) => bitNames(value, bits(INTERRUPTS)),
  ICS: (value) => bitNames(value, bits(INTERRUPTS)),
  IMS: (value) => bitNames(value, bits(INTERRUPTS)),
  IMC: (value) => bitNames(value, bits(INTERRUPTS)),
};

const e1000Register: SymbolRule = {
  device: /^e1000$/,
  field: /^(?:e1000\/mit_state\.)?mac_reg\[([A-Z]\w*)\]$/,
  describe(value, [, symbol], _device, { length }) {
    const number = integer(value);
    if (number === undefined || length !== 4) return undefined;
    const bits = Number(BigInt.asUintN(32, number));
    const meaning = Object.hasOwn(E1000_WORDS, symbol) ? E1000_WORDS[symbol](bits) : "";
    return { symbol, text: hexText(bits, 8), ...(meaning ? { meaning } : {}) };
  },
};

/** Which sub-array: RA, MTA and VFTA share the field's name. */
const E1000_ARRAYS = ["RA", "MTA", "VFTA"];

const e1000Array = number((value, { index: [array, at], device }) => {
  const name = E1000_ARRAYS[array];
  if (name === undefined) return undefined;
  const text = hexText(value, 8);
  if (name !== "RA") return { symbol: `${name}${at}`, text };
  const entry = at >> 1;
  const low = integer(device.value(`mac_reg[0][${at}]`)), high = integer(device.value(`mac_reg[0][${at + 1}]`));
  if (at & 1) return { symbol: `RAH${entry}`, text, meaning: value >>> 31 ? "AV" : "not valid" };
  if (low === undefined || high === undefined || (low === 0n && high === 0n)) return { symbol: `RAL${entry}`, text };
  const address = new Uint8Array(8);
  new DataView(address.buffer).setBigUint64(0, BigInt.asUintN(32, high) << 32n | BigInt.asUintN(32, low), true);
  return { symbol: `RAL${entry}`, text, meaning: macText(address.subarray(0, 6)) };
});

/** Registers 0 to 0x7ffc, four bytes each, of which a few stand for themselves. */
const E1000_OFFSETS: Readonly<Record<number, string>> = {
  0x0: "CTRL",
  0x8: "STATUS",
  0x10: "EECD",
  0x14: "EERD",
  0xc0: "ICR",
  0xd0: "IMS",
  0x100: "RCTL",
  0x400: "TCTL",
};

const e1000Full = number((value, { index: [at] }) => {
  const symbol = E1000_OFFSETS[4 * at];
  if (symbol === undefined) return value === 0 ? undefined : { text: hexText(value, 8) };
  const meaning = E1000_WORDS[symbol]?.(value);
  return { symbol, text: hexText(value, 8), ...(meaning ? { meaning } : {}) };
});

const RTL_INTERRUPTS =
  "0 RxOK, 1 RxErr, 2 TxOK, 3 TxErr, 4 RxOverflow, 5 RxUnderrun, 6 RxFIFOOver, 14 PCSTimeout, 15 PCIErr";

const mac: Say = bytes((value) => value.length === 6 ? { text: macText(value) } : undefined);
/** `phys` has room for eight: those of the address, then zeros. */
const address: Say = bytes((value) =>
  value.length >= 6 && value.length <= 8 ? { text: macText(value.subarray(0, 6)) } : undefined
);

/** See the module. */
export const NETWORK: readonly SymbolRule[] = [
  e1000Register,
  ...fieldTable(/^e1000$/, {
    "mac_reg[][]": e1000Array,
    "e1000/full_mac_state.mac_reg[]": e1000Full,
    "phy_reg[]": register(undefined),
    "eeprom_data[]": register(undefined),
  }),
  ...fieldTable(/^rtl8139$/, {
    phys: address,
    "conf.macaddr": mac,
    "TxStatus[]": register(undefined, (value) =>
      words(
        bitNames(
          (value & 0xe000e000) >>> 0,
          bits("13 TxHostOwns, 14 TxUnderrun, 15 TxStatOK, 29 TxOutOfWindow, 30 TxAborted, 31 TxCarrierLost"),
        ),
        value & 0x1fff ? `${value & 0x1fff} bytes` : "",
      )),
    IntrStatus: flags(RTL_INTERRUPTS),
    IntrMask: flags(RTL_INTERRUPTS),
    bChipCmdState: flags("0 RxBufEmpty, 2 CmdTxEnb, 3 CmdRxEnb, 4 CmdReset"),
    CpCmd: flags("0 CPlusTxEnb, 1 CPlusRxEnb, 5 CPlusRxChkSum, 6 CPlusRxVLAN"),
    RxConfig: register(undefined, (value) => {
      const names = bitNames(
        value & 0xbf,
        bits(
          "0 AcceptAllPhys, 1 AcceptMyPhys, 2 AcceptMulticast, 3 AcceptBroadcast, 4 AcceptRunt, 5 AcceptErr, 7 RxNoWrap",
        ),
      );
      return words(names, `ring of ${[8, 16, 32, 64][value >> 11 & 3]} KiB`);
    }),
    TxConfig: register(undefined),
    Config1: flags("0 PM_Enable, 1 VPD_Enable, 2 PIO, 3 MMIO, 4 LWAKE, 5 Driver_Load, 6 LED0, 7 LED1"),
  }),
];
