/**
 * What a QEMU can load: its machine types, capabilities, and the device layouts of `-dump-vmstate`.
 *
 *     {"vmschkmachine": {"Name"}, TYPE: {"Name", "version_id", "minimum_version_id", "Description": VMSD}, ...}
 *     VMSD  = "name", "version_id", "minimum_version_id", ["Fields": [FIELD, ...]], ["Subsections": [VMSD, ...]]
 *     FIELD = "field", "version_id", "field_exists", ["num"], "size", ["Description": VMSD]
 *
 * The types are those of devices; what registers its state itself (timer, cpu, globalstate) is not in it. `size` is that of
 * the member in memory. Source: QEMU migration/savevm.c dump_vmstate_json_to_file.
 * @module
 */
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TransportError } from "../stream/errors.ts";

/** Longest that a QEMU may take for one answer, ms. */
const PATIENCE_MS = 30_000;
/** Longest dump taken seriously, bytes; real ones are under 2 MiB. */
const DUMP_LIMIT = 64 << 20;

/** One field of a layout. */
export interface DumpField {
  readonly field: string;
  /** Present from this version of the layout on. */
  readonly version_id: number;
  /** There is a test that decides whether it is there. */
  readonly field_exists: boolean;
  /** Elements, where that is fixed. */
  readonly num?: number;
  /** Bytes of one element in memory. */
  readonly size: number;
  readonly Description?: DumpVmsd;
}

/** One layout. */
export interface DumpVmsd {
  readonly name: string;
  readonly version_id: number;
  readonly minimum_version_id: number;
  readonly Fields?: readonly DumpField[];
  readonly Subsections?: readonly DumpVmsd[];
}

/** What is known of a QEMU. */
export interface TargetQemu {
  /** As it was given. */
  readonly name: string;
  /** Machine types with their aliases; undefined where only a dump is at hand. */
  readonly machines?: ReadonlyMap<string, string>;
  /** undefined where only a dump is at hand. */
  readonly capabilities?: readonly string[];
  /** Layouts by the name of their VMStateDescription; several device types may share one. */
  readonly layouts: ReadonlyMap<string, readonly DumpVmsd[]>;
}

/**
 * Ask a QEMU, or read its dump.
 * @param target  a program, or a file that `-dump-vmstate` wrote
 * @param machine the machine type to ask for; where it has none of that name its default one is asked
 * @throws {TransportError} when it does not answer, or the file is no dump
 */
export async function readTarget(target: string, machine: string | undefined): Promise<TargetQemu> {
  const head = isFile(target) ? readFileHead(target) : "";
  if (/^\s*\{/.test(head)) {
    if (statSync(target).size > DUMP_LIMIT) throw new TransportError(`Cannot read '${target}': too long for a dump`);
    return { name: target, layouts: layoutsOf(readFileSync(target, "utf8"), target) };
  }
  const machines = parseMachines(await run(target, ["-machine", "help"]));
  const use = machine !== undefined && machines.has(machine) ? ["-machine", machine] : [];
  const directory = mkdtempSync(join(tmpdir(), "miglab-"));
  try {
    const path = join(directory, "vmstate.json");
    await run(target, [...use, "-display", "none", "-dump-vmstate", path]);
    const layouts = layoutsOf(readFileSync(path, "utf8"), target);
    return { name: target, machines, capabilities: await capabilitiesOf(target), layouts };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}

function readFileHead(path: string): string {
  try {
    return statSync(path).size > DUMP_LIMIT ? "" : readFileSync(path).subarray(0, 64).toString("latin1");
  } catch (error) {
    throw new TransportError(`Could not open '${path}': ${(error as Error).message.split("\n")[0]}`, { cause: error });
  }
}

function run(program: string, args: readonly string[], input?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { timeout: PATIENCE_MS, maxBuffer: DUMP_LIMIT, encoding: "utf8" as const };
    const child = execFile(program, [...args], options, (error, stdout, stderr) => {
      if (!error) return resolve(stdout);
      const { code, killed } = error as NodeJS.ErrnoException & { killed?: boolean };
      const why = killed
        ? `no answer in ${PATIENCE_MS / 1000} s`
        : code === "ENOENT"
        ? "No such file or directory"
        : stderr.trim().split("\n").at(-1) || error.message.split("\n")[0];
      reject(new TransportError(`Cannot ask '${program}': ${why}`, { cause: error }));
    });
    child.stdin?.on("error", () => {}); // it has ended already; its status says why
    child.stdin?.end(input);
  });
}

/** `NAME  DESCRIPTION (alias of OTHER)`; names map to what they stand for. */
function parseMachines(text: string): Map<string, string> {
  const machines = new Map<string, string>();
  for (const line of text.split("\n").slice(1)) {
    const match = /^(\S+)\s+\S.*?(?:\(alias of ([^)]+)\))?/.exec(line);
    if (!match) continue;
    machines.set(match[1], /\(alias of ([^)]+)\)/.exec(line)?.[1] ?? match[1]);
  }
  return machines;
}

async function capabilitiesOf(program: string): Promise<string[]> {
  const args = ["-machine", "none", "-nodefaults", "-display", "none", "-qmp", "stdio"];
  const commands = ["qmp_capabilities", "query-migrate-capabilities", "quit"];
  const said = await run(program, args, commands.map((execute) => JSON.stringify({ execute }) + "\n").join(""));
  for (const line of said.split("\n")) {
    if (!line.includes('"capability"')) continue;
    const { return: list } = JSON.parse(line) as { return: { capability: string }[] };
    return list.map(({ capability }) => capability);
  }
  throw new TransportError(`Cannot ask '${program}': no answer to query-migrate-capabilities`);
}

function layoutsOf(text: string, name: string): Map<string, DumpVmsd[]> {
  const fail = (what: string): never => {
    throw new TransportError(`Cannot read '${name}': ${what}`);
  };
  let dump: Record<string, { Description?: DumpVmsd }> = {};
  try {
    dump = JSON.parse(text);
  } catch (error) {
    fail(`no JSON, ${(error as Error).message}`);
  }
  if (typeof dump !== "object" || dump === null || !("vmschkmachine" in dump)) fail("not what -dump-vmstate writes");
  const layouts = new Map<string, DumpVmsd[]>();
  for (const [type, { Description }] of Object.entries(dump)) {
    if (type === "vmschkmachine" || !Description) continue;
    if (typeof Description.name !== "string" || typeof Description.version_id !== "number") {
      fail(`${type} has no layout`);
    }
    layouts.set(Description.name, [...layouts.get(Description.name) ?? [], Description]);
  }
  return layouts;
}
