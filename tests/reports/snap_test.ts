/**
 * The filter of exec: what comes on a pipe is kept with a place for every page, and given back as a plain stream.
 * @module
 */
import assert from "node:assert/strict";
import { fileSource } from "../../containers/file_source.ts";
import { openImage } from "../../containers/image.ts";
import { createOutput } from "../../containers/output_file.ts";
import { xbzrle } from "../../plugins/xbzrle.ts";
import { diffImages } from "../../reports/diff.ts";
import { snapLoad } from "../../reports/snap_load.ts";
import { snapSave } from "../../reports/snap_save.ts";
import { verifyImage } from "../../reports/verify.ts";
import { bufferSource } from "../../stream/channel.ts";
import { StreamError } from "../../stream/errors.ts";
import { loadFixture } from "../fixtures.ts";

const tables = xbzrle.tables!;

async function inDirectory(body: (directory: string) => Promise<void>): Promise<void> {
  const directory = Deno.makeTempDirSync({ prefix: "miglab-snap-" });
  try {
    await body(directory);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

for (
  const name of [
    "pc-file-stopped",
    "pc-xbzrle",
    "pc-multipass",
    "pc-2.4-old-machine",
    "q35-background-snapshot-live",
    "q35-dirty-bitmaps",
    "q35-xbzrle-small-cache",
    "aarch64-virt-file",
    "microvm-file",
  ]
) {
  Deno.test(`${name} is kept as it comes and given back: the same guest, in mapped-ram between`, () =>
    inDirectory(async (directory) => {
      const bytes = await loadFixture(name);
      const kept = `${directory}/kept`, back = `${directory}/back`;
      const told = await snapSave(bufferSource(bytes, { sequential: true, chunk: 65536 }), kept, { tables });
      await using before = await openImage(bytes, { tables });
      await using image = await openImage(kept);
      assert.equal(image.fault, undefined);
      assert.deepEqual([image.stream.ramFormat, image.complete, told.bytes], ["mapped-ram", true, image.bytes]);
      assert.equal(told.read, bytes.length);
      const pages = before.ram.blocks.reduce((sum, { normalPages }) => sum + normalPages, 0);
      assert.ok(told.normalPages >= pages, `${told.normalPages} of ${pages}`); // ROMs have zero pages in their place
      const { equal, ...differences } = await diffImages(before, image);
      assert(equal, JSON.stringify(differences));
      const { findings } = await verifyImage(kept, { tables });
      assert.deepEqual(findings.filter(({ severity }) => severity === "error"), []);
      await snapLoad(image, createOutput(back));
      await using again = await openImage(back);
      assert.equal(again.stream.ramFormat, "stream");
      assert((await diffImages(before, again)).equal);
    }));
}

Deno.test("a stream that is cut, damaged or no file is one line, and leaves nothing", () =>
  inDirectory(async (directory) => {
    const whole = await loadFixture("pc-xbzrle");
    const flipped = whole.slice();
    flipped[whole.length >> 1] ^= 0xff;
    const cases: [Uint8Array, RegExp][] = [
      [new Uint8Array(), /^Cannot read stream header/],
      [whole.subarray(0, whole.length >> 1), /expected/],
      [whole.subarray(0, 30), /expected/],
      [await loadFixture("pc-mapped-many-blocks"), /found|capability mapped-ram, expected a stream that holds all/],
      [await loadFixture("pc-no-configuration"), /no configuration section/],
      [await loadFixture("pc-multifd-2"), /multifd/],
      [await loadFixture("pc-postcopy"), /command (PACKAGED|POSTCOPY_\w+), expected a migration that sends all of RAM/],
      [await loadFixture("pc-ignore-shared"), /capability x-ignore-shared/],
    ];
    for (const [bytes, message] of cases) {
      await assert.rejects(
        snapSave(bufferSource(bytes, { sequential: true }), `${directory}/kept`, { tables }),
        (error) => error instanceof StreamError && message.test(error.message) && !error.message.includes("\n"),
      );
    }
    for (let at = 0; at < whole.length; at += Math.ceil(whole.length / 200)) {
      const bytes = whole.slice();
      bytes[at] ^= 1 << at % 8;
      try {
        await snapSave(bufferSource(bytes, { sequential: true }), `${directory}/other`, { tables });
        Deno.removeSync(`${directory}/other`);
      } catch (error) {
        assert(error instanceof StreamError, (error as Error).stack);
      }
    }
    assert.deepEqual([...Deno.readDirSync(directory)], []);
  }));

Deno.test("the program: a pipe in, a pipe out; what is no pipe is wrong usage", () =>
  inDirectory(async (directory) => {
    const main = new URL("../../main.ts", import.meta.url).pathname;
    Deno.writeFileSync(`${directory}/in`, await loadFixture("pc-file-stopped"));
    const shell = async (script: string) => {
      const { code, stdout, stderr } = await new Deno.Command("/bin/sh", {
        args: ["-c", script],
        env: { MIGLAB: `${Deno.execPath()} run -A ${main}`, D: directory, NO_COLOR: "1" },
      }).output();
      return { code, out: new TextDecoder().decode(stdout), err: new TextDecoder().decode(stderr) };
    };
    const done = await shell(
      "cat $D/in | $MIGLAB --json snap save $D/kept && $MIGLAB snap load $D/kept | cat > $D/back",
    );
    assert.deepEqual([done.code, done.err, JSON.parse(done.out).format], [0, "", "mapped-ram"]);
    const source = fileSource(`${directory}/back`);
    await using back = await openImage(source);
    await using kept = await openImage(`${directory}/kept`);
    assert((await diffImages(kept, back)).equal);
    source.close();
    const cut = await shell("head -c 5000 $D/in | $MIGLAB snap save $D/cut");
    assert.equal(cut.code, 1);
    assert.match(cut.err, /^miglab: standard input: [^\n]+\n$/);
    assert.equal((await shell("$MIGLAB snap load $D/nothing | cat; $MIGLAB snap sink x")).code, 2);
    assert.match((await shell("$MIGLAB snap save --offset 3 $D/x < $D/in")).err, /--offset' is for snap load/);
    assert.deepEqual([...Deno.readDirSync(directory)].map(({ name }) => name).sort(), ["back", "in", "kept"]);
  }));
