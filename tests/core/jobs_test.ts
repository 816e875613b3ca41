/**
 * Saving and restoring in one call on the model guest: the same calls that drive a QEMU.
 * @module
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import { forecast, Prospects } from "../../core/forecast.ts";
import type { MigrationInfo, MigrationStats } from "../../core/migration_info.ts";
import { TargetFile } from "../../core/target_file.ts";
import { openImage, serveQmp, TransportError, Workbench } from "../../mod.ts";

/** A directory that goes away with the test. */
function temporary(): { path: string; file(name: string): string; names(): string[] } & Disposable {
  const path = Deno.makeTempDirSync({ prefix: "miglab-jobs-" });
  return {
    path,
    file: (name) => `${path}/${name}`,
    names: () => [...Deno.readDirSync(path)].map(({ name }) => name).sort(),
    [Symbol.dispose]: () => Deno.removeSync(path, { recursive: true }),
  };
}

const CONTENT = "random:seed=3,at=1M,bytes=3M";

for (const format of ["mapped-ram", "legacy", "libvirt-sparse"] as const) {
  Deno.test(`the model guest is saved as ${format} and restored, settings untouched`, async () => {
    using dir = temporary();
    await using source = await Workbench.open({ ram: "8M", content: CONTENT });
    await source.setCapability("xbzrle", true);
    await source.setParameter("max-bandwidth", 1 << 20);
    const before = await source.hmp("xp /4xg 0x100000");
    const saved = await source.save(dir.file("out"), { format });
    assert.equal(saved.wasRunning, true);
    assert.equal(saved.info.status, "completed");
    assert.deepEqual(dir.names(), ["out"]);
    assert.equal(source.capability("xbzrle"), true);
    assert.equal(source.capability("mapped-ram"), false);
    assert.equal(source.parameter("max-bandwidth"), 1 << 20);
    assert.deepEqual(await source.qmp("query-fdsets"), []);

    await using target = await Workbench.open({ incoming: "defer" });
    const restored = await target.restore(dir.file("out"));
    assert.equal(restored.runState, format === "libvirt-sparse" ? "running" : "paused");
    assert.equal(await target.hmp("xp /4xg 0x100000"), before);
    assert.equal(target.capability("mapped-ram"), false);
    await using image = await openImage(dir.file("out"));
    assert.equal(image.libvirt?.complete, format === "libvirt-sparse" ? true : undefined);
  });
}

Deno.test("a save over a monitor that carries no descriptors names the file", async () => {
  using dir = temporary();
  await using model = await Workbench.open({ ram: "8M", content: CONTENT });
  await using server = serveQmp(model.session, "tcp:127.0.0.1:0");
  await using bench = await Workbench.open({ qmp: server.address });
  const saved = await bench.save(dir.file("out"), { offset: 0x3000 });
  assert.deepEqual([saved.passedDescriptors, saved.offset], [false, 0x3000]);
  await using target = await Workbench.open({ incoming: "defer" });
  await target.restore(dir.file("out"), { offset: 0x3000, cont: true });
  assert.equal(target.session.runState, "running");
});

Deno.test("a save that is cancelled leaves a running guest, no file and the settings as they were", async () => {
  using dir = temporary();
  await using bench = await Workbench.open({ ram: "64M", content: "random:seed=1,bytes=32M" });
  const abort = new AbortController();
  setTimeout(() => abort.abort(), 60);
  await assert.rejects(bench.save(dir.file("out"), { maxBandwidth: 1 << 20, signal: abort.signal }), /cancelled/);
  assert.equal(bench.session.runState, "running");
  assert.deepEqual(dir.names(), []);
  assert.equal(bench.capability("mapped-ram"), false);
  assert.equal(bench.parameter("max-bandwidth"), 128 << 20);
  await assert.rejects(bench.save(dir.file("out"), { signal: abort.signal }), { name: "AbortError" });
});

