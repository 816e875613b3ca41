/**
 * The workbench attached to a real QEMU: its words are those of QEMU's own monitor.
 * @module
 */
import assert from "node:assert/strict";
import { stringifyJson } from "../../core/json.ts";
import { Qemu, QmpClient, TransportError, Workbench } from "../../mod.ts";
import { readTranscript, type Step } from "../core/transcripts.ts";
import { qemuTest } from "./available.ts";
import { guestFiles } from "./content.ts";
import { sweepingRom } from "./rom.ts";

const RAM = 64 << 20;
const PC = ["-machine", "pc", "-m", "64", "-S"];

qemuTest("a launched QEMU answers, keeps its last words, and is gone behind its block", async () => {
  let pid: number, directory: string;
  {
    await using vm = await Qemu.launch({ args: PC });
    ({ pid, directory } = vm);
    assert.deepEqual(await vm.execute("query-status"), { status: "prelaunch", running: false });
    assert.match(await vm.hmp("info version"), /^\d+\./);
    assert(Deno.statSync(directory).isDirectory);
  }
  assert.throws(() => Deno.statSync(directory), Deno.errors.NotFound);
  assert.throws(() => Deno.statSync(`/proc/${pid}`), Deno.errors.NotFound);
  await assert.rejects(Qemu.launch({ args: ["-machine", "nonsense"] }), {
    name: "TransportError",
    message: /at its start: .*unsupported machine type: "nonsense"; Use -machine help/,
  });
  await assert.rejects(Qemu.launch({ args: ["-daemonize"] }), /Cannot launch with -daemonize: /);
});

qemuTest("every line of the table has the same text here and in QEMU's own monitor", async () => {
  await using ours = await Qemu.launch({ args: PC });
  await using theirs = await Qemu.launch({ args: PC });
  await using bench = await Workbench.open({ qmp: ours.qmp });
  const lines = [
    "info status",
    "info version",
    "info name",
    "info uuid",
    "info migrate",
    "info migrate_capabilities",
    "info migrate_parameters",
    "info balloon",
    "info vcpu_dirty_limit",
    "info snapshots",
    "info block",
    "info qtree",
    "help",
    "help info",
    "help migrate",
    "help nonsense",
    "info nonsense",
    "nonsense",
    "migrate_set_capability multifd on",
    "migrate_set_capability postcopy-ram on",
    "migrate_set_capability mapped-ram on",
    "migrate_set_capability zero-blocks on",
    "migrate_set_capability x-colo on",
    "migrate_set_capability nonsense on",
    "migrate_set_capability mapped-ram maybe",
    "migrate_set_capability",
    "migrate_set_parameter max-bandwidth 1G",
    "migrate_set_parameter max-bandwidth 12x",
    "migrate_set_parameter multifd-compression zstd",
    "migrate_set_parameter multifd-compression nonsense",
    "migrate_set_parameter downtime-limit 99999999",
    "migrate_set_parameter tls-creds x",
    'migrate_set_parameter tls-creds ""',
    "migrate_set_parameter nonsense 1",
    "migrate_set_parameter direct-io on",
    "info migrate_capabilities",
    "info migrate_parameters",
    "migrate nonsense:",
    "migrate file:/nonexistent/x",
    "migrate -d tcp:localhost:1",
    "migrate_incoming tcp:localhost:1",
    "migrate_continue pre-switchover",
    "migrate_continue nonsense",
    "migrate_pause",
    "migrate_recover unix:x",
    "migrate_start_postcopy",
    "migrate_cancel",
    "balloon 12",
    "getfd x",
    "closefd x",
    "print /x 1+1",
    "xp /2xg 0xfffffff0",
    "info registers",
    "calc_dirty_rate 0",
    "calc_dirty_rate -r -b 1",
    "info dirty_rate",
    "set_vcpu_dirty_limit 10",
    "cancel_vcpu_dirty_limit",
    "savevm x",
    "memsave 0 16 /nonexistent/x",
    "pmemsave 0 16 /nonexistent/x",
    "info ramblock",
    "stop",
    "cont",
    "info status",
    "s",
    "info status",
  ];
  const noAddresses = (text: string) => text.replace(/0x[0-9a-f]{16}/g, "0x").replace(/"?\/tmp\/[^ ,"]*/g, "/tmp");
  for (const line of lines) {
    const { out, error } = await bench.execute(line);
    // what QEMU writes to its stderr from a monitor line goes to the monitor; the wait of a foreground migration is ours
    const expected = noAddresses(await theirs.hmp(line))
      .replace("terminal does not allow synchronous migration, continuing detached\n", "");
    assert.equal(noAddresses(out), expected, line);
    if (expected.startsWith("Error: ") || expected.startsWith("unknown command")) assert.equal(error, true, line);
  }
});

