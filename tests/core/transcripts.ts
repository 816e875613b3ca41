/**
 * Replays a captured session of a real QEMU's monitors against a workbench: same input, same text.
 *
 * The steps are described in fixtures/monitor/README.md. Texts are compared byte for byte except for what the machine, its
 * firmware or the clock decide: the parts named in a step's `vary`, and the figures in {@link FIGURES}.
 * @module
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import { gunzipSync } from "node:zlib";
import { JsonFloat, parseJson, stringifyJson } from "../../core/json.ts";
import { errorReply, QmpConnection, runQmp } from "../../core/qmp.ts";
import { holdPath } from "../../core/fds.ts";
import type { FdTable } from "../../core/fds.ts";
import type { HeldFd } from "../../core/transport.ts";
import { Workbench } from "../../mod.ts";

/** One step of a transcript. */
export type Step = Record<string, unknown>;

/** Lines of `info migrate`, members of `ram`: pages and bytes that come from the firmware in the guest's RAM. */
const FIGURES =
  /^(transferred ram|remaining ram|duplicate|normal|normal bytes|multifd bytes|precopy ram|downtime ram|throughput): [\d.]+/gm;
const RAM_FIGURES = new Set([
  "transferred",
  "remaining",
  "duplicate",
  "normal",
  "normal-bytes",
  "multifd-bytes",
  "precopy-bytes",
  "downtime-bytes",
  "mbps",
]);

/** How long a step may take to come about. Workers are type-checked when they first start, which takes seconds on a busy machine. */
const PATIENCE_MS = 30_000;

/** Read a transcript or table. */
export function readTranscript(name: string): unknown {
  const path = new URL(`../fixtures/monitor/${name}.json.gz`, import.meta.url);
  return parseJson(new TextDecoder().decode(gunzipSync(fs.readFileSync(path))));
}

/** What differs from QEMU here, and why. */
export interface Exception {
  /** Machines (by their number in the transcript, from 0) whose steps are not replayed. */
  readonly machines?: readonly number[];
  /** Steps not compared: text that must occur in the step. */
  readonly steps?: readonly string[];
  /** The same, by their number in the transcript, from 0. */
  readonly numbers?: readonly number[];
  /** HMP lines before which the capture switched all capabilities off without recording it. */
  readonly resetBefore?: readonly string[];
  readonly reason: string;
}

/** One machine of a transcript. */
class Machine {
  readonly events: Step[] = [];
  stderr = "";
  readonly fds: FdTable;
  constructor(readonly bench: Workbench) {
    this.fds = bench.session.fds.connection();
    bench.on(({ timestamp: _, ...event }) => this.events.push(event as Step));
    bench.session.onReport((line) => this.stderr += line + "\n");
  }
}

/** A workbench started as that command line starts QEMU. */
export async function openLike(args: readonly string[], report?: (line: string) => void): Promise<Workbench> {
  const options: Record<string, unknown> = { globals: {}, report };
  for (let i = 0; i < args.length; i++) {
    const value = args[i + 1];
    switch (args[i]) {
      case "-m":
        options.ram = Number(value) * 2 ** 20;
        break;
      case "-S":
        options.stopped = true;
        break;
      case "-incoming":
        options.incoming = value;
        break;
      case "-accel":
        options.accelerator = value.split(",")[0];
        options.dirtyRing = value.includes("dirty-ring-size");
        break;
      case "-machine":
        options.machine = value;
        break;
      case "-name":
        options.name = value;
        break;
      case "-uuid":
        options.uuid = value;
        break;
      case "-only-migratable":
        options.onlyMigratable = true;
        break;
      case "-global": {
        const [, property, text] = /^migration\.([^=]+)=(.*)$/.exec(value)!;
        (options.globals as Record<string, string>)[property] = text;
        break;
      }
      case "-blockdev":
        if (value.includes("driver=vmdk")) {
          options.blockers = ["The vmdk format used by node 'n0' does not support live migration"];
        }
        break;
      case "-device":
        if (value.startsWith("loader,")) options.content = "random:at=16M,bytes=32M";
        break;
    }
  }
  return await Workbench.open(options);
}

