/**
 * Devices of a machine that are on no bus, and those whose state is registers: each family has a module beside this one.
 * Here: the run state, the firmware's configuration interface, ACPI's power management.
 *
 *     runstate   "paused"    the guest stays stopped after the load
 *     cur_entry  0x0019      FILE_DIR
 *     pm1.cnt    PM1_CNT 0x0001    SCI_EN
 *
 * Source: QEMU migration/global_state.c, include/standard-headers/linux/qemu_fw_cfg.h, hw/acpi/core.c, include/hw/acpi/acpi.h,
 * acpi_dev_interface.h, hw/acpi/ich9_tco.c, hw/i2c/pm_smbus.c; ACPI 6.5 chapter 4.
 * @module
 */
import { DISPLAY } from "./chipset_display.ts";
import { INPUT } from "./chipset_input.ts";
import { NETWORK } from "./chipset_net.ts";
import { PC_CHIPS } from "./chipset_pc.ts";
import { RTC } from "./chipset_rtc.ts";
import { bytes, either, fieldTable, flags, number, register, type Say, wide, within } from "./chipset_rule.ts";
import { SERIAL } from "./chipset_serial.ts";
import { STORAGE } from "./chipset_storage.ts";
import { USB } from "./chipset_usb.ts";
import { bitNames, bits, type SymbolRule } from "./rule.ts";
import { virtualTime } from "./time.ts";

/** What becomes of a guest that was in this state; migration/migration.c (process_incoming_migration_bh). */
const RUN_STATES: Readonly<Record<string, string>> = {
  running: "the guest goes on after the load",
  paused: "the guest stays stopped after the load",
  suspended: "the guest sleeps, until it is woken",
  prelaunch: "the guest had not started",
  postmigrate: "the guest had been migrated before",
  "finish-migrate": "the guest had been migrated before",
  shutdown: "the guest had shut down",
  "internal-error": "the guest had stopped at an error of KVM or QEMU",
  "io-error": "the guest had stopped at an error of a disk",
  "guest-panicked": "the guest had panicked",
  watchdog: "the guest's watchdog had fired",
  "save-vm": "the guest was being saved",
};

const runState = bytes((value) => {
  const end = value.indexOf(0);
  if (end <= 0) return undefined;
  const name = String.fromCharCode(...value.subarray(0, Math.min(end, 100)));
  if (!/^[\w-]+$/.test(name)) return undefined;
  const meaning = Object.hasOwn(RUN_STATES, name) ? RUN_STATES[name] : undefined;
  return { text: JSON.stringify(name), ...(meaning ? { meaning } : {}) };
});

const FW_CFG =
  ("SIGNATURE,ID,UUID,RAM_SIZE,NOGRAPHIC,NB_CPUS,MACHINE_ID,KERNEL_ADDR,KERNEL_SIZE,KERNEL_CMDLINE,INITRD_ADDR," +
    "INITRD_SIZE,BOOT_DEVICE,NUMA,BOOT_MENU,MAX_CPUS,KERNEL_ENTRY,KERNEL_DATA,INITRD_DATA,CMDLINE_ADDR,CMDLINE_SIZE," +
    "CMDLINE_DATA,SETUP_ADDR,SETUP_SIZE,SETUP_DATA,FILE_DIR").split(",");
const FW_CFG_FILE_FIRST = 0x20;

function entry(value: number): string {
  if (value === 0xffff) return "none";
  const key = value & 0x3fff;
  const name = value & 0x8000 ? `the architecture's own ${key}` : FW_CFG[key] ??
    (key >= FW_CFG_FILE_FIRST ? `file ${key - FW_CFG_FILE_FIRST}` : `entry ${key}`);
  return value & 0x4000 ? `${name}, for writing` : name;
}

const PM_TIMER_HZ = 3579545n;
const PM1 = "0 TMR, 4 BM, 5 GBL, 8 PWRBTN, 9 SLPBTN, 10 RTC, 14 PCIEXP_WAKE, 15 WAK";
const PM1_CNT = bits("0 SCI_EN, 1 BM_RLD, 2 GBL_RLS, 13 SLP_EN");
const GPE = "1 PCI_HOTPLUG, 2 CPU_HOTPLUG, 3 MEMORY_HOTPLUG, 4 NVDIMM_HOTPLUG, 5 VMGENID, 6 POWER_DOWN";

