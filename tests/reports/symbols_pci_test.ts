/**
 * What `inspect --device` says of PCI configuration spaces: exact lines of captures, made-up spaces, hostile bytes.
 * @module
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { openImage } from "../../containers/image.ts";
import { inspectImage } from "../../reports/inspect.ts";
import { devicesText } from "../../reports/inspect_detail.ts";
import { describeDevice } from "../../reports/symbols/describe.ts";
import type { VmLeaf, VmValue } from "../../stream/vmvalue.ts";
import { loadFixture } from "../fixtures.ts";

/** Lines of a device of a capture, without what comes before the first that matches `from`, up to `count` of them. */
async function lines(capture: string, device: string, from: RegExp, count: number): Promise<string[]> {
  await using image = await openImage(await loadFixture(capture));
  const all = devicesText(await inspectImage(image, { device, sections: false })).split("\n");
  const first = all.findIndex((line) => from.test(line));
  assert(first >= 0, all.join("\n"));
  return all.slice(first, first + count);
}

function leaf(name: string, type: string, value: VmValue): VmLeaf {
  return { kind: "leaf", name, type, offset: 0, length: 0, value };
}

/** Lines of a device that has one field. */
function said(idstr: string, name: string, type: string, value: VmValue): string[] {
  const described = describeDevice(idstr, [leaf(name, type, value)]);
  const device = { name: idstr, instanceId: 0, version: 1, offset: 0, bytes: 0, described };
  return devicesText({ devices: [device] } as unknown as Parameters<typeof devicesText>[0]).trimEnd().split("\n").slice(
    1,
  );
}

/** A space of `length` bytes with some set. */
function space(length: number, ...set: readonly (readonly [at: number, ...bytes: number[]])[]): Uint8Array {
  const bytes = new Uint8Array(length);
  for (const [at, ...values] of set) bytes.set(values, at);
  return bytes;
}

Deno.test("an AHCI controller that firmware has set up", async () => {
  assert.deepEqual(await lines("q35-virtio-devices", "ich9_ahci", /config\[0\]/, 18), [
    "    config[0]                256 bytes  8086:2922 ICH9 AHCI, SATA controller",
    "      id                     8086:2922  ICH9 AHCI",
    "      command                0x0107  IO MEMORY MASTER SERR",
    "      status                 0x0010  CAP_LIST",
    "      revision               0x02",
    "      class                  0x010601  SATA controller",
    "      header_type            0x80  endpoint, multifunction",
    "      bar[4]                 I/O at 0xc1c0",
    "      bar[5]                 32 bit memory at 0xfebff000",
    "      subsystem              1af4:1100",
    "      interrupt_line         10",
    "      interrupt_pin          1  INTA",
    "      capability[0x80]       id 0x05: MSI, control 0x0080: disabled, 64 bit, 1 of 1 vectors, " +
    "address 0x00000000, data 0x0000",
    "      capability[0xa8]       id 0x12: SATA",
    "    irq_state",
    "      0..3                   0",
    "  ahci",
    "    dev",
  ]);
});

Deno.test("chipsets: routing of interrupts, shadowed memory, where ACPI's registers are", async () => {
  assert.deepEqual(await lines("q35-virtio-devices", "ICH9LPC", /pmbase/, 11), [
    "      pmbase                 0x00000601  0x600",
    "      acpi_control           0x80  ACPI_EN",
    "      pirqa                  0x0a  IRQ 10",
    "      pirqb                  0x0a  IRQ 10",
    "      pirqc                  0x0b  IRQ 11",
    "      pirqd                  0x0b  IRQ 11",
    "      pirqe                  0x0a  IRQ 10",
    "      pirqf                  0x0a  IRQ 10",
    "      pirqg                  0x0b  IRQ 11",
    "      pirqh                  0x0b  IRQ 11",
    "      rcba                   0xfed1c001  0xfed1c000",
  ]);
  assert.deepEqual(await lines("q35-virtio-devices", "mch", /pciexbar/, 4), [
    "      pciexbar               0x00000000b0000001  256 MiB at 0xb0000000",
    "      pam0                   0x10  0xf0000 RAM read-only",
    "      pam1                   0x11  0xc0000 RAM read-only, 0xc4000 RAM read-only",
    "      pam2                   0x11  0xc8000 RAM read-only, 0xcc000 RAM read-only",
  ]);
  assert.deepEqual(await lines("pc-seabios-booted", "PIIX3", /pirqa/, 4), [
    "      pirqa                  0x0a  IRQ 10",
    "      pirqb                  0x0a  IRQ 10",
    "      pirqc                  0x0b  IRQ 11",
    "      pirqd                  0x0b  IRQ 11",
  ]);
  assert.deepEqual(await lines("q35-virtio-devices", "PCIHost", /config_reg/, 1), [
    "  config_reg                 0x80000060  00:00.0 register 0x60",
  ]);
});

Deno.test("a space of 4 KiB, and MSI-X entries that are all masked", async () => {
  assert.deepEqual(await lines("pc-kitchen-sink", "xhci", /config\[1\]/, 16), [
    "    config[1]                4096 bytes  1b36:000d qemu-xhci, USB controller",
    "      id                     1b36:000d  qemu-xhci",
    "      command                0x0000",
    "      status                 0x0010  CAP_LIST",
    "      revision               0x01",
    "      class                  0x0c0330  USB controller",
    "      header_type            0x00  endpoint",
    "      bar[0]                 64 bit memory  not mapped",
    "      subsystem              1af4:1100",
    "      interrupt_line         0",
    "      interrupt_pin          1  INTA",
    "      capability[0x90]       id 0x11: MSI-X, control 0x000f: disabled, 16 vectors, table bar[0] + 0x3000, " +
    "pba bar[0] + 0x3800",
    "    irq_state",
    "      0..3                   0",
    "  parent_obj[1]",
    "    msix                     16 entries",
  ]);
});

