/**
 * USB: host controllers' registers and ports, devices' states and setup packets.
 *
 *     ports[0].ctrl   PORTSC1 0x0083      CCS CSC
 *     portsc          PORTSC 0x00020ee1   CCS PED U0 PP high-speed CSC
 *     setup_buf       80 06 00 01 00 00 12 00    GET_DESCRIPTOR device, 18 bytes
 *
 * Source: QEMU include/hw/usb.h, include/hw/usb/uhci-regs.h, ehci-regs.h, hw/usb/hcd-xhci.c, hcd-ohci.c, dev-hub.c,
 * core.c; USB 2.0 chapter 9, xHCI 1.2.
 * @module
 */
import { choice, either, fieldTable, flags, number, register, type Say, within } from "./chipset_rule.ts";
import { bitNames, bits, type Meaning, type SymbolRule } from "./rule.ts";
import { durationText } from "./time.ts";
import type { VmBranch } from "../../stream/vmvalue.ts";

const REQUESTS: Readonly<Record<number, string>> = {
  0: "GET_STATUS",
  1: "CLEAR_FEATURE",
  3: "SET_FEATURE",
  5: "SET_ADDRESS",
  6: "GET_DESCRIPTOR",
  7: "SET_DESCRIPTOR",
  8: "GET_CONFIGURATION",
  9: "SET_CONFIGURATION",
  10: "GET_INTERFACE",
  11: "SET_INTERFACE",
  12: "SYNCH_FRAME",
  0x30: "SET_SEL",
  0x31: "SET_ISOCH_DELAY",
};
const DESCRIPTORS = ["", "device", "configuration", "string", "interface", "endpoint", "device qualifier"];
const RECIPIENTS = ["device", "interface", "endpoint", "other"];
const KINDS = ["", "class ", "vendor ", "reserved "];

/** A setup packet: bmRequestType bRequest wValue wIndex wLength, little-endian. */
function setupText(packet: Uint8Array): string {
  const view = new DataView(packet.buffer, packet.byteOffset, 8);
  const [type, request] = packet;
  const [value, index, length] = [2, 4, 6].map((at) => view.getUint16(at, true));
  const kind = type >> 5 & 3;
  const name = kind === 0 ? REQUESTS[request] ?? `request ${request}` : `${KINDS[kind]}request ${request}`;
  const to = RECIPIENTS[type & 31] ?? `recipient ${type & 31}`;
  const descriptor = kind === 0 && (request === 6 || request === 7)
    ? ` ${DESCRIPTORS[value >> 8] || `type ${value >> 8}`} ${value & 0xff}`
    : ` value ${value}`;
  return `${name}${descriptor}, ${to} ${index}, ${length} bytes ${type & 0x80 ? "to the host" : "to the device"}`;
}

function setup(branch: VmBranch): Meaning | undefined {
  if (branch.children.length !== 8) return undefined;
  const packet = new Uint8Array(8);
  for (const [i, child] of branch.children.entries()) {
    if (child.kind !== "leaf" || typeof child.value !== "number") return undefined;
    packet[i] = child.value;
  }
  const text = packet.toHex().replace(/..(?=.)/g, "$& ");
  return packet.some((byte) => byte !== 0) ? { text, meaning: setupText(packet) } : { text };
}

const DEVICE: Record<string, Say> = {
  addr: number((value) => value === 0 ? { meaning: "no address yet" } : undefined),
  state: choice({ 0: "not attached", 1: "attached", 3: "default", 6: "suspended" }),
  remote_wakeup: either("may wake the host"),
  setup_state: choice(["idle", "setup", "data", "acknowledge", "parameters"]),
};

const HUB_STATUS = "0 CONNECTION, 1 ENABLE, 2 SUSPEND, 3 OVERCURRENT, 4 RESET, 8 POWER, 9 LOW_SPEED, 10 HIGH_SPEED, " +
  "11 TEST, 12 INDICATOR";