/** Under "ar." in a PIIX4, "acpi_regs." in an ICH9. */
const ACPI: Record<string, Say> = {
  "pm1.evt.sts": flags(PM1, "PM1_STS"),
  "pm1.evt.en": flags(PM1, "PM1_EN"),
  "pm1.cnt.cnt": register("PM1_CNT", (value) => {
    const sleep = value >> 10 & 7;
    return [bitNames(value & ~0x1c00, PM1_CNT), sleep ? `SLP_TYP ${sleep}` : ""].filter((word) => word !== "").join(
      " ",
    );
  }),
  // ticks of the timer, and the timer is QEMU_CLOCK_VIRTUAL
  "tmr.overflow_time": wide((value, { device }) =>
    value >> 62n ? undefined : virtualTime(value * 1_000_000_000n / PM_TIMER_HZ, device)
  ),
};

/** The first byte of a block of general-purpose events has QEMU's own. */
function gpe(symbol: string): Say {
  const known = flags(GPE, `${symbol}0`);
  return (asked) => asked.index[0] === 0 ? known(asked) : undefined;
}

const SMBUS: Record<string, Say> = {
  smb_stat: flags("0 HOST_BUSY, 1 INTR, 2 DEV_ERR, 3 BUS_ERR, 4 FAILED, 5 SMBALERT, 6 INUSE, 7 BYTE_DONE", "HST_STS"),
  smb_ctl: register("HST_CNT", (value) => {
    const kind = ["quick", "byte", "byte data", "word data", "process call", "block", "I2C read", ""][value >> 2 & 7];
    const names = bitNames(value & ~0x1c, bits("0 INTREN, 1 KILL, 5 LAST_BYTE, 6 START, 7 PEC_EN"));
    return [kind, names].filter((word) => word !== "").join(" ");
  }),
  smb_cmd: register("HST_CMD"),
  smb_addr: register("XMIT_SLVA", (value) => `address 0x${(value >> 1).toString(16)}, ${value & 1 ? "read" : "write"}`),
  smb_data0: register("HST_D0"),
  smb_data1: register("HST_D1"),
};

const TCO_TICK_NS = 600_000_000n;
const TCO: Record<string, Say> = {
  "tco.rld": register("TCO_RLD"),
  "tco.sts1": flags("1 SW_TCO_SMI, 2 TCO_INT_STS, 3 TIMEOUT", "TCO1_STS"),
  "tco.sts2": flags("1 SECOND_TO, 2 BOOT", "TCO2_STS"),
  "tco.cnt1": flags("11 TCO_TMR_HLT, 12 TCO_LOCK", "TCO1_CNT"),
  "tco.tmr": number((value) => ({
    symbol: "TCO_TMR",
    meaning: `${Number(BigInt(value) * TCO_TICK_NS) / 1e9} s`,
  })),
};

const FIRMWARE: readonly SymbolRule[] = [
  ...fieldTable(/^globalstate$/, {
    size: number((value) => ({ meaning: `the run state's name takes ${value} bytes with its NUL` })),
    runstate: runState,
    has_vm_was_suspended: either("the next field counts"),
    vm_was_suspended: either("the guest had been suspended when it was stopped"),
  }),
  ...fieldTable(/^fw_cfg$/, {
    cur_entry: register(undefined, entry),
    "fw_cfg/dma.dma_addr": wide((value) => ({ text: `0x${value.toString(16)}` })),
  }),
  ...fieldTable(/^piix4_pm$/, {
    ...within("ar.", ACPI),
    ...within("smb.", SMBUS),
    "ar.gpe.sts": flags(GPE, "GPE0_STS"),
    "ar.gpe.en": flags(GPE, "GPE0_EN"),
    "apm.apmc": register("APMC"),
    "apm.apms": register("APMS"),
  }),
  ...fieldTable(/^ICH9LPC$/, {
    ...within("pm.acpi_regs.", ACPI),
    "pm.acpi_regs.gpe.sts[]": gpe("GPE0_STS"),
    "pm.acpi_regs.gpe.en[]": gpe("GPE0_EN"),
    "pm.smi_en": flags("0 GBL_SMI_EN, 1 EOS, 5 APMC_EN, 6 SWSMI_TMR_EN, 13 TCO_EN, 14 PERIODIC_EN", "SMI_EN"),
    "pm.smi_sts": flags("5 APM_STS, 6 SWSMI_TMR_STS, 13 TCO_STS, 14 PERIODIC_STS", "SMI_STS"),
    ...within("pm.ich9_pm/tco.tco_regs.", TCO),
    "apm.apmc": register("APMC"),
    "apm.apms": register("APMS"),
  }),
  ...fieldTable(/^ich9_smb$/, within("smb.", SMBUS)),
  ...fieldTable(/^(virt_)?acpi_build$/, {
    patched: either("the guest has the tables", "the guest has not asked for the tables"),
  }),
];

/** See the module. */
export const CHIPSET: readonly SymbolRule[] = [
  ...FIRMWARE,
  ...RTC,
  ...PC_CHIPS,
  ...SERIAL,
  ...STORAGE,
  ...INPUT,
  ...NETWORK,
  ...DISPLAY,
  ...USB,
];