Deno.test("a save cancelled while any of its commands is on the way is undone", async () => {
  using dir = temporary();
  await using bench = await Workbench.open({ ram: "64M", content: "random:seed=1,bytes=32M" });
  const qmp = bench.qmp.bind(bench);
  const commands: string[] = [];
  do {
    const abort = new AbortController();
    let asked = 0;
    bench.qmp = (name, ...rest) => {
      const answer = qmp(name, ...rest);
      if (asked++ === commands.length) {
        commands.push(name);
        abort.abort();
        asked = Infinity;
      }
      return answer;
    };
    const saving = bench.save(dir.file("out"), { maxBandwidth: 1 << 20, live: true, signal: abort.signal });
    await assert.rejects(saving, { message: /cancelled|aborted/ }, commands.join(" "));
    assert.equal(bench.session.runState, "running");
    assert.deepEqual(dir.names(), []);
    assert.equal(bench.capability("mapped-ram"), false);
    assert.equal(bench.parameter("max-bandwidth"), 128 << 20);
  } while (commands.at(-1) !== "migrate");
  assert(commands.length > 4, commands.join(" "));
});

Deno.test("a machine that goes away before anything is written leaves no file, and one that was asked a partial one", async () => {
  using dir = temporary();
  for (const last of ["stop", "add-fd", "migrate"]) {
    await using bench = await Workbench.open({ ram: "4M" });
    const qmp = bench.qmp.bind(bench);
    let gone = false;
    bench.qmp = async (name, ...rest) => {
      gone ||= name === last;
      if (gone) throw new TransportError("lost it");
      return await qmp(name, ...rest);
    };
    await assert.rejects(bench.save(dir.file("out")), {
      name: "TransportError",
      message: last === "migrate" ? /^lost it; what was written is in '\S+\.partial'$/ : /^lost it$/,
    });
    assert.equal(dir.names().length, last === "migrate" ? 1 : 0, last);
  }
});

Deno.test("options that do not go together are refused before anything is touched", async () => {
  using dir = temporary();
  await using bench = await Workbench.open({ ram: "1M" });
  await assert.rejects(bench.save(dir.file("out"), { format: "legacy", directIo: true }), /need the mapped-ram format/);
  await assert.rejects(bench.save(dir.file("out"), { channels: 0 }), /Cannot use 0 channels: 1 to 255/);
  await assert.rejects(bench.save(dir.file("out"), { offset: -1 }), /Cannot begin at offset -1/);
  await assert.rejects(bench.save(dir.file("out"), { format: "libvirt-sparse", offset: 1 }), /says itself where/);
  await assert.rejects(bench.save(dir.file("no/out")), /Could not open '.*no\/out': No such file or directory/);
  await assert.rejects(bench.save("/dev/null"), /Could not open '\/dev\/null': not a file/);
  await assert.rejects(bench.restore(dir.file("out")), /No such file/);
  assert.equal(bench.session.runState, "running");
  assert.deepEqual(dir.names(), []);
});

Deno.test("a guest that stood is not started by a save, and one saved before is refused", async () => {
  using dir = temporary();
  await using bench = await Workbench.open({ ram: "1M", stopped: true });
  const saved = await bench.save(dir.file("out"));
  assert.equal(saved.wasRunning, false);
  await assert.rejects(bench.save(dir.file("out")), /was saved or migrated already/);
  await assert.rejects(bench.restore(dir.file("out")), /the machine is postmigrate; start it with -incoming defer/);
});

Deno.test("TargetFile gives a file its name only when it is whole, through symbolic links", async () => {
  using dir = temporary();
  fs.mkdirSync(dir.file("elsewhere"));
  fs.writeFileSync(dir.file("elsewhere/real"), "old content", { mode: 0o640 });
  fs.symlinkSync(dir.file("elsewhere/real"), dir.file("link"));
  const target = TargetFile.create(dir.file("link"), 3);
  const held = target.hold(false);
  fs.writeSync(held.fd, new TextEncoder().encode("new"), 0, 3, 3);
  fs.closeSync(held.fd);
  assert.equal(fs.readFileSync(dir.file("link"), "utf8"), "old content");
  assert.equal(target.bytes, 6);
  await target.finish();
  assert.equal(fs.readFileSync(dir.file("link"), "utf8"), "oldnew");
  assert.equal(fs.lstatSync(dir.file("link")).isSymbolicLink(), true);
  assert.equal(fs.statSync(dir.file("elsewhere/real")).mode & 0o777, 0o640);
  assert.deepEqual([...Deno.readDirSync(dir.file("elsewhere"))].map(({ name }) => name), ["real"]);
});

