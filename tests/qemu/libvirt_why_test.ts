/**
 * What a real libvirt says of save images whose XML asks for what this host has not, and what `why` makes of it.
 * @module
 */
import assert from "node:assert/strict";
import { openImage } from "../../containers/image.ts";
import { convertImage } from "../../reports/convert.ts";
import { whyFailed } from "../../reports/why.ts";
import { loadLibvirt } from "../libvirt_fixtures.ts";
import { libvirtMissing, openLibvirt } from "./virsh.ts";

/** What is changed in the XML, the place that is named, and a word of the cause. */
const CHANGES: readonly (readonly [from: RegExp, to: string, path: string, cause: RegExp])[] = [
  [/machine='[^']*'/, "machine='pc-i440fx-99.0'", "libvirt.xml", /has no machine type pc-i440fx-99\.0/],
  [/<emulator>.*<\/emulator>/, "<emulator>/nonexistent/qemu</emulator>", "libvirt.xml", /\/nonexistent\/qemu/],
  [
    /<\/devices>/,
    "<disk type='file'><driver type='raw'/><source file='/nonexistent/d'/><target dev='vda' bus='virtio'/></disk></devices>",
    "libvirt.xml",
    /\/nonexistent\/d, is not there/,
  ],
];

const missing = libvirtMissing();

Deno.test({
  name: missing
    ? `why: what a real libvirt says (${missing})`
    : "why: what a real libvirt says of XML this host cannot serve",
  ignore: missing !== undefined,
  async fn() {
    await using libvirt = openLibvirt();
    const image = libvirt.path("image");
    Deno.writeFileSync(libvirt.path("original"), loadLibvirt("raw"));
    await using original = await openImage(libvirt.path("original"));
    for (const [from, to, path, cause] of CHANGES) {
      const xml = original.libvirt!.xml.replace(from, to);
      assert.notEqual(xml, original.libvirt!.xml);
      await convertImage(original, image, "libvirt-raw", { xml });
      const said: Error = await libvirt.run(`restore ${image}`).then(
        () => assert.fail("it restored"),
        (error) => error,
      );
      const lines = said.message.replace(/^virsh "[^"]*": /, "").replaceAll(" error: ", "\nerror: ");
      const { findings, unknown } = await whyFailed(image, lines);
      assert.deepEqual([unknown, findings.length], [[], 1], lines);
      assert.deepEqual([findings[0].place?.path, findings[0].damaged], [path, false], lines);
      assert.match(findings[0].cause, cause);
      Deno.removeSync(image);
    }
  },
});
