/**
 * Names of PCI devices that QEMU makes, of classes, and of the bits of command and status.
 *
 * Source: QEMU docs/specs/pci-ids.rst, include/hw/pci/pci_ids.h, pci.h, hw/pci/pci.c (pci_class_descriptions),
 * include/standard-headers/linux/pci_regs.h and virtio_ids.h; classes that QEMU has no name for are not named.
 * @module
 */
import { bits } from "./rule.ts";

/** vendor:device -> what it is. */
const DEVICES: ReadonlyMap<string, string> = table(`
  1000:0012 LSI 53C895A
  1000:0060 MegaRAID SAS 1078
  1011:0019 DEC 21143
  1013:00b8 Cirrus CLGD 5446
  1022:2000 AMD PCnet
  1022:2020 AMD 53C974
  1033:0194 NEC uPD720200 xHCI
  1095:0646 CMD646 IDE
  108e:1000 Sun EBus
  108e:1001 Sun HME
  108e:5000 Sun Simba bridge
  108e:a000 Sun Sabre host bridge
  10ec:8139 RTL8139
  11ab:4620 GT-64120
  1234:1111 QEMU VGA
  1234:11e8 edu
  1274:5000 ES1370
  15ad:0405 VMware SVGA II
  15ad:07b0 VMware VMXNET3
  15ad:07c0 VMware PVSCSI
  1af4:1000 virtio-net, transitional
  1af4:1001 virtio-blk, transitional
  1af4:1002 virtio-balloon, transitional
  1af4:1003 virtio-console, transitional
  1af4:1004 virtio-scsi, transitional
  1af4:1005 virtio-rng, transitional
  1af4:1009 virtio-9p, transitional
  1af4:1012 virtio-vsock, transitional
  1af4:1041 virtio-net
  1af4:1042 virtio-blk
  1af4:1043 virtio-console
  1af4:1044 virtio-rng
  1af4:1045 virtio-balloon
  1af4:1048 virtio-scsi
  1af4:1049 virtio-9p
  1af4:1050 virtio-gpu
  1af4:1052 virtio-input
  1af4:1053 virtio-vsock
  1af4:1054 virtio-crypto
  1af4:1057 virtio-iommu
  1af4:1058 virtio-mem
  1af4:1059 virtio-sound
  1af4:105a virtio-fs
  1af4:105b virtio-pmem
  1af4:1110 ivshmem
  1b36:0001 PCI-PCI bridge
  1b36:0002 pci-serial
  1b36:0003 pci-serial-2x
  1b36:0004 pci-serial-4x
  1b36:0005 pci-testdev
  1b36:0006 rocker
  1b36:0007 sdhci-pci
  1b36:0008 PCIe host bridge
  1b36:0009 pxb
  1b36:000a PCI-PCI bridge (multiseat)
  1b36:000b pxb-pcie
  1b36:000c pcie-root-port
  1b36:000d qemu-xhci
  1b36:000e pcie-pci-bridge
  1b36:0010 nvme
  1b36:0011 pvpanic-pci
  1b36:0012 acpi-erst
  1b36:0013 ufs
  1b36:0014 riscv-iommu-pci
  1b36:0100 QXL
  8086:100e e1000 82540EM
  8086:10c9 igb 82576
  8086:10d3 e1000e 82574L
  8086:1237 i440FX host bridge
  8086:2415 AC97 82801AA
  8086:244e i82801b11 bridge
  8086:25ab i6300ESB watchdog
  8086:2668 intel-hda ICH6
  8086:2918 ICH9 LPC
  8086:2922 ICH9 AHCI
  8086:2930 ICH9 SMBus
  8086:2934 ICH9 UHCI 1
  8086:2935 ICH9 UHCI 2
  8086:2936 ICH9 UHCI 3
  8086:293a ICH9 EHCI
  8086:293c ICH9 EHCI 2
  8086:293e intel-hda ICH9
  8086:29c0 Q35 MCH
  8086:3420 ioh3420 root port
  8086:7000 PIIX3 ISA bridge
  8086:7010 PIIX3 IDE
  8086:7020 PIIX3 UHCI
  8086:7110 PIIX4 ISA bridge
  8086:7111 PIIX4 IDE
  8086:7112 PIIX4 UHCI
  8086:7113 PIIX4 PM
`);

