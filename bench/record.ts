/**
 * A live migration between two real QEMUs, straight and through `miglab record`, turn by turn: what the recorder costs.
 *
 *     source QEMU -----------------------> destination QEMU        direct
 *     source QEMU --> miglab record DIR --> destination QEMU        recorded: a process of its own, as a user starts it
 *
 * Each migration goes into a new destination, from one source that lives on. Its time is QEMU's own `total-time`, so neither
 * the start of the recorder nor the end of its files counts. Memory of the destination is there before (`-mem-prealloc`), and
 * as much as the files need has been used just before: the host of a virtual machine may take seconds to find some.
 * @module
 */
import { haltingRom } from "../tests/qemu/rom.ts";
import { launchQemu, type Qemu } from "../tests/qemu/qemu.ts";
import { median } from "./measure.ts";
import type { Row } from "./table.ts";

const MAIN = new URL("../main.ts", import.meta.url).pathname;
const LISTENING = "listening on ";
const LOADED_AT = 16 << 20;

/** What is measured. */
export interface RecordBench {
  /** `-m` of the guest: "2G". */
  readonly ram: string;
  /** MiB of it that are random. */
  readonly dataMiB: number;
  /** Medians of so many. */
  readonly runs: number;
  /** Where captures are kept, each a directory that exists, with the name it has in the table: "tmpfs", "disk". */
  readonly directories: readonly { readonly name: string; readonly path: string }[];
  /** Told what is at work. */
  readonly say?: (text: string) => void;
  /** Told every figure as it comes. */
  readonly onRun?: (what: string, by: "direct" | "recorded", ms: number) => void;
}

/** Which way a guest goes. */
interface Way {
  readonly scheme: "unix" | "tcp";
  /** Multifd channels; 0: all in one stream. */
  readonly channels: number;
}

/** Who takes part. */
interface Pair {
  readonly source: Qemu;
  /** Arguments of a destination. */
  readonly target: readonly string[];
}

const WAYS: readonly Way[] = [
  { scheme: "unix", channels: 0 },
  { scheme: "unix", channels: 2 },
  { scheme: "tcp", channels: 0 },
  { scheme: "tcp", channels: 2 },
];