/** Transcripts, and lines of them that are not compared: what the capture did beside, or what depends on the machine. */
const TRANSCRIPTS: Readonly<Record<string, RegExp | undefined>> = {
  caps_and_params: undefined,
  caps_sequences: undefined,
  params_sequences: undefined,
  hmp_parsing: / m2$/,
  defaults_source: undefined,
  defaults_globals: undefined,
  defaults_destination: undefined,
  run_states: undefined,
  balloon: undefined,
  uri_outgoing: undefined,
  uri_incoming: /fd:99|again$/, // a descriptor of the capture, and what came behind it
  save_legacy_file: undefined,
  save_mapped_ram: undefined,
  save_mapped_ram_multifd: undefined,
};

/** What the machine, its firmware or its package decide. */
const OTHERS = /^(info ramblock|info version|x|xp|print|p)\b/;
const OTHERS_QMP = /^(query-(version|commands|qmp-schema|yank)|x-query)/;

/** Lines QEMU prints on the short-lived monitor of the capture only: it cannot wait for a migration. */
const DETACHED = "terminal does not allow synchronous migration, continuing detached\r\n";

for (const [name, leftOut] of Object.entries(TRANSCRIPTS)) {
  qemuTest(`the transcript ${name} reads the same through the attached monitor`, async () => {
    const steps = readTranscript(name) as Step[];
    let vm: Qemu | undefined, bench: Workbench | undefined;
    let compared = 0;
    const directory = Deno.makeTempDirSync({ prefix: "at" });
    const swap = (text: string, from: string, to: string) => text.replaceAll(from, to);
    try {
      for (const [index, step] of steps.entries()) {
        const where = `step ${index}: ${step.hmp ?? JSON.stringify(step.qmp)}`;
        if (step.start) {
          await bench?.[Symbol.asyncDispose]();
          await vm?.[Symbol.asyncDispose]();
          vm = undefined;
          const args = step.args as string[];
          if (args.some((arg) => arg.includes("/tmp/x"))) continue; // files of the capture
          vm = await Qemu.launch({ args: withoutAccel(args), accel: accelOf(args) });
          bench = await Workbench.open({ qmp: vm.qmp });
        } else if (!vm || !bench || step.fd) {
          continue;
        } else if (step.wait || step.then || step.event) {
          await Promise.race([bench.session.outgoing.settled, new Promise((resolve) => setTimeout(resolve, 3000))]);
        } else if (typeof step.hmp === "string" && typeof step.out === "string") {
          if (leftOut?.test(step.hmp) || OTHERS.test(step.hmp)) continue;
          if (name === "caps_sequences" && /^migrate_set_capability( postcopy-ram on)?$/.test(step.hmp)) {
            await allOff(bench);
          }
          const line = step.hmp.replace("file:relative", `file:${directory}/relative`);
          const { out } = await bench.execute(swap(line, "/tmp/x", directory));
          if (step.vary) continue;
          const got = swap(out, directory, "/tmp/x").replaceAll("\n", "\r\n");
          assert.equal(got, step.out.replace(DETACHED, ""), where);
          compared++;
        } else if (step.qmp && step.reply) {
          const text = stringifyJson(step.qmp);
          if (OTHERS_QMP.test((step.qmp as { execute: string }).execute)) continue;
          const { reply } = await bench.executeQmp(swap(text, "/tmp/x", directory));
          if (step.vary || !("error" in (step.reply as object))) continue;
          assert.deepEqual(JSON.parse(swap(JSON.stringify(reply), directory, "/tmp/x")), { ...step.reply }, where);
          compared++;
        }
      }
    } finally {
      await bench?.[Symbol.asyncDispose]();
      await vm?.[Symbol.asyncDispose]();
      Deno.removeSync(directory, { recursive: true });
    }
    assert(compared > 1, `only ${compared} steps were compared`);
  });
}

function accelOf(args: readonly string[]): "tcg" | "none" {
  return args.includes("-accel") ? "none" : "tcg";
}

function withoutAccel(args: readonly string[]): string[] {
  return args.filter((arg) => arg !== "-nodefaults");
}

/** The capture began each group of steps with everything off. */
async function allOff(bench: Workbench): Promise<void> {
  const changes = bench.session.registry.capabilities.map(({ name }) => ({ capability: name, state: false }));
  await bench.qmp("migrate-set-capabilities", { capabilities: changes });
}