Deno.test("TargetFile goes away when it is not wanted, and stays as partial when it is abandoned", () => {
  using dir = temporary();
  TargetFile.create(dir.file("a"), new Uint8Array(5)).discard();
  assert.deepEqual(dir.names(), []);
  const left = TargetFile.create(dir.file("a"), Uint8Array.of(1, 2)).abandon();
  assert.match(left, /\/a\.[0-9a-f]{6}\.partial$/);
  assert.deepEqual([...fs.readFileSync(left)], [1, 2]);
});

/** `query-migrate` of a migration under way: bytes, Mbit/s, pages a second. */
function active(remaining: number, mbps: number, rate: number, pass = 2): MigrationInfo {
  const ram = {
    total: 1000 * 4096,
    remaining,
    transferred: 0,
    mbps,
    "dirty-pages-rate": rate,
    "page-size": 4096,
    "dirty-sync-count": pass,
  } as MigrationStats;
  return { status: "active", ram };
}

Deno.test("forecast() says when a migration ends, or that it does not", () => {
  // 4,096,000 bytes at 4,096,000 bytes a second
  const rate = 4_096_000 * 8 / 1e6;
  const standing = forecast(active(1000 * 4096, rate, 0, 1), false, 300);
  assert.deepEqual([standing.secondsLeft, standing.converges, standing.percent], [1, true, 0]);
  const first = forecast(active(1000 * 4096, rate, 0, 1), true, 300);
  assert.equal(first.converges, undefined); // nothing was measured yet
  const half = forecast(active(500 * 4096, rate, 500), true, 300);
  assert.deepEqual([half.secondsLeft, half.converges, half.dirtyBytesPerSecond], [1, true, 2_048_000]);
  const never = forecast(active(1000 * 4096, rate, 1000), true, 300);
  assert.deepEqual([never.secondsLeft, never.converges], [undefined, false]);
  const little = forecast(active(100 * 4096, rate, 1000), true, 300);
  assert.deepEqual([little.secondsLeft, little.converges], [0.1, true]); // fits into the downtime
  const nothing = forecast({}, true, 300);
  assert.deepEqual([nothing.status, nothing.secondsLeft, nothing.converges], ["none", undefined, undefined]);
});

Deno.test("a guest that writes the same pages over and over does not converge, however its rate is measured", () => {
  const rate = 4_096_000 * 8 / 1e6;
  const prospects = new Prospects();
  // 400 pages are left at the start of each pass but the first; 990 a second are measured, of 1000 that leave
  const converges = [1, 2, 3, 4].map((pass) => {
    const starts = pass === 1 ? 1000 : 400;
    const looks = [1, 0.75, 0.5, 0.4].map((share) =>
      prospects.look(active(starts * share * 4096, rate, pass === 1 ? 0 : 990, pass), true, 50)
    );
    return looks.map((one) => one.converges);
  });
  assert.deepEqual(converges, [
    new Array(4).fill(undefined),
    new Array(4).fill(true),
    new Array(4).fill(false),
    new Array(4).fill(false),
  ]);
  const never = prospects.look(active(390 * 4096, rate, 990, 5), true, 50);
  assert.deepEqual([never.converges, never.secondsLeft], [false, undefined]);
  // the next migration begins anew; its passes get shorter
  const shrinking = [1000, 400, 300, 200, 100].map((pages, i) =>
    prospects.look(active(pages * 4096, rate, 700, i + 1), true, 50).converges
  );
  assert.deepEqual(shrinking, [true, true, true, true, true]);
});