/** Compare without knowing floats from integers, nor prototypes. */
function plain(value: unknown): unknown {
  if (value instanceof JsonFloat) return value.value;
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  return Object.fromEntries(members.map(([key, member]) => [key, plain(member)]));
}

/** One replay. */
class Replay {
  readonly #directory = Deno.makeTempDirSync({ prefix: "mon" });
  readonly #machines = new Map<string, Machine>();
  #connection: { qmp: QmpConnection; lines: Step[] } | undefined;
  #last = "vm";
  #number = -1;
  #skipping = false;

  constructor(readonly exceptions: readonly Exception[]) {}

  async run(steps: readonly Step[]): Promise<void> {
    try {
      for (const [index, step] of steps.entries()) {
        try {
          await this.#step(step, index);
        } catch (error) {
          if (error instanceof Error) {
            error.message = `step ${index} ${stringifyJson(step).slice(0, 200)}: ${error.message}`;
          }
          throw error;
        }
      }
      for (const [name, machine] of this.#machines) this.#leftovers(name, machine);
    } finally {
      for (const machine of this.#machines.values()) await machine.bench[Symbol.asyncDispose]();
      Deno.removeSync(this.#directory, { recursive: true });
    }
  }

  #leftovers(name: string, machine: Machine): void {
    assert.deepEqual(machine.events, [], `events of ${name} that QEMU did not send`);
  }

  /** Paths of the capture to ours. */
  #in<T>(value: T): T {
    const swap = (text: string) =>
      text.replace(/(file|unix):(?=(rl|rl2|nobody|relative,offset)\b)/g, `$1:${this.#directory}/`)
        .replace(/ m2$/, ` "${this.#directory}/m2"`)
        .replaceAll("/tmp/x", this.#directory);
    return this.#map(value, swap);
  }

  /** Ours to those of the capture. */
  #out<T>(value: T): T {
    return this.#map(
      value,
      (text) => text.replaceAll(this.#directory + "/nobody", "nobody").replaceAll(this.#directory, "/tmp/x"),
    );
  }

  #map<T>(value: T, swap: (text: string) => string): T {
    if (typeof value === "string") return swap(value) as T;
    if (Array.isArray(value)) return value.map((item) => this.#map(item, swap)) as T;
    if (typeof value !== "object" || value === null || value instanceof JsonFloat) return value;
    return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, this.#map(member, swap)])) as T;
  }

  #machine(step: Step): Machine {
    const machine = this.#machines.get((step.on as string) ?? this.#last);
    assert(machine, "no such machine");
    return machine;
  }

  async #step(step: Step, index: number): Promise<void> {
    if ("start" in step) return await this.#start(step.start as string, step.args as string[]);
    if (this.#skipping) return;
    const text = stringifyJson(step);
    const excused = this.exceptions.some(({ steps, numbers }) =>
      numbers?.includes(index) || steps?.some((part) => text.includes(part))
    );
    if ("host" in step) return this.#host(step.host as string);
    if ("connect" in step || "raw" in step) return await this.#raw(step);
    if ("file" in step) return excused ? undefined : await this.#file(step);
    if (!["hmp", "typed", "qmp", "event", "stderr", "wait", "then", "exit"].some((key) => key in step)) return;
    const machine = this.#machine(step);
    if ("event" in step) return excused ? undefined : await this.#event(machine, step.event as Step);
    if ("stderr" in step) {
      return excused ? await this.#drain(machine) : await this.#stderr(machine, step.stderr as string, "vary" in step);
    }
    if ("wait" in step) return await this.#wait(machine, step.wait as string);
    if ("then" in step) return await this.#then(machine, step, excused);
    if ("exit" in step) return this.#exit(machine, step.exit as number | null);
    if (this.exceptions.some(({ resetBefore }) => resetBefore?.includes(step.hmp as string))) this.#reset(machine);
    const [got, expected] = "qmp" in step ? await this.#qmp(machine, step) : await this.#line(machine, step);
    // QEMU died here; that we are still there is the test
    if (expected === null) this.#skipping = true;
    else if (!excused && expected !== undefined) this.#same(this.#out(got), expected, (step.vary ?? []) as string[]);
    if (excused && !("events" in step)) return;
    for (const event of (step.events ?? []) as Step[]) await this.#event(machine, event);
  }

