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
import { readFileSync, statSync } from "node:fs";
import { errorText } from "../containers/file_source.ts";
import { endProgram, type Program, startProgram, textOf } from "../containers/program.ts";
import { TransportError } from "../stream/errors.ts";

/** Longest that a QEMU may take for one answer, ms. */
const PATIENCE_MS = 30_000;
/** Longest dump taken seriously, bytes; real ones are under 2 MiB. */
const DUMP_LIMIT = 64 << 20;
/** Characters that are kept of what a program complains about. */
const SAID_LIMIT = 1 << 16;

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
  /** Machine type a dump was made with; undefined where a program was asked. */
  readonly dumpedMachine?: string;
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
  if (isFile(target)) {
    const text = readText(target);
    if (/^\s*\{/.test(text)) return { name: target, ...readDump(text, target) };
  }
  const machines = parseMachines(await ask(target, ["-machine", "help"]));
  if (machines.size === 0) throw new TransportError(`Cannot ask '${target}': no QEMU, it lists no machine types`);
  const use = machine !== undefined && machines.has(machine) ? ["-machine", machine] : [];
  const dump = await ask(target, [...use, "-display", "none", "-dump-vmstate", "/dev/stdout"]);
  const { layouts } = readDump(dump, target);
  return { name: target, machines, capabilities: await capabilitiesOf(target), layouts };
}

/** Whether it is a file; what may not be looked at is left to whoever may run it. */
function isFile(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
  } catch {
    return false;
  }
}

/** A file that may be a dump; "" where it is too long, as a program may be. */
function readText(path: string): string {
  try {
    return statSync(path).size > DUMP_LIMIT ? "" : readFileSync(path, "utf8");
  } catch (error) {
    throw new TransportError(`Could not open '${path}': ${errorText(error)}`, { cause: error });
  }
}

/** What a program answers on stdout. */
async function ask(program: string, args: readonly string[], input = ""): Promise<string> {
  const child = start(program, args);
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    endProgram(child, "SIGKILL");
  }, PATIENCE_MS);
  try {
    const [answer, said, { code }] = await Promise.all([
      textOf(child.stdout, DUMP_LIMIT),
      textOf(child.stderr, SAID_LIMIT),
      child.status,
      tell(child, input),
    ]);
    if (code === 0) return answer;
    const why = late ? `no answer in ${PATIENCE_MS / 1000} s` : said.trim().split("\n").at(-1);
    throw new TransportError(`Cannot ask '${program}': ${why || `ended with status ${code}`}`);
  } finally {
    clearTimeout(timer);
  }
}

function start(program: string, args: readonly string[]): Program {
  try {
    return startProgram(program, args);
  } catch (error) {
    const { message, cause } = error as TransportError;
    const said = message.replace(/^Cannot run/, "Cannot ask");
    throw new TransportError(said + (isFile(program) ? "; and it is not what -dump-vmstate writes" : ""), { cause });
  }
}

/** One that ends without reading says why by its status. */
async function tell({ stdin }: Program, input: string): Promise<void> {
  const writer = stdin.getWriter();
  await writer.write(new TextEncoder().encode(input)).catch(() => {});
  await writer.close().catch(() => {});
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
  const said = await ask(program, args, commands.map((execute) => JSON.stringify({ execute }) + "\n").join(""));
  for (const line of said.split("\n")) {
    if (!line.includes('"capability"')) continue;
    const { return: list } = JSON.parse(line) as { return: { capability: string }[] };
    return list.map(({ capability }) => capability);
  }
  throw new TransportError(`Cannot ask '${program}': no answer to query-migrate-capabilities`);
}

/** @throws {TransportError} when it is something else, or not as `-dump-vmstate` writes it */
function readDump(text: string, name: string): Pick<TargetQemu, "dumpedMachine" | "layouts"> {
  const fail = (what: string): never => {
    throw new TransportError(`Cannot read '${name}': ${what}`);
  };
  let dump: unknown;
  try {
    dump = JSON.parse(text);
  } catch (error) {
    fail(`no JSON, ${(error as Error).message}`);
  }
  if (!isObject(dump) || !isObject(dump.vmschkmachine)) return fail("not what -dump-vmstate writes");
  const layouts = new Map<string, DumpVmsd[]>();
  for (const [type, device] of Object.entries(dump)) {
    if (type === "vmschkmachine") continue;
    const description = isObject(device) ? device.Description : undefined;
    if (isObject(device) && description === undefined) continue;
    if (!isVmsd(description)) return fail(`${type} has no layout`);
    layouts.set(description.name, [...layouts.get(description.name) ?? [], description]);
  }
  const { Name } = dump.vmschkmachine;
  return { layouts, ...(typeof Name === "string" ? { dumpedMachine: Name } : {}) };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isVmsd(value: unknown): value is DumpVmsd {
  if (!isObject(value)) return false;
  const { name, version_id, minimum_version_id, Fields = [], Subsections = [] } = value;
  return typeof name === "string" && typeof version_id === "number" && typeof minimum_version_id === "number" &&
    Array.isArray(Fields) && Fields.every(isField) && Array.isArray(Subsections) && Subsections.every(isVmsd);
}

function isField(value: unknown): value is DumpField {
  if (!isObject(value)) return false;
  const { field, version_id, field_exists, num = 0, size, Description } = value;
  return typeof field === "string" && typeof version_id === "number" && typeof field_exists === "boolean" &&
    typeof num === "number" && typeof size === "number" && (Description === undefined || isVmsd(Description));
}