const IMOD_TICK_NS = 250n;
const LINK_STATES: readonly (string | undefined)[] =
  ("U0,U1,U2,U3,Disabled,RxDetect,Inactive,Polling,Recovery,Hot Reset,Compliance,Test,,,,Resume").split(",");
const SPEEDS = ["", "full-speed", "low-speed", "high-speed", "super-speed"];
const PORTSC_LOW = bits("0 CCS, 1 PED, 3 OCA, 4 PR, 9 PP");
const PORTSC_HIGH = bits(
  "16 LWS, 17 CSC, 18 PEC, 19 WRC, 20 OCC, 21 PRC, 22 PLC, 23 CEC, 24 CAS, 25 WCE, 26 WDE, " +
    "27 WOE, 30 DR, 31 WPR",
);

function xhciPort(value: number): string {
  return [
    bitNames(value & 0x1b, PORTSC_LOW),
    LINK_STATES[value >> 5 & 15] || `PLS ${value >> 5 & 15}`,
    bitNames(value & 0x200, PORTSC_LOW),
    SPEEDS[value >> 10 & 15] ?? `speed ${value >> 10 & 15}`,
    bitNames((value & ~0xffff) >>> 0, PORTSC_HIGH),
  ].filter((word) => word !== "").join(" ");
}

const EHCI_STATUS = "0 USBINT, 1 USBERRINT, 2 PCD, 3 FLR, 4 HSE, 5 IAA, 12 HCHalted, 13 Reclamation, 14 PSS, 15 ASS";
const EHCI_COMMAND = bits("0 RS, 1 HCRESET, 4 PSE, 5 ASE, 6 IAAD, 7 LHCR, 11 ASPME");
const EHCI_PORT = bits(
  "0 CCS, 1 CSC, 2 PED, 3 PEDC, 4 OCA, 5 OCC, 6 FPR, 7 SUSPEND, 8 PR, 12 PP, 13 OWNER, 20 WKCNNT, " +
    "21 WKDSCNNT, 22 WKOC",
);
/** Line status, indicators and test: numbers among those bits. */
const EHCI_PORT_NUMBERS = 0xfcc00;

const EHCI: Record<string, Say> = {
  usbcmd: register("USBCMD", (value) => bitNames((value & ~0xff030c) >>> 0, EHCI_COMMAND)),
  usbsts: flags(EHCI_STATUS, "USBSTS"),
  usbsts_pending: flags(EHCI_STATUS),
  usbintr: flags("0 USBINT, 1 USBERRINT, 2 PCD, 3 FLR, 4 HSE, 5 IAA", "USBINTR"),
  frindex: register("FRINDEX", (value) => `frame ${value >> 3 & 0x7ff}, microframe ${value & 7}`),
  periodiclistbase: register("PERIODICLISTBASE"),
  asynclistaddr: register("ASYNCLISTADDR"),
  configflag: number((value) => ({
    symbol: "CONFIGFLAG",
    meaning: value & 1 ? "ports are this controller's" : "ports are the companions'",
  })),
  "portsc[]": register("PORTSC", (value) => bitNames((value & ~EHCI_PORT_NUMBERS) >>> 0, EHCI_PORT)),
};

const OHCI_INTERRUPTS = "0 SO, 1 WDH, 2 SF, 3 RD, 4 UE, 5 FNO, 6 RHSC, 30 OC, 31 MIE";
const OHCI: Record<string, Say> = {
  ctl: register("HcControl", (value) => {
    const state = ["reset", "resume", "operational", "suspend"][value >> 6 & 3];
    return `${state} ${bitNames(value & 0x73c, bits("2 PLE, 3 IE, 4 CLE, 5 BLE, 8 IR, 9 RWC, 10 RWE"))}`.trimEnd();
  }),
  status: flags("0 HCR, 1 CLF, 2 BLF, 3 OCR", "HcCommandStatus"),
  intr_status: flags(OHCI_INTERRUPTS, "HcInterruptStatus"),
  intr: flags(OHCI_INTERRUPTS, "HcInterruptEnable"),
  "rhport[].ctrl": flags(
    "0 CCS, 1 PES, 2 PSS, 3 POCI, 4 PRS, 8 PPS, 9 LSDA, 16 CSC, 17 PESC, 18 PSSC, 19 OCIC, 20 PRSC",
    "HcRhPortStatus",
  ),
};