/** Milliseconds of a migration, recorded beside direct. Needs a real QEMU. */
export async function recordRows(bench: RecordBench): Promise<Row[]> {
  const directory = Deno.makeTempDirSync({ dir: bench.directories[0].path, prefix: "miglab-record-" });
  try {
    const machine = ["-machine", "pc", "-m", bench.ram, "-bios", `${directory}/rom`];
    Deno.writeFileSync(`${directory}/rom`, haltingRom());
    await using source = await launchSource(machine, bench.dataMiB, `${directory}/data`);
    const pair: Pair = { source, target: [...machine, "-mem-prealloc", "-S", "-incoming", "defer"] };
    const rows: Row[] = [];
    for (const way of WAYS) for (const where of bench.directories) rows.push(await rowOf(bench, pair, way, where));
    return rows;
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

async function rowOf(
  bench: RecordBench,
  pair: Pair,
  way: Way,
  where: RecordBench["directories"][number],
): Promise<Row> {
  const how = `${way.scheme}:, ${way.channels ? `multifd ${way.channels}` : "sequential"}, to ${where.name}`;
  const what = `migrate ${bench.ram}, ${bench.dataMiB} MiB of data, recorded, ${how}`;
  bench.say?.(what);
  const direct: number[] = [], recorded: number[] = [];
  const once = async (by: "direct" | "recorded") => {
    const ms = await migrate(
      pair,
      way,
      () => warmUp(where.path, bench.dataMiB),
      by === "recorded" ? where.path : undefined,
    );
    (by === "direct" ? direct : recorded).push(ms);
    bench.onRun?.(what, by, ms);
  };
  for (let run = 0; run < bench.runs; run++) {
    for (const by of run % 2 ? ["recorded", "direct"] as const : ["direct", "recorded"] as const) await once(by);
  }
  return { what, unit: "ms", ours: median(recorded), theirs: median(direct), against: "direct" };
}

/** Use and free as much of the page cache as a capture needs. */
function warmUp(directory: string, mib: number): void {
  const path = Deno.makeTempFileSync({ dir: directory, prefix: "miglab-warm-" });
  const chunk = new Uint8Array(1 << 20);
  using file = Deno.openSync(path, { write: true });
  for (let i = 0; i < mib * 5 / 4; i++) file.writeSync(chunk);
  Deno.removeSync(path);
}

/** A guest that halts, with random bytes in its memory; they come by way of the file `data`. */
async function launchSource(machine: readonly string[], dataMiB: number, data: string): Promise<Qemu> {
  const chunk = new Uint8Array(1 << 20);
  using file = Deno.openSync(data, { write: true, create: true });
  for (let i = 0; i < dataMiB; i++) {
    for (let at = 0; at < chunk.length; at += 65536) crypto.getRandomValues(chunk.subarray(at, at + 65536));
    file.writeSync(chunk);
  }
  const loader = `loader,file=${data},addr=0x${LOADED_AT.toString(16)},force-raw=on`;
  const vm = await launchQemu([...machine, "-device", loader]);
  Deno.removeSync(data); // it is in memory now
  return vm;
}

/** One migration into a new destination. @returns QEMU's total-time */
async function migrate(
  { source, target: args }: Pair,
  way: Way,
  warm: () => void,
  captures: string | undefined,
): Promise<number> {
  await using target = await launchQemu(args);
  for (const vm of [source, target]) await setUp(vm, way);
  const uri = await target.listen(way.scheme === "unix" ? `unix:${target.path("in")}` : "tcp:127.0.0.1:0");
  await source.again();
  if (captures === undefined) {
    warm();
    return (await source.migrate(uri))["total-time"];
  }
  const directory = `${Deno.makeTempDirSync({ dir: captures, prefix: "miglab-capture-" })}/capture`;
  try {
    const listen = way.scheme === "unix" ? `unix:${target.path("here")}` : "tcp:127.0.0.1:0";
    await using recorder = await startRecorder(listen, uri, directory);
    warm();
    const { "total-time": ms } = await source.migrate(recorder.uri);
    await recorder.done();
    return ms;
  } finally {
    Deno.removeSync(directory.slice(0, -"/capture".length), { recursive: true });
  }
}

async function setUp(vm: Qemu, { channels }: Way): Promise<void> {
  const capabilities = [{ capability: "multifd", state: channels > 0 }, { capability: "return-path", state: true }];
  await vm.qmp("migrate-set-capabilities", { capabilities });
  await vm.qmp("migrate-set-parameters", { "max-bandwidth": 0, "multifd-channels": Math.max(1, channels) });
}

interface Recorder extends AsyncDisposable {
  readonly uri: string;
  /** Wait for its end. @throws when it failed */
  done(): Promise<void>;
}

async function startRecorder(listen: string, forward: string, directory: string): Promise<Recorder> {
  const args = ["run", "-A", MAIN, "record", "--listen", listen, "--forward", forward, directory];
  const child = new Deno.Command(Deno.execPath(), { args, stdin: "null", stdout: "null", stderr: "piped" }).spawn();
  let said = "";
  const listening = Promise.withResolvers<string>();
  const reading = (async () => {
    for await (const text of child.stderr.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>)) {
      said += text;
      const uri = new RegExp(`${LISTENING}(\\S+)`, "i").exec(said)?.[1];
      if (uri) listening.resolve(uri);
    }
    listening.reject(new Error(`miglab record ended: ${said.trim()}`));
  })();
  const done = async () => {
    const { success } = await child.status;
    await reading;
    if (!success) throw new Error(`miglab record failed: ${said.trim()}`);
  };
  return {
    uri: await listening.promise,
    done,
    async [Symbol.asyncDispose]() {
      try {
        child.kill("SIGKILL");
      } catch {
        // it has ended
      }
      await child.status;
      await reading;
    },
  };
}
