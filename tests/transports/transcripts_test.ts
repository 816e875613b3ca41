/**
 * Address mistakes as a real QEMU 10.0.2 answered them, row by row: `migrate -d URI`, `migrate_incoming URI`, and the
 * descriptor commands. Paths under /tmp/x of the captures are put into a directory of the test's own.
 * @module
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import { gunzipSync } from "node:zlib";
import { parseUri } from "../../core/address.ts";
import { FdTable, holdPath } from "../../core/fds.ts";
import type { Channel, Transport } from "../../core/transport.ts";
import { CommandError } from "../../stream/errors.ts";
import { execTransport } from "../../transports/exec.ts";
import { fdTransport } from "../../transports/fd.ts";
import { fileTransport } from "../../transports/file.ts";
import { rdmaTransport } from "../../transports/rdma.ts";
import { tcpTransport } from "../../transports/tcp.ts";
import { unixTransport } from "../../transports/unix.ts";
import { vsockTransport } from "../../transports/vsock.ts";
import { pattern, recordingContext, within } from "./conformance.ts";

const TRANSPORTS: readonly Transport[] = [
  execTransport,
  rdmaTransport,
  tcpTransport,
  unixTransport,
  vsockTransport,
  fdTransport,
  fileTransport,
];

/** Rows that are not tried, and why. */
const SKIPPED: Readonly<Record<string, string>> = {
  "file:relative,offset": "writes into the working directory",
  "tcp:127.0.0.1:99999": "a fixed port, as a listener",
  "": "the words of the monitor, not of an address",
};

interface Step {
  readonly start?: string;
  readonly on?: string;
  readonly hmp?: string;
  readonly typed?: string;
  readonly qmp?: { execute: string; arguments?: Record<string, unknown> };
  readonly reply?: { return?: unknown; error?: { desc: string } } | null;
  readonly out?: string | null;
  readonly then?: { status?: string; "error-desc"?: string };
  readonly fd?: { path?: string; flags?: string; kind?: string };
  readonly exit?: number;
}

/** Steps of a transcript with `/tmp/x` replaced. */
function steps(name: string, dir: string): Step[] {
  const path = new URL(`../fixtures/monitor/${name}.json.gz`, import.meta.url);
  return JSON.parse(gunzipSync(Deno.readFileSync(path)).toString().replaceAll("/tmp/x", dir));
}

/** The one word behind a command, without its quotes; undefined when there are more (the monitor refuses those). */
function word(step: Step, command: string): string | undefined {
  const match = new RegExp(`^${command} +(?:"([^"]*)"|(\\S+))$`).exec(step.hmp ?? "");
  return match ? match[1] ?? match[2] : undefined;
}

/** What the monitor prints for an error. */
function errorText(error: unknown): string {
  assert.ok(error instanceof Error);
  const hint = error instanceof CommandError ? error.hint : [];
  return ["Error: " + error.message, ...hint].map((line) => line + "\r\n").join("");
}

