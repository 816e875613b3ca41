/**
 * What do a device's fields say? Registers by their names, flags, times beside the guest's own clock.
 *
 *     deno run -A examples/device_fields.ts vm.sav serial
 */
import { describeDevice, type DescribedField, openImage, virtualClock } from "../mod.ts";

const [file = "/tmp/vm.sav", wanted = "cpu"] = Deno.args;
await using image = await openImage(file);
const clock = virtualClock(image.devices);

function show(fields: readonly DescribedField[], indent = "  ") {
  for (const { name, symbol, text = "", meaning = "", children = [] } of fields) {
    console.log(`${indent}${symbol ?? name} ${text}${meaning && `: ${meaning}`}`.trimEnd());
    show(children, indent + "  ");
  }
}

for (const device of image.devices.filter(({ name }) => name.endsWith(wanted))) {
  console.log(device.name);
  show(describeDevice(device.name, device.walk()?.nodes ?? [], clock));
}
