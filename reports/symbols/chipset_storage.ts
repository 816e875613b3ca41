/**
 * Disk controllers: floppy, IDE, AHCI.
 *
 *     status          0x50     DSC DRDY          select   0xa0   drive 0, CHS
 *     port_regs.cmd   PxCMD 0x00004017           ST SUD POD FRE FR
 *     identify_data   QEMU HARDDISK              serial QM00001, 20480 sectors
 *
 * Source: QEMU hw/block/fdc.c, hw/ide/ide-internal.h, hw/ide/core.c (ide_identify, padstr), include/hw/ide/pci.h,
 * hw/ide/ahci-internal.h; ATA8-ACS, Serial ATA AHCI 1.3.1 and Intel 82078 data sheets.
 * @module
 */
import {
  type Asked,
  beside,
  bytes,
  choice,
  either,
  fieldTable,
  flags,
  number,
  register,
  type Say,
  within,
} from "./chipset_rule.ts";
import { bitNames, bits, type Part, type SymbolRule } from "./rule.ts";

const STATUS = bits("0 ERR, 1 IDX, 2 CORR, 3 DRQ, 4 DSC, 5 DF, 6 DRDY, 7 BSY");
const ERROR = bits("0 AMNF, 1 TK0NF, 2 ABRT, 3 MCR, 4 IDNF, 5 MC, 6 UNC, 7 ICRC");
const SENSE_KEYS =
  ("no sense,recovered error,not ready,medium error,hardware error,illegal request,unit attention,data protect," +
    "blank check,vendor specific,copy aborted,aborted command").split(",");
const IDENTIFY_BYTES = 512;
const LBA = 0x40;

/** What a drive that was identified is; a register means this or that by it. */
function kindOf({ device, inside }: Asked): "disk" | "packet" | undefined {
  const identify = device.value(`${inside}identify_data`);
  if (!(identify instanceof Uint8Array) || identify.length !== IDENTIFY_BYTES) return undefined;
  return identify[1] & 0x80 ? "packet" : "disk";
}

/** ATAPI has the sense key in the upper half. */
function errorText(value: number, packet: boolean): string {
  if (!packet) return bitNames(value, ERROR);
  const key = SENSE_KEYS[value >> 4] ?? `sense key ${value >> 4}`;
  return [value >> 4 ? key : "", bitNames(value & 15, bits("0 ILI, 1 EOM, 2 ABRT"))].filter((word) => word !== "").join(
    " ",
  );
}

/** The sector the task file names, as far as `select` says how. */
function sectorText(sector: number, low: number, high: number, select: number): string {
  return select & LBA
    ? `LBA ${(select & 15) * 0x1000000 + high * 0x10000 + low * 0x100 + sector}`
    : `cylinder ${high * 0x100 + low}, head ${select & 15}, sector ${sector}`;
}

const IDENTIFY = bytes((data) => {
  if (data.length !== IDENTIFY_BYTES) return undefined;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const text = (name: string, word: number, words: number): Part => {
    let value = "";
    // two characters to a word, the first one in its upper half
    for (let at = 2 * word; at < 2 * (word + words); at++) value += String.fromCharCode(data[at ^ 1]);
    const plain = JSON.stringify(value.replace(/[ \0]+$/, "").replace(/^ +/, ""));
    return { name, text: plain, offset: 2 * word, length: 2 * words };
  };
  const parts = [text("serial number", 10, 10), text("firmware", 23, 4), text("model", 27, 20)];
  if (data[1] & 0x80) return { text: parts[2].text, meaning: "ATAPI", parts };
  const long = (view.getUint16(2 * 83, true) & 1 << 10) !== 0;
  const sectors: Part = long
    ? { name: "sectors", value: view.getBigUint64(2 * 100, true), offset: 2 * 100, length: 8 }
    : { name: "sectors", value: view.getUint32(2 * 60, true), offset: 2 * 60, length: 4 };
  return { text: parts[2].text, meaning: "disk", parts: [...parts, sectors] };
});