  async #start(name: string, args: readonly string[]): Promise<void> {
    this.#number++;
    this.#last = name;
    await this.#end(name);
    this.#skipping = this.exceptions.some(({ machines }) => machines?.includes(this.#number));
    if (!this.#skipping) this.#machines.set(name, new Machine(await openLike(this.#in([...args]))));
  }

  #reset({ bench: { session } }: Machine): void {
    session.setCapabilities(session.registry.capabilities.map(({ name }) => ({ capability: name, state: false })));
  }

  async #end(name: string): Promise<void> {
    const old = this.#machines.get(name);
    if (!old) return;
    this.#leftovers(name, old);
    this.#machines.delete(name);
    await old.bench[Symbol.asyncDispose]();
  }

  #fd(step: Step): HeldFd | undefined {
    const fd = step.fd as { path?: string; flags?: string } | undefined;
    if (!fd?.path) return undefined;
    const constants = fs.constants as unknown as Record<string, number>;
    const flags = fd.flags!.split("|").map((name) => constants[name]).reduce((a, b) => a | b, 0);
    const path = this.#in(fd.path);
    if (!fs.existsSync(path)) fs.writeFileSync(path, "", { mode: 0o600 });
    return holdPath(path, flags);
  }

  async #line(machine: Machine, step: Step): Promise<[unknown, unknown]> {
    const crlf = (text: string) => text.replaceAll("\n", "\r\n");
    if ("typed" in step) {
      const { out } = await machine.bench.execute(this.#in(step.typed as string), { fd: this.#fd(step) });
      return [crlf(out), step.out];
    }
    const line = this.#in(step.hmp as string);
    const run = () =>
      runQmp(machine.bench.session, "human-monitor-command", { "command-line": line }, { fds: machine.fds });
    let out = await run();
    // a measurement ends by itself
    for (
      const end = Date.now() + PATIENCE_MS;
      line === "info dirty_rate" && String(step.out).startsWith("Status: measured");
    ) {
      if (String(out).startsWith("Status: measured") || Date.now() > end) break;
      await new Promise((resolve) => setTimeout(resolve, 20));
      out = await run();
    }
    return [out, step.out];
  }

  async #qmp(machine: Machine, step: Step): Promise<[unknown, unknown]> {
    const request = this.#in(step.qmp as Step);
    const run = async () => {
      try {
        const args = request.arguments ?? {};
        return {
          return: await runQmp(machine.bench.session, request.execute as string, args, {
            fds: machine.fds,
            fd: this.#fd(step),
          }),
        };
      } catch (error) {
        return errorReply(error);
      }
    };
    let reply = await run();
    // what is asked right after a change that comes about by itself
    const expected = stringifyJson(plain(this.#in(step.reply)));
    for (const end = Date.now() + PATIENCE_MS; /^query-(migrate|status|dirty-rate)$/.test(String(request.execute));) {
      const status = /"status": "([^"]*)"/.exec(expected)?.[1];
      if (status === undefined || stringifyJson(plain(reply)).includes(`"status": "${status}"`) || Date.now() > end) {
        break;
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
      reply = await run();
    }
    return [reply, step.reply];
  }

  async #event(machine: Machine, event: Step): Promise<void> {
    await until(() => machine.events.length > 0, `event ${stringifyJson(event)}`);
    assert.deepEqual(plain(machine.events.shift()), plain(event));
  }

  async #stderr(machine: Machine, expected: string, varies: boolean): Promise<void> {
    // a migration in the foreground says twice why it failed, once for the person who waited
    const wanted = expected.replaceAll("qemu-system-x86_64: ", "").replace(/^(.*\n)\1$/m, "$1");
    await until(
      () => machine.stderr.length >= (varies ? 1 : this.#in(wanted).length),
      `stderr ${wanted} but got ${machine.stderr}`,
    );
    const got = this.#out(machine.stderr);
    machine.stderr = "";
    if (!varies) assert.equal(got, wanted);
  }

  /** Whatever comes in its place, or nothing. */
  async #drain(machine: Machine): Promise<void> {
    for (const end = Date.now() + 500; machine.stderr === "" && Date.now() < end;) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    machine.stderr = "";
  }

  async #wait(machine: Machine, what: string): Promise<void> {
    const [, command, states] = /^(query-\w+) status is (.*)$/.exec(what) ?? [];
    assert(command, `cannot wait for "${what}"`);
    const status = async () =>
      (await runQmp(machine.bench.session, command, {}, { fds: machine.fds }) as { status?: string }).status ?? "none";
    const wanted = states.split(" or ");
    await until(async () => wanted.includes(await status()), what);
  }

  async #then(machine: Machine, step: Step, excused: boolean): Promise<void> {
    const expected = plain(this.#in(step.then)) as { status?: string };
    const now = () => machine.bench.info();
    if (expected.status) {
      await until(() => now().status === expected.status, `status ${expected.status}, now ${stringifyJson(now())}`);
    }
    const { status, "error-desc": error } = now();
    const got = plain(this.#out({ status, "error-desc": error }));
    if (!step.vary && !excused) assert.deepEqual(got, plain(step.then));
  }

  #exit(machine: Machine, status: number | null): void {
    if (status !== null && status >= 0) assert.equal(machine.bench.session.exitStatus, status);
  }

  async #file({ file, exists, head, mode, size, magic_at, first_160_bytes }: Step): Promise<void> {
    const path = this.#in(file as string);
    // what a command writes after its last read comes when the shell gets to it
    const written = () => fs.existsSync(path) && (Number(size) === 0 || fs.statSync(path).size > 0);
    if (exists) await until(written, path);
    else if (exists !== undefined) assert.equal(fs.existsSync(path), exists);
    if (mode !== undefined) assert.equal("0" + (fs.statSync(path).mode & 0o777).toString(8), mode);
    const bytes = (at: number, length: number) => {
      const fd = fs.openSync(path, "r");
      const view = new Uint8Array(length);
      const n = fs.readSync(fd, view, 0, length, at);
      fs.closeSync(fd);
      return Array.from(view.subarray(0, n), (byte) => byte.toString(16).padStart(2, "0")).join("");
    };
    if (head !== undefined) assert.equal(bytes(0, 16), head);
    if (magic_at !== undefined) assert.equal(bytes(Number(magic_at), 4), "5145564d");
    if (first_160_bytes !== undefined) assert.equal(bytes(0, 160), first_160_bytes);
    // longer files hold a stream, whose length follows from the firmware in it
    if (size !== undefined && Number(size) <= 4096) assert.equal(fs.statSync(path).size, size);
  }

  /** Files the capture made beside the monitor. */
  #host(text: string): void {
    const [, path, what] = /^(\S+?):? (.*)$/s.exec(text) ?? [];
    const target = this.#in(path ?? "");
    const good = () => fs.readFileSync(this.#in("/tmp/x/good"));
    const edited = (change: (bytes: Buffer) => void) => {
      const bytes = good();
      change(bytes);
      return bytes;
    };
    if (/empty file/.test(what)) fs.writeFileSync(target, "");
    else if (/4096 zero bytes/.test(what)) fs.writeFileSync(target, new Uint8Array(4096));
    else if (/with version (\d)/.test(what)) {
      fs.writeFileSync(target, edited((bytes) => bytes.writeUInt32BE(Number(/version (\d)/.exec(what)![1]), 4)));
    } else if (/section type 1/.test(what)) fs.writeFileSync(target, edited((bytes) => bytes[8] = 1));
    else if (/machine name (\S+)/.test(what)) {
      fs.writeFileSync(target, edited((bytes) => bytes.write(/machine name (\S+)/.exec(what)![1], 13, "latin1")));
    } else if (/first half/.test(what)) fs.writeFileSync(target, good().subarray(0, good().length / 2 | 0));
    else if (/first 20 bytes/.test(what)) fs.writeFileSync(target, good().subarray(0, 20));
    else if (/HEADER__ repeated/.test(what)) fs.writeFileSync(target, "HEADER__".repeat(1024), { mode: 0o644 });
  }

  async #raw(step: Step): Promise<void> {
    if ("connect" in step) {
      this.#connection?.qmp.close();
      if (this.#machines.size === 0) await this.#start("vm", ["-S", "-m", "64"]);
      const lines: Step[] = [];
      const qmp = new QmpConnection(this.#machines.get("vm")!.bench.session, (line) => {
        assert.match(line, /\r\n$/);
        const { timestamp: _, ...value } = JSON.parse(line);
        lines.push(value);
      });
      this.#connection = { qmp, lines };
    } else this.#connection!.qmp.feed(this.#in(step.raw as string));
    const { qmp, lines } = this.#connection!;
    await qmp.idle;
    await new Promise((resolve) => setTimeout(resolve, 5));
    assert.deepEqual(plain(this.#out(lines.splice(0))), plain(step.lines));
    this.#machines.get("vm")!.events.length = 0;
  }

  /** Equal, apart from what varies. */
  #same(got: unknown, expected: unknown, vary: readonly string[]): void {
    if (typeof expected === "string") return this.#sameText(got as string, expected, vary, "out");
    const masked = (value: unknown, path: string): unknown => {
      if (value instanceof JsonFloat) return masked(value.value, path);
      if (typeof value === "string" && path.endsWith("human-readable-text")) return maskText(value, vary, path);
      if (vary.includes(path)) return `<${typeof value}>`;
      // descriptor numbers are those of the process
      if (path.endsWith(".fd") && typeof value === "number") return "<fd>";
      if (path.includes(".ram.") && RAM_FIGURES.has(path.split(".").at(-1)!)) return "<figure>";
      if (Array.isArray(value)) return value.map((item, index) => masked(item, `${path}[${index}]`));
      if (typeof value !== "object" || value === null) return value;
      return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, masked(member, `${path}.${key}`)]));
    };
    assert.deepEqual(masked(plain(got), "reply"), masked(plain(expected), "reply"));
  }

  #sameText(got: string, expected: string, vary: readonly string[], path: string): void {
    assert.equal(maskText(got, vary, path), maskText(expected, vary, path));
  }
}

