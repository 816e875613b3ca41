/**
 * multifd over a Unix socket: miglab as the source and as the destination of a real QEMU, beside QEMU to QEMU, turn by turn
 * in the same minutes.
 *
 *     deno run -A bench/sockets.ts [--ram 2G] [--data 1G] [--runs 5] [--channels 2,4]
 *
 * Destinations are processes of their own each time, so their memory is fresh, and have waited for a while; memory is warmed up before each run. The time
 * is the source's: QEMU's between its events `setup` and `completed`, ours that of the library's call.
 * @module
 */
import { parseArgs } from "node:util";
import { parseSize } from "../guest/size.ts";
import { Workbench } from "../mod.ts";
import { launchQemu, type Qemu } from "../tests/qemu/qemu.ts";
import { median, warmMemory } from "./measure.ts";
import { formatTable, type Row } from "./table.ts";

/** What is measured. */
export interface SocketOptions {
  /** The guest, and how much of it is random: "2G", "1G". */
  readonly ram: string;
  readonly data: string;
  /** Medians of so many. */
  readonly runs: number;
  /** Values of `multifd-channels`. */
  readonly channels: readonly number[];
  /** Told what is being done. */
  readonly say: (text: string) => void;
}

const MAIN = new URL("../main.ts", import.meta.url).pathname;
const MACHINE = ["-machine", "pc-i440fx-10.0", "-S", "-incoming", "defer"];
const CONNECT_MS = 20_000;
/** Milliseconds a destination waits for its source, as it does in life. */
const WAITING_MS = 300;

/** Two rows for each number of channels: receive and send. Needs a real QEMU 10 and memory for three guests. */
export async function measureSockets(options: SocketOptions): Promise<Row[]> {
  const directory = Deno.makeTempDirSync({ dir: "/dev/shm", prefix: "miglab-bench-" });
  try {
    return await measure(options, directory);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

async function measure(options: SocketOptions, directory: string): Promise<Row[]> {
  const { ram, data, runs, channels, say } = options;
  const rows: Row[] = [];
  await using ours = await Workbench.open({ ram, content: `random:bytes=${data}`, stopped: true });
  await using theirs = await launchQemu([...MACHINE, "-m", ram]);
  const path = `${directory}/s`;
  await ourSettings(ours, channels[0]);
  await send(ours, theirs, path, channels[0]); // the same guest at both sources
  for (const count of channels) {
    say(`sockets, ${count} channels`);
    const between = await medians(options, directory, [
      () => intoQemu(options, path, count, (vm) => fromQemu(theirs, vm, path, count)),
      () => intoMiglab(theirs, path, count),
      () => intoQemu(options, path, count, (vm) => send(ours, vm, path, count)),
    ]);
    const [qemu, received, sent] = between;
    const what = (direction: string) => `${direction} ${ram}, ${data} of data, multifd ${count} over unix:`;
    rows.push({ what: what("receive"), unit: "ms", ours: received, theirs: qemu, against: "QEMU" });
    rows.push({ what: what("send"), unit: "ms", ours: sent, theirs: qemu, against: "QEMU" });
    say(formatTable(rows.slice(-2)) + `medians of ${runs}`);
  }
  return rows;
}

/** A guest from our workbench to a QEMU that waits. @returns milliseconds */
async function send(ours: Workbench, vm: Qemu, path: string, channels: number): Promise<number> {
  await qemuSettings(vm, channels);
  await vm.listen(`unix:${path}`);
  await pass(WAITING_MS);
  await ourSettings(ours, channels);
  const begin = performance.now();
  await ours.migrate(`unix:${path}`);
  const ms = performance.now() - begin;
  await vm.waitMigration();
  await ours.hmp("cont"); // postmigrate: else it could not be sent again
  await ours.hmp("stop");
  return ms;
}

async function fromQemu(source: Qemu, vm: Qemu, path: string, channels: number): Promise<number> {
  await source.again();
  await qemuSettings(source, channels);
  await qemuSettings(vm, channels);
  await vm.listen(`unix:${path}`);
  await pass(WAITING_MS);
  await source.migrate(`unix:${path}`);
  await vm.waitMigration();
  return source.migrationMs();
}

/** A fresh QEMU for one run. */
async function intoQemu({ ram }: SocketOptions, path: string, _channels: number, run: (vm: Qemu) => Promise<number>) {
  await using vm = await launchQemu([...MACHINE, "-m", ram]);
  try {
    return await run(vm);
  } finally {
    remove(path);
  }
}

/** A guest from QEMU to the program, run as anybody would. */
async function intoMiglab(source: Qemu, path: string, channels: number): Promise<number> {
  await source.again();
  await qemuSettings(source, channels);
  const lines = [
    "migrate_set_capability multifd on",
    `migrate_set_parameter multifd-channels ${channels}`,
    `migrate_incoming unix:${path}`,
  ];
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", MAIN, "--incoming", "defer", "-S", ...lines.flatMap((line) => ["-e", line])],
    stdin: "null",
    stdout: "null",
    stderr: "inherit",
  }).spawn();
  const until = performance.now() + CONNECT_MS;
  while (!exists(path) && performance.now() < until) await pass(5);
  await pass(WAITING_MS);
  await source.migrate(`unix:${path}`);
  const { success } = await child.status;
  if (!success) throw new Error("miglab did not take the guest");
  return source.migrationMs();
}

async function ourSettings(bench: Workbench, channels: number): Promise<void> {
  await bench.setCapability("multifd", true);
  await bench.setParameter("multifd-channels", channels);
  await bench.setParameter("max-bandwidth", 0);
}

async function qemuSettings(vm: Qemu, channels: number): Promise<void> {
  await vm.capabilities("multifd", "events");
  await vm.qmp("migrate-set-parameters", { "multifd-channels": channels, "max-bandwidth": 0 });
}

/** Each of several things `runs` times, turn by turn, each beginning every other turn. */
async function medians(
  { runs, data }: SocketOptions,
  directory: string,
  things: readonly (() => Promise<number>)[],
): Promise<number[]> {
  const figures: number[][] = things.map(() => []);
  for (let run = 0; run < runs; run++) {
    const order = [...things.entries()];
    for (const [i, thing] of run % 2 ? order.reverse() : order) {
      warmUp(`${directory}/warm`, parseSize(data));
      figures[i].push(await thing());
    }
  }
  return figures.map(median);
}

/** Use and free as much memory as a run will need: the host of a virtual machine takes freed memory back within seconds. */
function warmUp(path: string, bytes: number): void {
  warmMemory(bytes * 2.5);
  const chunk = new Uint8Array(1 << 20);
  using file = Deno.openSync(path, { write: true, create: true, truncate: true });
  for (let done = 0; done < bytes * 5 / 4; done += chunk.length) file.writeSync(chunk);
  Deno.removeSync(path);
}

function pass(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

function remove(path: string): void {
  if (exists(path)) Deno.removeSync(path);
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      ram: { type: "string", default: "2G" },
      data: { type: "string", default: "1G" },
      runs: { type: "string", default: "5" },
      channels: { type: "string", default: "2,4" },
    },
  });
  const channels = values.channels.split(",").map(Number);
  const rows = await measureSockets({
    ...values,
    runs: parseInt(values.runs),
    channels,
    say: (text) => console.error(text),
  });
  console.log(formatTable(rows));
}
