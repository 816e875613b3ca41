import assert from "node:assert/strict";
import { gunzipSync } from "node:zlib";
import { CommandError, holdPath, Workbench } from "../../mod.ts";

const directory = Deno.makeTempDirSync();
globalThis.addEventListener("unload", () => Deno.removeSync(directory, { recursive: true }));

Deno.test("a saved guest comes back as it was", async () => {
  const file = `${directory}/vm.sav`;
  await using source = await Workbench.open({ ram: "8M", content: "random:seed=7,at=1M,bytes=2M" });
  await source.setCapability("mapped-ram", true);
  const info = await source.migrate(`file:${file}`);
  assert.equal(info.status, "completed");
  const before = await source.hmp("xp/4xg 0x100000");
  await using copy = await Workbench.open({ guest: file });
  assert.equal(await copy.hmp("xp/4xg 0x100000"), before);
  assert.equal(await copy.hmp("info status"), "VM status: running\n");
  assert.doesNotMatch(before, /0x0000000000000000 0x0000000000000000/);
});

Deno.test("a saved guest may be an internal snapshot of a qcow2 image", async () => {
  const disk = `${directory}/disk.qcow2`;
  const packed = Deno.readFileSync(new URL("../fixtures/qcow2/savevm-plain.qcow2.gz", import.meta.url));
  Deno.writeFileSync(disk, gunzipSync(packed));
  const states: Record<string, string> = { first: "prelaunch", second: "paused", 2: "paused" };
  for (const [snapshot, state] of Object.entries(states)) {
    await using bench = await Workbench.open({ guest: disk, snapshot });
    assert.equal(bench.session.runState, state, snapshot);
  }
  await assert.rejects(Workbench.open({ guest: disk, snapshot: "third" }), /expected one named "third"$/);
});

Deno.test("progress goes to a hundred percent", async () => {
  await using bench = await Workbench.open({ ram: "8M" });
  const percents: number[] = [];
  await bench.migrate(`file:${directory}/progress`, { onProgress: ({ percent }) => percents.push(percent) });
  assert.equal(percents.at(-1), 100);
});

Deno.test("a signal cancels, and the guest goes on", async () => {
  await using bench = await Workbench.open({ ram: "64M", content: "random:seed=1,bytes=32M" });
  await bench.setParameter("max-bandwidth", 1 << 20);
  const abort = new AbortController();
  setTimeout(() => abort.abort(), 50);
  await assert.rejects(bench.migrate(`file:${directory}/cancelled`, { signal: abort.signal }), /cancelled/);
  assert.equal(bench.info().status, "cancelled");
  assert.equal(bench.session.runState, "running");
});

Deno.test("migrate() rejects with the reason", async () => {
  await using bench = await Workbench.open({ ram: "1M" });
  await assert.rejects(
    bench.migrate(`unix:${directory}/nobody`),
    /Failed to connect to '.*nobody': No such file or directory/,
  );
  await assert.rejects(bench.migrate(`file:${directory}/no/f`), /Could not create '.*': No such file or directory/);
});

Deno.test("migrate() takes QMP's channels", async () => {
  await using bench = await Workbench.open({ ram: "1M" });
  const addr = { transport: "file", filename: `${directory}/channels`, offset: 4096 } as const;
  assert.equal((await bench.migrate({ channels: [{ "channel-type": "main", addr }] })).status, "completed");
});

Deno.test("hmp() throws what the monitor prints, and why a migration in the foreground failed", async () => {
  await using bench = await Workbench.open({ ram: "1M" });
  await assert.rejects(bench.hmp("foo"), { name: "CommandError", message: "unknown command: 'foo'" });
  await assert.rejects(bench.hmp("migrate foo:"), { message: "unknown migration protocol: foo:" });
  await assert.rejects(bench.hmp(`migrate unix:${directory}/nobody`), /Failed to connect/);
});

Deno.test("execute() never throws for what a person types", async () => {
  await using bench = await Workbench.open({ ram: "1M" });
  assert.deepEqual(await bench.execute("nope"), { out: "unknown command: 'nope'\n", error: true });
  const failed = await bench.execute(`migrate unix:${directory}/nobody`);
  assert.equal(failed.error, false);
  assert.match(failed.failure!, /Failed to connect/);
});

Deno.test("QMP names work at the console, with hyphen or underscore", async () => {
  await using bench = await Workbench.open({ ram: "1M" });
  assert.equal(await bench.hmp("query_status"), "VM status: running\n");
  assert.equal(await bench.hmp('migrate-set-parameters {"multifd-channels": 5}'), "{}\n".slice(3));
  assert.equal(bench.parameter("multifd-channels"), 5);
  assert.equal(await bench.hmp("query-fdsets"), "[]\n");
  await bench.hmp("migrate-set-capability events on");
  assert.equal(bench.capability("events"), true);
});

Deno.test("a descriptor goes with the line that names it", async () => {
  await using bench = await Workbench.open({ ram: "1M" });
  const { O_WRONLY, O_CREAT } = (await import("node:fs")).constants;
  await bench.hmp("getfd out", { fd: holdPath(`${directory}/byfd`, O_WRONLY | O_CREAT) });
  await bench.hmp("migrate fd:out");
  assert(Deno.statSync(`${directory}/byfd`).size > 1000);
});

Deno.test("events can be awaited", async () => {
  await using bench = await Workbench.open({ ram: "1M" });
  const first = bench.events()[Symbol.asyncIterator]().next();
  await bench.qmp("stop");
  assert.equal((await first).value.event, "STOP");
});

