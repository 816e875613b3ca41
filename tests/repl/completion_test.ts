import assert from "node:assert/strict";
import { completeLine } from "../../repl/completion.ts";
import { TOOLS } from "../../main.ts";
import { Workbench } from "../../mod.ts";
import { PLAIN } from "../../repl/colour.ts";
import { rootCommand } from "../../repl/options.ts";
import { ReportLines } from "../../repl/report_line.ts";
import { TempDir } from "./capture.ts";

await using bench = await Workbench.open({ ram: "1M" });
const root = rootCommand();
const reports = new ReportLines({
  tools: TOOLS,
  output: { out() {}, err() {} },
  options: () => root.opts(),
  style: () => PLAIN,
  errorStyle: () => PLAIN,
  steps: () => Promise.resolve(undefined),
  finish() {},
  fail() {},
}).shapes;

/** Candidates for a line with the cursor at its end. */
function at(line: string): readonly string[] {
  return completeLine(line, bench).candidates;
}

Deno.test("commands are completed, a single one with a blank behind it", () => {
  assert.deepEqual(at("migrate_inc"), ["migrate_incoming "]);
  assert.ok(at("").includes("help") && at("").includes("migrate"));
  assert.deepEqual(at("migrate_set_"), ["migrate_set_capability", "migrate_set_parameter"]);
  assert.deepEqual(at("nothing_like_it"), []);
});

Deno.test("items of info, and names behind help", () => {
  assert.deepEqual(at("info migrate_c"), ["migrate_capabilities "]);
  assert.deepEqual(at("help migrate_inc"), ["migrate_incoming "]);
  assert.deepEqual(at("? info stat"), ["status "]);
  assert.deepEqual(at("help info status "), []);
});

Deno.test("capabilities, then on and off", () => {
  assert.deepEqual(at("migrate_set_capability mapp"), ["mapped-ram "]);
  assert.deepEqual(at("migrate_set_capability mapped-ram "), ["on", "off"]);
  assert.deepEqual(at("migrate-set-capability mapped-ram of"), ["off "]);
  assert.deepEqual(at("migrate_set_capability mapped-ram on "), []);
});

Deno.test("parameters, then their values", () => {
  assert.deepEqual(at("migrate_set_parameter multifd-comp"), ["multifd-compression "]);
  assert.deepEqual(at("migrate_set_parameter multifd-compression "), ["none", "zlib", "zstd"]);
  assert.deepEqual(at("migrate_set_parameter direct-io o"), ["on", "off"]);
  assert.deepEqual(at("migrate_set_parameter downtime-limit "), []);
});

Deno.test("every word of a real table completes to itself", () => {
  const { registry } = bench.session;
  for (const { name } of registry.capabilities) assert.ok(at(`migrate_set_capability ${name}`)[0].startsWith(name));
  for (const { name } of registry.parameters) assert.ok(at(`migrate_set_parameter ${name}`)[0].startsWith(name));
});

Deno.test("flags stand in front, each once", () => {
  assert.deepEqual(at("migrate -"), ["-d", "-r"]);
  assert.deepEqual(at("migrate -d -"), ["-r "]);
  assert.deepEqual(at("migrate -d fil"), ["file:"]);
});

Deno.test("URIs: schemes, paths behind file: and unix:, offsets, fdsets", () => {
  using dir = new TempDir();
  dir.file("vm one.sav", "");
  dir.file("vm-two.sav", "");
  Deno.mkdirSync(dir.file("sub"));
  assert.ok(at("migrate ").includes("file:") && at("migrate ").includes("exec:"));
  assert.deepEqual(at(`migrate file:${dir.path}/`), ["sub/", "vm-two.sav"]);
  assert.deepEqual(at(`migrate file:${dir.path}/vm-`), ["vm-two.sav "]);
  assert.deepEqual(at(`migrate "file:${dir.path}/vm o`), ['vm one.sav" ']);
  assert.deepEqual(at(`migrate_incoming unix:${dir.path}/s`), ["sub/"]);
  assert.deepEqual(at(`migrate file:${dir.path}/vm-two.sav,`), ["offset="]);
  assert.match(completeLine(`migrate file:${dir.path}/vm-two.sav,offset=`, bench).hint!, /0x11000/);
  assert.deepEqual(at("migrate file:/dev/fdset/"), []);
});

Deno.test("files of memsave: a path with slashes is offered in quotes only", () => {
  using dir = new TempDir();
  dir.file("dump.bin", "");
  assert.deepEqual(at(`memsave 0 16 "${dir.path}/du`), ['dump.bin" ']);
  assert.deepEqual(at(`memsave 0 16 ${dir.path}/du`), []);
  assert.match(completeLine(`memsave 0 16 ${dir.path}/du`, bench).hint!, /quotes/);
  assert.deepEqual(at(`inspect ${dir.path}/du`), ["dump.bin "]);
});

Deno.test("where nothing can be offered the command explains itself", () => {
  assert.match(completeLine("balloon ", bench).hint!, /^balloon target -- /);
  assert.match(completeLine("stop ", bench).hint!, /^stop\|s -- stop emulation$/);
  assert.equal(completeLine("foo ", bench).hint, undefined);
});

Deno.test("comments, QMP and broken quotes are left alone", () => {
  for (const line of ["# mig", '{"exec', '"x\\', 'migrate "fi" le']) assert.deepEqual(at(line), []);
});

/** Candidates with the reports there. */
function withReports(line: string) {
  return completeLine(line, { session: bench.session, reports });
}

Deno.test("reports are offered beside the monitor's commands, with their options", () => {
  assert.deepEqual(withReports("sal").candidates, ["salvage "]);
  assert.deepEqual(withReports("help expl").candidates, ["explain "]);
  assert.deepEqual(withReports("verify --ag").candidates, ["--against "]);
  assert.deepEqual(withReports("inspect x --ha").candidates, ["--hash "]);
  assert.deepEqual(withReports("inspect --hash --ha").candidates, []);
  assert.ok(withReports("inspect --channel a --ch").candidates.includes("--channel "), "it may be given again");
  assert.deepEqual(withReports("inspect --ram").candidates, []);
  assert.match(withReports("extract ").hint!, /^extract \[options\] <file> -- RAM out of a saved guest$/);
});

Deno.test("values of a report's options: a few words, files, or what is wanted", () => {
  using dir = new TempDir();
  dir.file("vm one.sav", "");
  dir.file("vm-two.sav", "");
  assert.deepEqual(withReports(`convert a b --to lib`).candidates, ["libvirt-raw", "libvirt-sparse"]);
  assert.deepEqual(withReports(`convert a b --to=leg`).candidates, ["legacy "]);
  assert.deepEqual(withReports(`inspect ${dir.path}/vm-`).candidates, ["vm-two.sav "]);
  assert.deepEqual(withReports(`inspect "${dir.path}/vm o`).candidates, ['vm one.sav" ']);
  assert.deepEqual(withReports(`diff ${dir.path}/vm-two.sav ${dir.path}/vm-`).candidates, ["vm-two.sav "]);
  assert.deepEqual(withReports(`inspect x --channel ${dir.path}/vm-`).candidates, ["vm-two.sav "]);
  assert.match(withReports("explain x --limit ").hint!, /^--limit <lines> -- /);
  assert.deepEqual(withReports("explain x --limit ").candidates, []);
});
