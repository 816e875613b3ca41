import assert from "node:assert/strict";
import { readGlobalState } from "../../guest/global_state.ts";
import { modelDevices } from "../../guest/model_devices.ts";

interface Described {
  readonly size?: number;
  readonly array_len?: number;
  readonly type?: string;
  readonly struct?: { fields: Described[]; subsections?: Described[] };
  readonly vmsd_name?: string;
  readonly fields?: Described[];
  readonly subsections?: Described[];
}

/** Bytes a description stands for. The model's devices have no lists, and no arrays of elements that differ. */
function bytesOf({ fields = [], subsections = [] }: Described): number {
  let sum = 0;
  for (const field of fields) sum += (field.struct ? bytesOf(field.struct) : field.size!) * (field.array_len ?? 1);
  for (const sub of subsections) sum += 1 + 1 + sub.vmsd_name!.length + 4 + bytesOf(sub);
  return sum;
}

Deno.test("modelDevices() are the sections of a PC, in its order, with their ids", () => {
  const devices = modelDevices();
  assert.equal(
    devices.map((d) => `${d.sectionId}:${d.idstr}:${d.instanceId}:${d.versionId}`).join(" "),
    "0:timer:0:2 3:cpu_common:0:1 4:cpu:0:12 5:kvm-tpr-opt:0:1 6:apic:0:3 7:0000:00:00.0/I440FX:0:3 8:PCIHost:0:1 " +
      "9:PCIBUS:0:1 10:fw_cfg:0:2 11:dma:0:1 12:dma:1:1 13:mc146818rtc:0:3 14:0000:00:01.1/ide:0:3 15:i2c_bus:0:1 " +
      "16:0000:00:01.3/piix4_pm:0:3 17:0000:00:01.0/PIIX3:0:3 18:i8259:0:1 19:i8259:1:1 20:ioapic:0:3 21:hpet:0:2 " +
      "22:i8254:0:3 23:pcspk:0:1 24:fdc:0:2 25:ps2kbd:0:3 26:ps2mouse:0:2 27:pckbd:0:3 28:vmmouse:0:0 29:port92:0:1 " +
      "38:acpi_build:0:1 39:globalstate:0:1",
  );
});

Deno.test("modelDevices() bodies are as long as their descriptions say", () => {
  for (const { idstr, instanceId, versionId, body, description } of modelDevices()) {
    const described = JSON.parse(description!);
    assert.deepEqual([described.name, described.instance_id, described.version], [idstr, instanceId, versionId]);
    assert.equal(body.length, bytesOf(described), idstr);
  }
});

Deno.test("modelDevices() was taken before the machine ran", () => {
  assert.equal(readGlobalState(modelDevices().at(-1)!.body), "prelaunch");
});