Deno.test("a load that does not fit says so and leaves a destination that failed", async () => {
  const file = `${directory}/small`;
  await using source = await Workbench.open({ ram: "4M" });
  await source.migrate(`file:${file}`);
  await using strict = await Workbench.open({ ram: "8M", incoming: "defer" });
  await assert.rejects(strict.migrateIncoming(`file:${file}`), /Size mismatch: pc\.ram: 0x400000 != 0x800000/);
  assert.equal(strict.info().status, "failed");
  await using lenient = await Workbench.open({ incoming: "defer" });
  assert.equal((await lenient.migrateIncoming(`file:${file}`)).status, "completed");
  assert.equal(lenient.session.guest.memory.block("pc.ram")!.usedLength, 4 << 20);
});

Deno.test("names are checked by the compiler", async () => {
  await using bench = await Workbench.open({ ram: "1M" });
  await assert.rejects(async () => {
    // @ts-expect-error: not a capability
    await bench.setCapability("maped-ram", true);
  }, CommandError);
  await assert.rejects(async () => {
    // @ts-expect-error: not a parameter
    await bench.setParameter("multifd-chanels", 8);
  }, CommandError);
  await assert.rejects(async () => {
    // @ts-expect-error: not a value of it
    await bench.setParameter("mode", "fast");
  }, CommandError);
});

Deno.test("options that do not go together are one clear line", async () => {
  await assert.rejects(Workbench.open({ ram: "0" }), RangeError);
  await assert.rejects(Workbench.open({ uuid: "x" }), /failed to parse UUID/);
  for (const where of [{ offset: 4096 }, { channels: ["ch0.bin"] }, { snapshot: "first" }]) {
    const [name] = Object.keys(where);
    await assert.rejects(Workbench.open(where), {
      name: "CommandError",
      message: `Cannot use '${name}' without 'guest': it says where a saved guest is`,
    });
    await assert.rejects(Workbench.open({ qmp: `${directory}/none`, ...where }), /the machine is QEMU's$/);
  }
  await assert.rejects(Workbench.open({ globals: { nope: "on" } }), /Property 'migration.nope' not found/);
  await assert.rejects(
    Workbench.open({ guest: `${directory}/absent` }),
    /Could not open '.*absent': No such file or directory/,
  );
  await assert.rejects(
    Workbench.open({ ram: "1M", content: `file:${directory}/none@0` }),
    { name: "CommandError", message: `Could not open '${directory}/none': No such file or directory` },
  );
  await assert.rejects(Workbench.open({ ram: "1M", content: "file:/dev/zero@0" }), {
    name: "CommandError",
    message: "Cannot lay '/dev/zero' into the guest: a device, expected a file",
  });
});

Deno.test("a recorded QMP session may begin with qmp_capabilities", async () => {
  await using bench = await Workbench.open({ ram: "1M" });
  const answer = async (text: string) => (await bench.executeQmp(text)).reply;
  const twice = '{"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}, "id": 1}';
  assert.deepEqual(await answer(twice), { return: {}, id: 1 });
  assert.deepEqual(await answer(twice), { return: {}, id: 1 });
  assert.deepEqual(await answer('{"execute": "qmp_capabilities", "arguments": {"enable": ["x"]}}'), {
    error: { class: "GenericError", desc: "Parameter 'null' does not accept value 'x'" },
  });
});

Deno.test("with tls-creds nothing leaves or comes in plain, whatever it goes over", async () => {
  const message = "No TLS credentials with id 'tls0'";
  const file = `${directory}/tls.sav`;
  await using source = await Workbench.open({ ram: "1M" });
  await source.setParameter("tls-creds", "tls0");
  for (const uri of [`file:${file}`, `exec:cat >${file}`]) {
    assert.equal((await source.execute(`migrate -d "${uri}"`)).out, `${message}\n`);
    assert.deepEqual(source.info(), { status: "failed", "error-desc": message });
    await assert.rejects(source.migrate(uri), { message });
    assert.equal(await source.hmp("info status"), "VM status: running\n");
    assert.equal(Deno.statSync(file).size, 0);
  }
  await source.setParameter("tls-creds", "");
  await source.migrate(`file:${file}`);
  const reported: string[] = [];
  await using destination = await Workbench.open({ incoming: "defer", report: (line) => reported.push(line) });
  await destination.setParameter("tls-creds", "tls0");
  await assert.rejects(destination.migrateIncoming(`file:${file}`), { message });
  assert.deepEqual(destination.info(), { status: "failed" });
  assert.deepEqual(reported, [message]);
});

Deno.test("in mode cpr-transfer every block that cannot be mapped stands in the way", async () => {
  await using bench = await Workbench.open({ ram: "1M", blockers: ["a disk"] });
  assert.deepEqual(bench.info()["blocked-reasons"], ["a disk"]);
  await bench.setParameter("mode", "cpr-transfer");
  const [disk, ...blocks] = bench.info()["blocked-reasons"]!;
  assert.equal(disk, "a disk");
  // as QEMU 10.0.2 lists them for -machine pc
  assert.deepEqual(
    blocks.map((text) => text.replace(/^Memory region (\S+) is not compatible with CPR\. .*$/, "$1")),
    ["pc.ram", "pc.bios", "pc.rom", "/rom@etc/acpi/tables", "/rom@etc/table-loader", "/rom@etc/acpi/rsdp"],
  );
  assert.match(
    await bench.hmp("info migrate"),
    /Outgoing migration blocked:\n {2}a disk\n {2}Memory region pc\.ram is/,
  );
});
