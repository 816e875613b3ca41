/**
 * Serial and parallel ports.
 *
 *     divider 12    9600 baud          lcr LCR 0x03    8N1
 *     lsr LSR 0x60  THRE TEMT          iir IIR 0x01    no interrupt
 *
 * Source: QEMU hw/char/serial.c, serial-isa.c, serial-pci.c, parallel.c, pl011.c; National Semiconductor PC16550D and
 * Arm PrimeCell UART (PL011) manuals.
 * @module
 */
import { choice, fieldTable, flags, number, register, type Say, within } from "./chipset_rule.ts";
import { bitNames, bits, type SymbolRule } from "./rule.ts";

/** What sets the divider's scale; the ports of a PC have it, and those on a board may have another. */
const BAUD_BASE = 115200;
const INTERRUPTS: Readonly<Record<number, string>> = {
  0: "modem status",
  1: "no interrupt",
  2: "transmitter empty",
  4: "received data",
  6: "line status",
  12: "character timeout",
};

/** "8N1": bits, parity, stop bits. */
function lineText(size: number, parity: string, twoStops: boolean): string {
  return `${size}${parity}${twoStops ? size === 5 ? "1.5" : "2" : "1"}`;
}

function lcr(value: number): string {
  const parity = value & 8 ? ["O", "E", "M", "S"][value >> 4 & 3] : "N";
  return [
    lineText(5 + (value & 3), parity, (value & 4) !== 0),
    ...(value & 0x40 ? ["BREAK"] : []),
    ...(value & 0x80 ? ["DLAB"] : []),
  ].join(" ");
}

function iir(value: number): string {
  const said = INTERRUPTS[value & 15] ?? `cause ${value & 15}`;
  return (value & 0xc0) === 0xc0 ? `${said}, FIFO on` : said;
}

const FCR_BITS = bits("0 FE, 1 RFR, 2 XFR, 3 DMS");

const UART: Record<string, Say> = {
  rbr: register("RBR"),
  ier: flags("0 RDI, 1 THRI, 2 RLSI, 3 MSI", "IER"),
  iir: register("IIR", iir),
  lcr: register("LCR", lcr),
  mcr: flags("0 DTR, 1 RTS, 2 OUT1, 3 OUT2, 4 LOOP", "MCR"),
  lsr: flags("0 DR, 1 OE, 2 PE, 3 FE, 4 BI, 5 THRE, 6 TEMT, 7 FIFOE", "LSR"),
  msr: flags("0 DCTS, 1 DDSR, 2 TERI, 3 DDCD, 4 CTS, 5 DSR, 6 RI, 7 DCD", "MSR"),
  scr: register("SCR"),
  fcr_vmstate: register("FCR", (value) => {
    const trigger = value & 1 ? `interrupt at ${[1, 4, 8, 14][value >> 6 & 3]} bytes` : "";
    return [bitNames(value & 0x3f, FCR_BITS), trigger].filter((word) => word !== "").join(", ");
  }),
};

const divider = number((value) =>
  value === 0 ? undefined : { meaning: `${Number((BAUD_BASE / value).toFixed(2))} baud` }
);

const PL011_INTERRUPTS = "0 RI, 1 CTS, 2 DCD, 3 DSR, 4 RX, 5 TX, 6 RT, 7 FE, 8 PE, 9 BE, 10 OE";

function pl011Line(value: number): string {
  const parity = value & 2 ? value & 0x80 ? value & 4 ? "S" : "M" : value & 4 ? "E" : "O" : "N";
  return [
    lineText(5 + (value >> 5 & 3), parity, (value & 8) !== 0),
    ...(value & 0x10 ? ["FEN"] : []),
    ...(value & 1 ? ["BRK"] : []),
  ].join(" ");
}

/** See the module. */
export const SERIAL: readonly SymbolRule[] = [
  ...fieldTable(/^(pci-)?serial$|^pci-serial-multi$/, {
    ...within("state.", { ...UART, divider }),
    ...within("state[].", { ...UART, divider }),
    // on a board's own bus: its clock is not told
    ...within("serial.", UART),
    ...UART,
  }),
  ...fieldTable(/^pl011$/, {
    flags: flags("0 CTS, 1 DSR, 2 DCD, 3 BUSY, 4 RXFE, 5 TXFF, 6 RXFF, 7 TXFE, 8 RI", "UARTFR"),
    lcr: register("UARTLCR_H", pl011Line),
    rsr: flags("0 FE, 1 PE, 2 BE, 3 OE", "UARTRSR"),
    cr: flags(
      "0 UARTEN, 1 SIREN, 2 SIRLP, 7 LBE, 8 TXE, 9 RXE, 10 DTR, 11 RTS, 12 OUT1, 13 OUT2, 14 RTSEN, 15 CTSEN",
      "UARTCR",
    ),
    dmacr: flags("0 RXDMAE, 1 TXDMAE, 2 DMAONERR", "UARTDMACR"),
    int_enabled: flags(PL011_INTERRUPTS, "UARTIMSC"),
    int_level: flags(PL011_INTERRUPTS, "UARTRIS"),
    ilpr: register("UARTILPR"),
    ibrd: number(() => ({ symbol: "UARTIBRD" })),
    fbrd: number(() => ({ symbol: "UARTFBRD" })),
    ifl: register("UARTIFLS"),
  }),
  ...fieldTable(/^parallel_isa$/, {
    "state.dataw": register("data"),
    "state.status": flags("0 TMOUT, 3 nERROR, 4 ONLINE, 5 PAPER, 6 nACK, 7 nBUSY", "status"),
    // the two highest bits always read 1
    "state.control": register(
      "control",
      (value) => bitNames(value & 0x3f, bits("0 STROBE, 1 AUTOLF, 2 INIT, 3 SELECT, 4 INTEN, 5 DIR")),
    ),
    "state.irq_pending": choice(["no interrupt", "interrupt pending"]),
  }),
];
