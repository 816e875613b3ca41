/**
 * A saved machine in the other format: fixed offsets become a plain stream, and the other way round. Device state is
 * carried as it is, so QEMU loads the result like the original.
 *
 *     deno run -A examples/convert.ts vm.sav vm.stream
 */
import { openImage, Workbench } from "../mod.ts";

const [from, to] = Deno.args;
if (!to) throw new Error("usage: convert.ts FROM TO");

await using image = await openImage(from);
const toMapped = image.stream.ramFormat !== "mapped-ram";

await using bench = await Workbench.open({ guest: from });
await bench.setCapability("mapped-ram", toMapped);
await bench.setParameter("max-bandwidth", 0);
await bench.migrate(`file:${to}`);
console.log(`${from} (${image.stream.ramFormat}) -> ${to} (${toMapped ? "mapped-ram" : "stream"})`);
