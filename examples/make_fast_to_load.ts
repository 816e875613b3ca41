/**
 * An old save with its pages one after another becomes one with every page at a fixed place, which QEMU loads in
 * parallel (migrate_set_capability mapped-ram on, multifd on) and from which any page is read at once.
 *
 *     deno run -A examples/make_fast_to_load.ts old.sav fast.sav
 */
import { conversionProblems, convertImage, diffImages, openImage } from "../mod.ts";

const [from, to] = Deno.args;
if (!to) throw new Error("usage: make_fast_to_load.ts FROM TO");

await using image = await openImage(from);
await image.ram.prepare();
const problems = conversionProblems(image, "mapped-ram");
if (problems.length) {
  console.error(problems.join("\n"));
  Deno.exit(1);
}
const { normalPages, zeroPages, bytes } = await convertImage(image, to, "mapped-ram", {
  onProgress: (done, total) => console.error(`${Math.floor(done / total * 100)} %`),
});
await using result = await openImage(to);
const { equal } = await diffImages(image, result);
console.log(
  `${to}: ${bytes} bytes, ${normalPages} pages of data, ${zeroPages} zero, ${equal ? "the same guest" : "WRONG"}`,
);