const DRIVE: Record<string, Say> = {
  identify_set: either("identify_data holds", "identify_data is not made yet"),
  identify_data: IDENTIFY,
  error: register(undefined, (value, asked) => {
    const kind = kindOf(asked);
    return kind && errorText(value, kind === "packet");
  }),
  status: register(undefined, (value) => bitNames(value, STATUS)),
  select: register(undefined, (value) => `drive ${value >> 4 & 1}, ${value & LBA ? "LBA" : "CHS"}`),
  sector: register(undefined, (value, asked) => {
    const [low, high, select] = ["lcyl", "hcyl", "select"].map((name) => beside(asked, name));
    if (low === undefined || high === undefined || select === undefined || kindOf(asked) !== "disk") return undefined;
    // both drives of a bus take what is written; it is meant for one
    if ((select >> 4 & 1) !== asked.index.at(-1)) return undefined;
    return sectorText(value, low, high, select);
  }),
  lcyl: register(undefined),
  hcyl: register(undefined),
  lba48: either("a 48-bit command"),
  sense_key: choice(SENSE_KEYS),
  asc: register(undefined),
};

const BUS: Record<string, Say> = {
  // bit 3 is set by custom
  cmd: register(undefined, (value) => bitNames(value & ~8, bits("1 nIEN, 2 SRST, 7 HOB"))),
  unit: number((value) => ({ meaning: `drive ${value} is selected` })),
};

const BMDMA_STATUS = "0 ACTIVE, 1 ERROR, 2 INTERRUPT, 5 DRIVE0_DMA, 6 DRIVE1_DMA";
const BMDMA: Record<string, Say> = {
  cmd: register(
    undefined,
    (value) => `${value & 1 ? "started" : "stopped"}, ${value & 8 ? "to memory" : "from memory"}`,
  ),
  migration_compat_status: flags(BMDMA_STATUS),
  status: flags(BMDMA_STATUS),
  addr: register("PRD table"),
};

const SIGNATURE_ATAPI = 0xeb140101;
const SIGNATURES: Readonly<Record<number, string>> = {
  0x101: "ATA disk",
  [SIGNATURE_ATAPI]: "ATAPI",
  0x96690101: "port multiplier",
  0xffff0101: "no signature yet",
};
const PORT_INTERRUPTS =
  "0 DHRS, 1 PSS, 2 DSS, 3 SDBS, 4 UFS, 5 DPS, 6 PCS, 7 DMPS, 22 PRCS, 23 IPMS, 24 OFS, 26 INFS, " +
  "27 IFS, 28 HBDS, 29 HBFS, 30 TFES, 31 CPDS";

function slots(value: number): string {
  const set = Array.from({ length: 32 }, (_, slot) => slot).filter((slot) => value >>> slot & 1);
  return set.length > 0 ? `slot ${set.join(", ")}` : "";
}

const PORT: Record<string, Say> = {
  ...within("port.", BUS),
  ...within("port.ifs[].", DRIVE),
  ...within("port_regs.", {
    lst_addr: register("PxCLB"),
    lst_addr_hi: register("PxCLBU"),
    fis_addr: register("PxFB"),
    fis_addr_hi: register("PxFBU"),
    irq_stat: flags(PORT_INTERRUPTS, "PxIS"),
    irq_mask: flags(PORT_INTERRUPTS, "PxIE"),
    cmd: flags("0 ST, 1 SUD, 2 POD, 3 CLO, 4 FRE, 14 FR, 15 CR, 20 CPD, 24 ATAPI, 28 ICC_ACTIVE", "PxCMD"),
    tfdata: register("PxTFD", (value, asked) => {
      const error = errorText(value >> 8 & 0xff, beside(asked, "sig") === SIGNATURE_ATAPI);
      return bitNames(value & 0xff, STATUS) + (error ? `, error ${error}` : "");
    }),
    sig: register("PxSIG", (value) => SIGNATURES[value]),
    // what the guest reads of it is made up when it does
    scr_stat: register("PxSSTS"),
    scr_ctl: register("PxSCTL"),
    scr_err: register("PxSERR"),
    scr_act: register("PxSACT", slots),
    cmd_issue: register("PxCI", slots),
  }),
  finished: register(undefined, slots),
};