Deno.test("what a space has beyond captures: closed windows, places that are switched off, lists in a circle", () => {
  const bridge = space(
    256,
    [0x00, 0x36, 0x1b, 0x0c, 0x00, 0x02, 0x00, 0x10, 0x00],
    [0x0a, 0x04, 0x06, 0x00, 0x00, 0x01],
    [0x18, 0, 1, 2, 0, 0xd0, 0xd0, 0, 0, 0x90, 0xfe, 0xa0, 0xfe, 0xf1, 0xff, 0x01, 0x00],
    [0x34, 0x40],
    // a root port whose slot has a device, power on, and a list that leads back to itself
    [0x40, 0x10, 0x40, 0x42, 0x01],
    [0x54, 0x7b, 0x00, 0x08, 0x00, 0x00, 0x01, 0x48, 0x00],
  );
  const shown = said("0000:00:03.0/pcie-root-port", "config[0]", "pci config", bridge);
  assert.deepEqual(shown.slice(0, 15), [
    "  config[0]                  256 bytes  1b36:000c pcie-root-port, PCI bridge",
    "    id                       1b36:000c  pcie-root-port",
    "    command                  0x0002  MEMORY",
    "    status                   0x0010  CAP_LIST",
    "    revision                 0x00",
    "    class                    0x060400  PCI bridge",
    "    header_type              0x01  PCI bridge",
    "    primary_bus              0",
    "    secondary_bus            1",
    "    subordinate_bus          2",
    "    io_window                0xd000..0xdfff  switched off in command",
    "    secondary_status         0x0000",
    "    memory_window            0xfe900000..0xfeafffff",
    "    prefetchable_window      closed",
    "    interrupt_line           0",
  ]);
  assert.deepEqual(shown.filter((line) => /slot|flags|capability/.test(line)), [
    "    capability[0x40]",
    "      flags                  0x0142  version 2, root port, slot",
    "      slot_capabilities      0x0008007b  slot 1, ABP PCP AIP PIP HPS HPC",
    "      slot_control           0x0100  power indicator on, power on",
    "      slot_status            0x0048  occupied, PDC PDS",
  ]);
});

Deno.test("MSI-X: addresses, masks and what is pending", () => {
  const table = space(
    33,
    [0x00, 0x00, 0x10, 0xe0, 0xfe, 0, 0, 0, 0, 0x22, 0x40],
    [0x1c, 1],
    [0x20, 2],
  );
  assert.deepEqual(said("0000:00:03.0/nvme", "msix", "msix state", table), [
    "  msix                       2 entries",
    "    0                        address 0xfee01000, data 0x4022, control 0x0",
    "    1                        address 0x0, data 0x0, control 0x1: masked, pending true",
  ]);
  assert.deepEqual(said("x", "msix", "msix state", table.subarray(0, 32)).length, 1);
});

Deno.test("interrupt lines are said to be asserted where a device has a configuration", () => {
  const fields = [
    leaf("config[1]", "pci config", new Uint8Array(4096)),
    leaf("irq_state[1]", "uint32", 1),
    leaf("irq_state[2]", "uint32", 0),
  ];
  const [, one, zero] = describeDevice("0000:00:03.0/x", fields);
  assert.deepEqual([one.text, one.meaning], ["1", "INTB asserted"]);
  assert.equal(zero.meaning, undefined);
  assert.equal(describeDevice("arm_gic", fields.slice(1))[0].meaning, undefined);
});

Deno.test("no bytes and no type of value make a rule of PCI throw", () => {
  const names = ["config[0]", "msix", "irq_state[0]", "config_reg", "irq_count[0]", "pci_irq_levels_vmstate[2]"];
  const value = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.uint8Array({ minLength: 4096, maxLength: 4096 }),
    fc.integer(),
    fc.bigInt(),
    fc.boolean(),
    fc.string(),
    fc.constant(null),
  );
  const device = fc.constantFrom("PCIHost", "PCIBUS", "PIIX3", "0000:00:01.0/nvme");
  const type = fc.constantFrom("pci config", "msix state", "uint32");
  const header = fc.record({
    type: fc.nat(3),
    list: fc.nat(255),
    device: fc.constantFrom(0x1237, 0x29c0, 0x2918, 0x1041),
  });
  fc.assert(
    fc.property(
      device,
      fc.constantFrom(...names),
      type,
      value,
      header,
      (idstr, name, type, value, { list, ...header }) => {
        if (value instanceof Uint8Array && value.length >= 64) {
          // as far as a header that is one
          value.set([header.device === 0x1041 ? 0xf4 : 0x86, header.device === 0x1041 ? 0x1a : 0x80]);
          value.set([header.device & 0xff, header.device >> 8], 2);
          value[6] |= 0x10;
          value[0x0e] = header.type;
          value[0x34] = list;
        }
        const [field] = describeDevice(idstr, [leaf(name, type, value), leaf("config[1]", "pci config", value)]);
        assert(JSON.stringify(field).length < 1 << 20);
      },
    ),
    { numRuns: 2000 },
  );
});