/** Class and subclass -> name, in the words of `info pci`. */
const CLASSES: ReadonlyMap<string, string> = table(`
  0001 VGA controller
  0100 SCSI controller
  0101 IDE controller
  0102 Floppy controller
  0103 IPI controller
  0104 RAID controller
  0106 SATA controller
  0107 SAS controller
  0180 Storage controller
  0200 Ethernet controller
  0201 Token Ring controller
  0202 FDDI controller
  0203 ATM controller
  0280 Network controller
  0300 VGA controller
  0301 XGA controller
  0302 3D controller
  0380 Display controller
  0400 Video controller
  0401 Audio controller
  0402 Phone
  0403 Audio controller
  0480 Multimedia controller
  0500 RAM controller
  0501 Flash controller
  0580 Memory controller
  0600 Host bridge
  0601 ISA bridge
  0602 EISA bridge
  0603 MC bridge
  0604 PCI bridge
  0605 PCMCIA bridge
  0606 NUBUS bridge
  0607 CARDBUS bridge
  0608 RACEWAY bridge
  0680 Bridge
  0700 Serial port
  0701 Parallel port
  0800 Interrupt controller
  0801 DMA controller
  0802 Timer
  0803 RTC
  0900 Keyboard
  0901 Pen
  0902 Mouse
  0c00 Firewire controller
  0c01 Access bus controller
  0c02 SSA controller
  0c03 USB controller
  0c04 Fibre channel controller
  0c05 SMBus
`);

/** PCI_COMMAND. */
export const COMMAND = bits(
  "0 IO, 1 MEMORY, 2 MASTER, 3 SPECIAL, 4 INVALIDATE, 5 VGA_PALETTE, 6 PARITY, 7 WAIT, 8 SERR, 9 FAST_BACK, 10 INTX_DISABLE",
);
/** PCI_STATUS; bits 10..9 are DEVSEL. */
export const STATUS = bits(
  "0 IMM_READY, 3 INTERRUPT, 4 CAP_LIST, 5 66MHZ, 6 UDF, 7 FAST_BACK, 8 PARITY, 9 DEVSEL_MEDIUM, 10 DEVSEL_SLOW, " +
    "11 SIG_TARGET_ABORT, 12 REC_TARGET_ABORT, 13 REC_MASTER_ABORT, 14 SIG_SYSTEM_ERROR, 15 DETECTED_PARITY",
);
/** PCI_BRIDGE_CONTROL. */
export const BRIDGE_CONTROL = bits(
  "0 PARITY, 1 SERR, 2 ISA, 3 VGA, 4 VGA_16BIT, 5 MASTER_ABORT, 6 BUS_RESET, 7 FAST_BACK, 8 PRI_DISCARD, 9 SEC_DISCARD, " +
    "10 DISCARD_STATUS, 11 DISCARD_SERR",
);

/** "1af4:1041". */
export function idText(vendor: number, device: number): string {
  return `${hex4(vendor)}:${hex4(device)}`;
}

/** What a device is; undefined for one that QEMU does not make. */
export function deviceName(vendor: number, device: number): string | undefined {
  return DEVICES.get(idText(vendor, device));
}

/** What a class is. @param value class and subclass, 0x0200 */
export function className(value: number): string | undefined {
  return CLASSES.get(hex4(value));
}

function hex4(value: number): string {
  return value.toString(16).padStart(4, "0");
}

function table(text: string): ReadonlyMap<string, string> {
  return new Map(
    text.trim().split("\n").map((line) => {
      const [id, ...name] = line.trim().split(" ");
      return [id, name.join(" ")];
    }),
  );
}