qemuTest("names and values come from the attached QEMU", async () => {
  await using vm = await Qemu.launch({ args: PC });
  await using bench = await Workbench.open({ qmp: vm.qmp });
  assert((await bench.complete("info bl")).candidates.includes("block"));
  assert((await bench.complete("device_")).candidates.includes("device_add"));
  assert.deepEqual((await bench.complete("migrate_set_capability mapped")).candidates, ["mapped-ram"]);
  const { registry } = bench.session;
  const listed = await vm.execute("query-migrate-capabilities") as { capability: string }[];
  assert.deepEqual(registry.capabilities.map(({ name }) => name), listed.map(({ capability }) => capability));
  const compression = registry.parameters.find(({ name }) => name === "multifd-compression");
  assert(compression?.values?.includes("zstd"));
});

qemuTest("commands only QEMU has are asked for when one is typed; hyphens and underscores are one", async () => {
  await using vm = await Qemu.launch({ args: PC });
  await using bench = await Workbench.open({ qmp: vm.qmp });
  const known = (name: string) => bench.session.registry.qmp.has(name);
  assert.deepEqual(await bench.execute("info status"), { out: "VM status: paused (prelaunch)\n", error: false });
  assert.equal(known("query-iothreads"), false);
  assert.deepEqual(await bench.execute("query_iothreads"), { out: "[]\n", error: false });
  assert.equal(known("query-iothreads"), true);
  for (const name of ["chardev-remove", "chardev_remove"]) {
    assert.equal((await bench.execute(`${name} nope`)).out, "Error: Chardev 'nope' not found\n");
  }
  assert.equal((await bench.execute("chardev_nonsense x")).out, "unknown command: 'chardev_nonsense'\n");
});

qemuTest("a foreground migration of a busy guest shows progress and can be cancelled; the guest runs on", async () => {
  using files = guestFiles(sweepingRom(), RAM);
  await using vm = await Qemu.launch({ args: ["-machine", "pc", "-m", "64", ...files.load] });
  await using bench = await Workbench.open({ qmp: vm.qmp });
  await bench.setParameter("max-bandwidth", 4 << 20);
  const abort = new AbortController();
  let seen = 0;
  const migration = bench.migrate(`file:${vm.path("x")}`, {
    signal: abort.signal,
    onProgress: ({ total, transferred }) => {
      if (total >= RAM && transferred > 1 << 20 && ++seen === 3) abort.abort();
    },
  });
  await assert.rejects(migration, /cancelled/);
  assert.deepEqual(await vm.execute("query-status"), { status: "running", running: true });
  assert.match(await bench.hmp("info migrate"), /^Migration status: cancelled$/m);
});

qemuTest("a QEMU that is killed in the middle of a migration is one line, and the workbench lives", async () => {
  using files = guestFiles(sweepingRom(), RAM);
  await using vm = await Qemu.launch({ args: ["-machine", "pc", "-m", "64", ...files.load] });
  const reported: string[] = [];
  await using bench = await Workbench.open({ qmp: vm.qmp, report: (line) => reported.push(line) });
  await bench.setParameter("max-bandwidth", 1 << 20);
  const migration = bench.execute(`migrate file:${vm.path("x")}`);
  setTimeout(() => vm.kill(), 300);
  const { failure } = await migration;
  assert.match(failure!, /^[Ll]ost QEMU at [^\n]*$/);
  await vm.status;
  assert.match((await bench.execute("info status")).out, /^Error: Failed to connect to '.*': Connection refused\n$/);
  assert.equal(reported.length, 1);
});

qemuTest("a monitor somebody else is attached to says so", async () => {
  await using vm = await Qemu.launch({ args: PC });
  await using first = await QmpClient.open(vm.qmp);
  await assert.rejects(QmpClient.open(vm.qmp, { handshakeMs: 300 }), {
    name: "TransportError",
    message: /no QMP greeting within 300 ms; is it a QMP socket, and is nobody else attached to it\?/,
  });
  assert.deepEqual(await first.execute("query-status"), { status: "prelaunch", running: false });
});

qemuTest("quit ends the session with its status", async () => {
  await using vm = await Qemu.launch({ args: PC });
  await using bench = await Workbench.open({ qmp: vm.qmp });
  await bench.hmp("quit");
  assert.equal(bench.session.exitStatus, 0);
  assert.equal((await vm.status).code, 0);
  await assert.rejects(bench.hmp("info status"), (error) => error instanceof TransportError || error instanceof Error);
});