async function inTempDir(run: (dir: string) => Promise<void> | void): Promise<void> {
  const dir = await Deno.makeTempDir({ dir: "/tmp", prefix: "miglab-" });
  try {
    await within(Promise.resolve(run(dir)), "the transcript", 60_000);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** Write until it fails, as a save would. */
async function writeUntilItFails(channel: Channel): Promise<never> {
  try {
    for (let i = 0; i < 10_000; i++) await channel.write!(pattern(1 << 16));
  } finally {
    await channel.close();
  }
  assert.fail("the channel takes everything");
}

Deno.test("migrate URI: every mistake is answered as QEMU answers it", () =>
  inTempDir(async (dir) => {
    const all = steps("uri_outgoing", dir);
    let tried = 0;
    for (const [i, step] of all.entries()) {
      const uri = word(step, "migrate -d");
      if (uri === undefined || uri in SKIPPED || uri.startsWith("-")) continue;
      const context = recordingContext();
      const open = () => {
        const { transport, address } = parseUri(uri, TRANSPORTS);
        return transport.connect(address, context);
      };
      if (step.out === null) assert.throws(open, { name: "CommandError" }, `${uri} ends QEMU`);
      else if (step.out !== "") {
        assert.throws(open, (error) => (assert.equal(errorText(error), step.out, uri), true), uri);
      } else {
        const then = all.slice(i + 1, i + 4).find((one) => one.then)!.then!;
        const late = (async () => await writeUntilItFails(await open()))();
        await assert.rejects(late, { message: then["error-desc"] }, uri);
      }
      tried++;
    }
    assert.ok(tried > 55, `only ${tried} rows`);
  }));

Deno.test("migrate_incoming URI: every mistake is answered as QEMU answers it", () =>
  inTempDir((dir) => {
    let tried = 0;
    let incoming = false;
    for (const step of steps("uri_incoming", dir)) {
      if (step.start) incoming = step.start === "dst";
      const uri = word(step, "migrate_incoming");
      // second attempts and other states of the monitor are not the transports' affair
      if (
        !incoming || uri === undefined || uri in SKIPPED || /state:|already been started/.test(step.out ?? "")
      ) continue;
      const context = recordingContext();
      const open = () => {
        const { transport, address } = parseUri(uri, TRANSPORTS);
        return transport.listen(address, context);
      };
      if (step.out === "" || step.out?.startsWith("warning: ")) {
        const listener = open();
        assert.equal(context.warnings.map((text) => `warning: ${text}\r\n`).join(""), step.out, uri);
        listener.close();
      } else {
        assert.throws(open, (error) => (assert.equal(errorText(error), step.out, uri), true), uri);
      }
      tried++;
    }
    assert.ok(tried > 30, `only ${tried} rows`);
  }));

/** Flags of open(2) by name. */
function openFlags(text: string): number {
  return text.split("|").reduce((bits, name) => bits | (fs.constants as unknown as Record<string, number>)[name], 0);
}

Deno.test("fdsets: add-fd, remove-fd, query-fdsets and file:/dev/fdset/N answer as QEMU's", () =>
  inTempDir(async (dir) => {
    const all = steps("fdset", dir);
    fs.writeFileSync(`${dir}/fs`, "");
    let fds = new FdTable();
    let on = new Set<string>();
    /** Number in the capture -> number here. */
    let numbers = new Map<number, number>();
    let tried = 0;
    const answer = (run: () => unknown) => {
      try {
        return { return: run() };
      } catch (error) {
        return { error: { class: "GenericError", desc: (error as Error).message } };
      }
    };
    const context = () => ({
      ...recordingContext(fds),
      ...(on.has("multifd") ? { extra: { count: 2, direct: on.has("direct-io") } } : {}),
    });
    for (const [i, step] of all.entries()) {
      if (step.start) {
        fds.close();
        [fds, on, numbers] = [new FdTable(), new Set(), new Map()];
      }
      const set = /^migrate_set_(?:capability|parameter) (\S+) on$/.exec(step.hmp ?? "");
      if (set) on.add(set[1]);
      const { execute, arguments: args = {} } = step.qmp ?? { execute: "" };
      const id = args["fdset-id"] as number | undefined;
      if (execute === "add-fd") {
        const held = step.fd && holdPath(step.fd.path!, openFlags(step.fd.flags!));
        const reply = answer(() => {
          const { fdsetId, fd } = fds.addFd(held, { fdsetId: id, opaque: args.opaque as string | undefined });
          const captured = (step.reply!.return as { fd: number }).fd;
          numbers.set(captured, fd);
          return { fd: captured, "fdset-id": fdsetId };
        });
        assert.deepEqual(reply, step.reply, JSON.stringify(step.qmp));
        tried++;
      } else if (execute === "remove-fd" && id !== undefined) {
        const fd = args.fd as number | undefined;
        const reply = answer(() => (fds.removeFd(id, fd === undefined ? fd : numbers.get(fd) ?? fd), {}));
        assert.deepEqual(reply, step.reply, JSON.stringify(step.qmp));
        tried++;
      } else if (execute === "query-fdsets") {
        const here = fds.queryFdsets().map(({ fdsetId, fds }) => ({ fds, "fdset-id": fdsetId }));
        const captured = (step.reply!.return as { fds: { fd: number }[] }[]).map((one) => ({
          ...one,
          fds: one.fds.map((fd) => ({ ...fd, fd: numbers.get(fd.fd) })),
        }));
        assert.deepEqual(here, captured);
        tried++;
      } else if (execute === "migrate-incoming") {
        const { transport, address } = parseUri(args.uri as string, TRANSPORTS);
        const reply = answer(() => (transport.listen(address, context()).close(), {}));
        assert.deepEqual(reply, step.reply, JSON.stringify(step.qmp));
        tried++;
      }
      const uri = word(step, "migrate -d");
      if (uri === undefined || all[i + 1]?.exit !== undefined) continue; // that one ends QEMU
      const { transport, address } = parseUri(uri, TRANSPORTS);
      const reply = answer(() => transport.connect(address, context()));
      if ("return" in reply) await (reply.return as Channel).close();
      assert.equal(reply.error ? `Error: ${reply.error.desc}\r\n` : "", step.out, uri);
      tried++;
    }
    fds.close();
    assert.ok(tried > 35, `only ${tried} steps`);
  }));

Deno.test("getfd, closefd and migrate fd: answer as QEMU's, each monitor with names of its own", () =>
  inTempDir(async (dir) => {
    let tried = 0;
    let terminal = new FdTable();
    for (const step of steps("fd_transport", dir)) {
      if (step.start) {
        terminal.close();
        terminal = new FdTable();
      }
      const line = step.typed ?? (step.qmp && `qmp ${JSON.stringify(step.qmp)}`) ?? step.hmp;
      if (step.fd?.kind) break; // from here on pipes and sockets of several processes
      if (line === undefined || line === "getfd") continue; // the words of the monitor
      const fds = step.typed ? terminal : terminal.connection();
      const context = recordingContext(fds);
      const [command, name] = step.qmp?.execute === "migrate"
        ? ["migrate", step.qmp.arguments!.uri as string]
        : [line.split(" ")[0], line.split(" ").at(-1)!];
      if (!["getfd", "closefd", "migrate"].includes(command)) continue;
      let out = "";
      try {
        const held = step.fd && holdPath(step.fd.path!, openFlags(step.fd.flags!));
        if (command === "getfd") fds.getfd(name, held);
        else if (command === "closefd") fds.closefd(name);
        else {
          const { transport, address } = parseUri(name, TRANSPORTS);
          await (await transport.connect(address, context)).close();
        }
      } catch (error) {
        out = errorText(error);
      }
      out = context.warnings.map((text) => `warning: ${text}\r\n`).join("") + out;
      const expected = step.qmp ? (step.reply!.error ? `Error: ${step.reply!.error.desc}\r\n` : "") : step.out;
      assert.equal(out, expected, line);
      tried++;
    }
    terminal.close();
    assert.ok(tried >= 12, `only ${tried} steps`);
  }));
