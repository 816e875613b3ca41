/**
 * `deno task bench`: miglab beside a real QEMU, same guest, same tmpfs, turn by turn in the same minutes.
 *
 *     --ram 2G --data 1G   the guest, and how much of it is random      --runs 5   medians of so many
 *     --directory DIR      where files are written, default /dev/shm
 *
 * Saves: the source process lives on, the file is new each time. Loads: a process of its own each time, so memory is fresh.
 * Memory is warmed up before each run. QEMU's time is that between its own events `setup` and `completed`, ours that of the library's call.
 * @module
 */
import { parseArgs } from "node:util";
import process from "node:process";
import { parseSize } from "../guest/size.ts";
import { qemuAvailable, qemuVersion } from "../tests/qemu/available.ts";
import { launchQemu, type Qemu } from "../tests/qemu/qemu.ts";
import { median, runProcess, untilPrompt, warmMemory } from "./measure.ts";
import { describeMachine, formatTable, type Row } from "./table.ts";

const FORMATS: readonly (readonly [what: string, capabilities: readonly string[]])[] = [
  ["sequential", []],
  ["mapped-ram", ["mapped-ram"]],
  ["mapped-ram, multifd", ["mapped-ram", "multifd"]],
];

const { values: options } = parseArgs({
  options: {
    ram: { type: "string", default: "2G" },
    data: { type: "string", default: "1G" },
    runs: { type: "string", default: "5" },
    directory: { type: "string", default: "/dev/shm" },
  },
});
const runs = parseInt(options.runs);
const dataMiB = parseSize(options.data) / 2 ** 20;
const withQemu = qemuAvailable();
const directory = Deno.makeTempDirSync({ dir: options.directory, prefix: "miglab-bench-" });
const here = (path: string) => new URL(path, import.meta.url).pathname;
const fileOf = (what: string) => `${directory}/${what.replace(/\W+/g, "-")}`;
const say = (text: string) => process.stderr.write(`${text}\n`);

/** Our source: a process that lives through all saves. */
class Source implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #lines: AsyncIterator<string>;

  constructor() {
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", here("ours.ts"), "save", options.ram, `random:bytes=${options.data}`],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    this.#writer = this.#child.stdin.getWriter();
    this.#lines = lines(this.#child.stdout);
  }

  async ready(): Promise<void> {
    await this.#next();
  }

  async save(uri: string, capabilities: readonly string[]): Promise<number> {
    await this.#writer.write(new TextEncoder().encode([uri, ...capabilities].join(" ") + "\n"));
    return Number(await this.#next());
  }

  async #next(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error("our source ended early");
    return value;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer.close().catch(() => {}); // it has ended already
    await this.#child.status;
  }
}

async function* lines(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let text = "";
  for await (const chunk of stream.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>)) {
    const parts = (text + chunk).split("\n");
    text = parts.pop()!;
    yield* parts;
  }
}

function newFile(path: string): string {
  try {
    Deno.removeSync(path);
  } catch {
    // the first run
  }
  return `file:${path}`;
}

/** A QEMU that waits for the guest. */
function destination(): Promise<Qemu> {
  return launchQemu(["-machine", "pc-i440fx-10.0", "-m", options.ram, "-S", "-incoming", "defer"]);
}

async function qemuLoad(vm: Qemu, path: string, capabilities: readonly string[]): Promise<number> {
  await only(vm, capabilities);
  await vm.incoming(`file:${path}`);
  return vm.migrationMs();
}

async function qemuSave(vm: Qemu, path: string, capabilities: readonly string[]): Promise<number> {
  await vm.again();
  await only(vm, capabilities);
  await vm.migrate(newFile(path));
  return vm.migrationMs();
}

async function only(vm: Qemu, names: readonly string[]): Promise<void> {
  const capabilities = ["mapped-ram", "multifd", "events"].map((capability) => {
    return { capability, state: capability === "events" || names.includes(capability) };
  });
  await vm.qmp("migrate-set-capabilities", { capabilities });
  await vm.qmp("migrate-set-parameters", { "max-bandwidth": 0 });
}

/**
 * Use and free as much memory as a run will need: a virtual machine's host takes freed memory back within seconds, and whoever
 * comes first after that pays for it.
 */