function maskText(text: string, vary: readonly string[], path: string): string {
  let masked = text.replace(FIGURES, "$1: N");
  // a guest that ran while it was saved may have touched memory behind the last pass; ours rests
  if (/^precopy ram/m.test(masked)) masked = masked.replace(/^downtime ram.*\r?\n/m, "");
  if (vary.includes(path)) return masked.replace(/\d+(\.\d+)?/g, "N");
  for (const entry of vary) {
    if (!entry.startsWith(path + ":")) continue;
    const key = entry.slice(path.length + 1);
    masked = masked.split("\n").map((line) => line.trimStart().startsWith(key) ? maskLine(line, key) : line).join("\n");
  }
  return masked;
}

/** Of a RAM block only the host address differs; of other lines the numbers. */
function maskLine(line: string, key: string): string {
  const blocks = line.replace(/0x[0-9a-f]{16}( {2}r[ow]\s*)$/, "HVA$1");
  if (blocks !== line) return blocks;
  const at = line.indexOf(key) + key.length;
  return line.slice(0, at) + line.slice(at).replace(/\d+(\.\d+)?/g, "N");
}

async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (const end = Date.now() + PATIENCE_MS; !(await condition());) {
    if (Date.now() > end) assert.fail(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Replay a transcript from beginning to end. */
export async function replay(name: string, exceptions: readonly Exception[] = []): Promise<void> {
  await new Replay(exceptions).run(readTranscript(name) as Step[]);
}