/** See the module. */
export const USB: readonly SymbolRule[] = [
  {
    device: /^usb-/,
    field: /^(.+\.)?setup_buf$/,
    describe: () => undefined,
    whole: (_match, _device, branch) => setup(branch),
  },
  ...fieldTable(/^usb-/, {
    ...within("dev.", DEVICE),
    "ports[].wPortStatus": flags(HUB_STATUS),
    "ports[].wPortChange": flags("0 CONNECTION, 1 ENABLE, 2 SUSPEND, 3 OVERCURRENT, 4 RESET"),
    "hid.protocol": choice(["boot protocol", "report protocol"]),
    "hid.idle": number((value) =>
      value === 0 ? { meaning: "reports changes only" } : { meaning: `reports every ${4 * value} ms` }
    ),
    "hid.kbd.leds": flags("0 NUM_LOCK, 1 CAPS_LOCK, 2 SCROLL_LOCK, 3 COMPOSE, 4 KANA"),
  }),
  ...fieldTable(/uhci$/, {
    "ports[].ctrl": number((value, asked) =>
      register(
        `PORTSC${asked.index[0] + 1}`,
        () =>
          bitNames(
            value & ~0x80,
            bits("0 CCS, 1 CSC, 2 PED, 3 PEDC, 4 LINE_D+, 5 LINE_D-, 6 RD, 8 LSDA, 9 PR, 12 SUSPEND"),
          ),
      )(asked)
    ),
    cmd: flags("0 RS, 1 HCRESET, 2 GRESET, 3 EGSM, 4 FGR, 5 SWDBG, 6 CF, 7 MAXP", "USBCMD"),
    status: flags("0 USBINT, 1 USBERR, 2 RD, 3 HSERR, 4 HCPERR, 5 HCHALTED", "USBSTS"),
    intr: flags("0 TIMEOUT_CRC, 1 RESUME, 2 IOC, 3 SHORT_PACKET", "USBINTR"),
    frnum: number((value) => ({ symbol: "FRNUM", meaning: `frame ${value & 0x7ff}` })),
    fl_base_addr: register("FRBASEADD"),
    sof_timing: number(() => ({ symbol: "SOFMOD" })),
  }),
  ...fieldTable(/ehci$/, within("ehci.", EHCI)),
  ...fieldTable(/ohci$/, { ...within("state.", OHCI), ...OHCI }),
  ...fieldTable(/xhci$/, {
    ...within("xhci.", {
      "ports[].portsc": register("PORTSC", xhciPort),
      usbcmd: flags("0 R/S, 1 HCRST, 2 INTE, 3 HSEE, 7 LHCRST, 8 CSS, 9 CRS, 10 EWE, 11 EU3S", "USBCMD"),
      usbsts: flags("0 HCH, 2 HSE, 3 EINT, 4 PCD, 8 SSS, 9 RSS, 10 SRE, 11 CNR, 12 HCE", "USBSTS"),
      crcr_low: register("CRCR", (value) => bitNames(value & 15, bits("0 RCS, 1 CS, 2 CA, 3 CRR"))),
      dcbaap_low: register("DCBAAP"),
      config: number((value) => ({ symbol: "CONFIG", meaning: `${value & 0xff} slots enabled` })),
      "intr[].iman": flags("0 IP, 1 IE", "IMAN"),
      "intr[].imod": number((value) => ({
        symbol: "IMOD",
        ...(value & 0xffff
          ? { meaning: `an interrupt every ${durationText(BigInt(value & 0xffff) * IMOD_TICK_NS)}` }
          : {}),
      })),
    }),
  }),
];