function warmUp(): void {
  warmMemory(dataMiB * 2.5 * 2 ** 20);
  const chunk = new Uint8Array(1 << 20);
  const path = `${directory}/warm`;
  const file = Deno.openSync(path, { write: true, create: true, truncate: true });
  for (let i = 0; i < dataMiB * 5 / 4; i++) file.writeSync(chunk);
  file.close();
  Deno.removeSync(path);
}

/** Run each of several things `runs` times, turn by turn, each beginning every other turn. */
async function medians(...things: readonly (() => Promise<number>)[]): Promise<number[]> {
  const figures: number[][] = things.map(() => []);
  for (let run = 0; run < runs; run++) {
    const order = [...things.entries()];
    for (const [i, thing] of run % 2 ? order.reverse() : order) {
      warmUp();
      figures[i].push(await thing());
    }
  }
  return figures.map(median);
}

function row(what: string, [ours, theirs]: readonly number[], against = "QEMU", unit: Row["unit"] = "ms"): Row {
  return { what, unit, ours, ...(theirs === undefined ? {} : { theirs, against }) };
}

async function saves(rows: Row[]): Promise<void> {
  await using source = new Source();
  await source.ready();
  await using vm = withQemu ? await destination() : undefined;
  if (vm) {
    await source.save(newFile(fileOf("sequential")), []);
    await qemuLoad(vm, fileOf("sequential"), []);
  }
  for (const [what, capabilities] of FORMATS) {
    say(`save, ${what}`);
    const figures = await medians(
      () => source.save(newFile(fileOf(what)), capabilities),
      ...(vm ? [() => qemuSave(vm, `${directory}/theirs`, capabilities)] : []),
    );
    rows.push(row(`save ${options.ram}, ${options.data} of data, ${what}`, figures));
  }
}

async function loads(rows: Row[]): Promise<void> {
  for (const [what, capabilities] of FORMATS) {
    say(`load, ${what}`);
    const args = ["run", "-A", here("ours.ts"), "load", `file:${fileOf(what)}`, ...capabilities];
    const figures = await medians(
      async () => Number((await runProcess(Deno.execPath(), args)).stdout),
      ...(withQemu
        ? [async () => {
          await using vm = await destination();
          return await qemuLoad(vm, fileOf(what), capabilities);
        }]
        : []),
    );
    rows.push(row(`load ${options.ram}, ${options.data} of data, ${what}`, figures));
  }
}

async function inspections(rows: Row[]): Promise<void> {
  for (const what of ["sequential", "mapped-ram"]) {
    say(`inspect, ${what}`);
    let peak = 0;
    const figures = await medians(
      async () => {
        const { ms, peakBytes } = await runProcess(Deno.execPath(), [
          "run",
          "-A",
          here("../main.ts"),
          "inspect",
          fileOf(what),
        ]);
        peak = Math.max(peak, peakBytes);
        return ms;
      },
      async () => (await runProcess("/bin/sh", ["-c", `exec cat ${fileOf(what)} >/dev/null`])).ms,
    );
    rows.push(row(`inspect, ${what}`, figures, "cat"));
    rows.push(row(`inspect, ${what}, most memory held`, [peak / 2 ** 20], "", "MiB"));
  }
}

async function starts(rows: Row[]): Promise<void> {
  say("start");
  const program = `${Deno.execPath()} run -A ${here("../main.ts")}`;
  const version = async (command: string, args: string[]) => (await runProcess(command, args)).ms;
  rows.push(row(
    "--version",
    await medians(
      () => version(Deno.execPath(), ["run", "-A", here("../main.ts"), "--version"]),
      ...(withQemu ? [() => version("qemu-system-x86_64", ["--version"])] : []),
    ),
  ));
  rows.push(row(
    "console, until the prompt",
    await medians(
      () => untilPrompt(program, "(miglab)"),
      ...(withQemu
        ? [() => untilPrompt("qemu-system-x86_64 -nodefaults -display none -accel tcg -S -monitor stdio", "(qemu)")]
        : []),
    ),
  ));
}

const rows: Row[] = [];
try {
  for (const part of [saves, loads, inspections, starts]) await part(rows);
} finally {
  Deno.removeSync(directory, { recursive: true });
}
console.log(
  `${describeMachine(withQemu ? qemuVersion() : undefined)}. Medians of ${runs}; a ratio below 1 is faster.\n`,
);
console.log(formatTable(rows));