const CAP_BITS = bits("14 SSC, 18 SAM, 24 SCLO, 27 SSS, 30 SNCQ, 31 S64A");
/** Ports, command slots and speed. */
const CAP_NUMBERS = 0xf01f1f;

const HOST: Record<string, Say> = {
  "control_regs.cap": register("CAP", (value) => {
    const names = bitNames((value & ~CAP_NUMBERS) >>> 0, CAP_BITS);
    return `${(value & 31) + 1} ports, ${(value >> 8 & 31) + 1} command slots, ${names}`.replace(/, $/, "");
  }),
  "control_regs.ghc": flags("0 HR, 1 IE, 31 AE", "GHC"),
  "control_regs.irqstatus": register("IS"),
  "control_regs.impl": register("PI"),
  "control_regs.version": register("VS", (value) => `AHCI ${value >>> 16}.${value >> 8 & 0xff}`),
};
const RATES = ["500 kbps", "300 kbps", "250 kbps", "1 Mbps"];
const FLOPPY: Record<string, Say> = {
  sra: flags("0 DIR, 1 nWP, 2 nINDX, 3 HDSEL, 4 nTRK0, 5 STEP, 6 nDRV2, 7 INTPEND", "SRA"),
  // the two highest bits always read 1
  srb: register("SRB", (value) => bitNames(value & 0x3f, bits("0 MTR0, 1 MTR1, 2 WGATE, 3 RDATA, 4 WDATA, 5 DR0"))),
  dor_vmstate: register("DOR", (value) => {
    const names = bitNames(value & ~3, bits("2 nRESET, 3 DMAEN, 4 MOTEN0, 5 MOTEN1, 6 MOTEN2, 7 MOTEN3"));
    return `drive ${value & 3} ${names}`.trimEnd();
  }),
  tdr: register("TDR"),
  dsr: register("DSR", (value) => RATES[value & 3]),
  msr: flags("0 DRV0BUSY, 1 DRV1BUSY, 2 DRV2BUSY, 3 DRV3BUSY, 4 CMDBUSY, 5 NONDMA, 6 DIO, 7 RQM", "MSR"),
  status0: register("ST0", (value) => {
    const ended = ["", "abnormal", "invalid command", "ready changed"][value >> 6 & 3];
    return [`drive ${value & 3}`, bitNames(value & 0x3c, bits("2 HEAD, 3 NR, 4 EQPMT, 5 SEEK")), ended]
      .filter((word) => word !== "").join(" ");
  }),
  status1: flags("0 MA, 1 NW, 2 ND, 4 OR, 5 DE, 7 EC", "ST1"),
  status2: flags("0 MD, 1 BC, 2 SNS, 3 SEH, 4 WC, 5 DD, 6 CM", "ST2"),
  data_state: flags("0 MULTI, 1 FORMAT"),
  data_dir: choice(["write", "read", "scan equal", "scan low or equal", "scan high or equal", "verify"]),
  config: register(undefined, (value) => {
    const names = bitNames(value & 0x70, bits("4 POLL_OFF, 5 FIFO_OFF, 6 EIS"));
    return `${names} threshold ${(value & 15) + 1}`.trimStart();
  }),
  "drives[].fdrive/media_rate.media_rate": choice(RATES),
};

/** See the module. */
export const STORAGE: readonly SymbolRule[] = [
  ...fieldTable(/^ide$|^isa-ide$|-ide$|^ide-mmio$/, {
    ...within("bmdma[].", BMDMA),
    ...within("bmdma[].ide bmdma/status.", BMDMA),
    ...within("bus[].", BUS),
    ...within("bus.", BUS),
    ...within("bus[].ifs[].", DRIVE),
    ...within("bus.ifs[].", DRIVE),
  }),
  ...fieldTable(/^ich9_ahci$|^sysbus-ahci$/, {
    ...within("ahci.", HOST),
    ...within("ahci.dev[].", PORT),
    "ahci.dev[].ncq_tfs[].cmd": choice({ 0x60: "READ FPDMA QUEUED", 0x61: "WRITE FPDMA QUEUED" }),
  }),
  ...fieldTable(/fdc$/, within("state.", FLOPPY)),
];
